/**
 * What the networks are made of: weights as constants of the graph, and layers named as their tensors are. With the weights of an
 * ensemble of E members, channels are E times as many (ensemble.ts); shapes given here are those of one network.
 */
import type { ConvOptions } from '../kernels/conv/geometry.ts'
import {
  add,
  affine,
  batchNorm,
  concat,
  conv2d,
  div,
  linear,
  matmul,
  mul,
  prelu,
  reshape,
  slice,
  sqrt,
  sub,
  transpose,
} from '../kernels/index.ts'
import type { Shape, Tensor } from '../kernels/op.ts'
import type { NetworkInput, Weights } from '../weights/registry.ts'
import { type EnsembleWeights, ensembleWeights, joinedWeight, type LayerWeights, membersOf } from './ensemble.ts'

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

/** A weight as a constant of x's graph, under another shape where one is given; those of an ensemble joined on the first axis. */
export function weight(x: Tensor, weights: LayerWeights, name: string, shape?: Shape): Tensor {
  if ('members' in weights) {
    const joined = joinedWeight(x, weights, name)
    return reshape(joined, shape ?? joined.shape)
  }
  const tensor = weights.tensor(name)
  return x.recorder.constant(tensor.data, shape ?? tensor.shape, name)
}

export interface LayerOptions {
  /** False for a layer without `KEY.bias`. */
  bias?: boolean
}

export interface ConvolutionOptions extends Omit<ConvOptions, 'groups'>, LayerOptions {
  /** Every channel is convolved by itself, with the one kernel it has. */
  depthwise?: boolean
}

/** Convolution with `KEY.weight` and `KEY.bias`. x [N,C,H,W]. */
export function convolution(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  { bias = true, ...options }: ConvolutionOptions = {},
): Tensor {
  const kernel = weight(x, weights, `${key}.weight`)
  const shift = bias ? weight(x, weights, `${key}.bias`) : undefined
  return x.recorder.scope(key, () => conv2d(x, kernel, shift, grouped(x, kernel, weights, options)))
}

/** With the groups of a convolution: one a member, but one for all where x is what the members share, the image. */
function grouped(
  x: Tensor,
  kernel: Tensor,
  weights: LayerWeights,
  { depthwise = false, ...options }: Omit<ConvolutionOptions, 'bias'>,
): ConvOptions {
  const shared = x.shape[1] === kernel.shape[1]
  return { ...options, groups: depthwise ? kernel.shape[0] : shared ? 1 : membersOf(weights).length }
}

/** Fully connected layer with `KEY.weight` [out,in] and `KEY.bias`. x [N,in]. */
export function fullyConnected(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  { bias = true }: LayerOptions = {},
): Tensor {
  if ('members' in weights) return fullyConnectedEnsemble(x, weights, key, { bias })
  const matrix = weights.tensor(`${key}.weight`)
  const shift = bias ? weight(x, weights, `${key}.bias`) : undefined
  return x.recorder.scope(key, () => linearInPieces(x, matrix, shift))
}

/**
 * Bytes of a matrix beyond which it is bound in pieces. Every device binds twice as much (WebGPU's least
 * maxStorageBufferBindingSize), but the layouts in which kernels want a matrix take up to some more room than it does.
 */
const LARGEST_PIECE = 2 ** 26

/** The pieces of matrices: the same arrays each time, so that a graph holds them once. */
const piecesOf = new WeakMap<Float32Array, readonly Float32Array[]>()

/**
 * A linear layer whose matrix may be larger than a device can bind: it is computed in pieces of whole rows, of at most 64 MiB each, and
 * joined. x [N,in], matrix [out,in], bias [out].
 */
