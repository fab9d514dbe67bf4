/** The measures and tolerances of the golden results (their README, "How to compare"). */
import { expect } from 'vitest'
import { cosine, relmax } from '../support/compare.ts'

type Numbers = ArrayLike<number>

/** Embeddings, and whatever else a network answers. */
export function expectEmbedding(got: Numbers, want: Numbers): void {
  expect(relmax(got, want)).toBeLessThan(1e-4)
  expect(cosine(got, want)).toBeGreaterThan(0.999999)
}

/**
 * Gradients with respect to a network's input: alike to 1e-4, unless the rounding of f32 has put a value on the other side of a
 * kink (ReLU, PReLU, pool) than float64 has; then to 2e-2, and in direction.
 */
export function expectInputGradient(got: Numbers, want: Numbers): void {
  const error = relmax(got, want)
  if (error < 1e-4) return
  expect(error).toBeLessThan(2e-2)
  expect(cosine(got, want)).toBeGreaterThan(0.9999)
}

/** LPIPS: its layers or their total. */
export const expectDistance = (got: Numbers, want: Numbers): void => expect(relmax(got, want)).toBeLessThan(1e-4)

/** Gradients of which the sign is used: direction, and the signs of all that are above a thousandth of the largest. */
export function expectSigns(got: Numbers, want: Numbers): void {
  expect(cosine(got, want)).toBeGreaterThan(0.9999)
  let largest = 0
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(want[i]))
  let large = 0
  let equal = 0
  for (let i = 0; i < want.length; i++) {
    if (Math.abs(want[i]) <= 1e-3 * largest) continue
    large++
    if (Math.sign(got[i]) === Math.sign(want[i])) equal++
  }
  expect(large).toBeGreaterThan(0)
  expect(equal / large).toBeGreaterThanOrEqual(0.995)
}
