/** Finds and reads the weights on this machine. The only network access in the project is in `npm.ts` and `fetch.ts`. */
import { existsSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { homeFolder } from '../files/folders.ts'
import { WeightsDamagedError, WeightsError, WeightsMissingError } from './errors.ts'
import { importedNetworks } from './imported.ts'
import { parseManifest } from './manifest.ts'
import { entryOf, type Manifest, type ManifestEntry, mismatch, sha256, type Weights, weightsOf } from './registry.ts'

/** What brings a missing or damaged file back, for messages. */
function remedy(entry: ManifestEntry): string {
  if (entry.source.kind === 'import')
    return `import ${entry.source.file} again, or run \`lowkey-gpu weights remove ${entry.id}\``
  if (entry.source.kind === 'repository')
    return `restore weights/${entry.file} from the repository, or reinstall lowkey-gpu`
  return 'run `npm run weights` in the folder of lowkey-gpu, or reinstall it'
}

/**
 * The package's own weights folder, the one with manifest.json: found upwards from this file, so that it is the same from
 * `src/weights/` and from the bundle in `dist/`.
 *
 * @throws WeightsMissingError if there is none
 */
export function weightsFolder(): string {
  const start = dirname(fileURLToPath(import.meta.url))
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'weights', 'manifest.json'))) return join(folder, 'weights')
    if (folder === dirname(folder)) {
      throw new WeightsMissingError('weights/manifest.json', `is not in ${start} or above it; reinstall lowkey-gpu`)
    }
  }
}

/** Where downloads are kept: LOWKEY_HOME, else XDG_CACHE_HOME/lowkey-gpu, else lowkey-gpu in the platform's cache folder. */
export function cacheFolder(): string {
  const { LOWKEY_HOME, XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (LOWKEY_HOME) return LOWKEY_HOME
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, 'lowkey-gpu')
  if (process.platform === 'darwin') return join(homeFolder(), 'Library', 'Caches', 'lowkey-gpu')
  if (process.platform === 'win32' && LOCALAPPDATA) return join(LOCALAPPDATA, 'lowkey-gpu')
  return join(homeFolder(), '.cache', 'lowkey-gpu')
}

/** Folders in which a network's file is looked for, in this order. The first file that is the right one is taken. */
export function weightsFolders(): string[] {
  const folders = [weightsFolder(), join(cacheFolder(), 'weights')]
  return process.env.LOWKEY_HOME ? folders.reverse() : folders
}

/**
 * Reads weights/manifest.json.
 *
 * @throws WeightsError if it is missing or not as it should be
 */
export async function loadManifest(): Promise<Manifest> {
  const file = join(weightsFolder(), 'manifest.json')
  return parseManifest(await readFile(file, 'utf8'), file)
}

/** Where imported networks are kept. */
export const importFolder = (): string => join(cacheFolder(), 'weights')

/**
 * All networks that there are entries for: those of the manifest, then those that were imported into one of the folders.
 *
 * @throws WeightsError if the manifest, or the entry of an imported network, is not as it should be
 */
export async function knownNetworks(folders: readonly string[] = weightsFolders()): Promise<ManifestEntry[]> {
  const { entries, damaged } = await importedNetworks(folders)
  if (damaged.length > 0)
    throw new WeightsDamagedError(damaged[0].file, damagedEntry(damaged[0]), { cause: damaged[0] })
  return [...(await loadManifest()).networks, ...entries]
}

/** What is wrong with the entry of an imported network, and what helps. */
const damagedEntry = ({ file, message }: WeightsError): string =>
  `${message.slice(`${file}: `.length)}; it should describe an imported network: import it again, or delete this file`

/** A file of the right name; `problem` says what is wrong with it, if something is. */
export interface FoundWeights {
  path: string
  bytes: Uint8Array
  problem?: string
}

/**
 * Looks for a network's file: the first in `folders` with the right SHA-256, else the first of that name, else undefined.
 *
 * @throws WeightsError if there is one that cannot be read, and no other
 */
