/** Whether pairs of photos are taken for the same person. */
import { similarityOf } from '../models/recognisers.ts'
import type { KnownFace } from './identification.ts'
import { HISTOGRAM_BINS, type Verification } from './results.ts'

/** Cosines of pairs: photos of one person, and of two. */
export interface Pairs {
  same: Float64Array
  different: Float64Array
}

/** Every photo of one list with every one of the other, but none with itself. */
export function pairsBetween(some: readonly KnownFace[], others: readonly KnownFace[]): Pairs {
  const same: number[] = []
  const different: number[] = []
  for (const a of some) {
    for (const b of others) {
      if (a.person !== b.person) different.push(similarityOf(a.embedding, b.embedding))
      else if (a.file !== b.file) same.push(similarityOf(a.embedding, b.embedding))
    }
  }
  return { same: Float64Array.from(same), different: Float64Array.from(different) }
}

/** Every pair of a list once. */
export function pairsWithin(faces: readonly KnownFace[]): Pairs {
  const same: number[] = []
  const different: number[] = []
  for (const [i, a] of faces.entries()) {
    for (const b of faces.slice(0, i)) {
      ;(a.person === b.person ? same : different).push(similarityOf(a.embedding, b.embedding))
    }
  }
  return { same: Float64Array.from(same), different: Float64Array.from(different) }
}

/**
 * What thresholds make of pairs. Without pairs the parts and the mean are 0.
 * @param cosines of pairs, -1..1
 * @param threshold the recogniser's own
 * @param strictThreshold the one of `strictThreshold`, that one in a thousand pairs of different people reaches
 */
export function verificationOf(cosines: Float64Array, threshold: number, strictThreshold: number): Verification {
  const histogram = new Array<number>(HISTOGRAM_BINS).fill(0)
  for (const cosine of cosines) {
    const bin = Math.floor(((cosine + 1) / 2) * HISTOGRAM_BINS)
    histogram[Math.min(HISTOGRAM_BINS - 1, Math.max(0, bin))]++
  }
  return {
    pairs: cosines.length,
    meanCosine: cosines.reduce((sum, cosine) => sum + cosine, 0) / Math.max(1, cosines.length),
    accepted: acceptedAt(cosines, threshold),
    acceptedStrict: acceptedAt(cosines, strictThreshold),
    histogram,
  }
}

/** Mean of the parts that are right: pairs of one person accepted, pairs of two refused. */
export function balancedAccuracy({ same, different }: Pairs, threshold: number): number {
  return (acceptedAt(same, threshold) + 1 - acceptedAt(different, threshold)) / 2
}

function acceptedAt(cosines: Float64Array, threshold: number): number {
  let accepted = 0
  for (const cosine of cosines) if (cosine >= threshold) accepted++
  return accepted / Math.max(1, cosines.length)
}
