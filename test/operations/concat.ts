/** The operations of src/kernels/concat.ts in float64, and their cases. */
import { concatOp } from '../../src/kernels/concat.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import { check } from './check.ts'

export const concatCheck = check(concatOp, {
  reference({ axis }, inputs, shapes) {
    const outer = elements(shapes[0].slice(0, axis))
    const y = new Float64Array(inputs.reduce((n, x) => n + x.length, 0))
    let at = 0
    for (let o = 0; o < outer; o++) {
      inputs.forEach((x, k) => {
        const run = elements(shapes[k].slice(axis))
        y.set(x.subarray(o * run, (o + 1) * run), at)
        at += run
      })
    }
    return y
  },
  cases: [
    {
      shapes: [
        [2, 3, 5],
        [2, 1, 5],
        [2, 4, 5],
      ],
      args: { axis: 1 },
    },
    {
      shapes: [
        [1, 8, 6, 6],
        [1, 4, 6, 6],
      ],
      args: { axis: 1 },
    },
    {
      shapes: [
        [3, 4],
        [3, 8],
      ],
      args: { axis: 1 },
    },
    { shapes: [[7], [1]], args: { axis: 0 } },
    { shapes: [[2, 3]], args: { axis: 0 } },
    { shapes: [1, 2, 3, 4, 5, 6, 7, 8, 9].map((extent): Shape => [2, extent, 3]), args: { axis: 1 } },
  ],
})
