/** Golden photos of the detector, and faces and noise made by numbers. */
import { expect } from 'vitest'
import type { Landmarks, Point } from '../../src/faces/alignment.ts'
import type { ScoredBox } from '../../src/faces/boxes.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { type GoldenCase, goldenSets } from '../golden/case.ts'

export const goldenCases = goldenSets().flatMap(({ name, cases }) =>
  cases.map((golden) => ({ name: `${name} ${golden.name}`, golden })),
)

export const detectorCases = goldenCases.filter(
  ({ golden }) => golden.name.startsWith('d_mtcnn_') && golden.entry.scales,
)

export const numbers = (golden: GoldenCase, name: string) => Array.from(golden.numbers(name))

export const pixels = (golden: GoldenCase, name: string): Pixels => {
  const [height, width] = golden.shape(name)
  return { width, height, rgb: golden.bytes(name) }
}

export const rows = (values: readonly number[], length: number) =>
  Array.from({ length: values.length / length }, (_, i) => values.slice(i * length, (i + 1) * length))

export const landmarksOf = (row: readonly number[]) =>
  [0, 1, 2, 3, 4].map((k): Point => [row[k], row[5 + k]]) as Landmarks

/** A repeatable stream of numbers in 0..1 (Park and Miller's generator). */
export function random(seed: number): () => number {
  let state = seed
  return () => (state = (state * 48271) % 2147483647) / 2147483647
}

export const box = (x1: number, y1: number, x2: number, y2: number, score = 0.9): ScoredBox => ({
  x1,
  y1,
  x2,
  y2,
  score,
})

export const expectClose = (actual: readonly number[], expected: readonly number[], tolerance: number) => {
  expect(actual.length).toBe(expected.length)
  actual.forEach((value, i) => {
    expect(Math.abs(value - expected[i]), `element ${i}: ${value}, expected ${expected[i]}`).toBeLessThan(tolerance)
  })
}
