import { crc32, deflateSync } from 'node:zlib'
import { iccSegments } from './jpeg.ts'
import { jfif } from './jpeg-segments.ts'
import { MARK } from './mark.ts'

/** What is put into a picture beside its pixels. */
export interface Extras {
  /** TIFF header first. WebP has no other place for the mark. */
  exif?: Uint8Array
  icc?: Uint8Array
  /** Dots an inch; WebP has no place for it but EXIF. */
  density?: number
  /** The text by which results are known; see mark.ts. */
  mark?: boolean
}

/**
 * Puts a colour profile, EXIF, density and the mark into a picture that sharp has just encoded without metadata. Done
 * here and not with sharp: its `withExif` adds a dozen tags of its own and cuts texts that end in a bracket, and its
 * `withIccProfile` converts the pixels.
 *
 * @param size of the picture in pixels; WebP's extended header repeats it
 */
export function embed(
  encoded: Uint8Array,
  format: 'png' | 'jpeg' | 'webp',
  extras: Extras,
  size: { width: number; height: number; alpha: boolean },
): Uint8Array {
  if (format === 'png') return intoPng(encoded, extras)
  if (format === 'jpeg') return intoJpeg(encoded, extras)
  return intoWebp(encoded, extras, size)
}

/** PNG third edition: iCCP, pHYs, tEXt and eXIf between IHDR, which always ends at byte 33, and the pixels. */
function intoPng(png: Uint8Array, { exif, icc, density, mark }: Extras): Uint8Array {
  const chunks: Uint8Array[] = []
  if (icc) chunks.push(chunk('iCCP', Buffer.concat([Buffer.from('icc\0\0', 'latin1'), deflateSync(icc)])))
  if (density) {
    const body = Buffer.alloc(9)
    body.writeUInt32BE(Math.round(density / 0.0254), 0)
    body.writeUInt32BE(Math.round(density / 0.0254), 4)
    body[8] = 1
    chunks.push(chunk('pHYs', body))
  }
  if (mark) chunks.push(chunk('tEXt', Buffer.from(`Software\0${MARK}`, 'latin1')))
  if (exif) chunks.push(chunk('eXIf', exif))
  // libvips says 25.4 dots an inch where it knows nothing.
  return Buffer.concat([png.subarray(0, 33), ...chunks, withoutChunk(png.subarray(33), 'pHYs')])
}

function chunk(type: string, body: Uint8Array): Uint8Array {
  const whole = Buffer.alloc(12 + body.length)
  whole.writeUInt32BE(body.length)
  whole.write(type, 4, 'latin1')
  whole.set(body, 8)
  whole.writeUInt32BE(crc32(whole.subarray(4, -4)), whole.length - 4)
  return whole
}

function withoutChunk(chunks: Uint8Array, type: string): Uint8Array {
  const bytes = Buffer.from(chunks.buffer, chunks.byteOffset, chunks.byteLength)
  for (let at = 0; at + 12 <= bytes.length; ) {
    const end = at + 12 + bytes.readUInt32BE(at)
    const name = bytes.toString('latin1', at + 4, at + 8)
    if (name === type) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
    if (name === 'IDAT') break
    at = end
  }
  return chunks
}

/** Exif 2.32, 4.5.4: an APP1 segment directly after the start of the image; the others after JFIF's. */
function intoJpeg(jpeg: Uint8Array, { exif, icc, density, mark }: Extras): Uint8Array {
  const parts: Uint8Array[] = [jpeg.subarray(0, 2)]
  if (exif) {
    const head = Buffer.from([0xff, 0xe1, 0, 0, ...Buffer.from('Exif\0\0', 'latin1')])
    head.writeUInt16BE(head.length - 2 + exif.length, 2)
    parts.push(head, exif)
  }
  const isJfif = jpeg[2] === 0xff && jpeg[3] === 0xe0
  const rest = isJfif ? jpeg.subarray(4 + ((jpeg[4] << 8) | jpeg[5])) : jpeg.subarray(2)
  const dots = density ? Math.max(1, Math.min(65535, Math.round(density))) : 1
  parts.push(jfif(density ? 1 : 0, [dots >> 8, dots & 255, dots >> 8, dots & 255]))
  if (icc) parts.push(...iccSegments(icc))
  if (mark) parts.push(Buffer.from([0xff, 0xfe, 0, 2 + MARK.length, ...Buffer.from(MARK, 'latin1')]))
  return Buffer.concat([...parts, rest])
}

/** WebP container, RFC 9649, section 2.7: metadata needs the extended form, in which a VP8X chunk comes first. */
function intoWebp(
  webp: Uint8Array,
  { exif, icc }: Extras,
  size: { width: number; height: number; alpha: boolean },
): Uint8Array {
  if (!exif && !icc) return webp
  const extended = Buffer.from(webp.subarray(12, 16)).toString('latin1') === 'VP8X'
  const vp8x = Buffer.alloc(18)
  vp8x.write('VP8X', 'latin1')
  vp8x.writeUInt32LE(10, 4)
  vp8x[8] = (extended ? webp[20] : size.alpha ? 0x10 : 0) | (exif ? 0x08 : 0) | (icc ? 0x20 : 0)
  vp8x.writeUIntLE(size.width - 1, 12, 3)
  vp8x.writeUIntLE(size.height - 1, 15, 3)
  const pixels = webp.subarray(extended ? 30 : 12)
  const out = Buffer.concat([
    webp.subarray(0, 12),
    vp8x,
    ...(icc ? [riff('ICCP', icc)] : []),
    pixels,
    ...(exif ? [riff('EXIF', exif)] : []),
  ])
  out.writeUInt32LE(out.length - 8, 4)
  return out
}

function riff(type: string, body: Uint8Array): Uint8Array {
  const whole = Buffer.alloc(8 + body.length + (body.length % 2))
  whole.write(type, 'latin1')
  whole.writeUInt32LE(body.length, 4)
  whole.set(body, 8)
  return whole
}
