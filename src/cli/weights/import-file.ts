/** From a file of weights that the user has to a network in the weights folder, with what is to be said of it. */
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { adapterName, type Gpu, NoAdapterError } from '../../device/node.ts'
import { architectureOf, assemblies } from '../../models/architectures.ts'
import {
  type IdentifiedNetwork,
  type ImportedNetwork,
  identifyNetwork,
  listed,
  type NetworkFacts,
  NetworkFactsError,
  ONNX,
  packTried,
} from '../../models/import-network.ts'
import { YUNET } from '../../models/yunet.ts'
import { WeightsError, WeightsMissingError } from '../../weights/errors.ts'
import { importedNetworks, writeNetwork } from '../../weights/imported.ts'
import { importFolder, loadManifest } from '../../weights/node.ts'
import { filesBeside } from '../../weights/onnx-node.ts'
import type { ImportSource, ManifestEntry, PublishedFile } from '../../weights/registry.ts'
import { openGpu } from '../driver-noise.ts'
import { UsageError } from '../exit.ts'

/** What the user says of a network. What is undefined follows from the file. */
export interface ImportOptions extends NetworkFacts {
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
  const manifest = await loadManifest()
  if (options.name !== undefined) await checkId(options.name, manifest.networks, options.overwrite)
  const beside = (name: string) => readFile(join(dirname(path), name)).catch(() => undefined)
  const file = { name: basename(path), bytes, beside, external: filesBeside(path) }
  try {
    const network = await identifyNetwork(file, options, published ? [published] : manifest.published)
    if (options.name === undefined) await checkId(network.fields.id, manifest.networks, options.overwrite)
    const imported = await packTried(network, options.f16, () => openIfThere(options.gpu))
    const written = await writeNetwork(imported.packed, importFolder())
    const { entry } = imported.packed
    const report = [
      `${file.name}: ${summaryOf(network)}`,
      ...notesOf(network, options),
      ...strangerNotes(manifest.published, network.fields.source as ImportSource),
      ...precisionNotes(entry, imported, options),
      await useOf(entry),
    ]
    return { entry, path: written, report }
  } catch (error) {
    if (!(error instanceof NetworkFactsError)) throw error
    throw new UsageError(`${listed(error.facts.map(optionOf))} ${error.problem}`, { cause: error })
  }
}

/** The option by which the user says something of a network. */
const optionOf = (fact: string): string => (fact === 'size' ? '--input-size' : `--${fact}`)

async function openIfThere(name: string | undefined): Promise<Gpu | undefined> {
  try {
    return await openGpu(name)
  } catch (error) {
    if (error instanceof NoAdapterError) return undefined
    throw error
  }
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

async function checkId(id: string, embedded: readonly ManifestEntry[], overwrite: boolean): Promise<void> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(id) || id === 'manifest')
    throw new UsageError(`--name takes small letters, digits and dashes; got "${id}"`)
  if (embedded.some((entry) => entry.id === id))
    throw new UsageError(`"${id}" is one of lowkey-gpu's own networks: give the new one another name with --name`)
  const { entries } = await importedNetworks([importFolder()])
  if (!overwrite && entries.some((entry) => entry.id === id))
    throw new UsageError(`there is a network "${id}" already: --overwrite replaces it, --name gives another name`)
}

const millions = (count: number): string =>
  count < 1e5 ? `${count} parameters` : `${(count / 1e6).toFixed(1)} million parameters`

/** The network in a line. */
function summaryOf({ fields, called, contents, parameters, format }: IdentifiedNetwork): string {
  const numbers = fields.role === 'recogniser' ? `, ${fields.embedding} numbers a face` : ''
  const { architecture, input } = fields
  if (architecture === YUNET)
    return `${called}, a detector of faces, ${millions(parameters)}; a graph of ONNX, images of any size`
  const end =
    architecture === ONNX
      ? `images of ${input.height}x${input.width} pixels`
      : `${contents.tensors.size} tensors, ${format}`
  return `${called}, ${millions(parameters)}${numbers}; ${end}`
}

/** What else is to be known of the file: names, what was left out, and what was assumed of the pixels. */
function notesOf({ fields, prefix, leftOut }: IdentifiedNetwork, options: ImportOptions): string[] {
  const notes = leftOut.map((what) => `  left out: ${what}`)
  if (prefix !== '') notes.unshift(`  the names of its tensors begin with "${prefix}"`)
  if (fields.architecture !== ONNX) return notes
  if (options.colours && (options.range || options.mean || options.std)) return notes
  const { colours, range, mean, std } = fields.input
  return [
    ...notes,
    `  pixels: ${colours}, black..white as ${range.join('..')}, minus ${mean.join(',')}, divided by ${std.join(',')}` +
      ' (the file does not say; --colours, --range, --mean and --std do)',
  ]
}

/** That a file has the name of a published one and is another. */
function strangerNotes(published: readonly PublishedFile[], { file, sha256 }: ImportSource): string[] {
  const namesake = published.find(
    (each) => each.file === file && each.sha256 !== null && !sha256.startsWith(each.sha256),
  )
  return namesake
    ? [`  it is not the published ${file}, whose SHA-256 is ${namesake.sha256}: this one's is ${sha256}`]
    : []
}

/** In which precision a recogniser is stored, and why. */
function precisionNotes(
  { role }: ManifestEntry,
  { halves, tooLarge, trial }: ImportedNetwork,
  { f16 }: ImportOptions,
): string[] {
  if (role !== 'recogniser') return []
  const stored = `  stored in ${halves ? 'half' : 'single'} precision`
  if (!trial) return [`${stored}; without a GPU it was not tried out`]
  const on = adapterName(trial.gpu)
  const why = tooLarge === undefined ? '' : `: "${tooLarge}" holds numbers beyond half precision`
  if (f16 === 'no' || tooLarge !== undefined) return [`${stored}${why}; tried out on ${on}`]
  const change = `change by ${trial.deviation.toExponential(1)} in cosine on ${on}`
  return [halves ? `${stored}: embeddings ${change}` : `${stored}: in half precision embeddings would ${change}`]
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
