import { embedExif } from './embed.ts'
import { PhotoError } from './errors.ts'
import { writeExif } from './exif.ts'
import { checkPhoto, type Photo } from './photo.ts'
import { loadSharp } from './sharp.ts'

/** File formats that can be written. */
export type OutputFormat = 'png' | 'jpeg' | 'webp'

export interface EncodeOptions {
  format: OutputFormat
  /** Write the photo's metadata (the fields of PhotoMetadata, never more). Default: none. */
  keepMetadata?: boolean
}

/** Longest side in pixels: PNG and JPEG by libvips and the JPEG standard, WebP by its 14-bit fields (RFC 9649). */
const MAX_SIDE: Record<OutputFormat, number> = { png: 2 ** 31 - 1, jpeg: 65535, webp: 16383 }

/** Throws PhotoError where a photo of this size cannot be written in this format. */
export function checkSide({ width, height }: Pick<Photo, 'width' | 'height'>, format: OutputFormat): void {
  if (Math.max(width, height) <= MAX_SIDE[format]) return
  throw new PhotoError(
    `a photo of ${width} x ${height} pixels`,
    `is too large for ${format}, which ends at ${MAX_SIDE[format]} a side`,
    'choose png',
  )
}

/**
 * Encodes a photo. Nothing but pixels is written, without a colour profile (which means sRGB), unless metadata is asked for.
 *
 * - PNG: exactly the given pixels. A grey photo has one channel.
 * - WebP: lossless, exactly the given pixels, also below zero opacity. Lossy WebP always halves the resolution of the
 *   colours, which destroys much of a cloak: after JPEG with the same halving, at quality 95, the cosine between the
 *   cloak before and after is 0.52.
 * - JPEG: quality 98 with colours at full resolution, which keeps 0.98 of it (quality 95: 0.89). Opacity is lost: the
 *   photo is laid on white. A grey photo has one channel.
 *
 * @throws {PhotoError} the photo is too large for the format
 * @throws {RangeError} the photo's arrays do not fit its size
 * @throws {ImageSupportError} sharp is not installed
 */
export async function encodePhoto(photo: Photo, { format, keepMetadata = false }: EncodeOptions): Promise<Uint8Array> {
  checkPhoto(photo)
  const { width, height } = photo
  checkSide(photo, format)
  const sharp = await loadSharp()
  const { rgb, alpha, grey } = format === 'jpeg' ? onWhite(photo) : photo
  const { samples, channels } = interleave(rgb, grey, alpha)
  const pixels = sharp(samples, { raw: { width, height, channels }, limitInputPixels: false })
  const image = grey ? pixels.toColourspace('b-w') : pixels
  const encoded = await (format === 'png'
    ? image.png({ compressionLevel: 6, adaptiveFiltering: true, palette: false })
    : format === 'jpeg'
      ? image.jpeg({ quality: 98, chromaSubsampling: '4:4:4' })
      : image.webp({ lossless: true, exact: true })
  ).toBuffer()
  const exif = keepMetadata && photo.metadata ? writeExif(photo.metadata) : undefined
  return exif ? embedExif(encoded, format, exif, { width, height, alpha: alpha !== undefined }) : encoded
}

/** The photo laid over white, which is what shows of it on a page; the same object where it has no alpha. */
export function onWhite<T extends Pick<Photo, 'rgb' | 'alpha'>>(photo: T): T {
  const { rgb, alpha } = photo
  if (!alpha) return photo
  const laid = new Uint8Array(rgb.length)
  for (let i = 0; i < rgb.length; i++) {
    const a = alpha[Math.floor(i / 3)]
    laid[i] = Math.round((rgb[i] * a + 255 * (255 - a)) / 255)
  }
  return { ...photo, rgb: laid, alpha: undefined }
}

/** Samples as sharp takes them: grey or RGB, then alpha where given. */
function interleave(
  rgb: Uint8Array,
  grey: boolean,
  alpha: Uint8Array | undefined,
): { samples: Uint8Array; channels: 1 | 2 | 3 | 4 } {
  if (!grey && !alpha) return { samples: rgb, channels: 3 }
  const pixels = rgb.length / 3
  const colours = grey ? 1 : 3
  const channels = (colours + (alpha ? 1 : 0)) as 1 | 2 | 4
  const samples = new Uint8Array(pixels * channels)
  for (let i = 0; i < pixels; i++) {
    if (grey) samples[i * channels] = luma(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2])
    else {
      samples[i * channels] = rgb[3 * i]
      samples[i * channels + 1] = rgb[3 * i + 1]
      samples[i * channels + 2] = rgb[3 * i + 2]
    }
    if (alpha) samples[i * channels + colours] = alpha[i]
  }
  return { samples, channels }
}

/** JFIF's Y (ITU-R BT.601); the value itself where the three are equal. */
function luma(r: number, g: number, b: number): number {
  return Math.round(0.299 * r + 0.587 * g + 0.114 * b)
}
