/** Intervals over people, and what of a rate is whose. */
import { describe, expect, test } from 'vitest'
import { intervalOverPeople, type Share } from '../../src/evaluate/bootstrap.ts'
import { Comparison, type SeenFace } from '../../src/evaluate/comparison.ts'

const shares = (...counts: readonly (readonly [number, number])[]): Share[] =>
  counts.map(([count, of]) => ({ count, of }))

describe('an interval over people', () => {
  test('is a point where all are alike, and everything where two are opposites', () => {
    expect(intervalOverPeople(shares([2, 10], [1, 5], [4, 20]))).toEqual({ low: 0.2, high: 0.2 })
    expect(intervalOverPeople(shares([0, 10], [10, 10]))).toEqual({ low: 0, high: 1 })
  })

  test('gets narrower with people, holds the rate, and is the same again', () => {
    const of = (people: number) =>
      intervalOverPeople(shares(...Array.from({ length: people }, (_, k) => [k % 4 === 0 ? 4 : 1, 10] as const)))!
    const [few, many] = [of(8), of(64)]
    expect(many.high - many.low).toBeLessThan(0.6 * (few.high - few.low))
    for (const { low, high } of [few, many]) expect(low < 0.175 && high > 0.175).toBe(true)
    // 64 people: the standard error of the mean of .4 and .1 (3 of 4) is .13 / 8.
    expect(many.high - many.low).toBeGreaterThan(3.2 * (0.13 / 8))
    expect(many.high - many.low).toBeLessThan(4.6 * (0.13 / 8))
    expect(of(8)).toEqual(few)
  })

  test('weighs people by what there is of them, and takes two', () => {
    const { high } = intervalOverPeople(shares([0, 1000], [0, 1000], [0, 1000], [1, 1]))!
    expect(high).toBeLessThan(0.01)
    expect(intervalOverPeople(shares([1, 2], [0, 0]))).toBeUndefined()
  })
})

test('shares are each person’s own', () => {
  const seen = (person: string, file: string, degrees: number): SeenFace => {
    const angle = (degrees * Math.PI) / 180
    return { person, file, embeddings: new Map([['it', Float32Array.of(Math.cos(angle), Math.sin(angle))]]) }
  }
  const comparison = new Comparison('it', 0.94, {
    probes: [seen('a', 'a3', 0), seen('b', 'b3', 100)],
    gallery: [seen('a', 'a1', 5), seen('a', 'a2', -5), seen('b', 'b1', 105), seen('b', 'b2', 95)],
    others: [seen('c', 'c1', 50)],
  })
  const gallery = [seen('a', 'a1', 70), seen('a', 'a2', -40), seen('b', 'b1', 60), seen('b', 'b2', 62)]
  const { byPerson, overPeople } = comparison.result(gallery, true)
  // Accepted within 45 degrees, as the most similar strangers are. a finds a2 first, b finds a1.
  expect(byPerson).toEqual([
    { rank1: { count: 1, of: 1 }, accepted: { count: 1, of: 2 }, bothAccepted: { count: 0, of: 1 } },
    { rank1: { count: 0, of: 1 }, accepted: { count: 2, of: 2 }, bothAccepted: { count: 1, of: 1 } },
  ])
  expect(overPeople).toEqual({
    rank1: { low: 0, high: 1 },
    accepted: { low: 0.5, high: 1 },
    bothAccepted: { low: 0, high: 1 },
  })
})