export function linearInPieces(
  x: Tensor,
  { shape, data }: { shape: Shape; data: Float32Array },
  bias?: Tensor,
): Tensor {
  const [outputs, inputs] = shape
  const rows = Math.max(1, Math.floor(LARGEST_PIECE / (4 * inputs)))
  const { recorder } = x
  if (outputs <= rows) return linear(x, recorder.constant(data, shape, 'weight'), bias)
  let pieces = piecesOf.get(data)
  if (!pieces) {
    pieces = Array.from({ length: Math.ceil(outputs / rows) }, (_, k) =>
      data.subarray(k * rows * inputs, (k + 1) * rows * inputs),
    )
    piecesOf.set(data, pieces)
  }
  const parts = pieces.map((piece, k) =>
    linear(x, recorder.constant(piece, [piece.length / inputs, inputs], `weight.${k}`)),
  )
  const joined = concat(parts, 1)
  return bias ? add(joined, bias) : joined
}

/** Bytes that joined matrices may have: what every device can bind at once. Kernels want rows in panels of up to 64. */
const LARGEST_JOINED = 2 ** 27
const PANEL = 64

/** One batch of products, or as few as the matrices need to be bound; x [N,E in] to [N,E out]. */
function fullyConnectedEnsemble(x: Tensor, weights: EnsembleWeights, key: string, { bias }: LayerOptions): Tensor {
  const { members } = weights
  const [outputs, inputs] = members[0].tensor(`${key}.weight`).shape
  const each = 4 * inputs * Math.ceil(outputs / PANEL) * PANEL
  const most = Math.max(1, Math.floor(LARGEST_JOINED / each))
  if (members.length > most) {
    const parts: Tensor[] = []
    for (let first = 0; first < members.length; first += most) {
      const part = members.slice(first, first + most)
      const own = slice(x, 1, first * inputs, (first + part.length) * inputs)
      parts.push(fullyConnected(own, ensembleWeights(part), key, { bias }))
    }
    return concat(parts, 1)
  }
  const matrices = weight(x, weights, `${key}.weight`, [members.length, outputs, inputs])
  const shift = bias ? weight(x, weights, `${key}.bias`) : undefined
  return x.recorder.scope(key, () => {
    const perMember = transpose(reshape(x, [x.shape[0], members.length, inputs]), [1, 0, 2])
    const y = transpose(matmul(perMember, matrices, { transposeB: true }), [1, 0, 2])
    const joined = reshape(y, [x.shape[0], members.length * outputs])
    return shift ? add(joined, shift) : joined
  })
}

/** PReLU with a slope for every channel, `KEY.weight` [C]. x [N,C] or [N,C,H,W]. */
export function channelPrelu(x: Tensor, weights: LayerWeights, key: string): Tensor {
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

const normOf = (x: Tensor, weights: LayerWeights, key: string): Norm => ({
  gamma: weight(x, weights, `${key}.weight`),
  beta: weight(x, weights, `${key}.bias`),
  mean: weight(x, weights, `${key}.running_mean`),
  variance: weight(x, weights, `${key}.running_var`),
})

/** Batch normalisation in inference with `KEY.weight`, `bias`, `running_mean` and `running_var`. x [N,C] or [N,C,H,W]. */
export function channelNorm(x: Tensor, weights: LayerWeights, key: string): Tensor {
  const { gamma, beta, mean, variance } = normOf(x, weights, key)
  return x.recorder.scope(key, () => batchNorm(x, gamma, beta, mean, variance, EPSILON))
}

/**
 * A convolution with `KEY.weight`, without bias, and the batch normalisation `NORM` after it (inference), in one: the scale goes
 * into the kernels and the shift is the bias. These depend on weights alone, so a plan computes them once. x [N,C,H,W].
 */
export function convolutionNorm(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  norm: string,
  options: Omit<ConvolutionOptions, 'bias'> = {},
): Tensor {
  const kernel = weight(x, weights, `${key}.weight`)
  const { gamma, beta, mean, variance } = normOf(x, weights, norm)
  return x.recorder.scope(key, () => {
    const scale = div(gamma, sqrt(affine(variance, 1, EPSILON)))
    const scaled = mul(kernel, reshape(scale, [scale.shape[0], 1, 1, 1]))
    return conv2d(x, scaled, sub(beta, mul(mean, scale)), grouped(x, kernel, weights, options))
  })
}
