/** Finds out which network a file of weights holds, by the names and shapes of its tensors, and checks every one of them. */
import { elements, formatShape, type Shape, sameShape } from '../kernels/op.ts'
import { WeightsError } from '../weights/errors.ts'
import type { StoredTensor } from '../weights/numbers.ts'
import type { WeightTensor } from '../weights/registry.ts'
import { architectureIds, architectureOf, families } from './architectures.ts'
import type { Architecture, Naming } from './network.ts'
import type { TensorShapes } from './recording.ts'

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
    // So many are hardly a slip: another network that uses the same names.
    const other = problems.length > SHOWN_PROBLEMS ? `\n${BY_ONNX}` : ''
    super(file, `looks like ${title}, but ${count} not fit:${shown.map((line) => `\n  ${line}`).join('')}${other}`)
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
  tensors: ReadonlyMap<string, WeightTensor>
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

/** Torch counts the batches that a normalisation has seen; it matters to training alone. */
const COUNTERS = [/(^|\.)num_batches_tracked$/, 'counters of training'] as const

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
  const { architecture, naming, prefix } = identify(found, file, options)
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
    const unused = [COUNTERS, ...(naming.unused ?? [])].find(([names]) => names.test(bare))
    if (unused) note(unused[1])
    else own.set(naming.rename?.(bare) ?? bare, { name, tensor })
  }
  const tensors = new Map<string, WeightTensor>()
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
    tensors.set(name, naming.layout?.(name, floats) ?? floats)
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

/** A network that a file may hold. */
interface Candidate {
  architecture: Architecture
  naming: Naming
  /** Of the file's names of its tensors. */
  prefix: string
  /** The file's names of tensors that it has, by name and shape. */
  fitting: ReadonlySet<string>
  /** Its tensors that the file has, at least by name. */
  present: number
}

/** Names are looked at from each of so many dots on; deeper ones are no part of a network's name. */
const DEEPEST = 16

/** A name from each of its dots on: what may stand before a network's name of it, and that name. */
function* endingsOf(name: string): Generator<readonly [prefix: string, bare: string]> {
  for (let at = 0, depth = 0; at >= 0 && depth < DEEPEST; depth++) {
    yield [name.slice(0, at), name.slice(at)]
    const dot = name.indexOf('.', at)
    at = dot < 0 ? -1 : dot + 1
  }
}

/** More networks than a file has, each under its own prefix. */
const MOST_PREFIXES = 16

/** What stands before the names of a file's tensors that are those of a network; what stands before most of them comes first. */
function prefixesOf(found: ReadonlyMap<string, StoredTensor>, tensors: TensorShapes, naming: Naming): string[] {
  const counts = new Map<string, number>()
  for (const name of found.keys()) {
    for (const [prefix, bare] of endingsOf(name))
      if (tensors.has(naming.rename?.(bare) ?? bare)) counts.set(prefix, (counts.get(prefix) ?? 0) + 1)
  }
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, MOST_PREFIXES)
    .map(([prefix]) => prefix)
}

/** The file's tensors after a prefix by the network's names of them, with the file's names. */
function under(found: ReadonlyMap<string, StoredTensor>, prefix: string, naming: Naming) {
  const shapes = new Map<string, Shape>()
  const names = new Map<string, string>()
  for (const [name, { shape }] of found) {
    if (!name.startsWith(prefix)) continue
    const bare = name.slice(prefix.length)
    const own = naming.rename?.(bare) ?? bare
    shapes.set(own, shape)
    names.set(own, name)
  }
  return { shapes, names }
}

/**
 * The network that most of the file's tensors are of, by name and shape, and that misses the fewest. Unless it is told which it is, half
 * of a network's tensors must be there.
 */
function identify(found: ReadonlyMap<string, StoredTensor>, file: string, { as, prefix }: RecogniseOptions): Candidate {
  if (as !== undefined && !architectureOf(as))
    throw new UnknownNetworkError(file, `cannot be "${as}": there are ${architectureIds.join(', ')}`)
  const candidates = candidatesOf(found, as, prefix)
  const half = ({ architecture, fitting }: Candidate) => 2 * fitting.size >= architecture.tensors().size
  const likely = candidates.filter((each) => (as === undefined ? half(each) : each.present > 0))
  const score = ({ architecture, fitting }: Candidate) => 2 * fitting.size - architecture.tensors().size
  // Sorting keeps the order of those that are alike: families that come first, and the shortest prefix.
  const [best, ...others] = likely.sort((a, b) => score(b) - score(a) || a.prefix.length - b.prefix.length)
  if (!best) throw unknown(found, file, as)
  const rivals = others.filter((other) => half(other) && ![...other.fitting].some((name) => best.fitting.has(name)))
  if (rivals.length > 0) {
    const prefixes = [...new Set([best, ...rivals].map((each) => `"${each.prefix}"`))].join(', ')
    throw new UnknownNetworkError(file, `holds several networks: name the one by its prefix, one of ${prefixes}`)
  }
  return best
}

