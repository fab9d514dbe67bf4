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
 * Gradients with respect to a network's input: alike to 1e-4. Where the rounding of f32 has put a value on the other side of a kink
 * (ReLU, PReLU, pool) than float64 has, what lies below that value differs: then no element by more than 2e-2, few by more than
 * 1e-4, and all of them together by little, which a factor of 1.01 on a third of them is not.
 */
export function expectInputGradient(got: Numbers, want: Numbers): void {
  const error = relmax(got, want)
  if (error < 1e-4) return
  expect(error).toBeLessThan(2e-2)
  const { off, distance } = differences(got, want)
  expect(off).toBeLessThan(OFF)
  expect(distance).toBeLessThan(DISTANCE)
}

/** Measured on the cases that cross a kink: see README.md. */
const [OFF, DISTANCE] = [0.02, 3e-3]

/** The share of elements that differ by more than 1e-4 of the largest, and |got - want| / |want|. */
function differences(got: Numbers, want: Numbers): { off: number; distance: number } {
  let [largest, off, apart, length] = [0, 0, 0, 0]
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(want[i]))
  for (let i = 0; i < want.length; i++) {
    const d = got[i] - want[i]
    if (Math.abs(d) > 1e-4 * largest) off++
    apart += d * d
    length += want[i] * want[i]
  }
  console.log('DIFF', off / want.length, Math.sqrt(apart / length))
  return { off: off / want.length, distance: Math.sqrt(apart / length) }
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
