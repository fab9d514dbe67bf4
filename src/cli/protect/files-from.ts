/** `--files-from`: paths that a file or standard input lists. */
import { readFile } from 'node:fs/promises'
import { addAbortSignal } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { PhotoError, whyUnread } from '../../images/index.ts'
import { UsageError } from '../exit.ts'
import { STREAM } from '../listing.ts'
import { type FilePath, pathOfBytes } from '../paths.ts'

/**
 * The paths in `file`, one a line, or each ended by a zero byte. `signal` ends the wait for standard input.
 *
 * @throws PhotoError where the list cannot be read, UsageError where it is empty
 */
export async function listedPaths(file: string, nullSeparated: boolean, signal: AbortSignal): Promise<FilePath[]> {
  const paths = pathsIn(await bytesOf(file, signal), nullSeparated)
  if (paths.length === 0) throw new UsageError(`--files-from ${file}: the list is empty`)
  return paths
}

async function bytesOf(file: string, signal: AbortSignal): Promise<Buffer> {
  if (file === STREAM) return buffer(addAbortSignal(signal, process.stdin))
  try {
    return await readFile(file)
  } catch (error) {
    const { problem, advice } = whyUnread(error)
    throw new PhotoError(file, problem, advice, { cause: error })
  }
}

/** Empty lines are no paths, and lines that were written on Windows end in a carriage return. */
function pathsIn(bytes: Buffer, nullSeparated: boolean): FilePath[] {
  const paths: FilePath[] = []
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(nullSeparated ? 0 : 0x0a, start)
    const end = found < 0 ? bytes.length : found
    const name = bytes.subarray(start, !nullSeparated && end > start && bytes[end - 1] === 0x0d ? end - 1 : end)
    if (name.length > 0) paths.push(pathOfBytes(name))
    start = end + 1
  }
  return paths
}
