/** ONNX models on this machine's disk. */

import { readFileSync, realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import { WeightsError } from './errors.ts'
import { readOnnx } from './onnx.ts'
import type { OnnxModel } from './onnx-model.ts'
import type { ExternalData } from './onnx-tensor.ts'

/** Files beside a model, in its folder and below. A link that leads out of the folder is not followed. */
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

/**
 * Reads a model and the files beside it in which it keeps constants.
 *
 * @throws WeightsError if the file cannot be read, OnnxError if it is no model that can be
 */
export async function openOnnx(path: string): Promise<OnnxModel> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw new WeightsError(path, `cannot be read (${(cause as Error).message})`, { cause })
  }
  return readOnnx(bytes, basename(path), filesBeside(path))
}
