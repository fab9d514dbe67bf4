/** Float image planes cut out of a photo, reduced for work and enlarged again. */
import type { Pixels } from '../faces/pixels.ts'
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

/** `channels` planes of width x height resampled to another size by the triangle filter, rows first. */
export function resamplePlanes(
  planes: Float32Array,
  channels: number,
  [width, height]: readonly [number, number],
  [toWidth, toHeight]: readonly [number, number],
): Float32Array {
  if (width === toWidth && height === toHeight) return planes
  const across = triangle(width, toWidth)
  const down = triangle(height, toHeight)
  const narrow = new Float32Array(toWidth * height)
  const out = new Float32Array(channels * toWidth * toHeight)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      const row = (c * height + y) * width
      for (let x = 0; x < toWidth; x++) {
        const { start, weights } = across[x]
        let total = 0
        for (let k = 0; k < weights.length; k++) total += weights[k] * planes[row + start + k]
        narrow[y * toWidth + x] = total
      }
    }
    for (let y = 0; y < toHeight; y++) {
      const { start, weights } = down[y]
      const row = (c * toHeight + y) * toWidth
      for (let x = 0; x < toWidth; x++) {
        let total = 0
        for (let k = 0; k < weights.length; k++) total += weights[k] * narrow[(start + k) * toWidth + x]
        out[row + x] = total
      }
    }
  }
  return out
}

/** The region of a photo as working planes [3,workHeight,workWidth] in 0..1. */
export function workingPlanes(photo: Pixels, region: Region): Float32Array {
  const { left, top, width, height } = region
  const planes = new Float32Array(3 * width * height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = 3 * ((top + y) * photo.width + left + x)
      const to = y * width + x
      for (let c = 0; c < 3; c++) planes[c * width * height + to] = photo.data[from + c] / 255
    }
  }
  return resamplePlanes(planes, 3, [width, height], [region.workWidth, region.workHeight])
}

/**
 * Adds a change, working planes in units of 0..1, to the region of the photo, in place, clamped to 0..255. Pixels that the
 * change leaves alone keep their bits.
 */
export function addChange(photo: Pixels, region: Region, change: Float32Array, rounding: 'floor' | 'nearest'): void {
  const { left, top, width, height } = region
  const full = resamplePlanes(change, 3, [region.workWidth, region.workHeight], [width, height])
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const to = 3 * ((top + y) * photo.width + left + x)
      for (let c = 0; c < 3; c++) {
        const by = full[(c * height + y) * width + x]
        if (by === 0) continue
        // In f32 as the published code has it: in float64 a white pixel's change can leave it a hair under 255, and floor takes one off.
        const value = Math.fround(Math.min(1, Math.max(0, photo.data[to + c] / 255 + by)))
        const level = Math.fround(value * 255)
        photo.data[to + c] = rounding === 'floor' ? Math.floor(level) : Math.round(level)
      }
    }
  }
}
