/** The page from the files of an installation: its code from the build, its networks from the weights, HEIC's decoder from its package. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { DEFAULT_SURROGATES } from '../attack/node.ts'
import { POPULATIONS } from '../attack/populations.ts'
import { WeightsError } from '../weights/errors.ts'
import { loadWeights, weightsFolder } from '../weights/node.ts'
import { carried, carriedNetworks, type PageParts } from './assemble.ts'
import type { PartName } from './parts.ts'

/** Detector and LPIPS, then the recognisers: what ships. */
const NETWORKS = ['mtcnn', 'lpips-alex-scratch', ...DEFAULT_SURROGATES]

/** Files of the build that are parts as they are, and those that are carried deflated. */
const PICTURES = {
  'sample-before': 'face-before.jpg',
  'sample-low': 'face-low.jpg',
  'sample-medium': 'face-medium.jpg',
  'sample-high': 'face-high.jpg',
} as const
const DEFLATED = { worker: 'worker.js', jpeg: 'jpeg.wasm', heif: 'heif.js' } as const

/** The parts of the page were not built, or not copied along. */
export class PagePartsError extends Error {
  override name = 'PagePartsError'
}

/**
 * Reads all parts; networks are packed, which takes some seconds.
 * Throws PagePartsError where the build lacks a file, WeightsError as `loadWeights` does.
 *
 * @param folder of the page's code, `dist/page-parts`
 * @returns the parts, and what the page will lack, in words
 */
export async function readPageParts(folder: string): Promise<{ parts: PageParts; lacking: string[] }> {
  const file = async (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    try {
      return new Uint8Array(await readFile(join(folder, name)))
    } catch (cause) {
      throw new PagePartsError(
        `${join(folder, name)} cannot be read: run \`npm run build\`, or install lowkey-gpu again`,
        { cause },
      )
    }
  }
  const text = async (name: string) => new TextDecoder().decode(await file(name))
  const data = new Map<PartName, Uint8Array<ArrayBuffer>>()
  for (const [name, source] of Object.entries(PICTURES)) data.set(name as PartName, await file(source))
  for (const [name, source] of Object.entries(DEFLATED)) data.set(name as PartName, await carried(await file(source)))
  const lacking: string[] = []
  const heif = heifFolder()
  if (heif) {
    data.set('libheif-js', await carried(await readFile(join(heif, 'libheif.js'))))
    data.set('libheif', await carried(await readFile(join(heif, 'libheif.wasm'))))
  } else {
    data.delete('heif')
    lacking.push(
      'HEIC photos cannot be read in it: the package libheif-js is not installed (npm install libheif-js@1.23)',
    )
  }
  data.set('networks', await networks())
  return { parts: { script: await text('page.js'), styles: await text('page.css'), data }, lacking }
}

async function networks(): Promise<Uint8Array<ArrayBuffer>> {
  const weights = await Promise.all(NETWORKS.map((id) => loadWeights(id)))
  const path = join(weightsFolder(), POPULATIONS)
  const populations = await readFile(path).catch((cause: Error) => {
    throw new WeightsError(path, `cannot be read (${cause.message})`, { cause })
  })
  return new Uint8Array(await carriedNetworks(weights, populations))
}

/** The folder of libheif's WebAssembly; undefined where the package is not installed. */
function heifFolder(): string | undefined {
  try {
    const folder = join(dirname(createRequire(import.meta.url).resolve('libheif-js/package.json')), 'libheif-wasm')
    return existsSync(join(folder, 'libheif.wasm')) ? folder : undefined
  } catch {
    return undefined
  }
}
