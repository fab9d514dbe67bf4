/** Files of weights come to their place whole, or not at all. */
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../files/folders.ts'
import { WeightsError } from './errors.ts'

/**
 * Writes a file beside its final name, then renames it: a file that has its name is whole. Makes the folder if it is not there, and
 * replaces a file of that name.
 *
 * @throws WeightsError naming the path and the reason, if it cannot be written
 */
export async function placeFile(bytes: Uint8Array | string, folder: string, file: string): Promise<void> {
  const part = join(folder, `.${file}.${process.pid}.part`)
  try {
    makeFolder(folder)
    await writeFile(part, bytes)
    await rename(part, join(folder, file))
  } catch (cause) {
    // What kept it from being written may keep it from being removed; the first reason is the one to report.
    await rm(part, { force: true }).catch(() => {})
    throw new WeightsError(join(folder, file), `cannot be written (${(cause as Error).message})`, { cause })
  }
}
