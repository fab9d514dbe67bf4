/** Segments of JPEG files that are written anew. */

export interface JpegSegment {
  /** The second byte of the marker. */
  marker: number
  /** Where the marker starts, and where the segment, with the coded data after it, ends. */
  start: number
  end: number
  /** What follows the length. */
  body: Uint8Array
}

/** A JFIF segment with the density of the given one, and without its thumbnail. */
export function jfifWithout(body: Uint8Array): Uint8Array {
  const [unit, ...density] = body.length >= 12 ? body.subarray(7, 12) : [0, 0, 1, 0, 1]
  return jfif(unit, density)
}

/** `density`: x and y as two bytes each; `unit`: 0 for an aspect ratio, 1 for dots an inch, 2 for dots a centimetre. */
export function jfif(unit: number, density: readonly number[]): Uint8Array {
  return Uint8Array.of(0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46, 0, 1, 1, unit, ...density, 0, 0)
}

/** EXIF with the orientation and nothing else (Exif 2.32, 4.6.4). */
export function orientationSegment(orientation: number): Uint8Array {
  const tiff = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]
  return Uint8Array.of(0xff, 0xe1, 0, 8 + tiff.length, 0x45, 0x78, 0x69, 0x66, 0, 0, ...tiff)
}
