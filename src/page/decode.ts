/** Files to pixels by the browser's own decoders, upright and in sRGB. */
import { qualityOf } from '../images/jpeg-quality.ts'
import { MARK } from '../images/mark.ts'
import { readPng } from '../images/png.ts'
import { classify, type FileClass, HEAD_BYTES } from '../images/sniff.ts'
import type { Rgb } from './protocol.ts'

/** This file cannot be read here; the message is the rest of a sentence that starts with the file's name. */
export class UnreadableError extends Error {
  override name = 'UnreadableError'
}

/** What a file is, by its first bytes. */
export async function classOf(file: File): Promise<FileClass> {
  return classify(new Uint8Array(await readSlice(file, HEAD_BYTES)), file.name)
}

/**
 * Decodes a photo, turned as its EXIF says, its colours converted to sRGB.
 * Throws UnreadableError for what is no photo, is damaged, or is of a kind that this browser does not know.
 */
export async function decodePhoto(file: File): Promise<Rgb> {
  const kind = await classOf(file)
  if (kind.kind === 'unreadable') throw new UnreadableError(kind.problem)
  if (kind.kind !== 'photo')
    throw new UnreadableError(`is no photo (${kind.kind === 'sidecar' ? 'a side file' : kind.what})`)
  let bitmap: ImageBitmap
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: 'from-image', premultiplyAlpha: 'none' })
  } catch {
    const known = kind.format === 'jpeg' || kind.format === 'png' || kind.format === 'webp' || kind.format === 'gif'
    throw new UnreadableError(
      known
        ? 'is damaged, or too large for this browser'
        : `is a ${NAMES[kind.format]} photo, which this browser cannot read`,
    )
  }
  try {
    return pixelsOf(bitmap)
  } finally {
    bitmap.close()
  }
}

const NAMES: Readonly<Record<string, string>> = { avif: 'AVIF', tiff: 'TIFF', jxl: 'JPEG XL', bmp: 'BMP', heic: 'HEIC' }

/** The bitmap's samples. Throws UnreadableError where the browser gives no canvas of its size. */
export function pixelsOf(bitmap: ImageBitmap): Rgb {
  const { width, height } = bitmap
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d', { willReadFrequently: true, colorSpace: 'srgb' })
  let data: Uint8ClampedArray
  try {
    context!.drawImage(bitmap, 0, 0)
    data = context!.getImageData(0, 0, width, height, { colorSpace: 'srgb' }).data
  } catch {
    throw new UnreadableError(`is too large for this browser (${width} x ${height} pixels)`)
  }
  const pixels = width * height
  const rgb = new Uint8Array(3 * pixels)
  let opaque = true
  for (let i = 0; i < pixels; i++) {
    rgb[3 * i] = data[4 * i]
    rgb[3 * i + 1] = data[4 * i + 1]
    rgb[3 * i + 2] = data[4 * i + 2]
    opaque &&= data[4 * i + 3] === 255
  }
  // Drop the canvas' memory now, not when it is collected: phones have little.
  canvas.width = canvas.height = 1
  if (opaque) return { width, height, rgb }
  const alpha = new Uint8Array(pixels)
  for (let i = 0; i < pixels; i++) alpha[i] = data[4 * i + 3]
  return { width, height, rgb, alpha }
}

/** Every pixel is grey: the change must be grey too. */
export function isGrey({ rgb }: Rgb): boolean {
  for (let i = 0; i < rgb.length; i += 3) if (rgb[i] !== rgb[i + 1] || rgb[i] !== rgb[i + 2]) return false
  return true
}

/** Bytes of a file's beginning that are looked through: metadata comes first, and may be long. */
const FACTS_BYTES = 1 << 20

/** What a file says of itself. */
export interface FileFacts {
  /** It is a result of this program. */
  marked: boolean
  /** Of a JPEG: the quality, 1 to 100, that would compress as strongly as its own tables. */
  quality?: number
}

/** Reads what a file says of itself. Throws UnreadableError where it cannot be opened any more. */
export async function factsOf(file: File): Promise<FileFacts> {
  const head = new Uint8Array(await readSlice(file, FACTS_BYTES))
  if (head[0] === 0x89) return { marked: readPng(head).marked }
  if (head[0] === 0xff && head[1] === 0xd8) return jpegFacts(head)
  // WebP: EXIF's Software, at the file's end.
  if (head[0] !== 0x52) return { marked: false }
  const end = new Uint8Array(await file.slice(-4096).arrayBuffer())
  return { marked: new TextDecoder('latin1').decode(end).includes(MARK) }
}

/** By the segments before the pixels (ITU-T T.81, annex B): a comment, and the first quantisation table of 8 bit. */
function jpegFacts(jpeg: Uint8Array): FileFacts {
  const facts: FileFacts = { marked: false }
  for (let at = 2; at + 4 <= jpeg.length && jpeg[at] === 0xff && jpeg[at + 1] !== 0xda; ) {
    const marker = jpeg[at + 1]
    const length = (jpeg[at + 2] << 8) | jpeg[at + 3]
    const body = jpeg.subarray(at + 4, at + 2 + length)
    if (marker === 0xfe && new TextDecoder('latin1').decode(body) === MARK) facts.marked = true
    if (marker === 0xdb && body[0] === 0) facts.quality ??= qualityOf(body.subarray(1, 65))
    at += 2 + length
  }
  return facts
}

/** The first bytes of a file. Throws UnreadableError where the system does not give them: moved, deleted, a disk pulled out. */
async function readSlice(file: File, bytes: number): Promise<ArrayBuffer> {
  try {
    return await file.slice(0, bytes).arrayBuffer()
  } catch {
    throw new UnreadableError('cannot be opened any more (was it moved or deleted?)')
  }
}
