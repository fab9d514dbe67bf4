/** Transposed two-dimensional convolution: the gradient of conv2d with respect to its image. */
import {
  type ConvArgs,
  type ConvOptions,
  convArgs,
  convCost,
  convGeometry,
  expectBias,
  type Geometry,
  imageShape,
  type Pair,
} from './conv/geometry.ts'
import { conv2d } from './conv2d.ts'
import { conv2dWeightGradient } from './conv2d-weight-gradient.ts'
import { expectShape, formatShape, type Op, type Shape, type Tensor } from './op.ts'
import { sum } from './reduce.ts'
import { reshape } from './reshape.ts'

export interface ConvTransposeArgs extends ConvArgs {
  /** Rows and columns of the result. */
  size: Pair
}

/**
 * PyTorch's conv_transpose2d, and exactly the gradient of `conv2d(image [N,C,H,W], weights)` with respect to the image when
 * x is the gradient of its output and the options are the same.
 * @param x [N,K,h,w]
 * @param weights [K,C/groups,kh,kw]
 * @param bias [C], none if left out
 * @param options those of conv2d, and `size`, rows and columns of the result. With a stride several sizes lead to the same
 *   h and w; the smallest is taken where it is left out (PyTorch's output_padding 0).
 * @returns [N,C,H,W]
 * @throws ShapeError where the channels do not fit, or a conv2d of an image of that size does not give h and w.
 */
export function convTranspose2d(
  x: Tensor,
  weights: Tensor,
  bias?: Tensor,
  options: ConvOptions & { size?: Pair } = {},
): Tensor {
  const args = convArgs(options)
  const size = options.size ?? smallestSize(args, x.shape, weights.shape)
  return x.recorder.apply(convTranspose2dOp, bias ? [x, weights, bias] : [x, weights], { ...args, size })
}

const smallestSize = ({ stride, padding, dilation }: ConvArgs, x: Shape, weights: Shape): Pair => [
  (x[2] - 1) * stride[0] - padding[0] - padding[2] + dilation[0] * (weights[2] - 1) + 1,
  (x[3] - 1) * stride[1] - padding[1] - padding[3] + dilation[1] * (weights[3] - 1) + 1,
]

/** The geometry of the conv2d that this is the transpose of: `x` is its output, the result its image. */
export function geometry({ size, ...args }: ConvTransposeArgs, [x, weights]: readonly Shape[]): Geometry {
  expectShape(x.length === 4, `conv_transpose2d: x must be [N,K,h,w], not ${formatShape(x)}`)
  expectShape(
    weights.length === 4 && weights[0] === x[1],
    `conv_transpose2d: the weights must be [${x[1]},C/groups,kh,kw], not ${formatShape(weights)}`,
  )
  const g = convGeometry('conv_transpose2d', args, [x[0], weights[1] * args.groups, ...size], weights)
  expectShape(
    g.oh === x[2] && g.ow === x[3],
    `conv_transpose2d: ${formatShape(size)} pixels would come from ${g.oh}x${g.ow}, x has ${x[2]}x${x[3]}`,
  )
  return g
}

export const convTranspose2dOp: Op<ConvTransposeArgs> = {
  name: 'conv_transpose2d',
  inputs: ['x', 'weights', 'bias?'],
  half: 'always',
  shape(args, shapes) {
    const g = geometry(args, shapes)
    expectBias('conv_transpose2d', shapes[2], g.c)
    return imageShape(g)
  },
  cost(args, shapes) {
    const g = geometry(args, shapes)
    return convCost(g, shapes, imageShape(g))
  },
  kernels: async (args, shapes, gpu) =>
    (await import('./conv/kernels.ts')).transposeKernels(geometry(args, shapes), shapes.length > 2, gpu),
  backward({ args: { size: _, ...args }, inputs: [x, weights, bias], gradient, wanted }) {
    const kernel = [weights.shape[2], weights.shape[3]] as const
    const gradients = [
      wanted[0] ? conv2d(gradient, weights, undefined, args) : undefined,
      wanted[1] ? conv2dWeightGradient(gradient, x, { ...args, kernel }) : undefined,
    ]
    return bias ? [...gradients, wanted[2] ? reshape(sum(gradient, [0, 2, 3]), bias.shape) : undefined] : gradients
  },
}
