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
 * Shares of elements off, and distances, that are allowed where a kink is crossed. Measured: .008 and 4e-4 against float64 (IR_50),
 * .057 and 5e-3 against float32, where PyTorch may be the one that crosses (dlib).
 */
const KINKED = {
  float64: { off: 0.02, distance: 2e-3 },
  float32: { off: 0.1, distance: 8e-3 },
  // A parameter's gradient sums over all places, so that one kink reaches every element a little (IR_tiny in training: off by 3e-4 of
  // the largest in the median tensor, a distance of 4e-3 in the worst). The distance still tells a factor of 1.01.
  parameters: { off: 1, distance: 8e-3 },
}

/**
 * Gradients with respect to a network's input: alike to 1e-4 of the largest. Where the rounding of f32 has put a value on the other
 * side of a kink (ReLU, PReLU, pool), what lies below that value differs: then no element by more than 2e-2, few by more than 1e-4,
 * and the whole by little of its length, so that a factor of 1.01 on all of them or on one colour is not taken for a kink.
 *
 * @param by what computed `want`
 */
export function expectInputGradient(got: Numbers, want: Numbers, by: keyof typeof KINKED = 'float64'): void {
  const error = relmax(got, want)
  if (error < 1e-4) return
  expect(error).toBeLessThan(2e-2)
  let [largest, off, apart, length] = [0, 0, 0, 0]
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(want[i]))
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs(got[i] - want[i])
    if (difference > 1e-4 * largest) off++
    apart += difference ** 2
    length += want[i] ** 2
  }
  expect(off / want.length, 'share of elements off by more than 1e-4').toBeLessThanOrEqual(KINKED[by].off)
  expect(Math.sqrt(apart / length), 'distance').toBeLessThan(KINKED[by].distance)
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
