/** The files of populations on this machine: the user's own, and the package's. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { WeightsDamagedError, WeightsError } from '../weights/errors.ts'
import { importFolder, weightsFolder } from '../weights/node.ts'
import {
  choosePopulations,
  openPopulations,
  type PopulationFile,
  type PopulationOwner,
  type Populations,
} from './population-file.ts'

export const POPULATIONS = 'populations.safetensors'

/** Where the file may lie, the user's own first: it has networks that the package's does not know. */
export const populationFolders = (): string[] => [...new Set([importFolder(), weightsFolder()])]

/**
 * The populations for these recognisers, of the first file that has one for each, else of the first that has one for any.
 * Throws WeightsError for a file that cannot be read, WeightsDamagedError for a damaged one, with what to do.
 */
export async function loadPopulations(
  recognisers: readonly PopulationOwner[],
  folders: readonly string[] = populationFolders(),
): Promise<Populations> {
  const files = await Promise.all(folders.map(readIfAllowed))
  return choosePopulations(
    files.filter((file) => file !== undefined),
    recognisers,
  )
}

/** The user's own file is no must: one in a folder that cannot be read is none. The package's is. */
async function readIfAllowed(folder: string): Promise<PopulationFile | undefined> {
  try {
    return await readPopulations(folder)
  } catch (error) {
    if (folder === weightsFolder() || error instanceof WeightsDamagedError) throw error
    return undefined
  }
}

/** The file of a folder; undefined where there is none. Throws as `loadPopulations` does. */
export async function readPopulations(folder: string): Promise<PopulationFile | undefined> {
  const path = join(folder, POPULATIONS)
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException
    if (['ENOENT', 'ENOTDIR'].includes(code)) return undefined
    throw new WeightsError(path, `cannot be read (${message})`, { cause })
  }
  try {
    return await openPopulations(bytes, path)
  } catch (cause) {
    if (!(cause instanceof WeightsError)) throw cause
    throw new WeightsDamagedError(path, `${cause.message.slice(`${path}: `.length)}: ${remedy(folder)}`, { cause })
  }
}

/** What `weights verify` says about a file of populations. `faces`, `components` and `recognisers` are what it holds. */
export interface PopulationStatus {
  id: 'populations'
  ok: boolean
  path: string
  sha256?: string
  faces?: number
  components?: number
  recognisers?: string[]
  /** Why it is not ok, with what to do about it. */
  problem?: string
}

/** Checks the package's file, and the user's own where there is one. */
export async function verifyPopulations(folders = populationFolders()): Promise<PopulationStatus[]> {
  const statuses: PopulationStatus[] = []
  for (const folder of folders) {
    const status = { id: 'populations', path: join(folder, POPULATIONS) } as const
    try {
      const file = await readIfAllowed(folder)
      if (file) {
        const { faces, components, sha256 } = file
        statuses.push({ ...status, ok: true, sha256, faces, components, recognisers: [...file.recognisers.keys()] })
      } else if (folder === weightsFolder()) {
        statuses.push({ ...status, ok: false, problem: `is missing: ${remedy(folder)}` })
      }
    } catch (error) {
      if (!(error instanceof WeightsError)) throw error
      statuses.push({ ...status, ok: false, problem: error.message.slice(`${error.file}: `.length) })
    }
  }
  return statuses
}

/** What brings the file of a folder back, for messages. */
const remedy = (folder: string): string =>
  folder === weightsFolder()
    ? `restore weights/${POPULATIONS} from the repository, or reinstall lowkey-gpu`
    : 'run `lowkey-gpu weights population FOLDER` again, or delete this file'