export async function findWeights(
  entry: ManifestEntry,
  folders: readonly string[] = weightsFolders(),
): Promise<FoundWeights | undefined> {
  let damaged: FoundWeights | undefined
  let unread: WeightsError | undefined
  for (const folder of folders) {
    const path = join(folder, entry.file)
    let bytes: Uint8Array
    try {
      bytes = await readWhole(path)
    } catch (cause) {
      const { code = '' } = cause as NodeJS.ErrnoException
      if (['ENOENT', 'ENOTDIR'].includes(code)) continue
      unread ??= new WeightsError(path, `cannot be read (${(cause as Error).message})`, { cause })
      continue
    }
    const problem = await mismatch(entry, bytes)
    if (!problem) return { path, bytes }
    damaged ??= { path, bytes, problem }
  }
  if (!damaged && unread) throw unread
  return damaged
}

/** The most that is read at once; the system takes no more than 2 GiB. */
const READ_BYTES = 2 ** 30

/**
 * A file's bytes, in memory of their own. `readFile` asks for half a megabyte at a time, and each time the event loop has to come round,
 * which it does late while a GPU is opened or waited for.
 */
async function readWhole(path: string): Promise<Uint8Array<ArrayBuffer>> {
  await using file = await open(path)
  const bytes = new Uint8Array((await file.stat()).size)
  let length = 0
  while (length < bytes.length) {
    const { bytesRead } = await file.read(bytes, length, Math.min(READ_BYTES, bytes.length - length))
    if (bytesRead === 0) break // it was cut short meanwhile
    length += bytesRead
  }
  return bytes.subarray(0, length)
}

/**
 * Loads a network by its id, in the manifest or among the imported ones, and checks its SHA-256.
 *
 * @throws WeightsMissingError if its file is in none of the folders, WeightsDamagedError if it is not the right file;
 *   both say which command helps. WeightsError if there is no such network.
 */
export async function loadWeights(id: string, folders: readonly string[] = weightsFolders()): Promise<Weights> {
  const entry = entryOf({ networks: await knownNetworks(folders) }, id)
  const found = await findWeights(entry, folders)
  if (!found)
    throw new WeightsMissingError(entry.file, `is missing (looked in ${folders.join(', ')}): ${remedy(entry)}`)
  if (found.problem) throw new WeightsDamagedError(found.path, `${found.problem}: ${remedy(entry)}`)
  return weightsOf(entry, found.bytes, found.path)
}

/** What `weights verify` says about one network. `path`, `bytes` and `sha256` are those of the file that was found. */
export interface WeightsStatus {
  id: string
  title: string
  role: ManifestEntry['role']
  licence: string
  ok: boolean
  path?: string
  bytes?: number
  sha256?: string
  /** Why it is not ok, with what to do about it. */
  problem?: string
}

/** Checks the file of every network in the manifest, and of every imported one. */
export async function verifyWeights(folders: readonly string[] = weightsFolders()): Promise<WeightsStatus[]> {
  const statuses: WeightsStatus[] = []
  const { entries, damaged } = await importedNetworks(folders)
  for (const entry of [...(await loadManifest()).networks, ...entries]) {
    const { id, title, role, licence } = entry
    const found = await findWeights(entry, folders).catch((error: unknown) => {
      if (error instanceof WeightsError) return error
      throw error
    })
    if (found instanceof WeightsError) {
      const problem = found.message.slice(`${found.file}: `.length)
      statuses.push({ id, title, role, licence, ok: false, path: found.file, problem })
      continue
    }
    statuses.push({
      ...{ id, title, role, licence },
      ok: found !== undefined && !found.problem,
      path: found?.path,
      bytes: found?.bytes.length,
      sha256: found && (await sha256(found.bytes)),
      problem: found ? found.problem && `${found.problem}: ${remedy(entry)}` : `is missing: ${remedy(entry)}`,
    })
  }
  for (const error of damaged) {
    const id = basename(error.file, '.json')
    statuses.push({
      id,
      title: 'not known',
      role: 'recogniser',
      licence: 'not known',
      ok: false,
      path: error.file,
      problem: damagedEntry(error),
    })
  }
  return statuses
}
