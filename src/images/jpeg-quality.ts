/** How strongly JPEG files are compressed. Nothing here needs Node. */
import type { Photo, PhotoFormat } from './photo.ts'

/** Quality of JPEG results: of lossless photos; of those that other formats compressed, about as strongly as cameras do; and at least. */
const [BEST_QUALITY, USUAL_QUALITY, LEAST_QUALITY] = [98, 92, 80]
const LOSSY: readonly PhotoFormat[] = ['heic', 'avif', 'webp', 'jxl', 'jpeg']

/**
 * The quality of a photo's JPEG result: that of the photo's own tables where it is a JPEG, so that the result is not many times as large.
 * Not below 80: what was compressed more strongly is compressed a second time here, which is seen. The protection does not need more:
 * at quality 75 similarities differ by .008 at most from the lossless result's (bench/results/jpeg-quality.json).
 */
export function jpegQuality({ quality, format }: Pick<Photo, 'quality' | 'format'>): number {
  const own = quality ?? (LOSSY.includes(format) ? USUAL_QUALITY : BEST_QUALITY)
  return Math.max(LEAST_QUALITY, Math.min(BEST_QUALITY, own))
}

/** T.81, table K.1, in zigzag order: what libjpeg scales for a quality. */
const LUMINANCE = [
  16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
  60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121,
  112, 100, 120, 92, 101, 103, 99,
]

/** Cameras have tables of their own; what counts is how coarse they are together. */
export function qualityOf(table: Uint8Array): number | undefined {
  if (table.length < 64) return undefined
  const sum = table.subarray(0, 64).reduce((sum, v) => sum + v, 0)
  const percent = (100 * sum) / LUMINANCE.reduce((sum, v) => sum + v)
  const quality = percent <= 100 ? (200 - percent) / 2 : 5000 / percent
  return Math.max(1, Math.min(100, Math.round(quality)))
}
