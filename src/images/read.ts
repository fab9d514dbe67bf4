import { readFile, stat } from 'node:fs/promises'
import type { Metadata, Sharp as Pipeline, SharpOptions } from 'sharp'
import { whyUnread } from './errno.ts'
import { PhotoError } from './errors.ts'
import { readExif } from './exif.ts'
import type { Photo, PhotoFormat } from './photo.ts'
import { loadSharp, type Sharp } from './sharp.ts'
import { classify, HEAD_BYTES } from './sniff.ts'

/** 300 megapixels, three times the largest camera sensor: 0.9 GB of pixels. Above it a small file may be a bomb. */
const MAX_PIXELS = 300_000_000
/** An uncompressed photo of 300 megapixels. */
const MAX_FILE_BYTES = 2 ** 30

/** What `readPhoto` takes, as the start of a sentence. */
export const ACCEPTED = 'PNG, JPEG, WebP, AVIF, TIFF and GIF are read'
const AGAIN = 'copy or download it again, or open it in an image editor and save it anew'

/**
 * Reads a photo: upright, 8-bit sRGB whatever its orientation, depth and colour space (16 bit, CMYK, Display P3, ...).
 * Of an animation or a TIFF with several pages the first is read, with a warning.
 *
 * Any doubt of the decoder about the file is an error (sharp's default `failOn`): a photo half of which is a grey area
 * must not be taken for the photo.
 *
 * @param source a path, or the bytes of a file
 * @param name what error messages call it
 * @throws {PhotoError} the file cannot be read, is is not a photo, is damaged or too large
 * @throws {ImageSupportError} sharp is not installed
 */
export async function readPhoto(
  source: string | Uint8Array,
  name: string = typeof source === 'string' ? source : 'the given data',
): Promise<Photo> {
  const bytes = typeof source === 'string' ? await readBytes(source, name) : source
  const format = sniffFormat(bytes, name)
  const sharp = await loadSharp()
  try {
    const header = await sharp(view(bytes), { limitInputPixels: MAX_PIXELS }).metadata()
    if (header.compression === 'hevc') throw heicError(name)
    const { data, width, height, channels } = await decode(sharp, bytes, header)
    const { rgb, alpha } = split(data, channels)
    const pages = format === 'avif' ? 1 : (header.pages ?? 1)
    return {
      width,
      height,
      rgb,
      // GIF decodes with an alpha channel always; one that hides nothing is none.
      ...(alpha && !(format === 'gif' && alpha.every((a) => a === 255)) ? { alpha } : {}),
      grey: isGrey(rgb),
      format,
      // A TIFF file is itself the structure that an EXIF block has.
      metadata: readExif(format === 'tiff' ? bytes : (header.exif ?? new Uint8Array())),
      ...(pages > 1 ? { warnings: [`${name} has ${pages} frames or pages; only the first is read.`] } : {}),
    }
  } catch (error) {
    throw error instanceof PhotoError ? error : decoderError(name, error)
  }
}

