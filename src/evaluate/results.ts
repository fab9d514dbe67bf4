import type { RateInterval, Share } from './bootstrap.ts'

/** What an evaluation finds: the shape of its JSON file, and what the report shows. Parts (ranks, rates) are of one. */

/** How well one recogniser finds people, their gallery photos being as described by the property that holds this. */
export interface Identification {
  /** Part of the probes for which the most similar gallery photo, one of the 5, or one of the 50, shows the same person. */
  rank1: number
  rank5: number
  rank50: number
  /** Place of the first gallery photo of the same person, counted in photos, 1 is first. */
  meanRank: number
  /** Probes these rest on; 0 where there was nobody to look for, all other numbers are 0 then. */
  probes: number
  /** Part of the probes found at rank k at most, at each of `RANKS`. */
  curve: readonly number[]
}

/** Pairs of photos of one person compared by one recogniser. */
export interface Verification {
  /** 0 where there were none, all other numbers are 0 then. */
  pairs: number
  meanCosine: number
  /** Part of the pairs taken for the same person at the recogniser's own threshold. */
  accepted: number
  /** The same at the threshold that one in a thousand pairs of different people reaches (`VictimFacts.strictThreshold`). */
  acceptedStrict: number
  /** Histogram of the cosines over [-1,1] in `HISTOGRAM_BINS` equal bins, in pairs. */
  histogram: readonly number[]
}

export const HISTOGRAM_BINS = 80
/** Ranks of `Identification.curve`. */
export const RANKS: readonly number[] = [1, 2, 3, 5, 10, 20, 50, 100, 200]

/** What is done to a protected photo before the recogniser sees it. */
export type Handling = 'png' | 'jpeg95' | 'jpeg85' | 'jpeg75' | 'half-size' | 'blur' | 'other-detector'

/** Clean probes against a protected gallery after one handling. */
export interface Handled {
  identification: Identification
  /** Clean probes with protected gallery photos. */
  verification: Verification
}

/** One recogniser against one preset. */
export interface VictimResult {
  id: string
  heldOut: boolean
  rank1Clean: number
  rank1Protected: number
  rank50Clean: number
  rank50Protected: number
  meanRankProtected: number
  /** Part of the clean-protected pairs that are accepted at one false match in a thousand. */
  verificationProtected: number
  /** Balanced accuracy of same person / different people at the recogniser's threshold, gallery clean and protected. */
  accuracyClean: number
  accuracyProtected: number
  clean: { identification: Identification; verification: Verification }
  protected: { identification: Identification; verification: Verification }
  /** Protected photos as probes against the person's other protected photos. */
  bothProtected: { identification: Identification; verification: Verification }
  /** Different people, clean: the distribution the thresholds stand in. */
  impostors: Verification
  handlings: Partial<Record<Handling, Handled>>
  /** Of each protected person, in the order of the evaluation: probes found at rank 1, clean-protected and protected-protected pairs accepted. */
  byPerson?: readonly PersonShares[]
  /** 95 % intervals of these rates over people; null where there are fewer than two. */
  overPeople?: Readonly<Record<keyof PersonShares, RateInterval | null>>
}

/** What one recogniser makes of one person, the gallery being protected. Pairs are accepted at one false match in a thousand. */
export interface PersonShares {
  rank1: Share
  accepted: Share
  bothAccepted: Share
}

/** One protected photo. */
export interface PhotoResult {
  person: string
  file: string
  /** The photo was enlarged by this before it was protected. */
  scale: number
  /** Of the whole photo, 8-bit values: 0..1, dB, 0..255. */
  ssim: number
  psnr: number
  largestChange: number
  /** Half the face crop's distance and half the photo's: the trunk in the loop, and one that is not. */
  lpips: number
  lpipsHeldOut: number | null
  /** Changed pixels outside all face regions; 0 unless the preset changes the whole photo. */
  changedOutside: number
  seconds: number
  /** The detector finds the face in the protected photo; else the face is taken where it was. */
  found?: boolean
  /** Cosine with the clean photo itself, by recogniser. */
  cosine: Readonly<Record<string, number>>
}

export interface PresetResult {
  people: number
  photos: number
  lpips: number
  lpipsHeldOut: number | null
  ssim: number
  psnr: number
  secondsPerPhoto: number
  surrogates: readonly string[]
  victims: Readonly<Record<string, VictimResult>>
  details: readonly PhotoResult[]
  /** The same people enlarged: mean cosine of clean-protected pairs and rank-1, by scale and victim. */
  scales: Readonly<Record<string, Readonly<Record<string, { rank1: number; meanCosine: number }>>>>
  /** Examples for the report: PNG data URLs of before, after and the amplified difference. */
  pictures: readonly { person: string; before: string; after: string; difference: string; amplified: number }[]
}

/** Cosine and rank-1 of every victim for every set of surrogates. */
export interface MatrixResult {
  preset: string
  attackers: readonly { name: string; surrogates: readonly string[] }[]
  victims: readonly string[]
  /** [attacker][victim]. */
  rank1: readonly (readonly number[])[]
  meanCosine: readonly (readonly number[])[]
  acceptedStrict: readonly (readonly number[])[]
}

export interface VictimFacts {
  id: string
  threshold: number
  strictThreshold: number
}

export interface Evaluation {
  format: 'lowkey-gpu evaluation'
  version: 1
  /** ISO date of the run, the command line, the adapter's description and the program's version. */
  date: string
  command: string
  adapter: string
  programVersion: string
  /** The machine's processor with the number of its cores; its Node; the commit, where the program runs from its repository. */
  processor?: string
  node?: string
  commit?: string
  people: number
  galleryPerPerson: number
  probes: number
  distractors: number
  /** Photos that are left out because no face was found in them, or because they cannot be read. */
  withoutFace: number
  victims: readonly VictimFacts[]
  presets: Readonly<Record<string, PresetResult>>
  matrix: MatrixResult | null
}
