/** A photo or a cut-out of one: 8-bit RGB, interleaved, rows from the top, `3 * width * height` bytes. */
export interface Pixels {
  width: number
  height: number
  rgb: Uint8Array
}

/**
 * Throws RangeError, naming `operation` and the sizes, unless `image` is at least 1x1 and holds exactly 3 bytes a pixel.
 */
export function checkPixels(operation: string, image: Pixels): void {
  const { width, height, rgb } = image
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`${operation}: an image of ${width}x${height} pixels; both sides must be whole numbers from 1`)
  }
  if (rgb.length !== 3 * width * height) {
    throw new RangeError(
      `${operation}: ${width}x${height} RGB needs ${3 * width * height} bytes (3 a pixel), rgb holds ${rgb.length}`,
    )
  }
}

/**
 * Copies the rectangle from (x1, y1) to (x2, y2), whole pixel indices, both ends included. What lies outside the photo is
 * black (0), as MTCNN pads its candidates.
 */
export function cutOut(image: Pixels, x1: number, y1: number, x2: number, y2: number): Pixels {
  const width = x2 - x1 + 1
  const height = y2 - y1 + 1
  const rgb = new Uint8Array(3 * width * height)
  const left = Math.max(x1, 0)
  const right = Math.min(x2, image.width - 1)
  for (let y = Math.max(y1, 0); y <= Math.min(y2, image.height - 1); y++) {
    const from = 3 * (y * image.width + left)
    rgb.set(image.rgb.subarray(from, from + 3 * (right - left + 1)), 3 * ((y - y1) * width + left - x1))
  }
  return { width, height, rgb }
}

/**
 * Peak signal-to-noise ratio in dB of as many values, `10 log10(peak^2 / mean squared difference)`; Infinity where they are equal.
 * @param peak the difference of white and black
 */
export function signalToNoise(a: ArrayLike<number>, b: ArrayLike<number>, peak: number): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2
  return sum === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10((peak ** 2 * a.length) / sum)
}
