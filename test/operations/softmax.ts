/** The operations of src/kernels/softmax.ts in float64, and their cases. */
import { elements, type Shape } from '../../src/kernels/op.ts'
import { logSoftmaxOp, type SoftmaxArgs, softmaxOp } from '../../src/kernels/softmax.ts'
import { type Case, check } from './check.ts'

const cases: Case<SoftmaxArgs>[] = [
  { shapes: [[3, 10]], args: { axis: 1 } },
  { shapes: [[2, 2, 5, 7]], args: { axis: 1 } },
  { shapes: [[7, 3, 2]], args: { axis: 0 } },
  { shapes: [[2, 1009]], args: { axis: 1 } },
  { shapes: [[2, 257, 3]], args: { axis: 1 } },
  { shapes: [[1]], args: { axis: 0 } },
  // Far outside exp's range: only the distance to the largest counts.
  { shapes: [[2, 3]], args: { axis: 1 }, fill: [Float32Array.of(1000, 999, -1000, -500, -500, -501)] },
]

/** Applies `f` to every row along an axis. */
function alongAxis(axis: number, x: Float64Array, shape: Shape, f: (row: number[]) => number[]): Float64Array {
  const stride = elements(shape.slice(axis + 1))
  const y = new Float64Array(x.length)
  for (let first = 0; first < x.length; first++) {
    if (Math.floor(first / stride) % shape[axis] !== 0) continue
    f(Array.from({ length: shape[axis] }, (_, k) => x[first + k * stride])).forEach((value, k) => {
      y[first + k * stride] = value
    })
  }
  return y
}

export const softmaxCheck = check(softmaxOp, {
  reference: ({ axis }, [x], [shape]) =>
    alongAxis(axis, x, shape, (row) => {
      const top = Math.max(...row)
      const total = row.reduce((s, v) => s + Math.exp(v - top), 0)
      return row.map((v) => Math.exp(v - top) / total)
    }),
  cases,
})

export const logSoftmaxCheck = check(logSoftmaxOp, {
  reference: ({ axis }, [x], [shape]) =>
    alongAxis(axis, x, shape, (row) => {
      const top = Math.max(...row)
      const logTotal = Math.log(row.reduce((s, v) => s + Math.exp(v - top), 0))
      return row.map((v) => v - top - logTotal)
    }),
  cases,
})
