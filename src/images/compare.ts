import { encodePhoto, onWhite } from './encode.ts'
import { drawText, GLYPH, textWidth } from './glyphs.ts'
import type { Photo } from './photo.ts'
import { checkSameSize } from './quality.ts'
import { loadSharp, type Sharp } from './sharp.ts'

/** Largest panel in pixels; larger photos are scaled down to it. */
const PANEL = { width: 1536, height: 1024 } as const
const GAP = 12

/** What the difference may be multiplied by: few factors, so that pictures can be compared with each other. */
const FACTORS = [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 30, 40, 50, 60, 80, 100]

/**
 * A PNG with three panels, each with its caption: the photo before, after, and the signed difference around mid grey,
 * multiplied by the factor that its caption gives. The difference is multiplied at the photo's full size, and scaled
 * down like the photos after that; its caption then gives the scale too.
 *
 * @throws {RangeError} the photos differ in size
 * @throws {ImageSupportError} sharp is not installed
 */
export async function comparePicture(before: Photo, after: Photo): Promise<Uint8Array> {
  checkSameSize('comparePicture', before, after)
  const sharp = await loadSharp()
  const factor = amplification(before.rgb, after.rgb)
  const fit = Math.min(1, PANEL.width / before.width, PANEL.height / before.height)
  const width = Math.max(1, Math.round(before.width * fit))
  const height = Math.max(1, Math.round(before.height * fit))

  const difference = factor === undefined ? 'no difference' : `difference x${factor}`
  const scaled = fit < 1 ? ` at ${Math.max(1, Math.round(100 * fit))}%` : ''
  const captions = ['before', 'after', difference + scaled]
  const panels = [onWhite(before).rgb, onWhite(after).rgb, amplifiedDifference(before.rgb, after.rgb, factor ?? 1)]

  // As large as the longest caption allows; where even the smallest letters are wider than the photo, they decide.
  const longest = Math.max(...captions.map((text) => textWidth(text, 1)))
  const letters = Math.max(1, Math.min(4, Math.floor(height / 150), Math.floor(width / longest)))
  const column = Math.max(width, letters * longest)
  const top = letters * (GLYPH.height + 6)
  const page = new Page(3 * column + 4 * GAP, top + height + GAP)
  for (const [i, rgb] of panels.entries()) {
    const x = GAP + i * (column + GAP)
    page.write(captions[i], x, 3 * letters, letters)
    page.place(fit < 1 ? await shrink(sharp, rgb, before, width, height) : rgb, x, top, width)
  }
  return encodePhoto({ ...page, grey: false, format: 'png' }, { format: 'png' })
}

/**
 * The factor that lets 99.9 % of the changed values keep within the range around mid grey, rounded down to one of
 * FACTORS; undefined where nothing changed. Unchanged values do not count: a face may be a thousandth of a photo.
 */
export function amplification(before: Uint8Array, after: Uint8Array): number | undefined {
  const counts = new Float64Array(256)
  for (let i = 0; i < before.length; i++) counts[Math.abs(after[i] - before[i])]++
  const changed = before.length - counts[0]
  if (changed === 0) return undefined
  let change = 255
  for (let above = counts[255]; above <= 0.001 * changed && change > 1; above += counts[change]) change--
  return FACTORS.findLast((factor) => factor * change <= 127) ?? FACTORS[0]
}

/** The signed difference, multiplied, around mid grey (128); cut off at 0 and 255. */
export function amplifiedDifference(before: Uint8Array, after: Uint8Array, factor: number): Uint8Array {
  // Rounds to even and cuts off at 0 and 255 by itself.
  const difference = new Uint8ClampedArray(before.length)
  for (let i = 0; i < before.length; i++) difference[i] = 128 + factor * (after[i] - before[i])
  return new Uint8Array(difference.buffer)
}

async function shrink(
  sharp: Sharp,
  rgb: Uint8Array,
  from: { width: number; height: number },
  width: number,
  height: number,
): Promise<Uint8Array> {
  const raw = { width: from.width, height: from.height, channels: 3 as const }
  return sharp(rgb, { raw, limitInputPixels: false }).resize(width, height, { fit: 'fill' }).raw().toBuffer()
}

/** A white page to put panels and black text on. */
class Page {
  readonly width: number
  readonly height: number
  readonly rgb: Uint8Array

  constructor(width: number, height: number) {
    this.width = width
    this.height = height
    this.rgb = new Uint8Array(3 * width * height).fill(255)
  }

  /** Puts `rgb`, rows of `width` pixels, with its top left corner at (x, y). */
  place(rgb: Uint8Array, x: number, y: number, width: number): void {
    for (let row = 0; row * 3 * width < rgb.length; row++) {
      this.rgb.set(rgb.subarray(3 * width * row, 3 * width * (row + 1)), 3 * ((y + row) * this.width + x))
    }
  }

  write(text: string, x: number, y: number, scale: number): void {
    drawText(text, scale, (dx, dy, size) => {
      for (let row = 0; row < size; row++) {
        const start = 3 * ((y + dy + row) * this.width + x + dx)
        this.rgb.fill(0, start, start + 3 * size)
      }
    })
  }
}
