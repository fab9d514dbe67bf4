/** Stands in for what test files take of Node, where they run in a browser: files that the page fetched beforehand, by their names. */
import type { Photo } from '../../../src/images/index.ts'
import { entryOf, type Manifest, type Weights, weightsOf } from '../../../src/weights/registry.ts'

const files = new Map<string, Uint8Array>()

export async function fetchFiles(names: readonly string[]): Promise<void> {
  for (const name of names) files.set(name, new Uint8Array(await (await fetch(name)).arrayBuffer()))
}

const nameOf = (path: string): string => path.replace(/^.*\//, '')

const bytesOf = (path: string): Uint8Array => {
  const bytes = files.get(nameOf(path))
  if (!bytes) throw new Error(`${path} is not among the files of the page`)
  return bytes
}

export const existsSync = (path: string): boolean => files.has(nameOf(path))

export const readFileSync = (path: string, encoding?: string): unknown =>
  encoding ? new TextDecoder().decode(bytesOf(path)) : bytesOf(path)

export const join = (...parts: string[]): string => parts.join('/')

/** The photo whose samples are in NAME.rgb, `width` and `height` as u32 before them. */
export async function readPhoto(path: string): Promise<Pick<Photo, 'width' | 'height' | 'rgb'>> {
  const bytes = bytesOf(`${nameOf(path)}.rgb`)
  const [width, height] = new Uint32Array(bytes.slice(0, 8).buffer)
  return { width, height, rgb: bytes.slice(8) }
}

export async function loadWeights(id: string): Promise<Weights> {
  const manifest = JSON.parse(new TextDecoder().decode(bytesOf('manifest.json'))) as Manifest
  const entry = entryOf(manifest, id)
  return weightsOf(entry, bytesOf(`${id}.safetensors`), `${id}.safetensors`)
}
