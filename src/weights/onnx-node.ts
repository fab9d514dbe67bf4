/** Files beside an ONNX model on this machine's disk. */
import { readFileSync, realpathSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import type { ExternalData } from './onnx-tensor.ts'

/**
 * Gives the files in which the model of this path keeps constants: those in its folder and below, read once. A link that leads out of
 * the folder is not followed; a file that cannot be read is not there.
 */
export function filesBeside(path: string): ExternalData {
  const files = new Map<string, Uint8Array | undefined>()
  return (location) => {
    if (!files.has(location)) files.set(location, readBeside(dirname(path), location))
    return files.get(location)
  }
}

function readBeside(folder: string, location: string): Uint8Array | undefined {
  try {
    const real = realpathSync(join(folder, location))
    return real.startsWith(realpathSync(folder) + sep) ? readFileSync(real) : undefined
  } catch {
    return undefined
  }
}
