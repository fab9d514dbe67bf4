/** The operations of src/kernels/ssim.ts in float64, and their cases. */
import { SIZE, ssimMapOp, ssimWindowOp, WINDOW, windowed } from '../../src/kernels/ssim.ts'
import { check, pointwiseCheck } from './check.ts'

export const ssimWindowCheck = check(ssimWindowOp, {
  reference({ padding }, [x], [shape]) {
    const [n, c, height, width] = windowed(shape, padding)
    const y: number[] = []
    for (let plane = 0; plane < n * c; plane++) {
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
          let total = 0
          for (let i = 0; i < SIZE; i++) {
            for (let j = 0; j < SIZE; j++) {
              const [v, u] = [row + i - padding, column + j - padding]
              if (v < 0 || v >= shape[2] || u < 0 || u >= shape[3]) continue
              total += WINDOW[i] * WINDOW[j] * x[(plane * shape[2] + v) * shape[3] + u]
            }
          }
          y.push(total)
        }
      }
    }
    return Float64Array.from(y)
  },
  cases: [
    { shapes: [[2, 3, 13, 17]], args: { padding: 0 } },
    { shapes: [[1, 1, 11, 11]], args: { padding: 0 } },
    { shapes: [[1, 2, 1, 3]], args: { padding: 10 } },
    { shapes: [[1, 1, 23, 12]], args: { padding: 10 } },
  ],
})

// c2 is large here so that any moments, also such as no image has, give variances away from 0.
export const ssimMapCheck = pointwiseCheck(
  ssimMapOp,
  [[2, 3, 5, 7], [1, 1, 4, 4], [1]].map((shape) => ({
    shapes: Array.from({ length: 5 }, () => shape),
    args: { c1: 0.1, c2: 4 },
    fill: ['symmetric', 'symmetric', 'positive', 'positive', 'symmetric'],
  })),
)
