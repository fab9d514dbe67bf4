/** The format of the file of populations, and which of several files is taken. */
import { WeightsDamagedError } from '../weights/errors.ts'
import { type RecogniserEntry, sha256 } from '../weights/registry.ts'
import { readSafetensors, type WritableTensor, writeSafetensors } from '../weights/safetensors.ts'
import type { Population } from './directions.ts'

/** A population, and the SHA-256 of the weights of the recogniser in whose space it lies. */
export interface RecogniserPopulation {
  sha256: string
  population: Population
}

/** What a file of populations holds, all found together. */
export interface PopulationFile {
  path: string
  /** Of the whole file. */
  sha256: string
  /** Faces that they were found from, and components that were kept of each. */
  faces: number
  components: number
  recognisers: ReadonlyMap<string, RecogniserPopulation>
}

/** In the place of the checksum while the file's own is computed. */
const NO_CHECKSUM = '0'.repeat(64)

/**
 * Makes a file: tensors ID.mean [embedding] and ID.components [count,embedding] in half precision; beside them `faces`, `components`,
 * the SHA-256 of each recogniser's weights, and `checksum`, that of the file with zeros in its place.
 * Throws SafetensorsError where a population is not as large as it should be.
 */
export async function packPopulations({
  path,
  faces,
  components,
  recognisers,
}: Omit<PopulationFile, 'sha256'>): Promise<Uint8Array<ArrayBuffer>> {
  const tensors = new Map<string, WritableTensor>()
  const hashes: [string, string][] = []
  for (const [id, { sha256: weights, population }] of recognisers) {
    const { mean, components: rows } = population
    tensors.set(`${id}.mean`, { shape: [mean.length], data: mean, dtype: 'F16' })
    tensors.set(`${id}.components`, { shape: [components, mean.length], data: rows, dtype: 'F16' })
    hashes.push([`sha256.${id}`, weights])
  }
  const metadata = { checksum: NO_CHECKSUM, faces: `${faces}`, components: `${components}` }
  const bytes = writeSafetensors(tensors, { ...metadata, ...Object.fromEntries(hashes) }, path)
  return replaced(bytes, NO_CHECKSUM, await sha256(bytes))
}

/** Opens a file. Throws WeightsError naming it and what is wrong: not one bit may be another than when it was made. */
export async function openPopulations(bytes: Uint8Array, path: string): Promise<PopulationFile> {
  const fail = (problem: string): never => {
    throw new WeightsDamagedError(path, problem)
  }
  const { tensors, metadata } = readSafetensors(bytes, path)
  const { checksum = '' } = metadata
  if (!/^[0-9a-f]{64}$/.test(checksum)) fail('is no file of populations: it has no checksum')
  if ((await sha256(replaced(bytes, checksum, NO_CHECKSUM))) !== checksum) fail('has another SHA-256 than it says')

  const whole = (name: string): number => {
    const value = Number(metadata[name])
    return Number.isSafeInteger(value) && value > 0 ? value : fail(`does not say how many ${name} there are`)
  }
  const [faces, components] = [whole('faces'), whole('components')]
  const floats = (name: string, shape: readonly (number | undefined)[]): Float32Array => {
    const tensor = tensors.get(name)
    if (!(tensor?.data instanceof Float32Array && tensor.data.every(Number.isFinite))) {
      return fail(`has no tensor "${name}" of finite floats`)
    }
    if (tensor.shape.length !== shape.length || shape.some((n, i) => n !== undefined && n !== tensor.shape[i])) {
      fail(`tensor "${name}" has shape [${tensor.shape}]`)
    }
    return tensor.data
  }
  const recognisers = new Map<string, RecogniserPopulation>()
  for (const [name, hash] of Object.entries(metadata)) {
    if (!name.startsWith('sha256.')) continue
    const id = name.slice('sha256.'.length)
    const mean = floats(`${id}.mean`, [undefined])
    const rows = floats(`${id}.components`, [components, mean.length])
    recognisers.set(id, { sha256: hash, population: { mean, components: rows } })
  }
  if (recognisers.size === 0) fail('has no population')
  return { path, sha256: await sha256(bytes), faces, components, recognisers }
}

/** The same bytes with one text, where it comes first, in the place of another of its length. */
function replaced(bytes: Uint8Array, text: string, by: string): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes)
  // One character a byte.
  copy.set(new TextEncoder().encode(by), new TextDecoder('latin1').decode(bytes).indexOf(text))
  return copy
}

/** The populations for some recognisers. */
export interface Populations {
  /** By recogniser. All are of one file, because only those that were found together fit together. */
  known: ReadonlyMap<string, Population>
  /** For each recogniser that has none: why, and what helps, in words. */
  lacking: ReadonlyMap<string, string>
  /** SHA-256 of the file that they are of; undefined where none is known. */
  sha256: string | undefined
}

/** Whose populations are asked for. */
export type PopulationOwner = Pick<RecogniserEntry, 'id' | 'sha256'>

/**
 * Of the first file that has a population for every recogniser, else of the first that has one for any. One that was found with other
 * weights than the recogniser's counts as none.
 */
export function choosePopulations(
  files: readonly PopulationFile[],
  recognisers: readonly PopulationOwner[],
): Populations {
  const has = (file: PopulationFile, { id, sha256 }: PopulationOwner) => file.recognisers.get(id)?.sha256 === sha256
  const chosen =
    files.find((file) => recognisers.every((each) => has(file, each))) ??
    files.find((file) => recognisers.some((each) => has(file, each)))
  const known = new Map<string, Population>()
  const lacking = new Map<string, string>()
  for (const each of recognisers) {
    const { id } = each
    if (chosen && has(chosen, each)) known.set(id, chosen.recognisers.get(id)!.population)
    else lacking.set(id, `${whyNone(each)}; \`lowkey-gpu weights population FOLDER\` makes one`)
  }
  return { known, lacking, sha256: chosen?.sha256 }

  function whyNone(owner: PopulationOwner): string {
    const apart = files.find((file) => has(file, owner))
    if (apart) return `the population of "${owner.id}" in ${apart.path} does not fit to those in ${chosen!.path}`
    const other = files.find((file) => file.recognisers.has(owner.id))
    if (other) return `the population of "${owner.id}" in ${other.path} was found with other weights`
    return `there is no population of "${owner.id}"`
  }
}
