/** The operations of src/kernels/normalize.ts in float64, and their cases. */
import { normalizeGradientOp, normalizeOp } from '../../src/kernels/normalize.ts'
import { check } from './check.ts'

export const normalizeCheck = check(normalizeOp, {
  reference: ({ epsilon }, [x], [shape]) => {
    const count = shape.at(-1)!
    return x.map((value, i) => {
      const row = x.subarray(i - (i % count), i - (i % count) + count)
      return value / Math.max(Math.hypot(...row), epsilon)
    })
  },
  cases: [
    { shapes: [[4, 512]], args: { epsilon: 1e-12 } },
    { shapes: [[2, 3, 37]], args: { epsilon: 1e-12 } },
    // A row of one becomes its sign: the gradient is 0, so all that is seen of it is rounding.
    { shapes: [[5, 1]], args: { epsilon: 1e-12 }, fill: ['positive'], tolerance: 1e-4 },
    { shapes: [[64]], args: { epsilon: 1e-12 } },
    // Rows shorter than epsilon are divided by it and keep their direction and length free.
    { shapes: [[2, 7]], args: { epsilon: 100 } },
  ],
})

export const normalizeGradientCheck = check(normalizeGradientOp, {
  reference({ epsilon }, [x, dy], [shape]) {
    const count = shape.at(-1)!
    return x.map((value, i) => {
      const from = i - (i % count)
      const row = x.subarray(from, from + count)
      const norm = Math.hypot(...row)
      if (norm < epsilon) return dy[i] / epsilon
      const along = row.reduce((s, v, k) => s + v * dy[from + k], 0)
      return dy[i] / norm - (value * along) / norm ** 3
    })
  },
  cases: [
    {
      shapes: [
        [4, 512],
        [4, 512],
      ],
      args: { epsilon: 1e-12 },
    },
    {
      shapes: [
        [2, 3, 37],
        [2, 3, 37],
      ],
      args: { epsilon: 2 },
    },
  ],
})
