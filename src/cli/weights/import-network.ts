/** From a file of weights that the user has to a network in the weights folder. */
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { adapterName, NoAdapterError } from '../../device/node.ts'
import { embeddingDeviation, HALF_PRECISION_LIMIT } from '../../evaluate/half-precision.ts'
import { architectureOf, assemblies } from '../../models/architectures.ts'
import { recogniserFromOnnx } from '../../models/onnx/recogniser.ts'
import { recogniseNetwork, titleOf } from '../../models/recognise.ts'
import { recogniser } from '../../models/recognisers.ts'
import { isYunet, storeYunet, YUNET, yunetInput } from '../../models/yunet.ts'
import { WeightsError, WeightsMissingError } from '../../weights/errors.ts'
import { readWeightFile } from '../../weights/import.ts'
import {
  beyondHalves,
  importedNetworks,
  type NetworkContents,
  type NewEntry,
  type PackedNetwork,
  packNetwork,
  writeNetwork,
} from '../../weights/imported.ts'
import { importFolder, loadManifest } from '../../weights/node.ts'
import { readOnnx } from '../../weights/onnx.ts'
import type { OnnxModel } from '../../weights/onnx-model.ts'
import { filesBeside } from '../../weights/onnx-node.ts'
import {
  type ImportSource,
  type ManifestEntry,
  type NetworkInput,
  type PublishedFile,
  type RecogniserEntry,
  sha256,
  weightsOf,
} from '../../weights/registry.ts'
import { openGpu } from '../driver-noise.ts'
import { UsageError } from '../exit.ts'

/** What the user says of a network. What is undefined follows from the file. */
export interface ImportOptions {
  as?: string
  name?: string
  prefix?: string
  colours?: NetworkInput['colours']
  range?: NetworkInput['range']
  mean?: NetworkInput['mean']
  std?: NetworkInput['std']
  size?: readonly [height: number, width: number]
  output?: string
  threshold?: number
  alignment?: RecogniserEntry['alignment']
  f16: 'auto' | 'yes' | 'no'
  overwrite: boolean
  gpu?: string
}

/** A file that was imported. */
export interface Imported {
  entry: ManifestEntry
  path: string
  /** What was found out, a line each. */
  report: readonly string[]
}

/** The architecture of networks that bring their graph with them. */
export const ONNX = 'onnx'

/** Where nothing is known of a network: about what recognisers trained with ArcFace are used with. */
const USUAL_THRESHOLD = 0.3
const NOT_MEASURED =
  'Not measured, a usual value: `lowkey-gpu weights accuracy FOLDER` measures it, and `weights import --threshold` sets it.'

/** Files are read in one piece. */
const LARGEST_FILE = 2 ** 31 - 1

/**
 * Imports a file: finds out which network it is, checks it, tries it on the GPU, and writes it and its entry into the weights folder.
 *
 * @param published what the manifest knows of the file, where it was downloaded
 * @throws UsageError for options that do not fit the file; WeightsError where it is no network that is known, or cannot be written
 */
export async function importFile(path: string, options: ImportOptions, published?: PublishedFile): Promise<Imported> {
  const bytes = await readBytes(path)
  const file = basename(path)
  const hash = await sha256(bytes)
  const manifest = await loadManifest()
  if (options.name !== undefined) await checkId(options.name, manifest.networks, options.overwrite)
  const found = isOnnx(path, options) ? readOnnxFile(bytes, path, options) : await readTensors(bytes, path, options)
  const isOfIts = ({ architecture }: PublishedFile) => architecture === found.architecture
  const known = published ?? manifest.published.find((each) => isPublished(each, file, hash) && isOfIts(each))
  const id = options.name ?? known?.id ?? idOf(file)
  if (options.name === undefined) await checkId(id, manifest.networks, options.overwrite)
  const source: ImportSource = {
    kind: 'import',
    file,
    bytes: bytes.length,
    sha256: hash,
    date: new Date().toISOString(),
  }
  const { packed, notes } = await pack(fieldsOf(id, found, source, options, known), found.contents, options)
  const written = await writeNetwork(packed, importFolder())
  const { entry } = packed
  const report = [
    `${file}: ${found.summary}`,
    ...found.notes,
    ...strangerNotes(manifest.published, file, hash),
    ...notes,
  ]
  return { entry, path: written, report: [...report, await useOf(entry)] }
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path)
    if (size > LARGEST_FILE) throw new WeightsError(path, `is ${size} bytes long; files up to 2 GiB are read`)
    return await readFile(path)
  } catch (cause) {
    if (cause instanceof WeightsError) throw cause
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') throw new WeightsMissingError(path, 'is not there')
    throw new WeightsError(path, `cannot be read (${message})`, { cause })
  }
}

/** By its checksum; by its name alone only where no checksum is known. Several may have one name. */
const isPublished = ({ file, sha256 }: PublishedFile, name: string, hash: string): boolean =>
  sha256 === null ? file === name : hash.startsWith(sha256)

