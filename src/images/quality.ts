import type { Pixels } from '../pixels/pixels.ts'
import { checkPhoto } from './photo.ts'

/**
 * The greatest change of any value of `rgb`, 0 to 255.
 *
 * @throws {RangeError} the photos differ in size
 */
export function maxChange(a: Pixels, b: Pixels): number {
  checkSameSize('maxChange', a, b)
  let greatest = 0
  for (let i = 0; i < a.rgb.length; i++) greatest = Math.max(greatest, Math.abs(a.rgb[i] - b.rgb[i]))
  return greatest
}

/** Throws a RangeError that starts with `operation` unless both photos have the same size. */
export function checkSameSize(operation: string, a: Pixels, b: Pixels): void {
  checkPhoto(a)
  checkPhoto(b)
  if (a.width !== b.width || a.height !== b.height) {
    throw new RangeError(
      `${operation}: the photos differ in size, ${a.width} x ${a.height} and ${b.width} x ${b.height}`,
    )
  }
}
