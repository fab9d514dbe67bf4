import type sharpModule from 'sharp'
import { ImageSupportError } from './errors.ts'

export type Sharp = typeof sharpModule

/**
 * The `sharp` package, loaded when a picture is first read or written: it is an optional dependency with a native
 * part, so everything that needs no picture files must work without it.
 *
 * @throws {ImageSupportError} it is not installed, or its native part does not run on this platform
 */
export async function loadSharp(): Promise<Sharp> {
  try {
    return (await import('sharp')).default
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND'
    throw new ImageSupportError(
      missing
        ? 'reading and writing photos needs the package sharp, which is not installed: run `npm install sharp@0.35` ' +
            '(it is an optional dependency, which `npm install --omit=optional` leaves out)'
        : `reading and writing photos needs the package sharp, which does not start on ${process.platform}-${process.arch}: ` +
            `run \`npm install --include=optional sharp@0.35\` on this machine (${firstLine(cause)})`,
      { cause },
    )
  }
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error)
    .trim()
    .split('\n')[0]
}
