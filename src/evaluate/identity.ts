/** Keys of results that are kept: equal only where the same program would compute the same again. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Pixels } from '../pixels/pixels.ts'

/** The first 32 hexadecimal digits of the SHA-256 of values as JSON. */
export const keyOf = (...values: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(values)).digest('hex').slice(0, 32)

/** The same of the bytes of numbers. */
export const keyOfNumbers = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
  createHash('sha256')
    .update(new Uint8Array(buffer, byteOffset, byteLength))
    .digest('hex')
    .slice(0, 32)

/** What a photo shows, whatever file it is in: a key of its size and pixels. */
export function contentOf({ width, height, rgb }: Pixels): string {
  return createHash('sha256').update(`${width}x${height} `).update(rgb).digest('hex').slice(0, 32)
}

/**
 * What the code of a part of the program is: where it runs from its sources, a key of those files, so that work on it does not take up
 * results of before; in a release the version says it.
 * @param folder in `src`
 * @param isPart whether a file of the folder, by name, belongs to the part
 */
export function codeOf(folder: string, isPart: (file: string) => boolean, programVersion: string): string {
  const here = fileURLToPath(import.meta.url)
  if (!here.endsWith('.ts')) return programVersion
  const path = join(here, '../..', folder)
  const files = readdirSync(path).filter((file) => file.endsWith('.ts') && isPart(file))
  return keyOf(files.sort().map((file) => [file, readFileSync(join(path, file), 'utf8')]))
}
