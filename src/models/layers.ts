/**
 * What the networks are made of: weights as constants of the graph, and layers named as their tensors are. Each layer declares the shapes
 * of its tensors, from which follows what a file of weights must hold (recording.ts). With the weights of an ensemble of E members,
 * channels are E times as many (ensemble.ts); shapes given here are those of one network.
 */
import type { ConvOptions } from '../kernels/conv/geometry.ts'
import {
  add,
  affine,
  batchNorm,
  batchNormTraining,
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
import { expectShape, formatShape, type Shape, sameShape, type Tensor } from '../kernels/op.ts'
import type { NetworkInput, Weights } from '../weights/registry.ts'
import { type EnsembleWeights, ensembleWeights, joinedWeight, type LayerWeights, membersIn } from './ensemble.ts'
import type { LearnedWeights, Parameter } from './learned.ts'

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

/** Slope of a PReLU before training: PyTorch's. */
const SLOPE = 0.25

/**
 * A weight as a constant of x's graph, those of an ensemble joined on the first axis; what is learned is the caller's tensor.
 * @param shape of the tensor of one network
 * @param as the shape it is wanted under, if another
 * @param initial what it begins with where it is learned
 * @throws WeightsError where there is none of that name and shape
 */
export function weight(
  x: Tensor,
  weights: LayerWeights,
  name: string,
  shape: Shape,
  as?: Shape,
  initial: Parameter['initial'] = 'xavier',
): Tensor {
  if ('members' in weights) {
    const joined = joinedWeight(x, weights, name)
    return reshape(joined, as ?? joined.shape)
  }
  if ('parameter' in weights) {
    const learned = learnedTensor(weights, { name, shape, initial, learned: true })
    return as ? reshape(learned, as) : learned
  }
  const tensor = weights.tensor(name, shape)
  return x.recorder.constant(tensor.data, as ?? tensor.shape, name)
}

function learnedTensor({ parameter }: LearnedWeights, asked: Parameter): Tensor {
  const tensor = parameter(asked)
  const fits = sameShape(tensor.shape, asked.shape)
  expectShape(fits, `${asked.name}: the tensor for it is ${formatShape(tensor.shape)}, not ${formatShape(asked.shape)}`)
  return tensor
}

/** Channels of one network's x [N,C,...], which has those of all members of an ensemble. */
const channelsOf = (x: Tensor, weights: LayerWeights): number => x.shape[1] / membersIn(weights)

export interface LayerOptions {
  /** False for a layer without `KEY.bias`. */
  bias?: boolean
}

/** How many channels come out; of depthwise convolutions, in which every channel has one kernel for itself, as many as come in. */
type Width = { out: number; depthwise?: false } | { out?: undefined; depthwise: true }

export type ConvolutionOptions = Width &
  LayerOptions &
  Omit<ConvOptions, 'groups'> & {
    /** Side of the kernels, or height and width; 1 unless told. */
    kernel?: number | readonly [height: number, width: number]
  }

/** Convolution with `KEY.weight` [out,C,h,w] (depthwise [C,1,h,w]) and `KEY.bias` [out]. x [N,C,H,W]. */
export function convolution(x: Tensor, weights: LayerWeights, key: string, options: ConvolutionOptions): Tensor {
  const kernel = kernelOf(x, weights, key, options)
  const { bias = true } = options
  const shift = bias ? weight(x, weights, `${key}.bias`, [outOf(x, weights, options)], undefined, 0) : undefined
  return x.recorder.scope(key, () => conv2d(x, kernel, shift, grouped(x, kernel, weights, options)))
}

const outOf = (x: Tensor, weights: LayerWeights, { out }: ConvolutionOptions): number => out ?? channelsOf(x, weights)

function kernelOf(x: Tensor, weights: LayerWeights, key: string, options: ConvolutionOptions): Tensor {
  const { kernel = 1, depthwise } = options
  const [height, width] = typeof kernel === 'number' ? [kernel, kernel] : kernel
  const inputs = depthwise ? 1 : channelsOf(x, weights)
  return weight(x, weights, `${key}.weight`, [outOf(x, weights, options), inputs, height, width])
}

/** With the groups of a convolution: one a member, but one for all where x is what the members share, the image. */
function grouped(x: Tensor, kernel: Tensor, weights: LayerWeights, options: ConvolutionOptions): ConvOptions {
  const { out, kernel: _, bias, depthwise, ...others } = options
  const shared = x.shape[1] === kernel.shape[1]
  return { ...others, groups: depthwise ? kernel.shape[0] : shared ? 1 : membersIn(weights) }
}

/** Fully connected layer with `KEY.weight` [out,in] and `KEY.bias` [out]. x [N,in]. */
export function fullyConnected(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  options: LayerOptions & { out: number },
): Tensor {
  if ('members' in weights) return fullyConnectedEnsemble(x, weights, key, options)
  const { out, bias = true } = options
  const shape = [out, x.shape[1]]
  if ('parameter' in weights) {
    const learned = weight(x, weights, `${key}.weight`, shape)
    const offset = bias ? weight(x, weights, `${key}.bias`, [out], undefined, 0) : undefined
    return x.recorder.scope(key, () => linear(x, learned, offset))
  }
  const matrix = weights.tensor(`${key}.weight`, shape)
  const shift = bias ? weight(x, weights, `${key}.bias`, [out]) : undefined
  return x.recorder.scope(key, () => linearInPieces(x, matrix, shift))
}

/**
 * Bytes of a matrix beyond which it is bound in pieces. Every device binds twice as much (WebGPU's least
 * maxStorageBufferBindingSize), but the layouts in which kernels want a matrix take up to some more room than it does.
 */
const LARGEST_PIECE = 2 ** 26

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
  const parts: Tensor[] = []
  for (let row = 0; row < outputs; row += rows) {
    const last = Math.min(row + rows, outputs)
    const piece = data.subarray(row * inputs, last * inputs)
    parts.push(linear(x, recorder.constant(piece, [last - row, inputs], `weight.${parts.length}`)))
  }
  const joined = concat(parts, 1)
  return bias ? add(joined, bias) : joined
}

