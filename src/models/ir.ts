import { add, flatten, maxPool2d, mean, mul, relu, sigmoid } from '../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersIn } from './ensemble.ts'
import { channelNorm, channelPrelu, convolution, convolutionNorm, fullyConnected, type PixelMap } from './layers.ts'
import { learnedWeights, type ParameterSource } from './learned.ts'
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
  return irOf(x, weights, architecture)
}

export interface IrTrained {
  /** [N,embedding], not normalised */
  embedding: Tensor
  /** Running statistics after the step, by name: `updates` of the tensors that hold them. */
  running: ReadonlyMap<string, Tensor>
}

/**
 * The network of `ir` in training: batch normalisation takes the statistics of the batch and gives back the running ones after it.
 * Without dropout, which face.evoLVe has before the matrix.
 *
 * @param x faces aligned to ArcFace's template, RGB in -1..1, [N,3,H,W] with N from 2; `ir` takes what was trained at 112x112
 * @throws ShapeError where x is no such batch
 */
export function irTraining(x: Tensor, parameter: ParameterSource, architecture: IrArchitecture): IrTrained {
  expectShape(
    x.shape.length === 4 && x.shape[0] > 1 && x.shape[1] === 3,
    `irTraining: x must be [N,3,H,W] with N from 2, not ${formatShape(x.shape)}`,
  )
  const weights = learnedWeights(parameter)
  return { embedding: irOf(x, weights, architecture), running: weights.running }
}

function irOf(x: Tensor, weights: LayerWeights, architecture: IrArchitecture): Tensor {
  const first = { out: architecture.channels[0], kernel: 3, padding: 1 }
  let y = channelPrelu(convolutionNorm(x, weights, 'input_layer.0', 'input_layer.1', first), weights, 'input_layer.2')
  y = eachUnit(architecture, y, (input, { number, channels, stride }) =>
    unit(input, weights, `body.${number}`, { channels, stride, squeezeExcitation: architecture.squeezeExcitation }),
  )
  y = flatten(channelNorm(y, weights, 'output_layer.0'))
  y = fullyConnected(y, weights, 'output_layer.3', { out: architecture.embedding })
  return channelNorm(y, weights, 'output_layer.4')
}

interface Unit {
  channels: number
  stride: number
  squeezeExcitation: boolean
}

function unit(x: Tensor, weights: LayerWeights, key: string, { channels, stride, squeezeExcitation }: Unit): Tensor {
  const layer = (i: number) => `${key}.res_layer.${i}`
  const kernels = { out: channels, kernel: 3, padding: 1 }
  // The first normalisation comes before padding, so it cannot go into the kernels as the others do.
  let y = channelNorm(x, weights, layer(0))
  y = channelPrelu(convolution(y, weights, layer(1), { ...kernels, bias: false }), weights, layer(2))
  y = convolutionNorm(y, weights, layer(3), layer(4), { ...kernels, stride })
  if (squeezeExcitation) y = mul(y, excitation(y, weights, layer(5), channels))
  return add(y, shortcut(x, weights, `${key}.shortcut_layer`, channels, stride))
}

/** What a unit adds its result to: x where the channels stay, each second pixel of it where the image is halved; else a convolution. */
export function shortcut(x: Tensor, weights: LayerWeights, key: string, channels: number, stride: number): Tensor {
  if (x.shape[1] !== channels * membersIn(weights))
    return convolutionNorm(x, weights, `${key}.0`, `${key}.1`, { out: channels, stride })
  return stride === 1 ? x : maxPool2d(x, { kernel: 1, stride })
}

/** How many times fewer numbers squeeze-and-excitation squeezes the channels into. */
const REDUCTION = 16

/** Weights of the channels by what all pixels say, [N,C,1,1] in 0..1. */
function excitation(x: Tensor, weights: LayerWeights, key: string, channels: number): Tensor {
  const squeezed = { out: Math.floor(channels / REDUCTION), bias: false }
  const y = relu(convolution(mean(x, [2, 3]), weights, `${key}.fc1`, squeezed))
  return sigmoid(convolution(y, weights, `${key}.fc2`, { out: channels, bias: false }))
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
