/** Structural similarity of whole photos on the processor, in float64: `ssim` (kernels) for photos of any size. */

import { K1, K2, WINDOW } from '../kernels/ssim.ts'
import { checkPixels, type Pixels } from '../pixels/pixels.ts'

const SIZE = WINDOW.length

/** Means, in windows, of a, b, a squared, b squared, and the product. */
const MOMENTS = 5

/**
 * The mean structural similarity (Wang et al. 2004) of two photos, 1 where they are equal: 11x11 Gaussian windows that lie wholly inside,
 * channels one by one, their mean. Memory grows with the width alone.
 * @throws RangeError for photos of different sizes or with a side under 11 pixels
 */
export function ssimOf(a: Pixels, b: Pixels): number {
  checkPixels('ssimOf', a)
  checkPixels('ssimOf', b)
  const { width, height } = a
  if (b.width !== width || b.height !== height || Math.min(width, height) < SIZE) {
    throw new RangeError(
      `ssimOf: photos of ${width}x${height} and ${b.width}x${b.height} pixels; they must be of one size, at least ${SIZE}x${SIZE}`,
    )
  }
  const columns = width - SIZE + 1
  // A ring of the rows that a window spans, each filtered along the row.
  const rows = Array.from({ length: SIZE }, () => new Float64Array(MOMENTS * columns))
  const sums = new Float64Array(MOMENTS * columns)
  let total = 0
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < height; y++) {
      filterRow(a.rgb, b.rgb, 3 * y * width + channel, rows[y % SIZE], columns)
      if (y < SIZE - 1) continue
      sums.fill(0)
      for (let k = 0; k < SIZE; k++) {
        const row = rows[(y + 1 + k) % SIZE]
        for (let i = 0; i < sums.length; i++) sums[i] += WINDOW[k] * row[i]
      }
      for (let x = 0; x < columns; x++) total += similarityIn(sums, x, columns)
    }
  }
  return total / (3 * columns * (height - SIZE + 1))
}

function filterRow(a: Uint8Array, b: Uint8Array, start: number, row: Float64Array, columns: number): void {
  for (let x = 0; x < columns; x++) {
    let [meanA, meanB, squareA, squareB, product] = [0, 0, 0, 0, 0]
    for (let k = 0; k < SIZE; k++) {
      const at = start + 3 * (x + k)
      const [u, v] = [a[at] / 255, b[at] / 255]
      meanA += WINDOW[k] * u
      meanB += WINDOW[k] * v
      squareA += WINDOW[k] * u * u
      squareB += WINDOW[k] * v * v
      product += WINDOW[k] * u * v
    }
    row[x] = meanA
    row[columns + x] = meanB
    row[2 * columns + x] = squareA
    row[3 * columns + x] = squareB
    row[4 * columns + x] = product
  }
}

/** One window, by its moments; values are in 0..1. */
function similarityIn(moments: Float64Array, x: number, columns: number): number {
  const [meanA, meanB] = [moments[x], moments[columns + x]]
  const varianceA = moments[2 * columns + x] - meanA * meanA
  const varianceB = moments[3 * columns + x] - meanB * meanB
  const covariance = moments[4 * columns + x] - meanA * meanB
  const [c1, c2] = [K1 ** 2, K2 ** 2]
  const luminance = (2 * meanA * meanB + c1) / (meanA * meanA + meanB * meanB + c1)
  return (luminance * (2 * covariance + c2)) / (varianceA + varianceB + c2)
}
