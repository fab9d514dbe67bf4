import { add, flatten, maxPool2d, mean, mul, relu, sigmoid } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersIn } from './ensemble.ts'
import { channelNorm, channelPrelu, convolution, convolutionNorm, fullyConnected, type PixelMap } from './layers.ts'
import {
  crops,
  expectCrops,
  type Family,
  type Naming,
  type RecogniserArchitecture,
  recogniserArchitecture,
  symmetric,
} from './network.ts'
import { ranked, type TensorShapes } from './recording.ts'
import { eachUnit, readStages, type SizedStages, sameStages, spellStages, stagesIn, widened } from './stages.ts'

/** Units and channels of the four stages; every stage halves the image, 112 to 7. */
export interface IrArchitecture extends SizedStages {
  /** Units end with a squeeze-and-excitation block (Hu et al. 2018). */
  squeezeExcitation: boolean
}

const published = (units: IrArchitecture['units'], squeezeExcitation = false): IrArchitecture => ({
  ...widened(units),
  squeezeExcitation,
})

/** The networks of face.evoLVe (backbone/model_irse.py), by their names there. */
export const irArchitectures = {
  IR_50: published([3, 4, 14, 3]),
  IR_101: published([3, 13, 30, 3]),
  IR_152: published([3, 8, 36, 3]),
  IR_SE_50: published([3, 4, 14, 3], true),
  IR_SE_101: published([3, 13, 30, 3], true),
  IR_SE_152: published([3, 8, 36, 3], true),
} as const satisfies Record<string, IrArchitecture>

/** What face.evoLVe's networks want to be fed: RGB in -1..1. */
export const faceEvolveInput: PixelMap = symmetric

/**
 * The improved residual network of ArcFace (Deng et al. 2019), in inference: batch normalisation with its running statistics,
 * no dropout.
 *
 * @param x faces aligned to ArcFace's template, RGB in -1..1, [N,3,112,112]
 * @returns embeddings [N,embedding], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size, or where the weights are those of another architecture
 */
export function ir(x: Tensor, weights: LayerWeights, architecture: IrArchitecture): Tensor {
  expectCrops('ir', x, 112)
  return irOf(x, inferenceLayers(weights), architecture)
}

/** A convolution with kernels of odd sides, padded so that stride 1 keeps the size. */
export interface IrConvolution {
  out: number
  kernel?: 1 | 3
  stride?: number
}

/** The layers of an IR network: with given weights (`inferenceLayers`), or as it is trained (ir-training.ts). */
export interface IrLayers {
  /** Networks that are computed as one, with their channels side by side. */
  members: number
  /** Without bias. */
  convolution(x: Tensor, key: string, options: IrConvolution): Tensor
  /** A convolution without bias and the normalisation after it. */
  convolutionNorm(x: Tensor, key: string, norm: string, options: IrConvolution): Tensor
  norm(x: Tensor, key: string): Tensor
  prelu(x: Tensor, key: string): Tensor
  fullyConnected(x: Tensor, key: string, out: number): Tensor
}

/** The network, made of these layers. */
export function irOf(x: Tensor, layers: IrLayers, architecture: IrArchitecture): Tensor {
  let y = layers.convolutionNorm(x, 'input_layer.0', 'input_layer.1', { out: architecture.channels[0], kernel: 3 })
  y = layers.prelu(y, 'input_layer.2')
  y = eachUnit(architecture, y, (input, { number, channels, stride }) =>
    unit(input, layers, `body.${number}`, { channels, stride, squeezeExcitation: architecture.squeezeExcitation }),
  )
  y = flatten(layers.norm(y, 'output_layer.0'))
  return layers.norm(layers.fullyConnected(y, 'output_layer.3', architecture.embedding), 'output_layer.4')
}

interface Unit {
  channels: number
  stride: number
  squeezeExcitation: boolean
}

function unit(x: Tensor, layers: IrLayers, key: string, { channels, stride, squeezeExcitation }: Unit): Tensor {
  const layer = (i: number) => `${key}.res_layer.${i}`
  // The first normalisation comes before padding, so it cannot go into the kernels as the others do.
  let y = layers.norm(x, layer(0))
  y = layers.prelu(layers.convolution(y, layer(1), { out: channels, kernel: 3 }), layer(2))
  y = layers.convolutionNorm(y, layer(3), layer(4), { out: channels, kernel: 3, stride })
  if (squeezeExcitation) y = mul(y, excitation(y, layers, layer(5), channels))
  return add(y, shortcut(x, layers, `${key}.shortcut_layer`, channels, stride))
}

