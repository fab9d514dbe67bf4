import { checkPixels, type Pixels } from './pixels.ts'

/**
 * Weights are fixed-point with 22 fractional bits: 8 bits of pixel and 2 of head room are kept out of 32
 * (`PRECISION_BITS` in Pillow's src/libImaging/Resample.c). MTCNN's thresholds were tuned on these very roundings.
 */
const precisionBits = 22

/** For every output position the first input position, the number of taps and their weights, `stride` apart. */
interface Taps {
  first: Int32Array
  count: Int32Array
  weights: Int32Array
  stride: number
}

/**
 * Triangle filter, widened by the scale when shrinking (antialiasing), of width 2 when enlarging; cut off at the borders
 * and normalised in float64 before it is rounded, as Pillow does.
 */
function triangleTaps(inputSize: number, outputSize: number): Taps {
  const scale = inputSize / outputSize
  const support = Math.max(scale, 1)
  const stride = Math.ceil(support) * 2 + 1
  const first = new Int32Array(outputSize)
  const count = new Int32Array(outputSize)
  const weights = new Int32Array(outputSize * stride)
  const row = new Float64Array(stride)
  for (let i = 0; i < outputSize; i++) {
    const centre = (i + 0.5) * scale
    const start = Math.max(Math.trunc(centre - support + 0.5), 0)
    const taps = Math.min(Math.trunc(centre + support + 0.5), inputSize) - start
    let sum = 0
    for (let k = 0; k < taps; k++) {
      // Multiplied by the inverse, not divided: the last bit decides some roundings.
      row[k] = Math.max(1 - Math.abs((start + k - centre + 0.5) * (1 / support)), 0)
      sum += row[k]
    }
    first[i] = start
    count[i] = taps
    for (let k = 0; k < taps; k++) weights[i * stride + k] = Math.trunc(0.5 + (row[k] / sum) * 2 ** precisionBits)
  }
  return { first, count, weights, stride }
}

function resizeRows(image: Pixels, width: number): Pixels {
  const { first, count, weights, stride } = triangleTaps(image.width, width)
  const source = image.rgb
  const rgb = new Uint8Array(3 * width * image.height)
  let to = 0
  for (let y = 0; y < image.height; y++) {
    const row = 3 * y * image.width
    for (let x = 0; x < width; x++) {
      let red = 1 << (precisionBits - 1)
      let green = red
      let blue = red
      let from = row + 3 * first[x]
      const end = x * stride + count[x]
      for (let k = x * stride; k < end; k++, from += 3) {
        const weight = weights[k]
        red += Math.imul(source[from], weight)
        green += Math.imul(source[from + 1], weight)
        blue += Math.imul(source[from + 2], weight)
      }
      // A sum of rounded weights can exceed 1 by a few 2^-22: too little to reach 256, so no clamp is needed.
      rgb[to++] = red >> precisionBits
      rgb[to++] = green >> precisionBits
      rgb[to++] = blue >> precisionBits
    }
  }
  return { width, height: image.height, rgb }
}

function resizeColumns(image: Pixels, height: number): Pixels {
  const { first, count, weights, stride } = triangleTaps(image.height, height)
  const source = image.rgb
  const bytes = 3 * image.width
  const rgb = new Uint8Array(bytes * height)
  const sums = new Int32Array(bytes)
  for (let y = 0; y < height; y++) {
    sums.fill(1 << (precisionBits - 1))
    for (let k = 0; k < count[y]; k++) {
      const weight = weights[y * stride + k]
      const row = bytes * (first[y] + k)
      for (let i = 0; i < bytes; i++) sums[i] += Math.imul(source[row + i], weight)
    }
    for (let i = 0; i < bytes; i++) rgb[y * bytes + i] = sums[i] >> precisionBits
  }
  return { width: image.width, height, rgb }
}

/**
 * Resizes to `width` x `height` exactly as Pillow's `Image.resize(size, BILINEAR)` does: antialiased triangle filter in
 * fixed point, rows first, rounded to 8 bits between the passes; a pass that would not change the size is left out.
 * Cost: about `6 * (image.width * image.height + width * image.height)` multiplications when shrinking.
 * Throws RangeError where the image's bytes do not fit its size, or the new size is not whole numbers from 1.
 */
export function resize(image: Pixels, width: number, height: number): Pixels {
  checkPixels('resize', image)
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(
      `resize: ${image.width}x${image.height} to ${width}x${height}; sides must be whole numbers from 1`,
    )
  }
  const rows = width === image.width ? image : resizeRows(image, width)
  const both = height === image.height ? rows : resizeColumns(rows, height)
  return both === image ? { width, height, rgb: image.rgb.slice() } : both
}
