/** Tensors that a case does not store, because they follow from the demo photo, from the generator or from another tensor. */
import { join } from 'node:path'
import { type Affine, inverse } from '../../src/faces/alignment.ts'
import { readPhoto } from '../../src/images/index.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'

/** How a tensor is made; make.py writes the same in Python. */
export type Recipe =
  /** Left, top, width and height in the demo photo: planes in 0..1, or 8 bits where the tensor is [height,width,3]. */
  | { photo: readonly [number, number, number, number] }
  /** The crop of the demo photo whose map from photo to crop is given (2x3), then `scale` and `shift`. */
  | { warp: readonly (readonly number[])[]; scale?: number; shift?: number }
  /** `x`, the tensor `start`, and so many signed steps of `rate`: `steps` holds their sum, `most` added. */
  | { start: string; steps: string; most: number; rate: number }
  /** A tensor limited to 0..1. */
  | { clamp: string }

const { width, height, rgb } = await readPhoto(join(import.meta.dirname, '../../examples/astronaut.png'))
const photo: Pixels = { width, height, rgb }

/** @param tensor another tensor of the case */
export function make(
  recipe: Recipe,
  shape: Shape,
  tensor: (name: string) => Float32Array | Uint8Array,
): Float32Array | Uint8Array {
  if ('clamp' in recipe) return Float32Array.from(tensor(recipe.clamp), (v) => Math.min(1, Math.max(0, v)))
  if ('start' in recipe) {
    const [x, start, steps] = [tensor('x'), tensor(recipe.start), tensor(recipe.steps)]
    const rate = Math.fround(recipe.rate)
    return Float32Array.from(x, (v, i) => Math.fround(v + start[i]) + Math.fround(rate * (steps[i] - recipe.most)))
  }
  if ('warp' in recipe) {
    const { warp, scale = 1, shift = 0 } = recipe
    return cropOf(inverse(warp.flat() as Affine), shape.at(-1)!).map((v) => scale * v + shift)
  }
  const [left, top, w, h] = recipe.photo
  const at = (x: number, y: number, c: number) => photo.rgb[3 * ((top + y) * photo.width + left + x) + c]
  if (shape.length === 3)
    return Uint8Array.from({ length: elements(shape) }, (_, i) =>
      at(Math.floor(i / 3) % w, Math.floor(i / 3 / w), i % 3),
    )
  return Float32Array.from(
    { length: elements(shape) },
    (_, i) => at(i % w, Math.floor(i / w) % h, Math.floor(i / w / h)) / 255,
  )
}

/** Bilinear, black outside of the photo, centres of pixels at halves. */
function cropOf([a, b, tx, c, d, ty]: Affine, size: number): Float32Array {
  const result = new Float32Array(3 * size * size)
  for (let v = 0; v < size; v++) {
    for (let u = 0; u < size; u++) {
      const x = a * (u + 0.5) + b * (v + 0.5) + tx - 0.5
      const y = c * (u + 0.5) + d * (v + 0.5) + ty - 0.5
      for (let k = 0; k < 4; k++) {
        const [px, py] = [Math.floor(x) + (k & 1), Math.floor(y) + (k >> 1)]
        if (px < 0 || py < 0 || px >= photo.width || py >= photo.height) continue
        const weight = (1 - Math.abs(x - px)) * (1 - Math.abs(y - py))
        for (let p = 0; p < 3; p++)
          result[(p * size + v) * size + u] += (weight * photo.rgb[3 * (py * photo.width + px) + p]) / 255
      }
    }
  }
  return result
}
