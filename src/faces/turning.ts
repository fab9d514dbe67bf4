/** A photo turned by quarters, and faces that were found in it where they are in the photo itself. */

import { checkPixels, type Pixels } from '../pixels/pixels.ts'
import type { Point } from './alignment.ts'
import type { Face } from './mtcnn.ts'

/** Degrees by which a photo is turned, clockwise. */
export type Turn = 0 | 90 | 180 | 270

export const turns: readonly Turn[] = [0, 90, 180, 270]

/** The photo turned; itself for 0. Throws RangeError where its bytes do not fit its size. */
export function turned(photo: Pixels, turn: Turn): Pixels {
  checkPixels('turned', photo)
  if (turn === 0) return photo
  const { width, height, rgb } = photo
  const [columns, rows] = turn === 180 ? [width, height] : [height, width]
  const result = new Uint8Array(rgb.length)
  // In pixels of the photo: where the first pixel of the result lies, and the steps to the next in its row and in its column.
  const [first, step, down] =
    turn === 90
      ? [(height - 1) * width, -width, 1]
      : turn === 180
        ? [height * width - 1, -1, -width]
        : [width - 1, width, -1]
  let to = 0
  for (let y = 0; y < rows; y++) {
    let from = 3 * (first + y * down)
    for (let x = 0; x < columns; x++, from += 3 * step) {
      result[to++] = rgb[from]
      result[to++] = rgb[from + 1]
      result[to++] = rgb[from + 2]
    }
  }
  return { width: columns, height: rows, rgb: result }
}

/** A face of the turned photo in the photo of `width` x `height` pixels. Its landmarks keep their names: its left eye is the left one where it is upright. */
export function turnedBack(face: Face, turn: Turn, { width, height }: Pick<Pixels, 'width' | 'height'>): Face {
  // Between the outer edges: pixel i lies from i to i + 1.
  const back = ([x, y]: Point): Point =>
    turn === 0 ? [x, y] : turn === 90 ? [y, height - x] : turn === 180 ? [width - x, height - y] : [width - y, x]
  const [x1, y1, x2, y2] = face.box
  const [[ax, ay], [bx, by]] = [back([x1, y1]), back([x2 + 1, y2 + 1])]
  const [a, b, c, d, e] = face.landmarks
  return {
    score: face.score,
    box: [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx) - 1, Math.max(ay, by) - 1],
    landmarks: [back(a), back(b), back(c), back(d), back(e)],
  }
}

/** The turn that brings a face upright, or within 45 degrees of it, which is turned clockwise by `roll` degrees. */
export const turnUpright = (roll: number): Turn => turns[(((Math.round(-roll / 90) % 4) + 4) % 4) as 0 | 1 | 2 | 3]
