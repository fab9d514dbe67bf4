/** The hash and the random numbers of the whole project. */
import { expect, test } from 'vitest'
import { fnv1a, textHash } from '../../src/graph/hash.ts'
import { uniformNoise } from '../../src/graph/noise.ts'

test('FNV-1a has the published values, and goes on from where it was', () => {
  // http://www.isthe.com/chongo/src/fnv/test_fnv.c
  expect(fnv1a([]) >>> 0).toBe(0x811c9dc5)
  expect(textHash('a') >>> 0).toBe(0xe40c292c)
  expect(textHash('foobar') >>> 0).toBe(0xbf9cf968)
  expect(textHash('bar', textHash('foo'))).toBe(textHash('foobar'))
})

test('noise is the same for a seed, another for another, uniform and within its bound', () => {
  const noise = uniformNoise(1, 100_000, 0.5)
  expect(uniformNoise(1, 100, 0.5)).toEqual(noise.subarray(0, 100))
  expect(uniformNoise(2, 100, 0.5)).not.toEqual(noise.subarray(0, 100))
  const counts = new Array<number>(10).fill(0)
  for (const v of noise) counts[Math.floor(10 * (v + 0.5))]++
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400)
})
