import { readFile, stat } from 'node:fs/promises'
import { magick } from './advice.ts'
import {
  type Decoded,
  decodeAvif,
  decodeGif,
  decodeJpeg,
  decodePng,
  decodeTiff,
  decodeWebp,
  UnreadError,
} from './decode.ts'
import { decodeBmp, decodeHeic, decodeJxl, decodeRawPreview } from './decode-wasm.ts'
import { whyUnread } from './errno.ts'
import { ImageSupportError, PhotoError } from './errors.ts'
import { densityIn, isMarked, readExif } from './exif.ts'
import { MAX_DEEP_PIXELS, MAX_PIXELS } from './limits.ts'
import { viewOf } from './original.ts'
import type { Photo, PhotoFormat } from './photo.ts'
import { loadSharp, type Sharp } from './sharp.ts'
import { shown } from './shown.ts'
import { classify, HEAD_BYTES } from './sniff.ts'

/** An uncompressed photo of 300 megapixels. */
const MAX_FILE_BYTES = 2 ** 30

/** What `readPhoto` takes, as the start of a sentence. */
export const ACCEPTED = 'JPEG, PNG, HEIC, WebP, AVIF, JPEG XL, TIFF, BMP and GIF are read'
const AGAIN = 'copy or download it again, or open it in an image editor and save it anew'

export interface ReadOptions {
  /** Refuse what viewers pass over: scan parameters that some phones write wrongly, stray bytes, a few missing rows. */
  strict?: boolean
  /** Read the preview that a camera put into its raw file; without it raw files are refused. */
  rawPreview?: boolean
}

/**
 * Reads a photo: upright, 8-bit sRGB whatever its orientation, depth and colour space, and beside it what else the file
 * held (`original`). Of an animation, a burst or a TIFF with several pages the first is read, with a warning.
 *
 * A doubt of the decoder about the file is an error, but for what every viewer passes over (see `strict`): a photo half
 * of which is a grey area must not be taken for the photo.
 *
 * @param source a path, or the bytes of a file
 * @param name what error messages call it
 * @throws {PhotoError} the file cannot be read, is not a photo in a known format, is damaged or too large
 * @throws {ImageSupportError} sharp, or the package that decodes the format, is not installed
 */
export async function readPhoto(
  source: string | Uint8Array,
  name: string = typeof source === 'string' ? source : 'the given data',
  options: ReadOptions = {},
): Promise<Photo> {
  const bytes = typeof source === 'string' ? await readPhotoFile(source, name) : source
  const format = sniffFormat(bytes, name, options)
  const sharp = await loadSharp()
  let decoded: Decoded
  try {
    decoded = await decoders[format](sharp, bytes)
  } catch (error) {
    if (error instanceof PhotoError || error instanceof ImageSupportError) throw error
    if (error instanceof UnreadError) throw new PhotoError(name, error.message, error.advice)
    throw decoderError(name, error)
  }
  const doubt = decoded.repaired[0] ?? decoded.lost.find(({ what }) => what === 'rows')?.says
  if (options.strict && doubt && format !== 'raw') {
    throw new PhotoError(name, `${doubt}, which is refused when reading strictly`, AGAIN)
  }
  return photoOf(decoded, format === 'raw' ? 'jpeg' : format, name)
}

/**
 * Reads a photo that stands for how a person looks unprotected: as `readPhoto`, and a result of this program, known by its mark, is
 * refused, whatever it is called.
 *
 * @throws {PhotoError} as `readPhoto`; the photo is an earlier result
 */
export async function readCleanPhoto(file: string): Promise<Photo> {
  const photo = await readPhoto(file)
  if (photo.cloaked)
    throw new PhotoError(
      file,
      'is an earlier result of protect, by what it says of itself',
      'take the photo that it was made of; where it is no result, remove what it says (`exiftool -all= FILE`)',
    )
  return photo
}

const decoders: Record<PhotoFormat | 'raw', (sharp: Sharp, bytes: Uint8Array) => Promise<Decoded>> = {
  png: decodePng,
  jpeg: decodeJpeg,
  webp: decodeWebp,
  avif: decodeAvif,
  tiff: decodeTiff,
  gif: decodeGif,
  heic: (_, bytes) => decodeHeic(bytes),
  jxl: decodeJxl,
  bmp: decodeBmp,
  raw: decodeRawPreview,
}

