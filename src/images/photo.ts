import type { Pixels } from '../pixels/pixels.ts'
import type { PhotoMetadata } from './exif.ts'
import type { Profile } from './profile.ts'

/** File formats that can be read. */
export type PhotoFormat = 'png' | 'jpeg' | 'webp' | 'avif' | 'tiff' | 'gif' | 'heic' | 'jxl' | 'bmp'

/** Something that a file holds and the photo, or its result, does not. */
export interface Loss {
  what:
    | 'frames' // of an animation, pages, views: all but the first
    | 'gain-map' // of an HDR photo, which stays as an SDR one
    | 'depth' // a depth map
    | 'video' // of a Motion Photo
    | 'colour' // the colour space: converted to sRGB
    | 'bits' // 16 bit a sample, written with 8
    | 'channels' // masks and the like beside colour and opacity
    | 'opacity' // laid on white
    | 'rows' // the last rows of a file cut short
  /** The rest of a sentence that starts with the file: 'has 2 frames or pages; only the first is read'. */
  says: string
}

/** The samples that a file held, where 8-bit sRGB is not all of them. */
export interface Original {
  /** Three a pixel, upright, of 8 or 16 bit (0 to 255 or 65535). */
  samples: Uint8Array | Uint16Array
  /** Their colour space; absent: sRGB. */
  profile?: Profile
  /** The 8-bit sRGB that they gave, `rgb` of the photo as it was read. Never changed. */
  view: Uint8Array
}

/** A decoded photo, upright (its EXIF orientation applied), 8-bit sRGB; a grey one has three equal values a pixel. */
export interface Photo extends Pixels {
  /** Opacity, 0 to 255, `width * height` bytes; absent where the file has none. Not premultiplied into `rgb`. */
  alpha?: Uint8Array
  /** Every pixel of the file is grey, whether it was stored as grey or as colour; encoded as grey again. */
  grey: boolean
  /** What the file was. */
  format: PhotoFormat
  /**
   * What the file held beyond 8-bit sRGB. A photo that is written with it (a copy with another `rgb`, of the same size)
   * keeps the file's colour space, 16 bit in PNG, and exactly the samples of all pixels that are equal to the view.
   */
  original?: Original
  /** Dots an inch, where the file says so. */
  density?: number
  /** Of a JPEG: the quality, 1 to 100, that would compress as strongly as its own tables. */
  quality?: number
  /** The file says that it is a result of lowkey-gpu. Only metadata says so: its absence proves nothing. */
  cloaked?: true
  /** The allowed fields of the file's EXIF; written only where metadata is asked for. */
  metadata?: PhotoMetadata
  /** What the file holds and the photo does not. */
  lost?: Loss[]
  /** What a user should know of the file, as whole sentences: what was lost, and what was put right. */
  warnings?: string[]
}

/** Throws a RangeError naming the sizes where a photo's arrays do not fit its width and height. */
export function checkPhoto({
  width,
  height,
  rgb,
  alpha,
  original,
}: Pick<Photo, 'width' | 'height' | 'rgb' | 'alpha' | 'original'>): void {
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
  if (original && (original.samples.length !== 3 * pixels || original.view.length !== 3 * pixels)) {
    throw new RangeError(
      `photo: original has ${original.samples.length} samples, ${width} x ${height} pixels need ${3 * pixels}`,
    )
  }
}
