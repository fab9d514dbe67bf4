/** The operations of src/kernels/gaussian-blur.ts in float64, and their cases. */
import { type BlurArgs, gaussianBlurGradientOp, gaussianBlurOp } from '../../src/kernels/gaussian-blur.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import { type Case, check } from './check.ts'

/** Calls `visit` for every product of the two-dimensional definition: flat indices of output and input, and the weight. */
function forEachTap(
  { size, sigma }: BlurArgs,
  shape: Shape,
  visit: (to: number, from: number, weight: number) => void,
): void {
  const [h, w] = shape.slice(-2)
  const radius = (size - 1) / 2
  const offsets = Array.from({ length: size }, (_, k) => k - radius)
  const gauss = offsets.map((dy) => offsets.map((dx) => Math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma))))
  const total = gauss.flat().reduce((sum, g) => sum + g, 0)
  const mirror = (at: number, extent: number): number => (at < 0 ? -at : at >= extent ? 2 * (extent - 1) - at : at)
  for (let to = 0; to < elements(shape); to++) {
    const column = to % w
    const row = Math.floor(to / w) % h
    const plane = to - row * w - column
    for (const [ky, dy] of offsets.entries()) {
      for (const [kx, dx] of offsets.entries()) {
        visit(to, plane + mirror(row + dy, h) * w + mirror(column + dx, w), gauss[ky][kx] / total)
      }
    }
  }
}

export const gaussianBlurCheck = check(gaussianBlurOp, {
  reference(args, [x], [shape]) {
    const y = new Float64Array(x.length)
    forEachTap(args, shape, (to, from, weight) => {
      y[to] += weight * x[from]
    })
    return y
  },
  cases: [
    { shapes: [[1, 3, 13, 17]], args: { size: 7, sigma: 3 } },
    // The smallest image that can be mirrored: every pixel has a mirror image on both sides.
    { shapes: [[2, 1, 4, 4]], args: { size: 7, sigma: 3 } },
    { shapes: [[1, 2, 5, 70]], args: { size: 5, sigma: 0.8 } },
    { shapes: [[3, 2]], args: { size: 3, sigma: 1 } },
    { shapes: [[1, 1, 1, 1]], args: { size: 1, sigma: 3 } },
  ] satisfies Case<BlurArgs>[],
})

export const gaussianBlurGradientCheck = check(gaussianBlurGradientOp, {
  reference(args, [dy], [shape]) {
    const dx = new Float64Array(dy.length)
    forEachTap(args, shape, (to, from, weight) => {
      dx[from] += weight * dy[to]
    })
    return dx
  },
  cases: gaussianBlurCheck.cases,
})
