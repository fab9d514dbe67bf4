import { add, flatten, maxPool2d, mean, mul, relu, sigmoid } from '../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersOf } from './ensemble.ts'
import { channelNorm, channelPrelu, convolution, convolutionNorm, fullyConnected, type PixelMap } from './layers.ts'
import {
  crops,
  type Family,
  type Naming,
  type RecogniserArchitecture,
  recogniserArchitecture,
  symmetric,
} from './network.ts'
import { countOf, ranked, type TensorShapes } from './recording.ts'

/** Units and channels of the four stages; every stage halves the image, 112 to 7. */
export interface IrArchitecture {
  units: readonly [number, number, number, number]
  channels: readonly [number, number, number, number]
  /** Length of the embedding. */
  embedding: number
  /** Units end with a squeeze-and-excitation block (Hu et al. 2018). */
  squeezeExcitation: boolean
}

const published = (units: IrArchitecture['units'], squeezeExcitation = false): IrArchitecture => ({
  units,
  channels: [64, 128, 256, 512],
  embedding: 512,
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
  expectShape(
    x.shape.length === 4 && x.shape.slice(1).join() === '3,112,112',
    `ir: x must be [N,3,112,112], not ${formatShape(x.shape)}`,
  )
  const { units, channels, embedding, squeezeExcitation } = architecture
  let y = convolutionNorm(x, weights, 'input_layer.0', 'input_layer.1', { out: channels[0], kernel: 3, padding: 1 })
  y = channelPrelu(y, weights, 'input_layer.2')
  let index = 0
  units.forEach((count, stage) => {
    for (let i = 0; i < count; i++) {
      y = unit(y, weights, `body.${index++}`, channels[stage], i === 0 ? 2 : 1, squeezeExcitation)
    }
  })
  y = flatten(channelNorm(y, weights, 'output_layer.0'))
  y = fullyConnected(y, weights, 'output_layer.3', { out: embedding })
  return channelNorm(y, weights, 'output_layer.4')
}

function unit(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  channels: number,
  stride: number,
  squeezeExcitation: boolean,
): Tensor {
  const layer = (i: number) => `${key}.res_layer.${i}`
  const convolved = { out: channels, kernel: 3, padding: 1 }
  // The first normalisation comes before padding, so it cannot go into the kernels as the others do.
  let y = channelNorm(x, weights, layer(0))
  y = channelPrelu(convolution(y, weights, layer(1), { ...convolved, bias: false }), weights, layer(2))
  y = convolutionNorm(y, weights, layer(3), layer(4), { ...convolved, stride })
  if (squeezeExcitation) y = mul(y, excitation(y, weights, layer(5), channels))
  return add(y, shortcut(x, weights, `${key}.shortcut_layer`, channels, stride))
}

/** What a unit adds its result to: x where the channels stay, each second pixel of it where the image is halved; else a convolution. */
export function shortcut(x: Tensor, weights: LayerWeights, key: string, channels: number, stride: number): Tensor {
  if (x.shape[1] !== channels * membersOf(weights).length)
    return convolutionNorm(x, weights, `${key}.0`, `${key}.1`, { out: channels, stride })
  return stride === 1 ? x : maxPool2d(x, { kernel: 1, stride })
}

/** How many times fewer numbers squeeze-and-excitation squeezes the channels into. */
const REDUCTION = 16

/** Weights of the channels by what all pixels say, [N,C,1,1] in 0..1. */
function excitation(x: Tensor, weights: LayerWeights, key: string, channels: number): Tensor {
  const narrow = { out: Math.floor(channels / REDUCTION), bias: false }
  const squeezed = convolution(mean(x, [2, 3]), weights, `${key}.fc1`, narrow)
  return sigmoid(convolution(relu(squeezed), weights, `${key}.fc2`, { out: channels, bias: false }))
}

/** `IR_SE_50` is `ir-se-50`. */
const named = new Map<string, IrArchitecture>(
  Object.entries(irArchitectures).map(([name, architecture]) => [
    name.toLowerCase().replaceAll('_', '-'),
    architecture,
  ]),
)

/** Units and channels in an id, for networks that are not published: `ir-1x8-1x16-1x24-1x32-e64`. */
const SPELLED = /^ir(-se)?-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-(\d{1,3})x(\d{1,4})-e(\d{1,5})$/

/** The id of an IR network: that of the published one, else one that spells it out. */
export function irId(architecture: IrArchitecture): string {
  const sizesOf = ({ units, channels, embedding, squeezeExcitation }: IrArchitecture) =>
    JSON.stringify([units, channels, embedding, squeezeExcitation])
  for (const [id, known] of named) if (sizesOf(known) === sizesOf(architecture)) return id
  const { units, channels, embedding, squeezeExcitation } = architecture
  return `ir${squeezeExcitation ? '-se' : ''}-${units.map((count, i) => `${count}x${channels[i]}`).join('-')}-e${embedding}`
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
const asDeclared = (shapes: TensorShapes): TensorShapes =>
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
  const match = SPELLED.exec(id)
  if (!match) return undefined
  const [u1, c1, u2, c2, u3, c3, u4, c4, embedding] = match.slice(2).map(Number)
  const architecture: IrArchitecture = {
    units: [u1, u2, u3, u4],
    channels: [c1, c2, c3, c4],
    embedding,
    squeezeExcitation: match[1] !== undefined,
  }
  const isNone = Math.min(u1, c1, u2, c2, u3, c3, u4, c4, embedding) === 0
  return isNone || irId(architecture) !== id ? undefined : described(id, architecture)
}

/** By the widths of the units and the length of the embedding. */
function idOf(shapes: TensorShapes): string | undefined {
  const widths = Array.from(
    { length: countOf(shapes, /^body\.(\d{1,3})\./) },
    (_, i) => shapes.get(`body.${i}.res_layer.1.weight`)?.[0],
  )
  const stages = stagesOf(widths)
  if (!stages) return undefined
  const squeezeExcitation = shapes.has('body.0.res_layer.5.fc1.weight')
  const embedding = shapes.get('output_layer.3.weight')?.[0] ?? 512
  return irId({ ...stages, embedding, squeezeExcitation })
}

/**
 * Units and channels of four stages by the channels of all units, one after another; undefined where there are not four. A unit whose
 * channels are not known counts to the stage before it, so that it will be missed.
 */
export function stagesOf(
  widths: readonly (number | undefined)[],
): Pick<IrArchitecture, 'units' | 'channels'> | undefined {
  const channels: number[] = []
  const units: number[] = []
  for (const width of widths.map((width) => width ?? channels.at(-1) ?? 64)) {
    if (width !== channels.at(-1)) {
      channels.push(width)
      units.push(0)
    }
    units[units.length - 1]++
  }
  if (units.length !== 4) return undefined
  const [u1, u2, u3, u4] = units
  const [c1, c2, c3, c4] = channels
  return { units: [u1, u2, u3, u4], channels: [c1, c2, c3, c4] }
}

export const irFamily: Family = {
  published: [...named].map(([id, architecture]) => described(id, architecture)),
  spelled,
  idOf,
}
