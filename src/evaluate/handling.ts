/** Protected photos do not reach a recogniser as they were saved: what is done to them on the way. */

import { blurred, resized, throughJpeg } from '../images/index.ts'
import type { Pixels } from '../pixels/pixels.ts'
import type { Handling } from './results.ts'

/** Standard deviation of a light blur, in pixels. */
const BLUR = 1

type Change = (photo: Pixels) => Promise<Pixels>

const jpeg =
  (quality: number): Change =>
  (photo) =>
    throughJpeg(photo, quality)

/** What changes the photo itself. Another detector changes what is seen of it, and is not among them. */
export const handlings: Readonly<Record<Exclude<Handling, 'other-detector'>, Change>> = {
  // Lossless: what is evaluated has these pixels already.
  png: async (photo) => photo,
  jpeg95: jpeg(95),
  jpeg85: jpeg(85),
  jpeg75: jpeg(75),
  'half-size': async (photo) => {
    const { width, height } = photo
    const half = await resized(photo, Math.ceil(width / 2), Math.ceil(height / 2))
    return resized(half, width, height)
  },
  blur: (photo) => blurred(photo, BLUR),
}

/** A photo enlarged by a factor. */
export const enlarged = (photo: Pixels, factor: number): Promise<Pixels> =>
  resized(photo, Math.round(photo.width * factor), Math.round(photo.height * factor))
