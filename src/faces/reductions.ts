/** Large photos at half, a quarter, ... of their size, for what need not see every pixel of them. */
import { checkPixels, type Pixels } from '../pixels/pixels.ts'

/** A photo that keeps its reductions: each is made once, when it is first asked for. The photo must not change meanwhile. */
export class Reductions implements Pixels {
  readonly width: number
  readonly height: number
  readonly rgb: Uint8Array
  /** At index k the photo reduced by 2^k. */
  private readonly levels: Pixels[]

  /** Throws RangeError where the bytes do not fit the size. */
  constructor(photo: Pixels) {
    checkPixels('Reductions', photo)
    this.width = photo.width
    this.height = photo.height
    this.rgb = photo.rgb
    this.levels = [photo]
  }

  /** Keeps the reductions of a photo that has some. */
  static of(photo: Pixels): Reductions {
    return photo instanceof Reductions ? photo : new Reductions(photo)
  }

  /**
   * The photo reduced by the largest power of two that is at most `by` and leaves both sides a pixel; `factor` is that power.
   * Pixel i of the reduced photo covers pixels `factor * i` to `factor * (i + 1) - 1`; what is left over at the right and
   * bottom edges, under `factor` pixels, is not seen.
   */
  reduced(by: number): { image: Pixels; factor: number } {
    let level = 0
    while (2 ** (level + 1) <= by && Math.min(this.width, this.height) >= 2 ** (level + 1)) level++
    while (this.levels.length <= level) this.levels.push(halved(this.levels[this.levels.length - 1]))
    return { image: this.levels[level], factor: 2 ** level }
  }
}

/** Means of 2x2 pixels, halves rounded up. */
function halved({ width, height, rgb }: Pixels): Pixels {
  const [columns, rows] = [width >> 1, height >> 1]
  const half = new Uint8Array(3 * columns * rows)
  let to = 0
  for (let y = 0; y < rows; y++) {
    let above = 6 * y * width
    let below = above + 3 * width
    for (let x = 0; x < columns; x++, above += 6, below += 6) {
      for (let c = 0; c < 3; c++) {
        half[to++] = (rgb[above + c] + rgb[above + 3 + c] + rgb[below + c] + rgb[below + 3 + c] + 2) >> 2
      }
    }
  }
  return { width: columns, height: rows, rgb: half }
}
