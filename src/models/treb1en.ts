/**
 * MobileFaceNet as InsightFace_Pytorch has it (github.com/TreB1eN/InsightFace_Pytorch), and many after it; and FRBench's
 * (github.com/HKU-TASR/FRBench), the same with efficient channel attention (Wang et al. 2020) after each block, or without.
 */
import { add, conv2d, flatten, mean, mul, reshape, sigmoid } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersIn } from './ensemble.ts'
import {
  type ConvolutionOptions,
  channelNorm,
  channelPrelu,
  convolutionNorm,
  fullyConnected,
  weight,
} from './layers.ts'
import { mobileBlocks } from './mobilefacenet.ts'
import {
  crops,
  expectCrops,
  type Family,
  type Naming,
  type RecogniserArchitecture,
  recogniserArchitecture,
  symmetric,
} from './network.ts'
import type { TensorShapes } from './recording.ts'

export interface Treb1enArchitecture {
  /** Length of the embedding. */
  embedding: number
  /** Blocks end with efficient channel attention. */
  attention: boolean
}

/** What a file calls the blocks, in their order: those that halve the image, and the runs after them. */
const BLOCKS: readonly string[] = [
  'conv_23',
  ...Array.from({ length: 4 }, (_, i) => `conv_3.model.${i}`),
  'conv_34',
  ...Array.from({ length: 6 }, (_, i) => `conv_4.model.${i}`),
  'conv_45',
  ...Array.from({ length: 2 }, (_, i) => `conv_5.model.${i}`),
]

/**
 * The network in inference.
 *
 * @param x faces aligned to ArcFace's template, in -1..1, [N,3,112,112]
 * @returns embeddings [N,embedding], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size
 */
export function treb1enMobilefacenet(
  x: Tensor,
  weights: LayerWeights,
  { embedding, attention }: Treb1enArchitecture,
): Tensor {
  expectCrops('treb1en', x, 112)
  const linear = (y: Tensor, key: string, options: ConvolutionOptions) =>
    convolutionNorm(y, weights, `${key}.conv`, `${key}.bn`, { ...options, bias: undefined })
  const activated = (y: Tensor, key: string, options: ConvolutionOptions) =>
    channelPrelu(linear(y, key, options), weights, `${key}.prelu`)

  let y = activated(x, 'conv1', { out: 64, kernel: 3, stride: 2, padding: 1 })
  y = activated(y, 'conv2_dw', { depthwise: true, kernel: 3, padding: 1 })
  mobileBlocks.forEach(([stride, within, out], i) => {
    const key = BLOCKS[i]
    let z = activated(y, `${key}.conv`, { out: within })
    z = activated(z, `${key}.conv_dw`, { depthwise: true, kernel: 3, stride, padding: 1 })
    z = linear(z, `${key}.project`, { out })
    if (attention) z = mul(z, attend(z, weights, `${key}.eca.conv`, out))
    y = stride === 1 ? add(y, z) : z
  })
  y = activated(y, 'conv_6_sep', { out: 512 })
  y = flatten(linear(y, 'conv_6_dw', { depthwise: true, kernel: 7 }))
  return channelNorm(fullyConnected(y, weights, 'linear', { out: embedding, bias: false }), weights, 'bn')
}

/** Weights of the channels by those beside them, [N,C,1,1] in 0..1: one small kernel slides over the channels' means. */
function attend(x: Tensor, weights: LayerWeights, key: string, channels: number): Tensor {
  // Odd, and longer for more channels: Wang et al., equation 12.
  const taps = Math.floor((Math.log2(channels) + 1) / 2)
  const length = Math.max(3, taps + 1 - (taps % 2))
  const members = membersIn(weights)
  const [n] = x.shape
  const kernel = weight(x, weights, `${key}.weight`, [1, 1, length], [members, 1, length, 1])
  const means = reshape(mean(x, [2, 3]), [n, members, channels, 1])
  const options = { padding: [(length - 1) / 2, 0] as const, groups: members }
  return sigmoid(reshape(conv2d(means, kernel, undefined, options), [n, members * channels, 1, 1]))
}

const namings: readonly Naming[] = [
  {},
  {
    rename: (name) =>
      name
        .replace(/^(conv_\d)\.layers\./, '$1.model.')
        .replace('.conv_expand.', '.conv.')
        .replace('.conv_project.', '.project.')
        .replace(/^output_layer\.conv_dw\./, 'conv_6_dw.')
        .replace(/^output_layer\.fc\./, 'linear.')
        .replace(/^output_layer\.bn\./, 'bn.'),
  },
]

const USUAL = 512

/** `mobilefacenet-eca-e256`: the length of the embedding where it is not the usual one. */
const idFor = ({ embedding, attention }: Treb1enArchitecture): string =>
  `mobilefacenet-${attention ? 'eca' : 'treb1en'}${embedding === USUAL ? '' : `-e${embedding}`}`

const described = (architecture: Treb1enArchitecture): RecogniserArchitecture =>
  recogniserArchitecture({
    id: idFor(architecture),
    title: architecture.attention
      ? 'MobileFaceNet of FRBench, with channel attention'
      : 'MobileFaceNet of InsightFace_Pytorch',
    input: crops(112, symmetric),
    embedding: architecture.embedding,
    alignment: 'arcface112',
    build: (x, weights) => treb1enMobilefacenet(x, weights, architecture),
    namings,
  })

function spelled(id: string): RecogniserArchitecture | undefined {
  const match = /^mobilefacenet-(treb1en|eca)-e([1-9]\d{0,4})$/.exec(id)
  if (!match) return undefined
  const architecture = { embedding: Number(match[2]), attention: match[1] === 'eca' }
  return idFor(architecture) === id ? described(architecture) : undefined
}

const idOf = (shapes: TensorShapes): string =>
  idFor({
    embedding: shapes.get('linear.weight')?.[0] ?? USUAL,
    attention: shapes.has('conv_23.eca.conv.weight'),
  })

export const treb1enFamily: Family = {
  published: [false, true].map((attention) => described({ embedding: USUAL, attention })),
  spelled,
  idOf,
}
