/** The aligned face as a recogniser's input, computed on the processor. */

import { checkPixels, type Pixels } from '../pixels/pixels.ts'
import { type Affine, inverse } from './alignment.ts'

/** Samples a side whose mean a crop's pixel is: about as many as the photo has pixels to one of the crop. Throws as `inverse` does. */
export function samplesASide(map: Affine): number {
  const [a, , , c] = inverse(map)
  return Math.max(1, Math.ceil(Math.hypot(a, c) - 0.5))
}

/**
 * The crop of `size` x `size` pixels, planes [3,size,size] in 0..1: bilinear samples at `inverse(map)(j + .5) - .5`, black outside
 * the photo. Where the photo has several pixels to one of the crop, as many samples a side are averaged, so that none is missed.
 * Throws FaceGeometryError for a map without an inverse.
 */
export function cropFace(photo: Pixels, map: Affine, size: number): Float32Array {
  checkPixels('cropFace', photo)
  const [a, b, tx, c, d, ty] = inverse(map)
  const samples = samplesASide(map)
  const planes = new Float32Array(3 * size * size)
  const total = [0, 0, 0]
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      total.fill(0)
      for (let sample = 0; sample < samples * samples; sample++) {
        const u = x + ((sample % samples) + 0.5) / samples
        const v = y + (Math.floor(sample / samples) + 0.5) / samples
        addBilinear(photo, a * u + b * v + tx - 0.5, c * u + d * v + ty - 0.5, total)
      }
      for (let channel = 0; channel < 3; channel++) {
        planes[(channel * size + y) * size + x] = total[channel] / (samples * samples * 255)
      }
    }
  }
  return planes
}

function addBilinear({ width, height, rgb }: Pixels, x: number, y: number, total: number[]): void {
  const left = Math.floor(x)
  const top = Math.floor(y)
  for (let dy = 0; dy < 2; dy++) {
    const row = top + dy
    if (row < 0 || row >= height) continue
    for (let dx = 0; dx < 2; dx++) {
      const column = left + dx
      if (column < 0 || column >= width) continue
      const weight = (dx ? x - left : 1 - x + left) * (dy ? y - top : 1 - y + top)
      const at = 3 * (row * width + column)
      for (let channel = 0; channel < 3; channel++) total[channel] += weight * rgb[at + channel]
    }
  }
}
