import { type Extras, embed } from './embed.ts'
import { PhotoError } from './errors.ts'
import { writeExif } from './exif.ts'
import { jpegQuality } from './jpeg-quality.ts'
import { carryBack, to8Bit } from './original.ts'
import { checkPhoto, type Loss, type Photo } from './photo.ts'
import { loadSharp } from './sharp.ts'

/** File formats that can be written. */
export type OutputFormat = 'png' | 'jpeg' | 'webp'

export interface EncodeOptions {
  format: OutputFormat
  /** Write the photo's metadata (the fields of PhotoMetadata, never more). Default: none. */
  keepMetadata?: boolean
  /** Write the mark by which `readPhoto` knows a result (`cloaked`). Default: none. */
  mark?: boolean
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
 * Encodes a photo: its pixels, its colour profile (none means sRGB) and its density, and metadata where asked for.
 *
 * A photo with an `original` is written in the original's colour space: pixels whose `rgb` is what it was when the photo
 * was read have exactly the original's samples, the others these plus the change.
 *
 * - PNG: exactly these samples, of 16 bit where the original has 16. A grey photo has one channel.
 * - WebP: lossless, 8 bit, also below zero opacity. Lossy WebP always halves the resolution of the colours, which
 *   destroys much of a cloak: after JPEG with the same halving, at quality 95, the cosine between the cloak before and
 *   after is 0.52.
 * - JPEG: at `jpegQuality`, with colours at full resolution. Opacity is lost: the photo is laid on white. A grey photo has
 *   one channel.
 *
 * @throws {PhotoError} the photo is too large for the format
 * @throws {RangeError} the photo's arrays do not fit its size
 * @throws {ImageSupportError} sharp is not installed
 */
export async function encodePhoto(
  photo: Photo,
  { format, keepMetadata = false, mark = false }: EncodeOptions,
): Promise<Uint8Array> {
  checkPhoto(photo)
  const { width, height } = photo
  checkSide(photo, format)
  const sharp = await loadSharp()
  const profile = photo.original?.profile
  const all = photo.original ? carryBack(photo.original, photo.rgb) : photo.rgb
  const { rgb, alpha } = laid({ rgb: format === 'png' ? all : to8Bit(all), alpha: photo.alpha }, format === 'jpeg')
  // One channel with a profile of three colours would be none that a reader can apply.
  const grey = photo.grey && !profile
  const { samples, channels } = interleave(rgb, grey, alpha)
  const pixels = sharp(samples, { raw: { width, height, channels }, limitInputPixels: false })
  const deep = samples instanceof Uint16Array
  const image = deep ? pixels.toColourspace(grey ? 'grey16' : 'rgb16') : grey ? pixels.toColourspace('b-w') : pixels
  const encoded = await (format === 'png'
    ? image.png({ compressionLevel: 6, adaptiveFiltering: true, palette: false })
    : format === 'jpeg'
      ? image.jpeg({ quality: jpegQuality(photo), chromaSubsampling: '4:4:4' })
      : image.webp({ lossless: true, exact: true })
  ).toBuffer()
  return embed(encoded, format, extrasOf(photo, format, keepMetadata, mark), {
    width,
    height,
    alpha: alpha !== undefined,
  })
}

function extrasOf(photo: Photo, format: OutputFormat, keepMetadata: boolean, mark: boolean): Extras {
  const profile = photo.original?.profile
  const exif = writeExif((keepMetadata && photo.metadata) || {}, {
    mark: mark && format === 'webp',
    profile: profile !== undefined,
    // WebP has no other place for it.
    density: format === 'webp' ? photo.density : undefined,
  })
  return {
    ...(exif ? { exif } : {}),
    ...(profile ? { icc: profile.icc } : {}),
    ...(photo.density ? { density: photo.density } : {}),
    mark,
  }
}

/** What a photo loses when it is written in a format, beyond what was lost on reading. */
export function lostInResult(photo: Photo, format: OutputFormat): Loss[] {
  const lost: Loss[] = []
  if (photo.original?.samples instanceof Uint16Array && format !== 'png') {
    lost.push({
      what: 'bits',
      says: `has more than 8 bit a sample; the ${format} result has 8 (--format png keeps all)`,
    })
  }
  if (photo.alpha && format === 'jpeg') {
    lost.push({ what: 'opacity', says: 'is transparent in places; the jpeg result is laid on white' })
  }
  return lost
}

/** The photo laid over white, which is what shows of it on a page; the same object where it has no alpha. */
export function onWhite<T extends Pick<Photo, 'rgb' | 'alpha'>>(photo: T): T {
  return photo.alpha ? { ...photo, ...laid(photo, true) } : photo
}

interface Layer {
  rgb: Uint8Array | Uint16Array
  alpha?: Uint8Array
}

function laid<T extends Layer>({ rgb, alpha }: T, white: boolean): T {
  if (!alpha || !white) return { rgb, alpha } as T
  const on = rgb.slice()
  const top = rgb instanceof Uint16Array ? 65535 : 255
  for (let i = 0; i < rgb.length; i++) {
    const a = alpha[Math.floor(i / 3)]
    on[i] = Math.round((rgb[i] * a + top * (255 - a)) / 255)
  }
  return { rgb: on, alpha: undefined } as T
}

/** Samples as sharp takes them: grey or RGB, then alpha where given. */
function interleave(
  rgb: Uint8Array | Uint16Array,
  grey: boolean,
  alpha: Uint8Array | undefined,
): { samples: Uint8Array | Uint16Array; channels: 1 | 2 | 3 | 4 } {
  if (!grey && !alpha) return { samples: rgb, channels: 3 }
  const pixels = rgb.length / 3
  const colours = grey ? 1 : 3
  const channels = (colours + (alpha ? 1 : 0)) as 1 | 2 | 4
  const deep = rgb instanceof Uint16Array
  const samples = deep ? new Uint16Array(pixels * channels) : new Uint8Array(pixels * channels)
  for (let i = 0; i < pixels; i++) {
    if (grey) samples[i * channels] = luma(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2])
    else {
      samples[i * channels] = rgb[3 * i]
      samples[i * channels + 1] = rgb[3 * i + 1]
      samples[i * channels + 2] = rgb[3 * i + 2]
    }
    if (alpha) samples[i * channels + colours] = deep ? 257 * alpha[i] : alpha[i]
  }
  return { samples, channels }
}

/** JFIF's Y (ITU-R BT.601); the value itself where the three are equal. */
function luma(r: number, g: number, b: number): number {
  return Math.round(0.299 * r + 0.587 * g + 0.114 * b)
}
