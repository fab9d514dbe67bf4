/** From folders of photos to canvases: faces aligned to ArcFace's template with a margin, so that crops can be moved about in them. */
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { type Affine, align112, cropFace, detectFaces, type Gpu, mtcnnNetworks, type Pixels } from 'lowkey-gpu'
import { loadWeights, PhotoError, readPhoto, writeFileAtomically } from 'lowkey-gpu/node'
import { centre } from '../train/people.ts'

/** Side of a canvas in pixels. ArcFace's template of 112x112 lies in its middle. */
export const CANVAS = 128
export const MARGIN = (CANVAS - 112) / 2
const BYTES = 3 * CANVAS * CANVAS

export interface Canvases {
  /** Files, relative to the folder. */
  names: string[]
  /** Interleaved RGB, [names][128][128][3] */
  rgb: Uint8Array
}

/** The canvas of a photo, interleaved RGB. */
export const canvasOf = ({ rgb }: Canvases, i: number): Uint8Array => rgb.subarray(i * BYTES, (i + 1) * BYTES)

interface Wanted {
  folder: string
  align: 'mtcnn' | 'centre'
  /** At most so many files, spread evenly over all; 0 for all. */
  most: number
}

/** Canvases of a folder, from `cache` where it was written for the same, else made and kept there. Photos without a face are named. */
export async function readCanvases(gpu: Gpu, wanted: Wanted, cache: string): Promise<Canvases> {
  const files = everyOf(await photosBelow(wanted.folder), wanted.most || Number.POSITIVE_INFINITY)
  const { folder, align: how } = wanted
  const key = JSON.stringify({ folder, how, files })
  const known = await cached(cache, key)
  if (known) return known
  const canvases: Uint8Array[] = []
  const names: string[] = []
  using detector = wanted.align === 'mtcnn' ? await mtcnnNetworks(gpu, await loadWeights('mtcnn')) : undefined
  const align = detector ? (photo: Pixels) => byCentralFace(detector, photo) : centre
  for (const [i, name] of files.entries()) {
    if (i > 0 && i % 500 === 0) console.log(`${i} of ${files.length} photos read`)
    const canvas = await readCanvas(join(wanted.folder, name), align)
    if (!canvas) continue
    names.push(name)
    canvases.push(canvas)
  }
  const rgb = new Uint8Array(BYTES * names.length)
  canvases.forEach((canvas, i) => {
    rgb.set(canvas, i * BYTES)
  })
  await writeFileAtomically(`${cache}.rgb`, rgb, { overwrite: true })
  const head = new TextEncoder().encode(JSON.stringify({ key, names }))
  await writeFileAtomically(`${cache}.json`, head, { overwrite: true })
  return { names, rgb }
}

async function cached(cache: string, key: string): Promise<Canvases | undefined> {
  try {
    const known = JSON.parse(await readFile(`${cache}.json`, 'utf8')) as { key: string; names: string[] }
    const rgb = new Uint8Array(await readFile(`${cache}.rgb`))
    return known.key === key && rgb.length === BYTES * known.names.length ? { names: known.names, rgb } : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function byCentralFace(detector: Parameters<typeof detectFaces>[0], photo: Pixels): Promise<Affine | undefined> {
  const { width, height } = photo
  const faces = await detectFaces(detector, photo, { minFace: 40 })
  if (faces.length === 0) return undefined
  const off = ({ box: [x1, y1, x2, y2] }: (typeof faces)[number]) => Math.hypot(x1 + x2 - width, y1 + y2 - height)
  return align112(faces.reduce((a, b) => (off(b) < off(a) ? b : a)).landmarks)
}

async function readCanvas(
  path: string,
  align: (photo: Pixels) => Promise<Affine | undefined>,
): Promise<Uint8Array | undefined> {
  try {
    const photo = await readPhoto(path)
    const map = await align(photo)
    if (map) {
      const [a, b, tx, c, d, ty] = map
      const planes = cropFace(photo, [a, b, tx + MARGIN, c, d, ty + MARGIN], CANVAS)
      const plane = CANVAS * CANVAS
      return Uint8Array.from({ length: BYTES }, (_, i) => Math.round(255 * planes[(i % 3) * plane + Math.floor(i / 3)]))
    }
    console.error(`${path}: no face found; left out`)
  } catch (error) {
    if (!(error instanceof PhotoError)) throw error
    console.error(`${error.message}; left out`)
  }
  return undefined
}

async function photosBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  return entries
    .filter((entry) => entry.isFile() && /\.(png|jpe?g|webp|avif|tiff?)$/i.test(entry.name))
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name)).split(sep).join('/'))
    .sort()
}

/** At most so many, spread evenly over all. */
export function everyOf<T>(all: readonly T[], most: number): T[] {
  const count = Math.min(most, all.length)
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)])
}