/** That a file has the name of a published one and is another. */
function strangerNotes(published: readonly PublishedFile[], file: string, hash: string): string[] {
  const namesake = published.find((each) => each.file === file && each.sha256 !== null && !hash.startsWith(each.sha256))
  return namesake
    ? [`  it is not the published ${file}, whose SHA-256 is ${namesake.sha256}: this one's is ${hash}`]
    : []
}

/** A file's name as the name of a network: `Backbone_IR_50.pth` is `backbone-ir-50`. */
function idOf(file: string): string {
  const id = file
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
  return id === '' ? 'imported' : id
}

async function checkId(id: string, embedded: readonly ManifestEntry[], overwrite: boolean): Promise<void> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(id) || id === 'manifest')
    throw new UsageError(`--name takes small letters, digits and dashes; got "${id}"`)
  if (embedded.some((entry) => entry.id === id))
    throw new UsageError(`"${id}" is one of lowkey-gpu's own networks: give the new one another name with --name`)
  const { entries } = await importedNetworks([importFolder()])
  if (!overwrite && entries.some((entry) => entry.id === id))
    throw new UsageError(`there is a network "${id}" already: --overwrite replaces it, --name gives another name`)
}

/** What a file turned out to hold. */
interface Found {
  architecture: string
  title: string
  role: ManifestEntry['role']
  contents: NetworkContents
  input: NetworkInput
  /** Of recognisers. */
  embedding?: number
  alignment?: RecogniserEntry['alignment']
  /** For the user: one line, and what else there is to know. */
  summary: string
  notes: readonly string[]
}

const millions = (count: number): string =>
  count < 1e5 ? `${count} parameters` : `${(count / 1e6).toFixed(1)} million parameters`

async function readTensors(bytes: Uint8Array, path: string, options: ImportOptions): Promise<Found> {
  if (options.output !== undefined) throw new UsageError('--output is for ONNX files')
  const file = basename(path)
  const { format, tensors } = await readWeightFile(bytes, file, async (name) =>
    readFile(join(dirname(path), name)).catch(() => undefined),
  )
  const { architecture, prefix, leftOut, parameters, ...network } = recogniseNetwork(tensors, file, options)
  const { id, title, role, input } = architecture
  const [height, width] = options.size ?? []
  if (options.size && (input.height !== height || input.width !== width)) {
    const sides = input.height === null ? 'images of any size' : `${input.height}x${input.width} pixels`
    throw new UsageError(`--input-size ${height}x${width}: ${title} takes ${sides}`)
  }
  const recogniser = architecture.role === 'recogniser' ? architecture : undefined
  const numbers = recogniser ? `, ${recogniser.embedding} numbers a face` : ''
  return {
    architecture: id,
    title,
    role,
    contents: { tensors: network.tensors },
    input,
    embedding: recogniser?.embedding,
    alignment: recogniser?.alignment,
    summary: `${titleOf(architecture)}, ${millions(parameters)}${numbers}; ${network.tensors.size} tensors, ${format}`,
    notes: [
      ...(prefix === '' ? [] : [`  the names of its tensors begin with "${prefix}"`]),
      ...leftOut.map((what) => `  left out: ${what}`),
    ],
  }
}

const isOnnx = (path: string, { as }: ImportOptions): boolean =>
  as === ONNX || (as === undefined && /\.onnx$/i.test(path))

function readOnnxFile(bytes: Uint8Array, path: string, options: ImportOptions): Found {
  const { colours, range, mean, std, size, output } = options
  if (options.prefix !== undefined) throw new UsageError('--prefix is not for ONNX files')
  const model = readOnnx(bytes, basename(path), filesBeside(path))
  if (isYunet(model)) return foundYunet(model, options)
  const { tensors, metadata, input, embedding, parameters } = recogniserFromOnnx(bytes, {
    ...{ file: basename(path), external: filesBeside(path) },
    ...{ output, size, colours, range, mean, std },
  })
  const pixels = `${input.height}x${input.width}`
  if (size && (input.height !== size[0] || input.width !== size[1]))
    throw new UsageError(`--input-size ${size.join('x')}: the file takes ${pixels} pixels`)
  return {
    architecture: ONNX,
    title: `${basename(path)} (ONNX)`,
    role: 'recogniser',
    contents: { tensors, metadata: { ...metadata } },
    input,
    embedding,
    alignment: 'arcface112',
    summary: `a graph of ONNX, ${millions(parameters)}, ${embedding} numbers a face; images of ${pixels} pixels`,
    notes: pixelNotes(input, options),
  }
}

/** A detector that brings its graph. What it wants to be fed is known. */
function foundYunet(model: OnnxModel, { colours, range, mean, std, size, output }: ImportOptions): Found {
  if ([colours, range, mean, std, size, output].some((option) => option !== undefined))
    throw new UsageError(
      `--output, --input-size, --colours, --range, --mean and --std are for recognisers; ${model.file} is YuNet, a detector`,
    )
  const { tensors, metadata, parameters } = storeYunet(model)
  return {
    architecture: YUNET,
    title: 'YuNet',
    role: 'detector',
    contents: { tensors, metadata: { ...metadata } },
    input: yunetInput,
    summary: `YuNet, a detector of faces, ${millions(parameters)}; a graph of ONNX, images of any size`,
    notes: [],
  }
}

