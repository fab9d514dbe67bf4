import { crc32 } from 'node:zlib'

/**
 * Puts an EXIF block (TIFF header first) into a picture that sharp has just encoded without metadata. Done here and not
 * with sharp's `withExif`, which adds a dozen tags of its own and cuts texts that end in a bracket.
 *
 * @param encoded a PNG, JPEG or WebP without EXIF
 * @param size of the picture in pixels; WebP's extended header repeats it
 */
export function embedExif(
  encoded: Uint8Array,
  format: 'png' | 'jpeg' | 'webp',
  exif: Uint8Array,
  size: { width: number; height: number; alpha: boolean },
): Uint8Array {
  if (format === 'png') return intoPng(encoded, exif)
  if (format === 'jpeg') return intoJpeg(encoded, exif)
  return intoWebp(encoded, exif, size)
}

/** PNG third edition, 11.3.3.5: an eXIf chunk anywhere between IHDR and IEND. IHDR always ends at byte 33. */
function intoPng(png: Uint8Array, exif: Uint8Array): Uint8Array {
  const chunk = Buffer.alloc(12 + exif.length)
  chunk.writeUInt32BE(exif.length)
  chunk.write('eXIf', 4, 'latin1')
  chunk.set(exif, 8)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4)
  return Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)])
}

/** Exif 2.32, 4.5.4: an APP1 segment directly after the start of the image. */
function intoJpeg(jpeg: Uint8Array, exif: Uint8Array): Uint8Array {
  const head = Buffer.from([0xff, 0xe1, 0, 0, ...Buffer.from('Exif\0\0', 'latin1')])
  head.writeUInt16BE(head.length - 2 + exif.length, 2)
  return Buffer.concat([jpeg.subarray(0, 2), head, exif, jpeg.subarray(2)])
}

/** WebP container, RFC 9649, section 2.7: metadata needs the extended form, in which a VP8X chunk comes first. */
function intoWebp(
  webp: Uint8Array,
  exif: Uint8Array,
  size: { width: number; height: number; alpha: boolean },
): Uint8Array {
  const extended = Buffer.from(webp.subarray(12, 16)).toString('latin1') === 'VP8X'
  const vp8x = Buffer.alloc(18)
  vp8x.write('VP8X', 'latin1')
  vp8x.writeUInt32LE(10, 4)
  vp8x[8] = (extended ? webp[20] : size.alpha ? 0x10 : 0) | 0x08
  vp8x.writeUIntLE(size.width - 1, 12, 3)
  vp8x.writeUIntLE(size.height - 1, 15, 3)
  const chunk = Buffer.alloc(8 + exif.length + (exif.length % 2))
  chunk.write('EXIF', 'latin1')
  chunk.writeUInt32LE(exif.length, 4)
  chunk.set(exif, 8)
  const out = Buffer.concat([webp.subarray(0, 12), vp8x, webp.subarray(extended ? 30 : 12), chunk])
  out.writeUInt32LE(out.length - 8, 4)
  return out
}