/** Bytes that joined matrices may have: what every device can bind at once. Kernels want rows in panels of up to 64. */
const LARGEST_JOINED = 2 ** 27
const PANEL = 64

/** One batch of products, or as few as the matrices need to be bound; x [N,E in] to [N,E out]. */
function fullyConnectedEnsemble(
  x: Tensor,
  weights: EnsembleWeights,
  key: string,
  options: LayerOptions & { out: number },
): Tensor {
  const { members } = weights
  const [outputs, inputs] = members[0].tensor(`${key}.weight`).shape
  const each = 4 * inputs * Math.ceil(outputs / PANEL) * PANEL
  const most = Math.max(1, Math.floor(LARGEST_JOINED / each))
  if (members.length > most) {
    const parts: Tensor[] = []
    for (let first = 0; first < members.length; first += most) {
      const part = members.slice(first, first + most)
      const own = slice(x, 1, first * inputs, (first + part.length) * inputs)
      parts.push(fullyConnected(own, ensembleWeights(part), key, options))
    }
    return concat(parts, 1)
  }
  const matrices = weight(x, weights, `${key}.weight`, [outputs, inputs], [members.length, outputs, inputs])
  const shift = (options.bias ?? true) ? weight(x, weights, `${key}.bias`, [outputs]) : undefined
  return x.recorder.scope(key, () => {
    const perMember = transpose(reshape(x, [x.shape[0], members.length, inputs]), [1, 0, 2])
    const y = transpose(matmul(perMember, matrices, { transposeB: true }), [1, 0, 2])
    const joined = reshape(y, [x.shape[0], members.length * outputs])
    return shift ? add(joined, shift) : joined
  })
}

