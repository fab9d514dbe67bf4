import { encodePhoto, type OutputFormat } from './encode.ts'
import { orientationOf } from './exif.ts'
import { readJpeg, withoutMetadata } from './jpeg.ts'
import type { Photo } from './photo.ts'
import { readPhoto } from './read.ts'
import { classify, HEAD_BYTES } from './sniff.ts'

export interface Copy {
  bytes: Uint8Array
  format: OutputFormat
  /** As a photo's: what was lost, and what was put right. */
  warnings: string[]
}

/**
 * A copy of a photo without metadata, for handing on unprotected: no place, date, serial number, owner or thumbnail, no
 * second picture, video or depth map. A JPEG keeps its coded pixels bit for bit, its colour profile (rewritten without
 * names where it consists of primaries and curves), density and orientation; every other format is encoded anew, as
 * `encodePhoto` does, in its own format where that can be written, HEIC as JPEG, and the rest as PNG.
 *
 * @param photo what `readPhoto` made of the bytes, where it is at hand
 * @throws {PhotoError} as `readPhoto`
 */
export async function copyWithoutMetadata(bytes: Uint8Array, name: string, photo?: Photo): Promise<Copy> {
  const read = photo ?? (await readPhoto(bytes, name))
  const warnings = read.warnings ?? []
  const found = classify(bytes.subarray(0, HEAD_BYTES), name)
  if (found.kind === 'photo' && found.format === 'jpeg') {
    const jpeg = readJpeg(bytes)
    const exif = jpeg.segments.find(
      ({ marker, body }) => marker === 0xe1 && String.fromCharCode(...body.subarray(0, 6)) === 'Exif\0\0',
    )
    return { bytes: withoutMetadata(jpeg, exif ? orientationOf(exif.body) : 1), format: 'jpeg', warnings }
  }
  const format = formatOfResult(read)
  return { bytes: await encodePhoto(read, { format }), format, warnings }
}

/** The format of a photo's result where none is asked for: its own if it can be written, JPEG for HEIC, else PNG. */
export function formatOfResult({ format }: Pick<Photo, 'format'>): OutputFormat {
  if (format === 'jpeg' || format === 'webp' || format === 'png') return format
  return format === 'heic' ? 'jpeg' : 'png'
}