async function readBytes(path: string, name: string): Promise<Uint8Array> {
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
function sniffFormat(bytes: Uint8Array, name: string): PhotoFormat {
  const found = classify(bytes.subarray(0, HEAD_BYTES), name)
  if (found.kind === 'unreadable') throw new PhotoError(name, found.problem, found.advice)
  if (bytes.length === 0) throw new PhotoError(name, 'is empty', AGAIN)
  if (found.kind !== 'photo') {
    throw new PhotoError(
      name,
      `is not a photo in a known format (${found.what})`,
      `${ACCEPTED}; convert it to one of these`,
    )
  }
  if (found.format === 'heic') throw heicError(name)
  if (found.format === 'jxl')
    throw new PhotoError(name, 'is a JPEG XL photo, which is not read', 'djxl FILE.jxl FILE.png')
  if (found.format === 'bmp')
    throw new PhotoError(name, 'is a BMP photo, which is not read', 'magick FILE.bmp FILE.png')
  return found.format
}

interface Decoded {
  data: Uint8Array
  width: number
  height: number
  channels: number
}

/** 8-bit sRGB samples, three or four a pixel. */
async function decode(sharp: Sharp, bytes: Uint8Array, header: Metadata): Promise<Decoded> {
  const open = (options: SharpOptions = {}) =>
    sharp(view(bytes), { limitInputPixels: MAX_PIXELS, autoOrient: true, ...options })
  const run = async (pipeline: Pipeline): Promise<Decoded> => {
    const { data, info } = await pipeline.toBuffer({ resolveWithObject: true })
    return { data, width: info.width, height: info.height, channels: info.channels }
  }
  const deep = header.space === 'rgb16' || header.space === 'grey16'
  if (deep && header.hasProfile) {
    // Made 8-bit before the profile is applied (which cuts off the lower byte): left to itself sharp takes 16-bit colour
    // to Display P3 and calls that sRGB, and does not apply the profile of 16-bit grey.
    const shallow = header.space === 'rgb16' ? 'srgb' : 'b-w'
    return run(open().pipelineColourspace(shallow).toColourspace('srgb').raw())
  }
  if (deep) {
    const { data, ...shape } = await run(open().toColourspace('rgb16').raw({ depth: 'ushort' }))
    const samples = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2)
    const rounded = new Uint8Array(samples.length)
    for (let i = 0; i < samples.length; i++) rounded[i] = (samples[i] + 128) / 257
    return { data: rounded, ...shape }
  }
  return run(open().toColourspace('srgb').raw())
}

function split(data: Uint8Array, channels: number): { rgb: Uint8Array; alpha?: Uint8Array } {
  if (channels === 3) return { rgb: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }
  if (channels !== 4) throw new Error(`unexpected layout: ${channels} channels`)
  const pixels = data.length / 4
  const rgb = new Uint8Array(3 * pixels)
  const alpha = new Uint8Array(pixels)
  for (let i = 0; i < pixels; i++) {
    rgb[3 * i] = data[4 * i]
    rgb[3 * i + 1] = data[4 * i + 1]
    rgb[3 * i + 2] = data[4 * i + 2]
    alpha[i] = data[4 * i + 3]
  }
  return { rgb, alpha }
}

/** Black-and-white photos are mostly stored as colour; what counts is what they show. */
function isGrey(rgb: Uint8Array): boolean {
  for (let i = 0; i < rgb.length; i += 3) if (rgb[i] !== rgb[i + 1] || rgb[i] !== rgb[i + 2]) return false
  return true
}

function heicError(name: string): PhotoError {
  return new PhotoError(
    name,
    'is a HEIC photo (HEVC), which needs a licensed decoder',
    'convert it to JPEG or PNG first (`heif-convert photo.heic photo.png`, or an iPhone set to "Most Compatible")',
  )
}

function decoderError(name: string, cause: unknown): PhotoError {
  const message = String(cause instanceof Error ? cause.message : cause).replace(
    /Input buffer has corrupt header:/g,
    '',
  )
  // libvips puts what it tried first and what failed last; a line that is a number in brackets is libheif's.
  const reason = (message.split('\n').findLast((line) => /[a-z]{3}/i.test(line)) ?? 'bad header').trim().slice(0, 200)
  if (/exceeds pixel limit/.test(reason)) {
    return new PhotoError(name, `has more than ${MAX_PIXELS / 1e6} megapixels`, 'scale it down first', { cause })
  }
  if (/built.in|not supported|unsupported codec|no decoding plugin/i.test(reason)) {
    return new PhotoError(name, `uses a feature that sharp cannot decode (${reason})`, 'convert it to PNG or JPEG', {
      cause,
    })
  }
  return new PhotoError(name, `is damaged or cut short (${reason})`, AGAIN, { cause })
}

/** The same memory as a Buffer, which sharp takes without copying. */
function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
