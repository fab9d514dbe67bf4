/** Two-dimensional convolution (cross-correlation, as in every deep learning framework). */
import {
  type ConvArgs,
  type ConvOptions,
  convArgs,
  convCost,
  convGeometry,
  expectBias,
  outputShape,
} from './conv/geometry.ts'
import { convTranspose2d } from './conv-transpose2d.ts'
import { conv2dWeightGradient } from './conv2d-weight-gradient.ts'
import type { Op, Shape, Tensor } from './op.ts'
import { sum } from './reduce.ts'
import { reshape } from './reshape.ts'

/**
 * y[n,k] = bias[k] + sum over c of x[n,c] correlated with weights[k,c]: PyTorch's conv2d, with padding that may differ from
 * side to side (TensorFlow's SAME).
 * @param x [N,C,H,W]
 * @param weights [K,C/groups,kh,kw]
 * @param bias [K], none if left out
 * @returns [N,K,oh,ow] with oh = floor((H + top + bottom - dilation * (kh - 1) - 1) / stride) + 1, ow likewise
 * @throws ShapeError where the channels do not fit the weights and groups, or the kernel is larger than the padded image.
 */
export const conv2d = (x: Tensor, weights: Tensor, bias?: Tensor, options: ConvOptions = {}): Tensor =>
  x.recorder.apply(conv2dOp, bias ? [x, weights, bias] : [x, weights], convArgs(options))

export const geometry = (args: ConvArgs, [x, weights]: readonly Shape[]) => convGeometry('conv2d', args, x, weights)

export const conv2dOp: Op<ConvArgs> = {
  name: 'conv2d',
  inputs: ['x', 'weights', 'bias?'],
  half: 'always',
  shape(args, shapes) {
    const g = geometry(args, shapes)
    expectBias('conv2d', shapes[2], g.k)
    return outputShape(g)
  },
  cost(args, shapes) {
    const g = geometry(args, shapes)
    return convCost(g, shapes, outputShape(g))
  },
  kernels: async (args, shapes, gpu) =>
    (await import('./conv/kernels.ts')).forwardKernels(geometry(args, shapes), shapes.length > 2, gpu),
  backward({ args, inputs: [x, weights, bias], gradient, wanted }) {
    const size = [x.shape[2], x.shape[3]] as const
    const kernel = [weights.shape[2], weights.shape[3]] as const
    const gradients = [
      wanted[0] ? convTranspose2d(gradient, weights, undefined, { ...args, size }) : undefined,
      wanted[1] ? conv2dWeightGradient(x, gradient, { ...args, kernel }) : undefined,
    ]
    return bias ? [...gradients, wanted[2] ? reshape(sum(gradient, [0, 2, 3]), bias.shape) : undefined] : gradients
  },
}
