/**
 * From a file of weights that somebody has to a network as a weights folder keeps it: which network it is, its entry, and in which precision
 * it is stored. `writeNetwork` (weights/imported.ts) puts it into a folder.
 */
import type { Gpu } from '../device/gpu.ts'
import { WeightsError } from '../weights/errors.ts'
import { type FileBeside, readWeightFile } from '../weights/import.ts'
import {
  beyondHalves,
  type NetworkContents,
  type NewEntry,
  type PackedNetwork,
  packNetwork,
} from '../weights/network-file.ts'
import { readOnnx } from '../weights/onnx.ts'
import type { OnnxModel } from '../weights/onnx-model.ts'
import type { ExternalData } from '../weights/onnx-tensor.ts'
import {
  type ImportSource,
  type ManifestEntry,
  type NetworkInput,
  type PublishedFile,
  type RecogniserEntry,
  sha256,
  weightsOf,
} from '../weights/registry.ts'
import { embeddingDeviation, HALF_PRECISION_LIMIT } from './half-precision.ts'
import { recogniserFromOnnx } from './onnx/recogniser.ts'
import { recogniseNetwork, titleOf } from './recognise.ts'
import { recogniser } from './recognisers.ts'
import { isYunet, storeYunet, YUNET, yunetInput } from './yunet.ts'

/** A file that may hold a network. */
export interface NetworkFile {
  name: string
  bytes: Uint8Array
  /** Files beside it that it names: weights of TensorFlow.js; none unless told. */
  beside?: FileBeside
  /** The same of an ONNX model; none unless told. */
  external?: ExternalData
}

/** What is known of a network. What is undefined follows from the file. */
export interface NetworkFacts {
  /** Id of the architecture, `onnx` for a file with its graph. */
  as?: string
  /** Id of the network: small letters, digits and dashes. */
  name?: string
  /** What the names of its tensors begin with, in a file of several networks. */
  prefix?: string
  colours?: NetworkInput['colours']
  range?: NetworkInput['range']
  mean?: NetworkInput['mean']
  std?: NetworkInput['std']
  /** Pixels, where the file leaves it open. */
  size?: readonly [height: number, width: number]
  /** The output of an ONNX file that is the embedding. */
  output?: string
  threshold?: number
  alignment?: RecogniserEntry['alignment']
}

/** What is known does not fit what the file holds. `facts` are the names of what is wrong, `problem` says why. */
export class NetworkFactsError extends Error {
  override name = 'NetworkFactsError'
  readonly facts: readonly string[]
  readonly problem: string

  constructor(facts: readonly string[], problem: string) {
    super(`${listed(facts)} ${problem}`)
    this.facts = facts
    this.problem = problem
  }
}

