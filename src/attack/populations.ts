/** The file of populations in the weights folders. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { weightsFolders } from '../weights/node.ts'
import { readSafetensors, SafetensorsError } from '../weights/safetensors.ts'
import type { Population } from './directions.ts'

export const POPULATIONS = 'populations.safetensors'

let loaded: Promise<Map<string, Population>> | undefined

/**
 * Populations by recogniser, of the first weights folder that has them. All are of one file, because only those that were found
 * together fit together. Throws SafetensorsError for a damaged file.
 */
export function loadPopulations(): Promise<Map<string, Population>> {
  return (loaded ??= readPopulations())
}

async function readPopulations(): Promise<Map<string, Population>> {
  for (const folder of weightsFolders()) {
    const path = join(folder, POPULATIONS)
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
      throw error
    })
    if (bytes) return populationsIn(bytes, path)
  }
  return new Map()
}

/** Reads tensors ID.mean [length] and ID.components [count,length]. */
function populationsIn(bytes: Uint8Array, path: string): Map<string, Population> {
  const { tensors } = readSafetensors(bytes, path)
  const floats = (name: string): Float32Array => {
    const stored = tensors.get(name)
    if (!(stored?.data instanceof Float32Array)) throw new SafetensorsError(path, `has no tensor "${name}" of floats`)
    return stored.data
  }
  const ids = [...tensors.keys()].flatMap((name) => (name.endsWith('.mean') ? [name.slice(0, -'.mean'.length)] : []))
  return new Map(ids.map((id) => [id, { mean: floats(`${id}.mean`), components: floats(`${id}.components`) }]))
}
