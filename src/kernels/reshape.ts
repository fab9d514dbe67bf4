/** Another shape for the same elements: a view, no kernel runs. */
import { elements, expectShape, formatShape, type Op, type Shape, sameShape, type Tensor } from './op.ts'

export interface ReshapeArgs {
  shape: Shape
}

/** The elements of `x` in row-major order under another shape; throws ShapeError where the counts differ. */
export const reshape = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : x.recorder.apply(reshapeOp, [x], { shape })

/** Axes from `start` on joined into one. */
export const flatten = (x: Tensor, start = 1): Tensor =>
  reshape(x, [...x.shape.slice(0, start), elements(x.shape.slice(start))])

export const reshapeOp: Op<ReshapeArgs> = {
  name: 'reshape',
  inputs: ['x'],
  view: true,
  shape({ shape }, [x]) {
    expectShape(
      elements(shape) === elements(x),
      `reshape: x ${formatShape(x)} has ${elements(x)} elements, ${formatShape(shape)} has ${elements(shape)}`,
    )
    return shape
  },
  cost: () => ({ flop: 0, bytes: 0 }),
  kernels: () => [],
  backward: ({ inputs: [x], gradient }) => [reshape(gradient, x.shape)],
}
