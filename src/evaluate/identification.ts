/** Whether photos in a gallery lead to the person of a probe. */
import { similarityOf } from '../models/recognisers.ts'
import { type Identification, RANKS } from './results.ts'

/** A face as one recogniser sees it. */
export interface KnownFace {
  person: string
  /** Tells photos apart: a photo is not compared with itself. */
  file: string
  /** Unit vector. */
  embedding: Float32Array
}

/**
 * Looks for every probe in the gallery. Photos that are exactly as similar as the first one of the right person count as less similar
 * than it: what is found counts as found.
 * @param probes those of whom the gallery has no other photo are left out; where none is left, all numbers are 0
 */
export function identificationOf(probes: readonly KnownFace[], gallery: readonly KnownFace[]): Identification {
  const ranks = probes.map((probe) => rankOf(probe, gallery)).filter((rank) => rank !== undefined)
  const count = Math.max(1, ranks.length)
  const within = (most: number) => ranks.filter((rank) => rank <= most).length / count
  return {
    rank1: within(1),
    rank5: within(5),
    rank50: within(50),
    meanRank: ranks.reduce((sum, rank) => sum + rank, 0) / count,
    probes: ranks.length,
    curve: RANKS.map(within),
  }
}

/** Place of the most similar gallery photo of the probe's person, 1 is first; undefined where there is none but the probe itself. */
function rankOf(probe: KnownFace, gallery: readonly KnownFace[]): number | undefined {
  let own = Number.NEGATIVE_INFINITY
  const others: number[] = []
  for (const { person, file, embedding } of gallery) {
    if (person === probe.person && file === probe.file) continue
    const similarity = similarityOf(probe.embedding, embedding)
    if (person !== probe.person) others.push(similarity)
    else own = Math.max(own, similarity)
  }
  if (own === Number.NEGATIVE_INFINITY) return undefined
  return 1 + others.filter((similarity) => similarity > own).length
}
