/** The operations of src/kernels/resize.ts in float64, and their cases. */
import { elements, type Shape } from '../../src/kernels/op.ts'
import { type ResizeArgs, resizeGradientOp, resizeOp, resizeShape } from '../../src/kernels/resize.ts'
import { type Case, check } from './check.ts'

/** For every pixel of an axis' output the input pixels it is made of, in PyTorch's own terms and in float64. */
function axisWeights(
  { mode, antialias }: ResizeArgs,
  extent: number,
  outputs: number,
): [from: number, weight: number][][] {
  const scale = extent / outputs
  // Keys 1981, equation 4.
  const cubic = (s: number, a: number): number => {
    const d = Math.abs(s)
    if (d <= 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1
    return d < 2 ? a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a : 0
  }
  return Array.from({ length: outputs }, (_, o) => {
    const source = scale * (o + 0.5) - 0.5
    const clamped = (at: number): number => Math.min(Math.max(at, 0), extent - 1)
    const below = Math.floor(source)
    if (!antialias && mode === 'bilinear') {
      const fraction = source - below
      return [
        [clamped(below), 1 - fraction],
        [clamped(below + 1), fraction],
      ]
    }
    if (!antialias) {
      return [-1, 0, 1, 2].map((t) => [clamped(below + t), cubic(source - below - t, -0.75)])
    }
    const width = Math.max(1, scale)
    const filter = (d: number): number => (mode === 'bilinear' ? Math.max(0, 1 - Math.abs(d)) : cubic(d, -0.5))
    const taps = Array.from({ length: extent }, (_, at): [number, number] => [at, filter((at - source) / width)])
    const total = taps.reduce((sum, [, weight]) => sum + weight, 0)
    return taps.filter(([, weight]) => weight !== 0).map(([at, weight]) => [at, weight / total])
  })
}

/** Calls `visit` with flat indices of output and input, and the product of both axes' weights. */
function forEachWeight(args: ResizeArgs, x: Shape, visit: (to: number, from: number, weight: number) => void): void {
  const [n, c, h, w] = x
  const rows = axisWeights(args, h, args.size[0])
  const columns = axisWeights(args, w, args.size[1])
  let to = 0
  for (let plane = 0; plane < n * c; plane++) {
    for (const row of rows) {
      for (const column of columns) {
        for (const [y, wy] of row) for (const [x, wx] of column) visit(to, (plane * h + y) * w + x, wy * wx)
        to++
      }
    }
  }
}

export const resizeCheck = check(resizeOp, {
  reference(args, [x], [shape]) {
    const y = new Float64Array(elements(resizeShape('resize', args, shape)))
    forEachWeight(args, shape, (to, at, weight) => {
      y[to] += weight * x[at]
    })
    return y
  },
  cases: (['bilinear', 'bicubic'] as const).flatMap((mode) =>
    [false, true].flatMap((antialias): Case<ResizeArgs>[] => [
      { shapes: [[2, 3, 7, 5]], args: { size: [11, 13], mode, antialias } },
      { shapes: [[1, 2, 23, 19]], args: { size: [7, 4], mode, antialias } },
      { shapes: [[1, 1, 12, 16]], args: { size: [6, 48], mode, antialias } },
      { shapes: [[1, 2, 2, 1]], args: { size: [5, 3], mode, antialias } },
      { shapes: [[1, 1, 9, 8]], args: { size: [1, 8], mode, antialias } },
      { shapes: [[1, 1, 1, 1]], args: { size: [1, 1], mode, antialias } },
    ]),
  ),
})

export const resizeGradientCheck = check(resizeGradientOp, {
  reference({ shape, ...args }, [dy]) {
    const dx = new Float64Array(elements(shape))
    forEachWeight(args, shape, (to, at, weight) => {
      dx[at] += weight * dy[to]
    })
    return dx
  },
  cases: resizeCheck.cases.map(({ shapes: [x], args }) => ({
    shapes: [resizeOp.shape(args, [x])],
    args: { ...args, shape: [x[0], x[1], x[2], x[3]] },
  })),
})
