import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf, whyUnwritten } from './errno.ts'
import { OutputError } from './errors.ts'
import { shown } from './shown.ts'

const writeAll = promisify(fs.writeFile)
const sync = promisify(fs.fsync)

const pending = new Set<string>()

/** Temporary files that exist at this moment. */
export const pendingFiles: ReadonlySet<string> = pending

/**
 * Deletes all temporary files at once, synchronously. It runs by itself when the process ends through `process.exit` or
 * an uncaught error; a handler of SIGINT or SIGTERM has to call it, or `process.exit`.
 */
export function removePendingFiles(): void {
  for (const path of [...pending]) discard(path)
}

/**
 * Writes a file so that at `path` there is either the whole file or what was there before: into a temporary file in the
 * same folder, to the disk, then under its name. Without `overwrite` an existing file stays also where another process
 * creates it meanwhile. Folders are not created.
 *
 * @param mode permissions of a file, from which the process's umask is taken
 *
 * @throws {OutputError} naming the path and what to do; the temporary file is gone then
 */
export async function writeFileAtomically(
  path: string,
  bytes: Uint8Array,
  { overwrite = false, mode = 0o666 }: { overwrite?: boolean; mode?: number } = {},
): Promise<void> {
  // Not named after the result, whose name may already have the greatest length allowed.
  const temporary = join(dirname(path), `.lowkey-${randomBytes(8).toString('hex')}.part`)
  try {
    refuseExisting(path, overwrite)
    // Only the bytes are written asynchronously. Everything that makes, names or deletes a file is synchronous, so that
    // no handler of a signal can run between a change and the note of it.
    const file = create(temporary, mode)
    try {
      await writeAll(file, bytes)
      await sync(file)
    } finally {
      fs.closeSync(file)
    }
    if (!pending.has(temporary)) throw new OutputError(path, 'interrupted', 'was not written: interrupted')
    if (overwrite) fs.renameSync(temporary, path)
    else nameNew(temporary, path)
  } catch (error) {
    throw error instanceof OutputError ? error : outputError(path, error)
  } finally {
    discard(temporary)
  }
}

function create(path: string, mode: number): number {
  const file = fs.openSync(path, 'wx', mode)
  if (pending.size === 0) process.on('exit', removePendingFiles)
  pending.add(path)
  return file
}

function discard(path: string): void {
  if (!pending.delete(path)) return
  if (pending.size === 0) process.off('exit', removePendingFiles)
  fs.rmSync(path, { force: true })
}

/** Found out before the bytes are written; `nameNew` is what guarantees it. */
function refuseExisting(path: string, overwrite: boolean): void {
  const there = fs.lstatSync(path, { throwIfNoEntry: false })
  if (there?.isDirectory()) throw new OutputError(path, 'is-folder', 'is a folder: give the name of a file')
  if (there && !overwrite) throw outputError(path, { code: 'EEXIST' })
}

/** Gives a file a name that must be free: `link` fails where it exists, `rename` would replace what is there. */
function nameNew(temporary: string, path: string): void {
  try {
    fs.linkSync(temporary, path)
  } catch (error) {
    // FAT, some network drives and Android have no hard links: hold the name with an empty file, then replace that.
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EACCES'].includes(codeOf(error))) throw error
    fs.closeSync(fs.openSync(path, 'wx', 0o600))
    try {
      fs.renameSync(temporary, path)
    } catch (failed) {
      fs.rmSync(path, { force: true })
      throw failed
    }
  }
}

function outputError(path: string, cause: unknown): OutputError {
  const { problem, detail } = whyUnwritten(cause, shown(dirname(path)))
  return new OutputError(path, problem, detail, { cause })
}
