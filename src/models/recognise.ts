/** Finds out which network a file of weights holds, by the names and shapes of its tensors, and checks every one of them. */
import { elements, formatShape, type Shape, sameShape } from '../kernels/op.ts'
import { WeightsError } from '../weights/errors.ts'
import type { StoredTensor } from '../weights/numbers.ts'
import type { Tensor as StoredFloats } from '../weights/registry.ts'
import { type Architecture, architectureIds, architectureOf, irId } from './architectures.ts'
import type { IrArchitecture } from './ir.ts'
import { type resnetArchitectures, resnetArchitectures as resnets } from './resnet.ts'

/** The tensors are those of no network that is known here, or it cannot be told whose they are. */
export class UnknownNetworkError extends WeightsError {
  override name = 'UnknownNetworkError'
}

/** A known network, but tensors are missing, left over, or not what they should be. `problems` has a line for each. */
export class UnfitTensorsError extends WeightsError {
  override name = 'UnfitTensorsError'
  readonly problems: readonly string[]

  constructor(file: string, title: string, problems: readonly string[]) {
    const shown = problems.slice(0, SHOWN_PROBLEMS)
    if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`)
    const count = problems.length === 1 ? 'one tensor does' : `${problems.length} tensors do`
    super(file, `looks like ${title}, but ${count} not fit:${shown.map((line) => `\n  ${line}`).join('')}`)
    this.problems = problems
  }
}

const SHOWN_PROBLEMS = 20

/** What a file holds. */
export interface RecognisedNetwork {
  architecture: Architecture
  /** Of the names in the file, `state_dict.module.` for example. */
  prefix: string
  /** The network's tensors by its own names, in its own order. */
  tensors: ReadonlyMap<string, StoredFloats>
  /** Numbers in them. */
  parameters: number
  /** Tensors of the file that the network does not use, a sentence for each kind. */
  leftOut: readonly string[]
}

export interface RecogniseOptions {
  /** Id of the architecture; found out unless told. */
  as?: string
  /** What the names of the network's tensors begin with; found out unless told. */
  prefix?: string
}

type Shapes = ReadonlyMap<string, Shape>

/** A way in which files name the tensors of a network. */
interface Dialect {
  /** Names that such files have, the most telling first: what comes before one of them is the prefix. */
  marks: readonly string[]
  /** Which network it is, by the file's names (without the prefix) and shapes; undefined if it is none of this dialect. */
  architecture: (shapes: Shapes) => string | undefined
  /** Architectures that it may be told to be. */
  architectures: (id: string) => boolean
  /** The network's name of a tensor. */
  rename?: (name: string, id: string) => string
  /** Tensors that belong to the file but not to the network, and why. */
  unused?: readonly (readonly [names: RegExp, why: string])[]
  /** A tensor in the network's layout; called with the network's name. */
  layout?: (name: string, tensor: StoredFloats) => StoredFloats
}

const is =
  (...ids: readonly string[]) =>
  (id: string) =>
    ids.includes(id)

/** Torch counts the batches that a normalisation has seen; it matters to training alone. */
const COUNTERS = [/(^|\.)num_batches_tracked$/, 'counters of training'] as const

const dialects: readonly Dialect[] = [
  {
    marks: ['input_layer.0.weight', 'body.0.res_layer.1.weight'],
    architecture: recogniseIr,
    architectures: (id) => /^ir-/.test(id),
  },
  {
    marks: ['bn_o1.weight', 'layer1.0.conv3.weight'],
    architecture: recogniseResnet,
    architectures: (id) => id.startsWith('resnet-'),
  },
  {
    marks: ['gdconv.depthwise.weight'],
    architecture: () => 'mobilefacenet-foamliu',
    architectures: is('mobilefacenet-foamliu'),
  },
  { marks: ['blocks.0.expand.weight'], architecture: () => 'mobilefacenet', architectures: is('mobilefacenet') },
  { marks: ['blocks.0.conv1.weight'], architecture: () => 'dlib-resnet-29', architectures: is('dlib-resnet-29') },
  {
    // The state of lpips.LPIPS(): trunk and weights of the channels, these twice.
    marks: ['net.slice1.0.weight'],
    architecture: lpipsTrunk('lpips-'),
    architectures: is('lpips-alex', 'lpips-squeeze'),
    rename: (name) => name.replace(/^net\.slice\d\./, 'features.'),
    unused: [
      [/^lins\./, 'second copies of the weights of the channels'],
      [/^scaling_layer\./, 'the map of the colours, which is known'],
    ],
  },
  {
    marks: ['lin0.model.1.weight'],
    architecture: (shapes) => (shapes.has('features.0.weight') ? lpipsTrunk('lpips-')(shapes) : lpipsLin(shapes)),
    architectures: is('lpips-lin-alex', 'lpips-lin-squeeze', 'lpips-alex', 'lpips-squeeze'),
  },
  {
    marks: ['features.12.expand3x3.weight'],
    architecture: () => 'squeezenet',
    architectures: is('squeezenet'),
    unused: [[/^classifier\./, "SqueezeNet's classifier, which LPIPS does not use"]],
  },
  {
    // As LPIPS' authors save the trunk by itself.
    marks: ['12.expand3x3.weight'],
    architecture: () => 'squeezenet',
    architectures: is('squeezenet'),
    rename: (name) => `features.${name}`,
  },
  {
    marks: ['features.10.weight'],
    architecture: (shapes) => (shapeIs(shapes, 'features.0.weight', [64, 3, 11, 11]) ? 'alexnet' : undefined),
    architectures: is('alexnet'),
    unused: [[/^classifier\./, "AlexNet's classifier, which LPIPS does not use"]],
  },
  {
    marks: ['pnet.conv1.weight'],
    architecture: (shapes) => (shapes.has('onet.conv1.weight') ? 'mtcnn' : undefined),
    architectures: is('mtcnn'),
  },
  ...(['pnet', 'rnet', 'onet'] as const).map(
    (net, i): Dialect => ({
      marks: [`conv${i + 4}_1.weight`],
      architecture: () => `mtcnn-${net}`,
      architectures: is(`mtcnn-${net}`),
      rename: (name) => `${net}.${name.replace(/^features\./, '')}`,
      layout: uprightFeatures,
    }),
  ),
]

/**
 * Finds the network in a file's tensors and gives these in its own names and order.
 *
 * @param file the file's name, for messages
 * @throws UnknownNetworkError where the tensors are those of no known network, or of several; UnfitTensorsError where tensors are missing, left
 *   over, of another shape, no floats or not finite
 */
export function recogniseNetwork(
  found: ReadonlyMap<string, StoredTensor>,
  file: string,
  options: RecogniseOptions = {},
): RecognisedNetwork {
  const { dialect, prefix, id } = identify(found, file, options)
  const architecture = architectureOf(id)!
  const leftOut = new Map<string, number>()
  const note = (why: string) => leftOut.set(why, (leftOut.get(why) ?? 0) + 1)
  const own = new Map<string, { name: string; tensor: StoredTensor }>()
  const problems: string[] = []
  for (const [name, tensor] of found) {
    if (!name.startsWith(prefix)) {
      note(`tensors of ${name.split('.')[0]}, beside the network`)
      continue
    }
    const bare = name.slice(prefix.length)
    const unused = [COUNTERS, ...(dialect.unused ?? [])].find(([names]) => names.test(bare))
    if (unused) note(unused[1])
    else own.set(dialect.rename?.(bare, id) ?? bare, { name, tensor })
  }
  const tensors = new Map<string, StoredFloats>()
  let parameters = 0
  for (const [name, shape] of architecture.tensors()) {
    const held = own.get(name)
    own.delete(name)
    const problem = held ? fault(name, held.name, held.tensor, shape) : `misses "${name}" ${formatShape(shape)}`
    if (problem || !held) {
      problems.push(problem ?? '')
      continue
    }
    const floats = { shape, data: held.tensor.data as Float32Array }
    tensors.set(name, dialect.layout?.(name, floats) ?? floats)
    parameters += elements(shape)
  }
  for (const { name, tensor } of own.values()) {
    problems.push(`has "${name}" ${formatShape(tensor.shape)}, which is not part of the network`)
  }
  if (problems.length > 0) throw new UnfitTensorsError(file, titleOf(architecture), problems)
  const sentences = [...leftOut].map(([why, count]) => `${count} ${why}`)
  return { architecture, prefix, tensors, parameters, leftOut: sentences }
}

/** The title with the id by which entries know it. */
export const titleOf = ({ title, id }: Pick<Architecture, 'title' | 'id'>): string =>
  title.toLowerCase() === id ? title : `${title} (${id})`

/** What is wrong with a tensor; undefined if it is as it should be. */
function fault(name: string, inFile: string, { dtype, shape, data }: StoredTensor, wanted: Shape): string | undefined {
  if (!sameShape(shape, wanted)) return `"${inFile}" is ${formatShape(shape)}, not ${formatShape(wanted)}`
  if (!(data instanceof Float32Array)) return `"${inFile}" ${formatShape(shape)} holds ${dtype}, not floats`
  if (!data.every(Number.isFinite)) return `"${inFile}" ${formatShape(shape)} holds numbers that are not finite`
  if (name.endsWith('running_var') && data.some((v) => v < 0)) return `"${inFile}" holds negative variances`
  // A distance would not be one.
  if (/^lin\d\.model/.test(name) && data.some((v) => v < 0)) return `"${inFile}" holds negative weights of channels`
  return undefined
}

interface Candidate {
  dialect: Dialect
  prefix: string
  id: string
}

function identify(found: ReadonlyMap<string, StoredTensor>, file: string, { as, prefix }: RecogniseOptions): Candidate {
  if (as !== undefined && !architectureOf(as))
    throw new UnknownNetworkError(file, `cannot be "${as}": there are ${architectureIds.join(', ')}`)
  const candidates: Candidate[] = []
  for (const dialect of dialects) {
    if (as !== undefined && !dialect.architectures(as)) continue
    for (const start of prefix === undefined ? prefixesOf(found, dialect.marks) : [prefix]) {
      const shapes = new Map<string, Shape>()
      for (const [name, { shape }] of found) if (name.startsWith(start)) shapes.set(name.slice(start.length), shape)
      if (!dialect.marks.some((mark) => shapes.has(mark))) continue
      const id = as ?? dialect.architecture(shapes)
      if (id !== undefined) candidates.push({ dialect, prefix: start, id })
    }
    // Dialects that come first say more.
    if (candidates.length > 0) break
  }
  const [candidate, ...others] = candidates
  if (!candidate) throw unknown(found, file, as)
  if (others.length > 0) {
    const prefixes = candidates.map((each) => `"${each.prefix}"`).join(', ')
    throw new UnknownNetworkError(file, `holds several networks: name the one by its prefix, one of ${prefixes}`)
  }
  return candidate
}

/** What stands before the first of the marks that there is. */
function prefixesOf(found: ReadonlyMap<string, StoredTensor>, marks: readonly string[]): string[] {
  for (const mark of marks) {
    const names = [...found.keys()].filter((name) => name === mark || name.endsWith(`.${mark}`))
    if (names.length > 0) return names.map((name) => name.slice(0, -mark.length))
  }
  return []
}

const SHOWN_NAMES = 8

function unknown(found: ReadonlyMap<string, StoredTensor>, file: string, as?: string): UnknownNetworkError {
  const names = [...found].slice(0, SHOWN_NAMES).map(([name, { shape }]) => `\n  "${name}" ${formatShape(shape)}`)
  const more = found.size > SHOWN_NAMES ? `\n  and ${found.size - SHOWN_NAMES} more` : ''
  const what = as === undefined ? `is no network that is known here (${architectureIds.join(', ')})` : `is no ${as}`
  return new UnknownNetworkError(file, `${what}; its tensors are${names.join('')}${more}`)
}

function shapeIs(shapes: Shapes, name: string, shape: Shape): boolean {
  const found = shapes.get(name)
  return found !== undefined && sameShape(found, shape)
}

/** More units or blocks than any network has: names alone must not make long lists. */
const UNIT_LIMIT = 999

/** How many numbered parts there are, by the names of their tensors. */
function countOf(shapes: Shapes, numbered: RegExp): number {
  let count = 0
  for (const name of shapes.keys()) {
    const match = numbered.exec(name)
    if (match) count = Math.max(count, Number(match[1]) + 1)
  }
  return Math.min(count, UNIT_LIMIT)
}

/** An IR network by the widths of its units and the length of its embedding. */
function recogniseIr(shapes: Shapes): string | undefined {
  const channels: number[] = []
  const units: number[] = []
  for (let i = 0; i < countOf(shapes, /^body\.(\d{1,3})\./); i++) {
    // A unit that is missing counts to the stage before it, so that it will be missed.
    const width = shapes.get(`body.${i}.res_layer.1.weight`)?.[0] ?? channels.at(-1) ?? 64
    if (width !== channels.at(-1)) {
      channels.push(width)
      units.push(0)
    }
    units[units.length - 1]++
  }
  if (units.length !== 4) return undefined
  const squeezeExcitation = shapes.has('body.0.res_layer.5.fc1.weight')
  const embedding = shapes.get('output_layer.3.weight')?.[0] ?? 512
  const architecture = { units, channels, embedding, squeezeExcitation } as unknown as IrArchitecture
  const id = irId(architecture)
  return architectureOf(id) && id
}

function recogniseResnet(shapes: Shapes): string | undefined {
  const blocks = [1, 2, 3, 4].map((stage) => countOf(shapes, new RegExp(`^layer${stage}\\.(\\d{1,3})\\.`)))
  const names = Object.keys(resnets) as (keyof typeof resnetArchitectures)[]
  const name = names.find((key) => sameShape(resnets[key], blocks))
  return name?.toLowerCase().replace('_', '-')
}

function lpipsTrunk(start: string): Dialect['architecture'] {
  return (shapes) => {
    if (shapes.has('lin6.model.1.weight')) return `${start}squeeze`
    return shapeIs(shapes, 'lin1.model.1.weight', [1, 192, 1, 1]) ? `${start}alex` : undefined
  }
}

const lpipsLin = lpipsTrunk('lpips-lin-')

/**
 * The first linear layers of MTCNN's R- and O-Net take 3x3 pixels, column by column in the authors' files and row by row here.
 */
function uprightFeatures(name: string, tensor: StoredFloats): StoredFloats {
  if (name !== 'rnet.conv4.weight' && name !== 'onet.conv5.weight') return tensor
  const data = new Float32Array(tensor.data.length)
  for (let i = 0; i < data.length; i++) {
    const pixel = i % 9
    data[i - pixel + (pixel % 3) * 3 + Math.floor(pixel / 3)] = tensor.data[i]
  }
  return { shape: tensor.shape, data }
}