/** What a unit adds its result to: x where the channels stay, each second pixel of it where the image is halved; else a convolution. */
export function shortcut(
  x: Tensor,
  layers: Pick<IrLayers, 'members' | 'convolutionNorm'>,
  key: string,
  channels: number,
  stride: number,
): Tensor {
  if (x.shape[1] !== channels * layers.members)
    return layers.convolutionNorm(x, `${key}.0`, `${key}.1`, { out: channels, stride })
  return stride === 1 ? x : maxPool2d(x, { kernel: 1, stride })
}

/** How many times fewer numbers squeeze-and-excitation squeezes the channels into. */
const REDUCTION = 16

/** Weights of the channels by what all pixels say, [N,C,1,1] in 0..1. */
function excitation(x: Tensor, layers: IrLayers, key: string, channels: number): Tensor {
  const squeezed = layers.convolution(mean(x, [2, 3]), `${key}.fc1`, { out: Math.floor(channels / REDUCTION) })
  return sigmoid(layers.convolution(relu(squeezed), `${key}.fc2`, { out: channels }))
}

/** With given weights; normalisations behind convolutions go into their kernels. */
export function inferenceLayers(weights: LayerWeights): IrLayers {
  const padded = ({ kernel = 1, ...options }: IrConvolution) => ({ ...options, kernel, padding: (kernel - 1) / 2 })
  return {
    members: membersIn(weights),
    convolution: (x, key, options) => convolution(x, weights, key, { ...padded(options), bias: false }),
    convolutionNorm: (x, key, norm, options) => convolutionNorm(x, weights, key, norm, padded(options)),
    norm: (x, key) => channelNorm(x, weights, key),
    prelu: (x, key) => channelPrelu(x, weights, key),
    fullyConnected: (x, key, out) => fullyConnected(x, weights, key, { out }),
  }
}

/** `IR_SE_50` is `ir-se-50`. */
const named = new Map<string, IrArchitecture>(
  Object.entries(irArchitectures).map(([name, architecture]) => [
    name.toLowerCase().replaceAll('_', '-'),
    architecture,
  ]),
)

/** The id of an IR network: that of the published one, else one that spells it out (`ir-se-1x8-1x16-1x24-1x32-e64`). */
export function irId(architecture: IrArchitecture): string {
  const { squeezeExcitation } = architecture
  const known = [...named].find(
    ([, each]) => each.squeezeExcitation === squeezeExcitation && sameStages(each, architecture),
  )
  return known ? known[0] : `ir-${squeezeExcitation ? 'se-' : ''}${spellStages(architecture)}`
}

function described(id: string, architecture: IrArchitecture): RecogniserArchitecture {
  const { units, squeezeExcitation, embedding } = architecture
  return recogniserArchitecture({
    id,
    title: named.has(id) ? id.toUpperCase() : `IR${squeezeExcitation ? '-SE' : ''} of ${units.join('/')} units`,
    input: crops(112, faceEvolveInput),
    embedding,
    alignment: 'arcface112',
    build: (x, weights) => ir(x, weights, architecture),
    inFiles: asDeclared,
    namings,
  })
}

/** The order of PyTorch's state dictionaries: that in which the classes declare their modules. */
export const asDeclared = (shapes: TensorShapes): TensorShapes =>
  ranked(shapes, (name) => {
    const unit = /^body\.(\d+)\.(shortcut)?/.exec(name)
    if (unit) return 2 + 2 * Number(unit[1]) + (unit[2] ? 0 : 1)
    return name.startsWith('input_layer') ? 0 : 1
  })

/** As face.evoLVe and InsightFace_Pytorch (TreB1eN) save them, and FRBench, which calls the last layers otherwise. */
const namings: readonly Naming[] = [
  {},
  {
    rename: (name) =>
      name
        .replace(/^bn2\./, 'output_layer.0.')
        .replace(/^fc\./, 'output_layer.3.')
        .replace(/^features\./, 'output_layer.4.'),
  },
]

/** The network of an id that spells out its layers. */
function spelled(id: string): RecogniserArchitecture | undefined {
  const [, se, text] = /^ir-(se-)?(.*)$/.exec(id) ?? []
  const stages = readStages(text ?? '')
  const architecture = stages && { ...stages, squeezeExcitation: se !== undefined }
  return architecture && irId(architecture) === id ? described(id, architecture) : undefined
}

/** By the widths of the units and the length of the embedding. */
function idOf(shapes: TensorShapes): string | undefined {
  const stages = stagesIn(shapes, /^body\.(\d{1,3})\./, (i) => `body.${i}.res_layer.1.weight`)
  if (!stages) return undefined
  const squeezeExcitation = shapes.has('body.0.res_layer.5.fc1.weight')
  const embedding = shapes.get('output_layer.3.weight')?.[0] ?? 512
  return irId({ ...stages, embedding, squeezeExcitation })
}

export const irFamily: Family = {
  published: [...named].map(([id, architecture]) => described(id, architecture)),
  spelled,
  idOf,
}
