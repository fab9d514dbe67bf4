/** Pictures to look at: the photo small, and before, after and the difference of the whole photo and of each face. */
import { encodeJpeg } from './encode.ts'
import type { Rgb, View } from './protocol.ts'

/** Longest side in pixels. */
const PREVIEW = 1000
const CROP = 560
/** The face's box with this part of its longer side around it. */
const MARGIN = 0.45
/** What differences are multiplied by. */
const GAIN = 8
const QUALITY = 90

/** left, top, right and bottom in pixels. */
type Part = readonly [number, number, number, number]

const blobOf = async (picture: Rgb): Promise<Blob> =>
  new Blob([await encodeJpeg(picture, false, QUALITY)], { type: 'image/jpeg' })

/** The whole photo, small. */
export const previewOf = (photo: Rgb): Promise<Blob> =>
  blobOf(scaled(photo, [0, 0, photo.width, photo.height], PREVIEW))

/** Before, after and difference of the whole photo, then of each face (x1, y1, x2, y2 in pixels). */
export async function viewsOf(
  before: Rgb,
  after: Rgb,
  faces: readonly { number: number; box: readonly [number, number, number, number] }[],
): Promise<View[]> {
  const whole = await viewOf(before, after, [0, 0, before.width, before.height], PREVIEW)
  const views: View[] = [whole]
  for (const { number, box } of faces) {
    const [x1, y1, x2, y2] = box
    const margin = MARGIN * Math.max(x2 - x1, y2 - y1)
    const part: Part = [
      Math.max(0, Math.floor(x1 - margin)),
      Math.max(0, Math.floor(y1 - margin)),
      Math.min(before.width, Math.ceil(x2 + margin)),
      Math.min(before.height, Math.ceil(y2 + margin)),
    ]
    views.push({ face: number, ...(await viewOf(before, after, part, CROP)) })
  }
  return views
}

async function viewOf(before: Rgb, after: Rgb, part: Part, longest: number): Promise<View> {
  const [a, b] = [scaled(before, part, longest), scaled(after, part, longest)]
  const difference = { ...a, rgb: a.rgb.map((value, i) => grey(b.rgb[i] - value)) }
  const [first, second, third] = [await blobOf(a), await blobOf(b), await blobOf(difference)]
  return { before: first, after: second, difference: third, width: a.width, height: a.height }
}

const grey = (change: number): number => Math.min(255, Math.max(0, 128 + GAIN * change))

/** A part of a photo on white, reduced to a longest side by averaging; never enlarged. */
function scaled({ width, rgb, alpha }: Rgb, [left, top, right, bottom]: Part, longest: number): Rgb {
  const scale = Math.max(1, Math.max(right - left, bottom - top) / longest)
  const across = Math.max(1, Math.round((right - left) / scale))
  const down = Math.max(1, Math.round((bottom - top) / scale))
  const out = new Uint8Array(3 * across * down)
  const edge = (i: number, from: number, to: number, count: number) => from + Math.floor((i * (to - from)) / count)
  for (let y = 0; y < down; y++) {
    const [y0, y1] = [
      edge(y, top, bottom, down),
      Math.max(edge(y, top, bottom, down) + 1, edge(y + 1, top, bottom, down)),
    ]
    for (let x = 0; x < across; x++) {
      const x0 = edge(x, left, right, across)
      const x1 = Math.max(x0 + 1, edge(x + 1, left, right, across))
      let [r, g, b] = [0, 0, 0]
      for (let v = y0; v < y1; v++) {
        for (let u = x0; u < x1; u++) {
          const at = v * width + u
          const a = alpha ? alpha[at] / 255 : 1
          r += rgb[3 * at] * a + 255 * (1 - a)
          g += rgb[3 * at + 1] * a + 255 * (1 - a)
          b += rgb[3 * at + 2] * a + 255 * (1 - a)
        }
      }
      const count = (y1 - y0) * (x1 - x0)
      out.set([r / count + 0.5, g / count + 0.5, b / count + 0.5], 3 * (y * across + x))
    }
  }
  return { width: across, height: down, rgb: out }
}
