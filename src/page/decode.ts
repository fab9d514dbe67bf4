/** Files to pixels by the browser's own decoders, upright and in sRGB. */
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

/** Bytes of a file's beginning in which the mark of a result lies. */
const MARK_BYTES = 65_536

/** The file says that it is a result of this program. */
export async function isEarlierResult(file: File): Promise<boolean> {
  const head = new Uint8Array(await readSlice(file, MARK_BYTES))
  if (head[0] === 0x89) return readPng(head).marked
  if (head[0] === 0xff && head[1] === 0xd8) return hasComment(head, MARK)
  // WebP: EXIF's Software, which ends the file.
  if (head[0] !== 0x52) return false
  const end = new Uint8Array(await file.slice(-4096).arrayBuffer())
  return new TextDecoder('latin1').decode(end).includes(MARK)
}

/** A JPEG has a comment of this text before its pixels. */
function hasComment(jpeg: Uint8Array, text: string): boolean {
  for (let at = 2; at + 4 <= jpeg.length && jpeg[at] === 0xff && jpeg[at + 1] !== 0xda; ) {
    const length = (jpeg[at + 2] << 8) | jpeg[at + 3]
    const body = jpeg.subarray(at + 4, at + 2 + length)
    if (jpeg[at + 1] === 0xfe && new TextDecoder('latin1').decode(body) === text) return true
    at += 2 + length
  }
  return false
}

/** The first bytes of a file. Throws UnreadableError where the system does not give them: moved, deleted, a disk pulled out. */
async function readSlice(file: File, bytes: number): Promise<ArrayBuffer> {
  try {
    return await file.slice(0, bytes).arrayBuffer()
  } catch {
    throw new UnreadableError('cannot be opened any more (was it moved or deleted?)')
  }
}
