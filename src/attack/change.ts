/** The change of one face: where it stays, and whether what came out is a photo. */
import { alignmentOf } from '../faces/alignment.ts'
import type { Face } from '../faces/mtcnn.ts'
import { AttackError } from './loop.ts'
import { type Region, softMask } from './region.ts'
import { textureOf } from './texture.ts'

/**
 * How much of the change stays where: faded out around the face, and less of it in flat areas where the preset says so.
 * @param planes of the photo in the region
 */
export function changeMask(planes: Float32Array, region: Region, face: Face, flat: number): Float32Array {
  const mask = softMask(region, alignmentOf('arcface112', face.landmarks))
  if (flat === 1) return mask
  const texture = textureOf(planes, region.workWidth, region.workHeight)
  return mask.map((part, i) => part * (flat + (1 - flat) * texture[i]))
}

/** The change as three planes, faded out by the mask. */
export function visibleChange(delta: Float32Array, length: number, mask?: Float32Array): Float32Array {
  const change = new Float32Array(length)
  const fade = mask ?? new Float32Array(length / 3).fill(1)
  for (let i = 0; i < length; i++) change[i] = delta[i % delta.length] * fade[i % fade.length]
  return change
}

/** A GPU that computes nonsense must not replace a photo: a face that was there and is black now is refused. */
export function checkResult(before: Float32Array, after: Float32Array): void {
  const mean = (planes: Float32Array) => planes.reduce((s, v) => s + v, 0) / planes.length
  if (mean(before) > 0.02 && mean(after) < 0.25 * mean(before)) {
    throw new AttackError('the protected face came out black; nothing was written')
  }
}
