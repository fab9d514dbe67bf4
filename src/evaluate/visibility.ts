/** How visible the change of a protected photo is. */
import { faceRegion } from '../attack/region.ts'
import type { Landmarks } from '../faces/alignment.ts'
import { checkSameSize, maxChange, type Photo } from '../images/index.ts'
import { type Pixels, signalToNoise } from '../pixels/pixels.ts'
import type { LpipsMeter } from './perceptual.ts'
import type { PhotoResult } from './results.ts'
import { ssimOf } from './ssim.ts'

export type Visibility = Pick<
  PhotoResult,
  'ssim' | 'psnr' | 'largestChange' | 'lpips' | 'lpipsHeldOut' | 'changedOutside'
>

/** LPIPS of the trunk that the attack optimises, and of one that it does not know, where there is one. */
export interface Meters {
  lpips: LpipsMeter
  heldOut: LpipsMeter | undefined
}

/** What psnr gives where nothing has changed is no number that JSON has: no 8-bit photo that changed reaches this. */
const HIGHEST_PSNR = 150

/**
 * Peak signal-to-noise ratio in dB over all values of `rgb`; Infinity where the photos are equal.
 * @throws RangeError for photos of different sizes
 */
export function psnr(a: Pick<Photo, 'width' | 'height' | 'rgb'>, b: Pick<Photo, 'width' | 'height' | 'rgb'>): number {
  checkSameSize('psnr', a, b)
  return signalToNoise(a.rgb, b.rgb, 255)
}

/**
 * Compares a protected photo with the clean one.
 * @param faces of the clean photo, one at least
 * @throws RangeError for photos of different sizes
 */
export async function visibilityOf(
  before: Pixels,
  after: Pixels,
  faces: readonly Landmarks[],
  { lpips, heldOut }: Meters,
): Promise<Visibility> {
  return {
    ssim: ssimOf(before, after),
    psnr: Math.min(HIGHEST_PSNR, psnr(before, after)),
    largestChange: maxChange(before, after),
    lpips: await lpips.distance(before, after, faces),
    lpipsHeldOut: heldOut ? await heldOut.distance(before, after, faces) : null,
    changedOutside: changedOutside(before, after, faces),
  }
}

/** How many pixels outside the regions of all faces (attack/region.ts) are not what they were. */
export function changedOutside(before: Pixels, after: Pixels, faces: readonly Landmarks[]): number {
  const { width, height, rgb: a } = before
  const { rgb: b } = after
  const inside = new Uint8Array(width * height)
  for (const landmarks of faces) {
    const region = faceRegion(width, height, landmarks)
    for (let y = region.top; y < region.top + region.height; y++) {
      inside.fill(1, y * width + region.left, y * width + region.left + region.width)
    }
  }
  let changed = 0
  for (let i = 0; i < width * height; i++) {
    if (inside[i]) continue
    const at = 3 * i
    if (a[at] !== b[at] || a[at + 1] !== b[at + 1] || a[at + 2] !== b[at + 2]) changed++
  }
  return changed
}
