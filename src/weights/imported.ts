/**
 * Networks that the user brought. Each is two files in a folder of weights: `ID.safetensors`, and `ID.json` with an entry like those of
 * the manifest. The entry is written last and removed first, so that there is never one without its file.
 */
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { WeightsError } from './errors.ts'
import { parseImported } from './manifest.ts'
import type { PackedNetwork } from './network-file.ts'
import { placeFile } from './place.ts'
import type { ManifestEntry } from './registry.ts'

/** The manifest lies in a folder of weights, too. */
const MANIFEST = 'manifest.json'

/**
 * What the folders hold: entries by the order of their ids, files that should be entries and are not, and folders that are there and
 * cannot be read: nothing that is needed has to lie in one.
 */
export interface ImportedNetworks {
  entries: ManifestEntry[]
  damaged: WeightsError[]
  unread: WeightsError[]
}

/** Reads the entries in these folders. Of two with one id the first folder's counts. */
export async function importedNetworks(folders: readonly string[]): Promise<ImportedNetworks> {
  const entries = new Map<string, ManifestEntry>()
  const damaged: WeightsError[] = []
  const unread: WeightsError[] = []
  for (const folder of folders) {
    const names = await entryFiles(folder).catch((error: unknown) => {
      if (!(error instanceof WeightsError)) throw error
      unread.push(error)
      return []
    })
    for (const name of names) {
      const path = join(folder, name)
      try {
        const entry = parseImported(await readFile(path, 'utf8'), path)
        if (name !== `${entry.id}.json`) throw new WeightsError(path, `describes ${entry.id}; its name must be that`)
        if (!entries.has(entry.id)) entries.set(entry.id, entry)
      } catch (error) {
        damaged.push(error instanceof WeightsError ? error : new WeightsError(path, `cannot be read (${error})`))
      }
    }
  }
  return { entries: [...entries.values()].sort((a, b) => (a.id < b.id ? -1 : 1)), damaged, unread }
}

/** @throws WeightsError if the folder is there but cannot be read */
async function entryFiles(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => /^[a-z0-9][a-z0-9-]*\.json$/.test(name) && name !== MANIFEST)
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException
    if (['ENOENT', 'ENOTDIR'].includes(code)) return []
    throw new WeightsError(folder, `cannot be read (${message})`, { cause })
  }
}

/**
 * Writes a network and its entry into a folder and replaces one of the same id.
 *
 * @returns the path of the network's file
 * @throws WeightsError if a file cannot be written
 */
export async function writeNetwork({ entry, bytes }: PackedNetwork, folder: string): Promise<string> {
  const file = `${entry.id}.json`
  try {
    await rm(join(folder, file), { force: true })
  } catch (cause) {
    throw new WeightsError(join(folder, file), `cannot be replaced (${(cause as Error).message})`, { cause })
  }
  await placeFile(bytes, folder, entry.file)
  await placeFile(`${JSON.stringify(entry, undefined, 2)}\n`, folder, file)
  return join(folder, entry.file)
}

/**
 * Deletes an imported network.
 *
 * @returns the files that were deleted; none if there is no network of that id in the folder
 * @throws WeightsError if a file cannot be deleted
 */
export async function removeImported(id: string, folder: string): Promise<string[]> {
  const removed: string[] = []
  const names = await entryFiles(folder)
  if (!names.includes(`${id}.json`)) return []
  for (const path of [join(folder, `${id}.json`), join(folder, `${id}.safetensors`)]) {
    try {
      await rm(path)
      removed.push(path)
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      if (code !== 'ENOENT') throw new WeightsError(path, `cannot be deleted (${message})`, { cause })
    }
  }
  return removed
}