/** `a, b and c`. */
export const listed = (names: readonly string[]): string =>
  names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`

/** The architecture of networks that bring their graph with them. */
export const ONNX = 'onnx'

/** Where nothing is known of a network: about what recognisers trained with ArcFace are used with. */
const USUAL_THRESHOLD = 0.3
const NOT_MEASURED =
  'Not measured, a usual value: `lowkey-gpu weights accuracy FOLDER` measures it, and `weights import --threshold` sets it.'

/** What a file turned out to hold. */
export interface IdentifiedNetwork {
  /** Its entry, but for what follows from the stored file. */
  fields: NewEntry
  contents: NetworkContents
  /** What the architecture is called, with its id. */
  called: string
  /** The file's. */
  format: string
  /** Numbers in its tensors. */
  parameters: number
  /** What the names of its tensors began with. */
  prefix: string
  /** Tensors of the file that it does not use, a sentence for each kind. */
  leftOut: readonly string[]
}

type Found = Omit<IdentifiedNetwork, 'fields'> & {
  architecture: string
  title: string
  role: ManifestEntry['role']
  input: NetworkInput
  /** Of recognisers. */
  embedding?: number
  alignment?: RecogniserEntry['alignment']
}

/**
 * Finds out which network a file holds, checks all its tensors, and describes it.
 *
 * @param published files by checksum or name, of which more is known: id, title, licence, authors
 * @throws NetworkFactsError for facts that do not fit the file; WeightsError where it is no network that is known
 */
export async function identifyNetwork(
  file: NetworkFile,
  facts: NetworkFacts = {},
  published: readonly PublishedFile[] = [],
): Promise<IdentifiedNetwork> {
  const hash = await sha256(file.bytes)
  const { architecture, title, role, input, embedding, alignment, ...found } = isOnnx(file, facts)
    ? readOnnxFile(file, facts)
    : await readTensors(file, facts)
  const isOfIts = (each: PublishedFile) => each.architecture === architecture
  const known = published.find((each) => isPublished(each, file.name, hash) && isOfIts(each))
  const source: ImportSource = {
    kind: 'import',
    file: file.name,
    bytes: file.bytes.length,
    sha256: hash,
    date: new Date().toISOString(),
  }
  const { colours, range, mean, std, threshold } = facts
  const base = {
    id: facts.name ?? known?.id ?? idOf(file.name),
    title: known?.title ?? title,
    architecture,
    licence: known?.licence ?? 'not stated',
    authors: known?.authors ?? [],
    source,
    input: {
      ...input,
      colours: colours ?? input.colours,
      range: range ?? input.range,
      mean: mean ?? input.mean,
      std: std ?? input.std,
    },
  }
  if (role !== 'recogniser') {
    if (threshold !== undefined || facts.alignment)
      throw new NetworkFactsError(['threshold', 'alignment'], `are for recognisers; this is ${title}`)
    return { ...found, fields: { ...base, role } }
  }
  const fields: NewEntry = {
    ...base,
    role,
    embedding: embedding!,
    alignment: facts.alignment ?? alignment!,
    threshold: threshold ?? USUAL_THRESHOLD,
    thresholdSource: threshold === undefined ? NOT_MEASURED : 'Given when it was imported.',
  }
  return { ...found, fields }
}

/** By its checksum; by its name alone only where no checksum is known. Several may have one name. */
const isPublished = ({ file, sha256 }: PublishedFile, name: string, hash: string): boolean =>
  sha256 === null ? file === name : hash.startsWith(sha256)

/** A file's name as the name of a network: `Backbone_IR_50.pth` is `backbone-ir-50`. */
function idOf(file: string): string {
  const id = file
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
  return id === '' ? 'imported' : id
}

async function readTensors({ bytes, name, beside }: NetworkFile, facts: NetworkFacts): Promise<Found> {
  if (facts.output !== undefined) throw new NetworkFactsError(['output'], 'is for ONNX files')
  const { format, tensors } = await readWeightFile(bytes, name, beside ?? (async () => undefined))
  const { architecture, ...network } = recogniseNetwork(tensors, name, facts)
  const { id, title, role, input } = architecture
  const [height, width] = facts.size ?? []
  if (facts.size && (input.height !== height || input.width !== width)) {
    const sides = input.height === null ? 'images of any size' : `${input.height}x${input.width} pixels`
    throw new NetworkFactsError(['size'], `${height}x${width}: ${title} takes ${sides}`)
  }
  const { embedding, alignment } = architecture.role === 'recogniser' ? architecture : {}
  const { prefix, leftOut, parameters } = network
  return {
    ...{ architecture: id, title, role, input, embedding, alignment, format, parameters, prefix, leftOut },
    called: titleOf(architecture),
    contents: { tensors: network.tensors },
  }
}

const isOnnx = ({ name }: NetworkFile, { as }: NetworkFacts): boolean =>
  as === ONNX || (as === undefined && /\.onnx$/i.test(name))

function readOnnxFile({ bytes, name, external }: NetworkFile, facts: NetworkFacts): Found {
  const { colours, range, mean, std, size, output } = facts
  if (facts.prefix !== undefined) throw new NetworkFactsError(['prefix'], 'is not for ONNX files')
  const model = readOnnx(bytes, name, external)
  if (isYunet(model)) return foundYunet(model, facts)
  const options = { file: name, external, output, size, colours, range, mean, std }
  const { tensors, metadata, input, embedding, parameters } = recogniserFromOnnx(bytes, options)
  if (size && (input.height !== size[0] || input.width !== size[1]))
    throw new NetworkFactsError(['size'], `${size.join('x')}: the file takes ${input.height}x${input.width} pixels`)
  return {
    ...inOnnx,
    ...{ architecture: ONNX, title: `${name} (ONNX)`, called: 'a graph of ONNX', role: 'recogniser' },
    ...{ input, embedding, parameters, alignment: 'arcface112', contents: { tensors, metadata: { ...metadata } } },
  }
}

/** Every constant that its graph uses is a tensor of the network. */
const inOnnx = { format: 'ONNX', prefix: '', leftOut: [] } as const

/** A detector that brings its graph. What it wants to be fed is known. */
function foundYunet(model: OnnxModel, facts: NetworkFacts): Found {
  const known = ['output', 'size', 'colours', 'range', 'mean', 'std'] as const
  if (known.some((fact) => facts[fact] !== undefined))
    throw new NetworkFactsError(known, `are for recognisers; ${model.file} is YuNet, a detector`)
  const { tensors, metadata, parameters } = storeYunet(model)
  return {
    ...inOnnx,
    ...{ architecture: YUNET, title: 'YuNet', called: 'YuNet', role: 'detector', input: yunetInput, parameters },
    contents: { tensors, metadata: { ...metadata } },
  }
}

/** A network as it will be stored, and what its trial found. */
export interface ImportedNetwork {
  packed: PackedNetwork
  /** Its kernels and matrices are stored in half precision. */
  halves: boolean
  /** Name of a tensor with numbers beyond half precision, where it was looked for. */
  tooLarge?: string
  /** Of recognisers: 1 - cosine by which half precision changes embeddings at most, and the device that found it; undefined where none did. */
  trial?: { deviation: number; gpu: Gpu['capabilities'] }
}

/**
 * Packs a network in half precision where that changes no embedding by HALF_PRECISION_LIMIT, else in single. Recognisers are tried on a device.
 *
 * @param f16 `yes` and `no` say the precision; the network is tried all the same
 * @param open opens a device for the trial; undefined where there is none, and the network is stored in single precision unless told
 * @throws NetworkFactsError where half precision is asked for and cannot hold it; WeightsError where its embeddings are not finite
 */
export async function packTried(
  { fields, contents }: Pick<IdentifiedNetwork, 'fields' | 'contents'>,
  f16: 'auto' | 'yes' | 'no',
  open: () => Promise<Gpu | undefined>,
): Promise<ImportedNetwork> {
  const tooLarge = f16 === 'no' ? undefined : beyondHalves(contents.tensors)
  if (f16 === 'yes' && tooLarge !== undefined)
    throw new NetworkFactsError(['f16'], `yes: "${tooLarge}" holds numbers beyond half precision (65504)`)
  const single = await packNetwork(fields, contents, false)
  if (fields.role !== 'recogniser') {
    const packed = f16 === 'yes' ? await packNetwork(fields, contents, true) : single
    return { packed, halves: f16 === 'yes', tooLarge }
  }
  const halved = f16 === 'no' || tooLarge !== undefined ? undefined : await packNetwork(fields, contents, true)
  using gpu = await open()
  const deviation = gpu && (await deviationOf(gpu, single, halved ?? single))
  const trial = gpu && { deviation: deviation!, gpu: gpu.capabilities }
  const halves =
    halved !== undefined && (f16 === 'yes' || (trial !== undefined && trial.deviation < HALF_PRECISION_LIMIT))
  return { packed: halves ? halved : single, halves, tooLarge, trial }
}

async function deviationOf(gpu: Gpu, a: PackedNetwork, b: PackedNetwork): Promise<number> {
  const load = ({ entry, bytes }: PackedNetwork) => ({
    network: recogniser(entry),
    weights: weightsOf(entry, bytes, entry.file),
  })
  const version = load(a)
  try {
    return await embeddingDeviation(gpu, version, a === b ? version : load(b))
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new WeightsError(a.entry.id, `${error.message}: these are not its weights`, { cause: error })
  }
}
