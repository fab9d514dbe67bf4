/** What the networks are made of: weights as constants of the graph, and layers named as their tensors are. */
import type { ConvOptions } from '../kernels/conv/geometry.ts'
import { add, affine, batchNorm, conv2d, div, linear, mul, prelu, reshape, sqrt, sub } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { NetworkInput, Weights } from '../weights/registry.ts'

/** What a network needs of its weights: the tensor of a name. It throws where there is none, or its shape is another. */
export type NetworkWeights = Pick<Weights, 'tensor'>

/** How pixels reach a network: RGB mapped linearly from black..white to `range`, then `(value - mean[c]) / std[c]`. */
export type PixelMap = Pick<NetworkInput, 'range' | 'mean' | 'std'>

/** PyTorch's epsilon of batch normalisation, with which the networks were trained. */
const EPSILON = 1e-5

/** Pixels [N,3,H,W] in 0..1 as the network wants them. */
export function normalised(x01: Tensor, { range: [black, white], mean, std }: PixelMap): Tensor {
  const scale = std.map((s) => (white - black) / s)
  const offset = mean.map((m, c) => (black - m) / std[c])
  if (scale.every((v) => v === scale[0]) && offset.every((v) => v === offset[0]))
    return affine(x01, scale[0], offset[0])
  const { recorder } = x01
  return add(mul(x01, recorder.constant(scale, [3, 1, 1], 'scale')), recorder.constant(offset, [3, 1, 1], 'offset'))
}

/** A weight as a constant of x's graph, under another shape where one is given. */
export function weight(x: Tensor, weights: NetworkWeights, name: string, shape?: readonly number[]): Tensor {
  const tensor = weights.tensor(name)
  return x.recorder.constant(tensor.data, shape ?? tensor.shape, name)
}

/** Convolution with `KEY.weight` and `KEY.bias`. x [N,C,H,W]. */
export function convolution(x: Tensor, weights: NetworkWeights, key: string, options: ConvOptions = {}): Tensor {
  const kernel = weight(x, weights, `${key}.weight`)
  const bias = weight(x, weights, `${key}.bias`)
  return x.recorder.scope(key, () => conv2d(x, kernel, bias, options))
}

/** Fully connected layer with `KEY.weight` [out,in] and `KEY.bias`. x [N,in]. */
export function fullyConnected(x: Tensor, weights: NetworkWeights, key: string): Tensor {
  const matrix = weight(x, weights, `${key}.weight`)
  const bias = weight(x, weights, `${key}.bias`)
  return x.recorder.scope(key, () => linear(x, matrix, bias))
}

/** PReLU with a slope for every channel, `KEY.weight` [C]. x [N,C] or [N,C,H,W]. */
export function channelPrelu(x: Tensor, weights: NetworkWeights, key: string): Tensor {
  const slope = weight(x, weights, `${key}.weight`, x.shape.length === 4 ? [x.shape[1], 1, 1] : [x.shape[1]])
  return x.recorder.scope(key, () => prelu(x, slope))
}

/** What batch normalisation has learned of its channels, each [C]. */
interface Norm {
  gamma: Tensor
  beta: Tensor
  mean: Tensor
  variance: Tensor
}

const normOf = (x: Tensor, weights: NetworkWeights, key: string): Norm => ({
  gamma: weight(x, weights, `${key}.weight`),
  beta: weight(x, weights, `${key}.bias`),
  mean: weight(x, weights, `${key}.running_mean`),
  variance: weight(x, weights, `${key}.running_var`),
})

/** Batch normalisation in inference with `KEY.weight`, `bias`, `running_mean` and `running_var`. x [N,C] or [N,C,H,W]. */
export function channelNorm(x: Tensor, weights: NetworkWeights, key: string): Tensor {
  const { gamma, beta, mean, variance } = normOf(x, weights, key)
  return x.recorder.scope(key, () => batchNorm(x, gamma, beta, mean, variance, EPSILON))
}

/**
 * A convolution with `KEY.weight`, without bias, and the batch normalisation `NORM` after it (inference), in one: the scale goes
 * into the kernels and the shift is the bias. These depend on weights alone, so a plan computes them once. x [N,C,H,W].
 */
export function convolutionNorm(
  x: Tensor,
  weights: NetworkWeights,
  key: string,
  norm: string,
  options: ConvOptions = {},
): Tensor {
  const kernel = weight(x, weights, `${key}.weight`)
  const { gamma, beta, mean, variance } = normOf(x, weights, norm)
  return x.recorder.scope(key, () => {
    const scale = div(gamma, sqrt(affine(variance, 1, EPSILON)))
    const scaled = mul(kernel, reshape(scale, [scale.shape[0], 1, 1, 1]))
    return conv2d(x, scaled, sub(beta, mul(mean, scale)), options)
  })
}