function photoOf(decoded: Decoded, format: PhotoFormat, name: string): Photo {
  const { width, height, samples, alpha, profile, exif, quality, lost, repaired } = decoded
  // libvips does not look for it there.
  const density = decoded.density ?? (exif && format === 'webp' ? densityIn(exif) : undefined)
  const rgb = viewOf(samples, profile)
  const more = profile !== undefined || samples instanceof Uint16Array
  const says = [...repaired, ...lost.map(({ says }) => says)]
  return {
    width,
    height,
    rgb,
    ...(alpha ? { alpha } : {}),
    grey: isGrey(rgb) && (!more || isGrey(samples)),
    format,
    ...(more ? { original: { samples, view: rgb, ...(profile ? { profile } : {}) } } : {}),
    ...(density ? { density } : {}),
    ...(quality ? { quality } : {}),
    ...(decoded.marked || (exif && format !== 'tiff' && isMarked(exif)) ? { cloaked: true } : {}),
    metadata: readExif(exif ?? new Uint8Array()),
    ...(lost.length > 0 ? { lost } : {}),
    ...(says.length > 0 ? { warnings: says.map((text) => `${shown(name)} ${text}.`) } : {}),
  }
}

/**
 * The bytes of a photo's file, for `readPhoto`.
 *
 * @throws {PhotoError} it cannot be read, is no file or too large
 */
export async function readPhotoFile(path: string | Buffer, name: string): Promise<Uint8Array> {
  try {
    const info = await stat(path)
    if (info.isDirectory()) throw new PhotoError(name, 'is a folder', 'give a photo file')
    if (!info.isFile() && !info.isFIFO()) throw new PhotoError(name, 'is not a file', 'give a photo file')
    if (info.size > MAX_FILE_BYTES) {
      throw new PhotoError(
        name,
        `is ${(info.size / 2 ** 30).toFixed(1)} GiB, more than any photo`,
        'scale it down first',
      )
    }
    return await readFile(path)
  } catch (error) {
    if (error instanceof PhotoError) throw error
    const { problem, advice } = whyUnread(error)
    throw new PhotoError(name, problem, advice, { cause: error })
  }
}

/**
 * The format by the first bytes, whatever the file's name is. Only the formats of photos go on to the decoder: libvips
 * would also open SVG and other formats that are programs rather than pixels.
 */
function sniffFormat(bytes: Uint8Array, name: string, { rawPreview }: ReadOptions): PhotoFormat | 'raw' {
  const found = classify(bytes.subarray(0, HEAD_BYTES), name)
  if (found.kind === 'photo') return found.format
  if (found.kind === 'unreadable') {
    if (found.rawPreview && rawPreview) return 'raw'
    throw new PhotoError(name, found.problem, found.advice)
  }
  if (bytes.length === 0) throw new PhotoError(name, 'is empty', AGAIN)
  throw new PhotoError(
    name,
    `is not a photo in a known format (${found.what})`,
    `${ACCEPTED}; convert it to one of these`,
  )
}

/** Black-and-white photos are mostly stored as colour; what counts is what they show. */
function isGrey(rgb: Uint8Array | Uint16Array): boolean {
  for (let i = 0; i < rgb.length; i += 3) if (rgb[i] !== rgb[i + 1] || rgb[i] !== rgb[i + 2]) return false
  return true
}

function decoderError(name: string, cause: unknown): PhotoError {
  const message = String(cause instanceof Error ? cause.message : cause).replace(
    /Input buffer has corrupt header:/g,
    '',
  )
  // libvips puts what it tried first and what failed last; a line that is a number in brackets is libheif's.
  const reason = (message.split('\n').findLast((line) => /[a-z]{3}/i.test(line)) ?? 'bad header').trim().slice(0, 200)
  if (/exceeds pixel limit/.test(reason)) {
    const most = /16 bit/.test(reason)
      ? `${MAX_DEEP_PIXELS / 1e6} megapixels of 16 bit`
      : `${MAX_PIXELS / 1e6} megapixels`
    return new PhotoError(name, `has more than ${most}`, 'scale it down first', { cause })
  }
  if (/did not end|memory|aborted|unreachable/i.test(reason)) {
    const why = `the decoder of its format gave up (${reason})`
    return new PhotoError(name, `may be damaged: ${why}`, AGAIN, { cause })
  }
  if (/unsupported|built.in|not supported|no decoding plugin|not implemented/i.test(reason)) {
    return new PhotoError(
      name,
      `uses a feature that is not read (${reason})`,
      `convert it: ${magick('FILE FILE.png')}`,
      {
        cause,
      },
    )
  }
  return new PhotoError(name, `is damaged or cut short (${reason})`, AGAIN, { cause })
}
