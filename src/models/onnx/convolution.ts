/** Convolution and its transpose. */
import { affine, conv2d, convTranspose2d, div, mul, reshape, sqrt, sub } from '../../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'
import { type Norm, normOf } from './normalisation.ts'
import { imageOf, likeInput, pairOf, spanOf, split, type Windows, windowsOf } from './windows.ts'

/** The kernel's extents along the axes of the input, which the attribute may repeat. */
function kernelExtents(call: Call, x: Tensor, weights: Tensor): readonly number[] {
  const extents = weights.shape.slice(2)
  const { length } = x.shape
  expectShape(
    weights.shape.length === length,
    `weights ${formatShape(weights.shape)} do not fit x ${formatShape(x.shape)}`,
  )
  const said = call.ints('kernel_shape')
  if (said && String(said) !== String(extents)) call.fail(`has kernel_shape [${said}] and weights of [${extents}]`)
  return extents
}

const sides = ({ before, after }: Windows) => [...before, ...after] as const

/** Conv. With a norm, what follows is batch normalisation by it, which goes into weights and bias: that costs nothing in a run. */
export function convolution(call: Call, norm?: Norm): Tensor {
  const input = call.tensor(0)
  const weights = call.tensor(1)
  const bias = call.optionalTensor(2)
  const kernel = kernelExtents(call, input, weights)
  const x = imageOf(call, input)
  const windows = windowsOf(call, x.shape, kernel)
  const { stride, dilation } = windows
  const options = { stride, dilation, padding: sides(windows), groups: call.int('group', 1) }
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
  // What windowsOf says of automatic pads holds for convolutions; only the rest of it serves here.
  const windows = auto === 'NOTSET' ? windowsOf(call, x.shape, kernel) : plainWindows(call, kernel)
  const span = spanOf(windows)
  /** Rows or columns of the whole sum, of which the pads are cut off. */
  const whole = ([0, 1] as const).map((a) => (x.shape[a + 2] - 1) * windows.stride[a] + span[a] + further[a])
  const same = auto === 'SAME_UPPER' || auto === 'SAME_LOWER'
  const asked = shape
    ? pairOf(call, 'output_shape', shape.slice(-kernel.length), 1)
    : same && ([x.shape[2] * windows.stride[0], x.shape[3] * windows.stride[1]] as const)
  const cut = asked
    ? split(
        asked.map((extent, a) => Math.max(0, whole[a] - extent)),
        auto !== 'SAME_UPPER',
      )
    : windows
  const size = asked || ([0, 1] as const).map((a) => whole[a] - cut.before[a] - cut.after[a])
  const y = convTranspose2d(x, imageOf(call, weights), bias, {
    stride: windows.stride,
    dilation: windows.dilation,
    padding: sides({ ...windows, ...cut }),
    groups,
    size: [size[0], size[1]],
  })
  return likeInput(y, input)
}

/** Windows without pads. */
function plainWindows(call: Call, kernel: readonly number[]): Windows {
  call.ignore('pads')
  const pair = (name: string) => pairOf(call, name, call.ints(name) ?? kernel.map(() => 1), 1)
  return {
    kernel: pairOf(call, 'kernel_shape', kernel, 1),
    stride: pair('strides'),
    dilation: pair('dilations'),
    before: [0, 0],
    after: [0, 0],
  }
}

export const convolutions: { [op: string]: Operator } = {
  Conv: { inputs: [2, 3], since: 1, build: (call) => convolution(call) },
  ConvTranspose: { inputs: [2, 3], since: 1, build: transposed },
}
