/** Batches of crops. All that is random follows from the seed and the number of the batch, so that a run can be gone on with anywhere. */
import { type Affine, type AlignmentName, alignmentOf, referenceLandmarks112, uniformNoise } from 'lowkey-gpu'
import { blurred, throughJpeg } from 'lowkey-gpu/node'
import { CANVAS, type Canvases, canvasOf, MARGIN } from './crops.ts'
import type { Run } from './options.ts'

export interface Batch {
  /** Which ones they are, [N]. */
  photos: Float32Array
  /** What teachers see, [N,3,128,128] in 0..1. */
  canvases: Float32Array
  /** What the student sees: the same, some through JPEG or blurred. */
  degraded: Float32Array
  /** From the pixels of a crop to those of its canvas, [N,6] as `affineWarp` takes them. */
  maps: Map<AlignmentName, Float32Array>
  /** Factors of the brightness, [N]. */
  light: Float32Array
  /** Where the change of the crops begins, uniform in -1..1, [N,3,side,side]. */
  noise: Float32Array
}

/** What random numbers are for: each use has a stream of its own. */
const STREAMS = { order: 1, geometry: 2, quality: 3, noise: 4 } as const

const random = (seed: number, stream: keyof typeof STREAMS, index: number, count: number): Float32Array =>
  uniformNoise((seed * 8 + STREAMS[stream]) * 1_000_003 + index, count, 1)

/** The n-th batch; the photos come in an order that is new with every round, each once a round. */
export async function batchOf(
  canvases: Canvases,
  run: Run,
  n: number,
  alignments: readonly AlignmentName[],
  side: number,
) {
  const { batch, seed } = run
  const photos = Array.from({ length: batch }, (_, i) => photoAt(canvases.names.length, seed, n * batch + i))
  const geometry = random(seed, 'geometry', n, 5 * batch)
  const quality = random(seed, 'quality', n, 3 * batch)
  const made: Batch = {
    photos: Float32Array.from(photos),
    canvases: new Float32Array(batch * 3 * CANVAS * CANVAS),
    degraded: new Float32Array(batch * 3 * CANVAS * CANVAS),
    maps: new Map(alignments.map((alignment) => [alignment, new Float32Array(6 * batch)])),
    light: new Float32Array(batch),
    noise: random(seed, 'noise', n, batch * 3 * side * side),
  }
  for (const [i, photo] of photos.entries()) {
    const rgb = canvasOf(canvases, photo)
    place(rgb, made.canvases, i)
    place(await degrade(rgb, run, quality.subarray(3 * i, 3 * i + 3)), made.degraded, i)
    const [dx, dy, size, mirror, light] = geometry.subarray(5 * i, 5 * i + 5)
    const scale = 1 + run.scale * size
    const moved = varied(scale, mirror > 0, run.shift * dx, run.shift * dy)
    for (const [alignment, maps] of made.maps) maps.set(after(moved, toTemplate(alignment)), 6 * i)
    made.light[i] = 1 + run.light * light
  }
  return made
}

/** The photo that comes k-th. */
function photoAt(count: number, seed: number, k: number): number {
  const round = Math.floor(k / count)
  if (ordered?.key !== `${count} ${seed} ${round}`) {
    const keys = random(seed, 'order', round, count)
    ordered = { key: `${count} ${seed} ${round}`, order: Array.from(keys.keys()).sort((a, b) => keys[a] - keys[b]) }
  }
  return ordered.order[k % count]
}
let ordered: { key: string; order: number[] } | undefined

async function degrade(rgb: Uint8Array, { jpeg, blur }: Run, numbers: Float32Array): Promise<Uint8Array> {
  const [first, second, strength] = numbers.map((v) => (v + 1) / 2)
  let photo = { width: CANVAS, height: CANVAS, rgb }
  if (second < blur) photo = await blurred(photo, 0.3 + 1.2 * strength)
  if (first < jpeg) photo = await throughJpeg(photo, Math.round(30 + 60 * strength))
  return photo.rgb
}

/** Interleaved bytes as the planes of the i-th image, in 0..1. */
export function place(rgb: Uint8Array, planes: Float32Array, i: number): void {
  const plane = CANVAS * CANVAS
  for (let p = 0; p < plane; p++) for (let c = 0; c < 3; c++) planes[(3 * i + c) * plane + p] = rgb[3 * p + c] / 255
}

/** From the template's pixels to a canvas's: scaled and mirrored about the middle, then shifted. */
function varied(scale: number, mirrored: boolean, dx: number, dy: number): Affine {
  const across = mirrored ? -scale : scale
  return [across, 0, 56 - across * 56 + dx + MARGIN, 0, scale, 56 - scale * 56 + dy + MARGIN]
}

/** From the template's pixels to those of a canvas, nothing varied, as a row for each of so many crops. */
export function plainMaps(alignment: AlignmentName, count: number): Float32Array {
  const map = after(varied(1, false, 0, 0), toTemplate(alignment))
  return Float32Array.from({ length: 6 * count }, (_, i) => map[i % 6])
}

/** From a crop's pixels to the template's. A face whose five landmarks fit the template has its eyes where they are there. */
const toTemplate = (alignment: AlignmentName): Affine => inverse(alignmentOf(alignment, referenceLandmarks112))

/** First the second map, then the first. */
const after = ([a, b, tx, c, d, ty]: Affine, [e, f, ux, g, h, uy]: Affine): Affine => [
  a * e + b * g,
  a * f + b * h,
  a * ux + b * uy + tx,
  c * e + d * g,
  c * f + d * h,
  c * ux + d * uy + ty,
]

function inverse([a, b, tx, c, d, ty]: Affine): Affine {
  const det = a * d - b * c
  return [d / det, -b / det, (b * ty - d * tx) / det, -c / det, a / det, (c * tx - a * ty) / det]
}
