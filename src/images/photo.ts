import type { PhotoMetadata } from './exif.ts'

/** File formats that can be read. */
export type PhotoFormat = 'png' | 'jpeg' | 'webp' | 'avif' | 'tiff' | 'gif' | 'heic' | 'jxl' | 'bmp'

/** A decoded photo, upright (its EXIF orientation applied), 8-bit sRGB. */
export interface Photo {
  /** In pixels, after orientation. */
  width: number
  height: number
  /** Interleaved, 3 bytes a pixel, rows from the top; a grey photo has three equal values. `3 * width * height` bytes. */
  rgb: Uint8Array
  /** Opacity, 0 to 255, `width * height` bytes; absent where the file has none. Not premultiplied into `rgb`. */
  alpha?: Uint8Array
  /** Every pixel of the file is grey, whether it was stored as grey or as colour; encoded as grey again. */
  grey: boolean
  /** What the file was. */
  format: PhotoFormat
  /** The allowed fields of the file's EXIF; written only where metadata is asked for. */
  metadata?: PhotoMetadata
  /** What was lost on reading that a user should know, as whole sentences. */
  warnings?: string[]
}

/** Throws a RangeError naming the sizes where a photo's arrays do not fit its width and height. */
export function checkPhoto({ width, height, rgb, alpha }: Pick<Photo, 'width' | 'height' | 'rgb' | 'alpha'>): void {
  const pixels = width * height
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`photo: width and height must be whole numbers from 1, not ${width} x ${height}`)
  }
  if (rgb.length !== 3 * pixels) {
    throw new RangeError(`photo: rgb has ${rgb.length} bytes, ${width} x ${height} pixels need ${3 * pixels}`)
  }
  if (alpha && alpha.length !== pixels) {
    throw new RangeError(`photo: alpha has ${alpha.length} bytes, ${width} x ${height} pixels need ${pixels}`)
  }
}
