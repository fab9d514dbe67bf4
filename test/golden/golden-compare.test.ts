/** That the comparison of gradients takes a kink for what it is, and no error of one in a hundred for a kink. */
import { expect, test } from 'vitest'
import { uniform } from '../support/random.ts'
import { expectInputGradient } from './compare.ts'

const want = uniform(1, 3000)
const differing = (change: (v: number, i: number) => number) => () => expectInputGradient(want.map(change), want)

test('alike, and alike but for a few that a kink has changed', () => {
  expect(differing((v) => v * 1.00005)).not.toThrow()
  expect(differing((v, i) => (i % 100 === 0 ? v + 0.005 : v))).not.toThrow()
})

test.each<[string, (v: number, i: number) => number]>([
  ['a factor of 1.01', (v) => v * 1.01],
  ['a factor of 1.01 on one of three colours', (v, i) => (i < 1000 ? v * 1.01 : v)],
  ['a few that are far off', (v, i) => (i === 7 ? v + 0.05 : v)],
  ['many that are a little off', (v, i) => (i % 20 === 0 ? v + 2e-4 : v)],
  ['no number', (v, i) => (i === 7 ? Number.NaN : v)],
])('not %s', (_, change) => {
  expect(differing(change)).toThrow()
})