function candidatesOf(found: ReadonlyMap<string, StoredTensor>, as?: string, prefix?: string): Candidate[] {
  const candidates: Candidate[] = []
  for (const { published, spelled, idOf } of families) {
    const asked = as === undefined ? undefined : (published.find(({ id }) => id === as) ?? spelled?.(as))
    if (as !== undefined && !asked) continue
    const seen = new Set<string>()
    for (const known of asked ? [asked] : published) {
      for (const [n, naming] of known.namings.entries()) {
        const starts = prefix === undefined ? prefixesOf(found, known.tensors(), naming) : [prefix]
        for (const start of starts) {
          const { shapes, names } = under(found, start, naming)
          const other = asked ? undefined : idOf?.(shapes)
          for (const architecture of other === undefined ? [known] : [known, architectureOf(other)]) {
            const key = `${architecture?.id} ${n} ${start}`
            if (!architecture || seen.has(key)) continue
            seen.add(key)
            candidates.push(candidateOf(architecture, naming, start, shapes, names))
          }
        }
      }
    }
  }
  return candidates
}

function candidateOf(
  architecture: Architecture,
  naming: Naming,
  prefix: string,
  shapes: TensorShapes,
  names: ReadonlyMap<string, string>,
): Candidate {
  const fitting = new Set<string>()
  let present = 0
  for (const [name, shape] of architecture.tensors()) {
    const held = shapes.get(name)
    if (!held) continue
    present++
    if (sameShape(held, shape)) fitting.add(names.get(name)!)
  }
  return { architecture, naming, prefix, fitting, present }
}

const SHOWN_NAMES = 8

/** Networks that are not known here, by names of tensors as timm, torchvision and their authors have them. The first that fits counts. */
const STRANGERS: readonly (readonly [names: RegExp, network: string])[] = [
  [/(^|\.)relative_position_bias_table$/, 'a Swin Transformer'],
  [/(^|\.)stages\.\d+\.\d+\.(transformer|conv_kxn)\./, 'a MobileViT'],
  [/(^|\.)stages\.\d+\.(blocks\.)?\d+\.(conv_dw|dwconv)\.|\.layer_scale$/, 'a ConvNeXt'],
  [/(^|\.)blocks\.\d+\.attn\.qkv\.|\.self_attention\.in_proj_weight$/, 'a Vision Transformer'],
  [/(^|\.)denseblock\d+\.denselayer\d+\./, 'a DenseNet'],
  [
    /(^|\.)blocks\.\d+\.\d+\.conv_(pw|dw)\.|(^|\.)features\.\d+\.(\d+\.)?(block|conv)\.\d+\./,
    'an EfficientNet or MobileNet',
  ],
  [/(^|\.)stages\.\d+\.blocks\.\d+\.norm1\./, 'a ResNetV2'],
]
const BY_ONNX =
  'A network that is not known here can be imported as ONNX, which brings its graph: write it with torch.onnx.export (docs/weights.md)'

function unknown(found: ReadonlyMap<string, StoredTensor>, file: string, as?: string): UnknownNetworkError {
  const names = [...found].slice(0, SHOWN_NAMES).map(([name, { shape }]) => `\n  "${name}" ${formatShape(shape)}`)
  const more = found.size > SHOWN_NAMES ? `\n  and ${found.size - SHOWN_NAMES} more` : ''
  const [, stranger] = STRANGERS.find(([marks]) => [...found.keys()].some((name) => marks.test(name))) ?? []
  const known = `no network that is known here (${architectureIds.join(', ')})`
  const what =
    as === undefined ? `is ${stranger ? `${stranger} by the names of its tensors, and ` : ''}${known}` : `is no ${as}`
  return new UnknownNetworkError(file, `${what}; its tensors are${names.join('')}${more}\n${BY_ONNX}`)
}
