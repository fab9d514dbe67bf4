/** Pictures for people to look at: a face before, after, and the difference. */

import type { Face } from '../faces/mtcnn.ts'
import { amplification, amplifiedDifference, encodePhoto, resized } from '../images/index.ts'
import { cutOut, type Pixels } from '../pixels/pixels.ts'
import type { PresetResult } from './results.ts'

/** How much of the photo is shown, in sides of the face's box, and at most how many pixels of the picture. */
const SHOWN = 1.8
const LARGEST = 384

/** PNG data URLs of the part of a photo around a face; larger parts are reduced, after the difference was amplified. */
export async function picturesOf(
  person: string,
  before: Pixels,
  after: Pixels,
  face: Face,
): Promise<PresetResult['pictures'][number]> {
  const parts = [before, after].map((photo) => around(photo, face))
  const [a, b] = parts.map((part) => part.rgb)
  const amplified = amplification(a, b) ?? 1
  const difference = { ...parts[0], rgb: amplifiedDifference(a, b, amplified) }
  const [first, second, third] = await Promise.all([...parts, difference].map(dataUrl))
  return { person, before: first, after: second, difference: third, amplified }
}

/** The square around a face that is inside the photo. */
function around(photo: Pixels, { box: [x1, y1, x2, y2] }: Face): Pixels {
  const side = Math.min(photo.width, photo.height, Math.round(SHOWN * Math.max(x2 - x1, y2 - y1)))
  const start = (from: number, to: number, length: number) =>
    Math.min(Math.max(0, Math.round((from + to - side) / 2)), length - side)
  const [left, top] = [start(x1, x2, photo.width), start(y1, y2, photo.height)]
  return cutOut(photo, left, top, left + side - 1, top + side - 1)
}

async function dataUrl({ width, height, rgb }: Pixels): Promise<string> {
  const fit = Math.min(1, LARGEST / Math.max(width, height))
  const whole = { width, height, rgb }
  const shown = fit < 1 ? await resized(whole, Math.round(width * fit), Math.round(height * fit)) : whole
  const png = await encodePhoto({ ...shown, grey: false, format: 'png' }, { format: 'png' })
  return `data:image/png;base64,${Buffer.from(png).toString('base64')}`
}