/** What the file does not say of the pixels it wants, and was assumed. */
function pixelNotes({ colours, range, mean, std }: NetworkInput, options: ImportOptions): string[] {
  if (options.colours && (options.range || options.mean || options.std)) return []
  return [
    `  pixels: ${colours}, black..white as ${range.join('..')}, minus ${mean.join(',')}, divided by ${std.join(',')}` +
      ' (the file does not say; --colours, --range, --mean and --std do)',
  ]
}

function fieldsOf(
  id: string,
  found: Found,
  source: ImportSource,
  options: ImportOptions,
  published: PublishedFile | undefined,
): NewEntry {
  const { colours, range, mean, std, threshold } = options
  const base = {
    id,
    title: published?.title ?? found.title,
    architecture: found.architecture,
    licence: published?.licence ?? 'not stated',
    authors: published?.authors ?? [],
    source,
    input: {
      ...found.input,
      colours: colours ?? found.input.colours,
      range: range ?? found.input.range,
      mean: mean ?? found.input.mean,
      std: std ?? found.input.std,
    },
  }
  if (found.role !== 'recogniser') {
    if (threshold !== undefined || options.alignment)
      throw new UsageError(`--threshold and --alignment are for recognisers; this is ${found.title}`)
    return { ...base, role: found.role }
  }
  return {
    ...base,
    role: 'recogniser',
    embedding: found.embedding!,
    alignment: options.alignment ?? found.alignment!,
    threshold: threshold ?? USUAL_THRESHOLD,
    thresholdSource: threshold === undefined ? NOT_MEASURED : 'Given when it was imported.',
  }
}

/** The network in half or single precision, and why. Recognisers are tried on the GPU. */
async function pack(
  fields: NewEntry,
  contents: NetworkContents,
  { f16, gpu }: ImportOptions,
): Promise<{ packed: PackedNetwork; notes: string[] }> {
  const { id } = fields
  const tooLarge = f16 === 'no' ? undefined : beyondHalves(contents.tensors)
  if (f16 === 'yes' && tooLarge !== undefined)
    throw new UsageError(`--f16 yes: "${tooLarge}" holds numbers beyond half precision (65504)`)
  const single = await packNetwork(fields, contents, false)
  if (fields.role !== 'recogniser')
    return { packed: f16 === 'yes' ? await packNetwork(fields, contents, true) : single, notes: [] }
  const halved = f16 === 'no' || tooLarge !== undefined ? undefined : await packNetwork(fields, contents, true)
  let tried: { deviation: number; on: string }
  try {
    tried = await tryOut(single, halved ?? single, gpu)
  } catch (error) {
    if (error instanceof RangeError)
      throw new WeightsError(id, `${error.message}: these are not its weights`, { cause: error })
    if (!(error instanceof NoAdapterError)) throw error
    const how = f16 === 'yes' ? 'half' : 'single'
    return {
      packed: f16 === 'yes' ? (halved ?? single) : single,
      notes: [`  stored in ${how} precision; without a GPU it was not tried out`],
    }
  }
  if (!halved) {
    const why = tooLarge === undefined ? '' : `: "${tooLarge}" holds numbers beyond half precision`
    return { packed: single, notes: [`  stored in single precision${why}; tried out on ${tried.on}`] }
  }
  const packed = tried.deviation < HALF_PRECISION_LIMIT || f16 === 'yes' ? halved : single
  const change = `${tried.deviation.toExponential(1)} in cosine on ${tried.on}`
  const note =
    packed === halved
      ? `  stored in half precision: embeddings change by ${change}`
      : `  stored in single precision: in half precision embeddings would change by ${change}`
  return { packed, notes: [note] }
}

async function tryOut(a: PackedNetwork, b: PackedNetwork, name?: string): Promise<{ deviation: number; on: string }> {
  using gpu = await openGpu(name)
  const load = ({ entry, bytes }: PackedNetwork) => ({
    network: recogniser(entry),
    weights: weightsOf(entry, bytes, entry.file),
  })
  const version = load(a)
  const deviation = await embeddingDeviation(gpu, version, a === b ? version : load(b))
  return { deviation, on: adapterName(gpu.capabilities) }
}

/** What can be done with the network now, or what is still missing. */
async function useOf({ id, role, architecture }: ManifestEntry): Promise<string> {
  if (role === 'recogniser') return `  use it: lowkey-gpu protect --models ${id} PHOTO`
  if (architecture === YUNET) return '  `lowkey-gpu evaluate` finds and aligns faces with it a second time'
  const [whole, parts] = Object.entries(assemblies).find(([, parts]) => parts.includes(architecture)) ?? []
  if (!whole || !parts) return '  from now on it is used instead of the embedded one'
  const { entries } = await importedNetworks([importFolder()])
  const missing = parts.filter((part) => !entries.some((entry) => entry.architecture === part))
  if (missing.length === 0) return `  ${whole} is complete: from now on it is used instead of the embedded one`
  const titles = missing.map((part) => `${architectureOf(part)?.title} (${part})`)
  return `  ${whole} still lacks ${titles.join(', ')}; until that is imported too, the embedded one is used`
}
