import { elements, type Shape } from '../../src/kernels/op.ts'
import { axisWeights, type ResizeArgs, resizeGradientOp, resizeOp, resizeShape } from '../../src/kernels/resize.ts'
import { type Case, check } from './check.ts'

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
