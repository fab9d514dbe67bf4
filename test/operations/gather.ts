/** The operations of src/kernels/gather.ts in float64, and their cases. */
import { gatherOp, layoutOf, type ScatterArgs, scatterOp } from '../../src/kernels/gather.ts'
import { type Case, check } from './check.ts'

const nearest = (index: number, n: number): number => Math.trunc(Math.min(Math.max(index, 0), n - 1))

export const gatherCheck = check(gatherOp, {
  reference(args, [x, indices], shapes) {
    const { outer, n, inner, m, lists } = layoutOf(args, shapes)
    const y = new Float64Array(outer * m * inner)
    for (let i = 0; i < y.length; i++) {
      const row = Math.floor(i / inner / m)
      const list = Math.floor(row / (outer / lists)) * m
      y[i] = x[(row * n + nearest(indices[list + (Math.floor(i / inner) % m)], n)) * inner + (i % inner)]
    }
    return y
  },
  // A little more than whole, so that their differences are those of one index.
  cases: [
    { shapes: [[5, 3], [4]], args: { axis: 0 }, fill: ['symmetric', Float32Array.of(4.25, 0.25, 0.25, 2.25)] },
    {
      shapes: [
        [2, 3, 7],
        [2, 3],
      ],
      args: { axis: 2 },
      fill: ['symmetric', Float32Array.of(6.25, 1.25, 1.25, 0.25, 5.25, 3.25)],
    },
    { shapes: [[2, 4, 2, 2], [1]], args: { axis: 1 }, fill: ['symmetric', Float32Array.of(3.25)] },
    // More values than threads share, and more indices than values.
    {
      shapes: [[131, 3], [70]],
      args: { axis: 0 },
      fill: ['symmetric', Float32Array.from({ length: 70 }, (_, i) => ((i * 37) % 131) + 0.25)],
    },
    {
      shapes: [[2, 5], [50]],
      args: { axis: 1 },
      fill: ['symmetric', Float32Array.from({ length: 50 }, (_, i) => ((i * 7) % 5) + 0.25)],
    },
  ],
})

export const scatterCheck = check(scatterOp, {
  reference(args, [dy, indices], [shape, indexShape]) {
    const { outer, n, inner, m, lists } = layoutOf(args, [scatterOp.shape(args, [shape]), indexShape])
    const dx = new Float64Array(outer * n * inner)
    for (let i = 0; i < dy.length; i++) {
      const row = Math.floor(i / inner / m)
      const list = Math.floor(row / (outer / lists)) * m
      dx[(row * n + nearest(indices[list + (Math.floor(i / inner) % m)], n)) * inner + (i % inner)] += dy[i]
    }
    return dx
  },
  cases: gatherCheck.cases.map(
    ({ shapes, args, fill }): Case<ScatterArgs> => ({
      shapes: [gatherOp.shape(args, shapes), shapes[1]],
      args: { ...args, extent: shapes[0][args.axis] },
      fill,
    }),
  ),
})
