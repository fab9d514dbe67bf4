/** What one recogniser makes of a gallery, clean and protected. */
import { strictThreshold } from './accuracy.ts'
import { intervalOverPeople, type Share } from './bootstrap.ts'
import { identificationOf, type KnownFace } from './identification.ts'
import { TooFewPhotosError } from './protocol.ts'
import type { Handled, PersonShares, VictimFacts, VictimResult } from './results.ts'
import { balancedAccuracy, pairsBetween, pairsWithin, verificationOf } from './verification.ts'

/** A photo's face as every recogniser sees it. */
export interface SeenFace {
  person: string
  file: string
  embeddings: ReadonlyMap<string, Float32Array>
}

/** The clean photos of an evaluation, by their part in it (protocol.ts). */
export interface CleanFaces {
  probes: readonly SeenFace[]
  gallery: readonly SeenFace[]
  others: readonly SeenFace[]
}

export class Comparison {
  readonly facts: VictimFacts
  /** With a clean gallery. */
  readonly clean: Handled
  readonly accuracyClean: number
  /** Pairs of different people, clean. */
  readonly impostors: VictimResult['impostors']
  private readonly probes: readonly KnownFace[]
  private readonly others: readonly KnownFace[]

  /**
   * @param id of the recogniser
   * @param threshold its own, a cosine
   * @throws TooFewPhotosError where there are no two people, or nobody with a probe and a gallery photo
   */
  constructor(id: string, threshold: number, { probes, gallery, others }: CleanFaces) {
    this.probes = knownTo(id, probes)
    this.others = knownTo(id, others)
    const known = knownTo(id, gallery)
    const impostors = pairsWithin([...this.probes, ...known, ...this.others]).different.sort()
    if (impostors.length === 0) throw new TooFewPhotosError('an evaluation needs photos of two people at least')
    this.facts = { id, threshold, strictThreshold: strictThreshold(impostors) }
    this.impostors = verificationOf(impostors, threshold, this.facts.strictThreshold)
    this.clean = this.compare(known)
    if (this.clean.identification.probes === 0)
      throw new TooFewPhotosError('nobody has both a probe and a gallery photo with a face')
    this.accuracyClean = this.accuracy(known)
  }

  /** Clean probes against these photos of the same people, everybody else's being clean. */
  against(gallery: readonly SeenFace[]): Handled {
    return this.compare(knownTo(this.facts.id, gallery))
  }

  /** Everything about protected photos, which are those of the gallery. Handlings are left to the caller. */
  result(gallery: readonly SeenFace[], heldOut: boolean): VictimResult {
    const { id, threshold, strictThreshold } = this.facts
    const known = knownTo(id, gallery)
    const after = this.compare(known)
    const both = pairsWithin(known).same
    const byPerson = this.byPerson(known)
    const over = (rate: keyof PersonShares) => intervalOverPeople(byPerson.map((shares) => shares[rate])) ?? null
    return {
      id,
      heldOut,
      rank1Clean: this.clean.identification.rank1,
      rank1Protected: after.identification.rank1,
      rank50Clean: this.clean.identification.rank50,
      rank50Protected: after.identification.rank50,
      meanRankProtected: after.identification.meanRank,
      verificationProtected: after.verification.acceptedStrict,
      accuracyClean: this.accuracyClean,
      accuracyProtected: this.accuracy(known),
      clean: this.clean,
      protected: after,
      bothProtected: {
        identification: identificationOf(known, [...known, ...this.others]),
        verification: verificationOf(both, threshold, strictThreshold),
      },
      impostors: this.impostors,
      handlings: {},
      byPerson,
      overPeople: { rank1: over('rank1'), accepted: over('accepted'), bothAccepted: over('bothAccepted') },
    }
  }

  private byPerson(gallery: readonly KnownFace[]): PersonShares[] {
    const { threshold, strictThreshold } = this.facts
    const share = (part: number, of: number): Share => ({ count: Math.round(part * of), of })
    const accepted = (cosines: Float64Array): Share => {
      const { acceptedStrict, pairs } = verificationOf(cosines, threshold, strictThreshold)
      return share(acceptedStrict, pairs)
    }
    return [...new Set(gallery.map(({ person }) => person))].map((name) => {
      const of = (faces: readonly KnownFace[]) => faces.filter(({ person }) => person === name)
      const { rank1, probes } = identificationOf(of(this.probes), [...gallery, ...this.others])
      return {
        rank1: share(rank1, probes),
        accepted: accepted(pairsBetween(of(this.probes), of(gallery)).same),
        bothAccepted: accepted(pairsWithin(of(gallery)).same),
      }
    })
  }

  private compare(gallery: readonly KnownFace[]): Handled {
    const { threshold, strictThreshold } = this.facts
    return {
      identification: identificationOf(this.probes, [...gallery, ...this.others]),
      verification: verificationOf(pairsBetween(this.probes, gallery).same, threshold, strictThreshold),
    }
  }

  private accuracy(gallery: readonly KnownFace[]): number {
    return balancedAccuracy(pairsBetween(this.probes, [...gallery, ...this.others]), this.facts.threshold)
  }
}

const knownTo = (id: string, faces: readonly SeenFace[]): KnownFace[] =>
  faces.map(({ person, file, embeddings }) => ({ person, file, embedding: embeddings.get(id)! }))
