/** The operations of src/kernels/affine-warp.ts in float64, and their cases. */
import { affineWarpGradientOp, affineWarpOp, type WarpArgs, warpShape } from '../../src/kernels/affine-warp.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import { type Case, check } from './check.ts'

const warpCase = (
  x: Shape,
  size: readonly [number, number],
  antialias: boolean,
  names: readonly (keyof typeof maps)[],
): Case<WarpArgs> => ({
  shapes: [x, [names.length, 6]],
  args: { size, antialias },
  fill: ['symmetric', Float32Array.from(names.flatMap((name) => maps[name]))],
})

/** Maps for cases, exact in f32, for images of about 20 x 15 pixels and outputs of about 8 x 8. */
const maps = {
  enlarge: [0.375, -0.0625, 4.5, 0.0625, 0.375, 3.25],
  shrink: [1.75, 0.5, -0.75, -0.5, 1.75, 3.5],
  diagonal: [2, 2, -9, -2, 2, 8],
  outside: [1.25, 0.25, 14.5, -0.25, 1.25, -3],
  stretch: [2.5, 0.125, 0.25, -0.75, 0.5, 6],
  identity: [1, 0, 0, 0, 1, 0],
  mirror: [-1.5, 0, 14, 0, 1.5, 0],
  far: [1, 0, 1e6, 0, 1, -1e7],
  flat: [1, 2, 3, 2, 4, 1],
}

/** Calls `visit` for every weight that is not zero: flat indices of output and input, and the weight; by definition, in float64. */
function forEachWeight(
  { size: [oh, ow], antialias }: WarpArgs,
  matrices: Float64Array,
  [x, { 0: count }]: readonly Shape[],
  visit: (to: number, from: number, weight: number) => void,
): void {
  const [n, channels, ih, iw] = x
  const tent = (d: number): number => Math.max(0, 1 - Math.abs(d))
  for (let m = 0; m < count; m++) {
    const [a, b, tx, c, d, ty] = matrices.subarray(6 * m, 6 * m + 6)
    const area = a * d - b * c
    if (area === 0) continue
    const steps = [Math.hypot(a, c), Math.hypot(b, d)]
    const shrinks = antialias && Math.max(...steps) > 1
    // A tent reaches one output pixel, or one image pixel where those are larger.
    const widths = steps.map((step) => Math.max(1, 1 / step))
    const reach = shrinks ? Math.ceil(widths[0] * steps[0] + widths[1] * steps[1]) : 1
    for (let to = 0; to < oh * ow; to++) {
      const [column, row] = [(to % ow) + 0.5, Math.floor(to / ow) + 0.5]
      const px = a * column + b * row + tx - 0.5
      const py = c * column + d * row + ty - 0.5
      const taps: { inside: boolean; at: number; weight: number }[] = []
      for (let r = Math.floor(py) - reach; r <= Math.ceil(py) + reach; r++) {
        for (let q = Math.floor(px) - reach; q <= Math.ceil(px) + reach; q++) {
          const [ex, ey] = [q - px, r - py]
          const weight = shrinks
            ? tent((d * ex - b * ey) / area / widths[0]) * tent((a * ey - c * ex) / area / widths[1])
            : tent(ex) * tent(ey)
          if (weight > 0) taps.push({ inside: q >= 0 && q < iw && r >= 0 && r < ih, at: r * iw + q, weight })
        }
      }
      const total = taps.reduce((sum, { weight }) => sum + weight, 0)
      for (const { inside, at, weight } of taps) {
        if (!inside) continue
        for (let k = 0; k < channels; k++) {
          visit(
            (m * channels + k) * oh * ow + to,
            (Math.floor((m * n) / count) * channels + k) * ih * iw + at,
            weight / total,
          )
        }
      }
    }
  }
}

export const affineWarpCheck = check(affineWarpOp, {
  reference(args, [x, matrices], shapes) {
    const y = new Float64Array(elements(warpShape('affine_warp', args, shapes)))
    forEachWeight(args, matrices, shapes, (to, from, weight) => {
      y[to] += weight * x[from]
    })
    return y
  },
  cases: [false, true].flatMap((antialias) => [
    warpCase([1, 3, 15, 20], [8, 8], antialias, ['enlarge']),
    warpCase([1, 3, 15, 20], [8, 7], antialias, ['shrink', 'outside', 'diagonal']),
    warpCase([2, 1, 13, 17], [5, 9], antialias, ['stretch', 'enlarge', 'mirror', 'shrink']),
    warpCase([1, 4, 9, 9], [9, 9], antialias, ['identity']),
    warpCase([1, 5, 7, 3], [3, 2], antialias, ['far', 'shrink', 'flat']),
    warpCase([1, 1, 1, 1], [1, 1], antialias, ['identity']),
  ]),
})

export const affineWarpGradientCheck = check(affineWarpGradientOp, {
  reference(args, [dy, matrices], [, mapsShape]) {
    const dx = new Float64Array(elements(args.shape))
    forEachWeight(args, matrices, [args.shape, mapsShape], (to, from, weight) => {
      dx[from] += weight * dy[to]
    })
    return dx
  },
  cases: affineWarpCheck.cases.map(({ shapes, args, fill }) => {
    const [n, c, h, w] = shapes[0]
    return { shapes: [affineWarpOp.shape(args, shapes), shapes[1]], args: { ...args, shape: [n, c, h, w] }, fill }
  }),
})
