/** Float image planes cut out of a photo, reduced for work and enlarged again. */
import type { Pixels } from '../pixels/pixels.ts'
import type { Region } from './region.ts'

/** Taps of one output sample along an axis: from `start`, weights that add up to 1. */
interface Taps {
  start: number
  weights: Float64Array
}

/**
 * A triangle filter with half-pixel centres: plain linear interpolation when enlarging, widened by the reduction when reducing
 * (antialiased), edges repeated by renormalising.
 */
function triangle(from: number, to: number): Taps[] {
  const scale = from / to
  const support = Math.max(1, scale)
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale - 0.5
    const start = Math.max(0, Math.ceil(centre - support))
    const end = Math.min(from - 1, Math.floor(centre + support))
    const weights = Float64Array.from({ length: end - start + 1 }, (_, k) => 1 - Math.abs(start + k - centre) / support)
    const total = weights.reduce((s, w) => s + w, 0)
    return { start, weights: weights.map((w) => w / total) }
  })
}

type Size = readonly [width: number, height: number]

/**
 * Resamples a plane by the triangle filter, rows first, row by row: of the plane between the two passes only the rows that a row of the
 * result needs are kept.
 * @param rowOf row y of the plane; it is read before the next is asked for
 * @param take is given the rows of the result in order, each in memory that the next one takes
 */
function resampleRows(
  [width, height]: Size,
  [toWidth, toHeight]: Size,
  rowOf: (y: number) => Float32Array,
  take: (y: number, row: Float32Array) => void,
): void {
  if (width === toWidth && height === toHeight) {
    for (let y = 0; y < height; y++) take(y, rowOf(y))
    return
  }
  const across = triangle(width, toWidth)
  const down = triangle(height, toHeight)
  const kept = Array.from(
    { length: Math.max(...down.map(({ weights }) => weights.length)) },
    () => new Float32Array(toWidth),
  )
  const result = new Float32Array(toWidth)
  const sums = new Float64Array(toWidth)
  let made = 0
  for (let y = 0; y < toHeight; y++) {
    const { start, weights } = down[y]
    for (; made < start + weights.length; made++) resampleRow(rowOf(made), across, kept[made % kept.length])
    sums.fill(0)
    for (let k = 0; k < weights.length; k++) {
      const row = kept[(start + k) % kept.length]
      const weight = weights[k]
      for (let x = 0; x < toWidth; x++) sums[x] += weight * row[x]
    }
    result.set(sums)
    take(y, result)
  }
}

function resampleRow(row: Float32Array, across: readonly Taps[], to: Float32Array): void {
  for (let x = 0; x < across.length; x++) {
    const { start, weights } = across[x]
    let total = 0
    for (let k = 0; k < weights.length; k++) total += weights[k] * row[start + k]
    to[x] = total
  }
}

/** `channels` planes of width x height resampled to another size by the triangle filter, rows first. */
export function resamplePlanes(planes: Float32Array, channels: number, from: Size, to: Size): Float32Array {
  const [width, height] = from
  const [toWidth, toHeight] = to
  if (width === toWidth && height === toHeight) return planes
  const out = new Float32Array(channels * toWidth * toHeight)
  for (let c = 0; c < channels; c++) {
    resampleRows(
      from,
      to,
      (y) => planes.subarray((c * height + y) * width, (c * height + y + 1) * width),
      (y, row) => out.set(row, (c * toHeight + y) * toWidth),
    )
  }
  return out
}

/** The region of a photo as working planes [3,workHeight,workWidth] in 0..1. Holds nothing of the region's size in memory. */
export function workingPlanes(photo: Pixels, region: Region): Float32Array {
  const { left, top, width, height, workWidth, workHeight } = region
  const planes = new Float32Array(3 * workWidth * workHeight)
  const row = new Float32Array(width)
  for (let c = 0; c < 3; c++) {
    resampleRows(
      [width, height],
      [workWidth, workHeight],
      (y) => {
        let from = 3 * ((top + y) * photo.width + left) + c
        for (let x = 0; x < width; x++, from += 3) row[x] = photo.rgb[from] / 255
        return row
      },
      (y, working) => planes.set(working, (c * workHeight + y) * workWidth),
    )
  }
  return planes
}

/**
 * Adds a change, working planes in units of 0..1, to the region of the photo, in place, clamped to 0..255. Pixels that the
 * change leaves alone keep their bits. Holds nothing of the region's size in memory.
 */
export function addChange(photo: Pixels, region: Region, change: Float32Array, rounding: 'floor' | 'nearest'): void {
  const { left, top, width, height, workWidth, workHeight } = region
  for (let c = 0; c < 3; c++) {
    resampleRows(
      [workWidth, workHeight],
      [width, height],
      (y) => change.subarray((c * workHeight + y) * workWidth, (c * workHeight + y + 1) * workWidth),
      (y, row) => addRow(photo.rgb, 3 * ((top + y) * photo.width + left) + c, row, rounding),
    )
  }
}

/** Adds a row of a channel's changes to every third byte from `at`. */
function addRow(rgb: Uint8Array, at: number, row: Float32Array, rounding: 'floor' | 'nearest'): void {
  for (let x = 0; x < row.length; x++) {
    if (row[x] === 0) continue
    const to = at + 3 * x
    // In f32 as the published code has it: in float64 a white pixel's change can leave it a hair under 255, and floor takes one off.
    const value = Math.fround(Math.min(1, Math.max(0, rgb[to] / 255 + row[x])))
    const level = Math.fround(value * 255)
    rgb[to] = rounding === 'floor' ? Math.floor(level) : Math.round(level)
  }
}