/** PReLU with a slope for every channel, `KEY.weight` [C]. x [N,C] or [N,C,H,W]. */
export function channelPrelu(x: Tensor, weights: LayerWeights, key: string): Tensor {
  const as = x.shape.length === 4 ? [x.shape[1], 1, 1] : [x.shape[1]]
  const slope = weight(x, weights, `${key}.weight`, [channelsOf(x, weights)], as, SLOPE)
  return x.recorder.scope(key, () => prelu(x, slope))
}

export interface NormOptions {
  /** Added to the variance; PyTorch's 1e-5 unless told. */
  epsilon?: number
  /** False for a layer that has no `KEY.weight` and `KEY.bias`. */
  affine?: boolean
}

/** What batch normalisation has learned of its channels, each [C]. */
interface Norm {
  gamma: Tensor
  beta: Tensor
  mean: Tensor
  variance: Tensor
}

function normOf(x: Tensor, weights: LayerWeights, key: string, channels: number, affine = true): Norm {
  const shape = [channels]
  const learned = (name: string, initial: number) => weight(x, weights, `${key}.${name}`, shape, undefined, initial)
  const averaged = (name: string, initial: number) =>
    'parameter' in weights
      ? learnedTensor(weights, { name: `${key}.${name}`, shape, initial, learned: false })
      : weight(x, weights, `${key}.${name}`, shape)
  const all = channels * membersIn(weights)
  const same = (value: number) => x.recorder.constant(new Float32Array(all).fill(value), [all], key)
  return {
    gamma: affine ? learned('weight', 1) : same(1),
    beta: affine ? learned('bias', 0) : same(0),
    mean: averaged('running_mean', 0),
    variance: averaged('running_var', 1),
  }
}

/** By the statistics of the batch; the running ones after it are kept for the plan's updates. */
function trainedNorm(
  x: Tensor,
  weights: LearnedWeights,
  key: string,
  { gamma, beta, mean, variance }: Norm,
  epsilon: number,
): Tensor {
  const { recorder } = x
  const trained = recorder.scope(key, () => batchNormTraining(x, gamma, beta, mean, variance, { epsilon }))
  weights.running.set(`${key}.running_mean`, trained.runningMean)
  weights.running.set(`${key}.running_var`, trained.runningVariance)
  return trained.output
}

/**
 * Batch normalisation with `KEY.weight`, `bias`, `running_mean` and `running_var`, each [C]: in inference, or in training where the weights
 * are learned. x [N,C] or [N,C,H,W].
 */
export function channelNorm(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  { epsilon = EPSILON, affine }: NormOptions = {},
): Tensor {
  const norm = normOf(x, weights, key, channelsOf(x, weights), affine)
  if ('parameter' in weights) return trainedNorm(x, weights, key, norm, epsilon)
  const { gamma, beta, mean, variance } = norm
  return x.recorder.scope(key, () => batchNorm(x, gamma, beta, mean, variance, epsilon))
}

/**
 * A convolution with `KEY.weight`, without bias, and the batch normalisation `NORM` after it, in inference in one: the scale goes
 * into the kernels and the shift is the bias. These depend on weights alone, so a plan computes them once. x [N,C,H,W].
 */
export function convolutionNorm(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  norm: string,
  { epsilon = EPSILON, ...options }: ConvolutionOptions & { bias?: undefined; epsilon?: number },
): Tensor {
  const kernel = kernelOf(x, weights, key, options)
  const learned = normOf(x, weights, norm, outOf(x, weights, options))
  if ('parameter' in weights) {
    const y = x.recorder.scope(key, () => conv2d(x, kernel, undefined, grouped(x, kernel, weights, options)))
    return trainedNorm(y, weights, norm, learned, epsilon)
  }
  const { gamma, beta, mean, variance } = learned
  return x.recorder.scope(key, () => {
    const scale = div(gamma, sqrt(affine(variance, 1, epsilon)))
    const scaled = mul(kernel, reshape(scale, [scale.shape[0], 1, 1, 1]))
    return conv2d(x, scaled, sub(beta, mul(mean, scale)), grouped(x, kernel, weights, options))
  })
}
