/** A photo with numbered boxes: which face is which. */
import { encodePhoto, onWhite } from './encode.ts'
import { drawText, GLYPH, textWidth } from './glyphs.ts'
import type { Photo } from './photo.ts'
import { loadSharp } from './sharp.ts'

/** What is shown of a face. */
export interface NumberedBox {
  /** Written beside the box; none where there is no number, which is drawn as a thin box. */
  number?: number
  /** x1, y1, x2, y2 in pixels of the photo, both ends included; it may reach beyond the photo. */
  box: readonly [number, number, number, number]
}

/** Longest side of the picture in pixels; larger photos are scaled down to it. */
const LONGEST = 1600
const [INK, PAPER] = [
  [255, 220, 0],
  [0, 0, 0],
] as const

/**
 * A PNG of the photo with a box around each face and its number above it, or in it where there is no room.
 *
 * @throws {ImageSupportError} sharp is not installed
 */
export async function numberedPicture(photo: Photo, faces: readonly NumberedBox[]): Promise<Uint8Array> {
  const scale = Math.min(1, LONGEST / Math.max(photo.width, photo.height))
  const [width, height] = [photo.width, photo.height].map((side) => Math.max(1, Math.round(side * scale)))
  const { rgb } = onWhite(photo)
  const sharp = await loadSharp()
  const raw = { width: photo.width, height: photo.height, channels: 3 as const }
  const seen =
    scale < 1
      ? new Uint8Array(
          await sharp(rgb, { raw, limitInputPixels: false }).resize(width, height, { fit: 'fill' }).raw().toBuffer(),
        )
      : rgb.slice()
  const fill = (x: number, y: number, across: number, down: number, [red, green, blue]: readonly number[]) => {
    for (let row = Math.max(0, y); row < Math.min(height, y + down); row++) {
      for (let column = Math.max(0, x); column < Math.min(width, x + across); column++) {
        seen.set([red, green, blue], 3 * (row * width + column))
      }
    }
  }
  const line = Math.max(1, Math.round(Math.max(width, height) / 400))
  const letters = Math.max(1, Math.min(5, Math.round(Math.max(width, height) / 200)))
  for (const { number, box } of faces) {
    const [x1, y1, x2, y2] = [box[0], box[1], box[2] + 1, box[3] + 1].map((side) => Math.round(side * scale))
    const thick = number === undefined ? Math.max(1, line >> 1) : line
    const frame = (by: number, ink: readonly number[]) => {
      fill(x1 - by, y1 - by, x2 - x1 + 2 * by, thick, ink)
      fill(x1 - by, y2 + by - thick, x2 - x1 + 2 * by, thick, ink)
      fill(x1 - by, y1 - by, thick, y2 - y1 + 2 * by, ink)
      fill(x2 + by - thick, y1 - by, thick, y2 - y1 + 2 * by, ink)
    }
    // A dark frame around the bright one: one of them is seen on any photo.
    frame(thick, PAPER)
    frame(0, INK)
    if (number === undefined) continue
    const text = String(number)
    const pad = 2 * letters
    const [across, down] = [textWidth(text, letters) + 2 * pad, letters * GLYPH.height + 2 * pad]
    const left = Math.min(Math.max(0, x1 - thick), Math.max(0, width - across))
    const top = y1 - thick - down >= 0 ? y1 - thick - down : Math.max(0, y1)
    fill(left, top, across, down, PAPER)
    drawText(text, letters, (x, y, size) => fill(left + pad + x, top + pad + y, size, size, INK))
  }
  return encodePhoto({ width, height, rgb: seen, grey: false, format: 'png' }, { format: 'png' })
}
