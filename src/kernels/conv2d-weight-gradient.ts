/** The gradient of conv2d with respect to its weights. */
import {
  type ConvArgs,
  type ConvOptions,
  convArgs,
  convFlop,
  convGeometry,
  type Geometry,
  outputShape,
  type Pair,
  weightShape,
} from './conv/geometry.ts'
import { convTranspose2d } from './conv-transpose2d.ts'
import { conv2d } from './conv2d.ts'
import { elements, expectShape, formatShape, type Op, type Shape, type Tensor } from './op.ts'

export interface WeightGradientArgs extends ConvArgs {
  /** Rows and columns of the kernel. */
  kernel: Pair
}

/**
 * The gradient of `conv2d(x, weights)` with respect to the weights, given that with respect to its output.
 * @param x [N,C,H,W]
 * @param dy [N,K,oh,ow]
 * @param options those of conv2d, and `kernel`, rows and columns of the weights
 * @returns [K,C/groups,kh,kw]
 * @throws ShapeError where conv2d of x with such weights does not give the shape of dy.
 */
export const conv2dWeightGradient = (x: Tensor, dy: Tensor, options: ConvOptions & { kernel: Pair }): Tensor =>
  x.recorder.apply(conv2dWeightGradientOp, [x, dy], { ...convArgs(options), kernel: options.kernel })

export function geometry({ kernel, ...args }: WeightGradientArgs, [x, dy]: readonly Shape[]): Geometry {
  const name = 'conv2d_weight_gradient'
  expectShape(dy.length === 4, `${name}: dy must be [N,K,oh,ow], not ${formatShape(dy)}`)
  const g = convGeometry(name, args, x, [dy[1], x[1] / args.groups, ...kernel])
  expectShape(
    dy[0] === g.n && dy[2] === g.oh && dy[3] === g.ow,
    `${name}: a kernel of ${kernel.join('x')} on ${formatShape(x)} gives ${formatShape(outputShape(g))}, not ${formatShape(dy)}`,
  )
  return g
}

export const conv2dWeightGradientOp: Op<WeightGradientArgs> = {
  name: 'conv2d_weight_gradient',
  inputs: ['x', 'dy'],
  shape: (args, shapes) => weightShape(geometry(args, shapes)),
  cost(args, shapes) {
    const g = geometry(args, shapes)
    const bytes = 4 * [...shapes, weightShape(g)].reduce((n, s) => n + elements(s), 0)
    return { flop: convFlop(g), bytes }
  },
  kernels: async (args, shapes, gpu) =>
    (await import('./conv/kernels.ts')).weightGradientKernels(geometry(args, shapes), gpu),
  backward({ args: { kernel: _, ...args }, inputs: [x, dy], gradient, wanted }) {
    const size = [x.shape[2], x.shape[3]] as const
    return [
      wanted[0] ? convTranspose2d(dy, gradient, undefined, { ...args, size }) : undefined,
      wanted[1] ? conv2d(x, gradient, undefined, args) : undefined,
    ]
  },
}
