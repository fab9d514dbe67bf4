/** How much rates would change with other people: photos of one person are alike, so that what counts is how many people there are. */
import { uniformNoise } from '../graph/noise.ts'

/** What of a rate is one person's: how many times it happened, of how many. */
export interface Share {
  count: number
  of: number
}

export interface RateInterval {
  low: number
  high: number
}

const SAMPLES = 2000

/** Part of the samples on either side of the interval. */
const TAIL = 0.025

/**
 * The interval in which 95 of 100 rates lie where as many people are drawn with replacement (percentile bootstrap): all counts of those drawn,
 * over all that they are of. The same shares give the same interval. Undefined for fewer than two people with anything to count.
 */
export function intervalOverPeople(shares: readonly Share[]): RateInterval | undefined {
  const people = shares.filter(({ of }) => of > 0)
  if (people.length < 2) return undefined
  const drawn = uniformNoise(people.length, SAMPLES * people.length, 0.5)
  const rates = Float64Array.from({ length: SAMPLES }, (_, sample) => {
    let [count, of] = [0, 0]
    for (let k = 0; k < people.length; k++) {
      const at = Math.min(people.length - 1, Math.floor((drawn[sample * people.length + k] + 0.5) * people.length))
      count += people[at].count
      of += people[at].of
    }
    return count / of
  }).sort()
  const first = Math.floor(TAIL * SAMPLES)
  return { low: rates[first], high: rates[SAMPLES - 1 - first] }
}
