/** Convolution and its transpose. */
import { affine, conv2d, convTranspose2d, div, mul, reshape, sqrt, sub } from '../../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'
import { type Norm, normOf } from './normalisation.ts'
import { both, imageOf, likeInput, type Pair, pairOf, spanOf, split, windowsOf } from './windows.ts'

/** The kernel's extents along the axes of the input, which the attribute may repeat. */
function kernelExtents(call: Call, x: Tensor, weights: Tensor): readonly number[] {
  const extents = weights.shape.slice(2)
  const { length } = x.shape
  expectShape(
    weights.shape.length === length,
    `weights ${formatShape(weights.shape)} do not fit x ${formatShape(x.shape)}`,
  )
  const said = call.ints('kernel_shape')
  if (said && String(said) !== String(extents)) call.failList(`has weights of [${extents}] and kernel_shape`, said)
  return extents
}

/** Conv. With a norm, what follows is batch normalisation by it, which goes into weights and bias: that costs nothing in a run. */
export function convolution(call: Call, norm?: Norm): Tensor {
  const input = call.tensor(0)
  const weights = call.tensor(1)
  const bias = call.optionalTensor(2)
  const kernel = kernelExtents(call, input, weights)
  const x = imageOf(call, input)
  const { stride, dilation, before, after } = windowsOf(call, x.shape, kernel)
  const padding = [...before, ...after] as const
  const options = { stride, dilation, padding, groups: call.int('group', 1) }
  const filters = imageOf(call, weights)
  if (!norm) return likeInput(conv2d(x, filters, bias, options), input)
  // (conv(x) + bias - mean) / sqrt(variance + epsilon) * weight + shift
  const scale = div(norm.weight, sqrt(affine(norm.variance, 1, norm.epsilon)))
  const centre = bias ? sub(norm.mean, bias) : norm.mean
  const scaled = mul(filters, reshape(scale, [scale.shape[0], 1, 1, 1]))
  return likeInput(conv2d(x, scaled, sub(norm.bias, mul(centre, scale)), options), input)
}

/** Conv and the BatchNormalization after it, as one. */
export const convolutionNorm = (call: Call, after: Call): Tensor => convolution(call, normOf(after))

/**
 * ConvTranspose: the transpose of a convolution, with pads cut off. These are given, or follow from the size of the result, which the
 * attribute output_shape says or, with SAME, is `stride` times that of the input.
 */
function transposed(call: Call): Tensor {
  const input = call.tensor(0)
  const weights = call.tensor(1)
  const bias = call.optionalTensor(2)
  const kernel = kernelExtents(call, input, weights)
  const x = imageOf(call, input)
  const auto = call.choice('auto_pad', 'NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER')
  const further = pairOf(call, 'output_padding', call.ints('output_padding') ?? kernel.map(() => 0), 0)
  const shape = call.ints('output_shape')
  const groups = call.int('group', 1)
  const { before, after, ...windows } = windowsOf(call, x.shape, kernel)
  const { stride, dilation } = windows
  const span = spanOf(windows)
  /** Rows or columns before pads are cut off. */
  const whole = both((a) => (x.shape[a + 2] - 1) * stride[a] + span[a] + further[a])
  const size = (): Pair | undefined => {
    if (shape) return pairOf(call, 'output_shape', shape.slice(-kernel.length), 1)
    return auto.startsWith('SAME') ? both((a) => x.shape[a + 2] * stride[a]) : undefined
  }
  const asked = size()
  // Automatic pads are those of a convolution; here the odd pixel is cut off at the end for SAME_UPPER, else at the front.
  const given = auto === 'NOTSET' ? { before, after } : { before: [0, 0], after: [0, 0] }
  const cut = asked
    ? split(
        both((a) => Math.max(0, whole[a] - asked[a])),
        auto !== 'SAME_UPPER',
      )
    : given
  const y = convTranspose2d(x, imageOf(call, weights), bias, {
    stride,
    dilation,
    padding: [cut.before[0], cut.before[1], cut.after[0], cut.after[1]],
    groups,
    size: asked ?? both((a) => whole[a] - cut.before[a] - cut.after[a]),
  })
  return likeInput(y, input)
}

export const convolutions: { [op: string]: Operator } = {
  Conv: { inputs: [2, 3], since: 1, build: (call) => convolution(call) },
  ConvTranspose: { inputs: [2, 3], since: 1, build: transposed },
}
