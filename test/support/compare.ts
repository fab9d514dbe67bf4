import { expect } from 'vitest'

type Numbers = ArrayLike<number>

/** max|a-b| / max|b|, the measure of the golden results. */
export function relmax(a: Numbers, b: Numbers): number {
  expect(a.length).toBe(b.length)
  let difference = 0
  let largest = 0
  for (let i = 0; i < b.length; i++) {
    const d = Math.abs(a[i] - b[i])
    if (!(d <= difference)) difference = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d
    largest = Math.max(largest, Math.abs(b[i]))
  }
  return difference / Math.max(largest, 1e-30)
}

/** Cosine of the angle between two vectors. */
export function cosine(a: Numbers, b: Numbers): number {
  expect(a.length).toBe(b.length)
  let ab = 0
  let aa = 0
  let bb = 0
  for (let i = 0; i < b.length; i++) {
    ab += a[i] * b[i]
    aa += a[i] * a[i]
    bb += b[i] * b[i]
  }
  return ab / Math.sqrt(aa * bb)
}
