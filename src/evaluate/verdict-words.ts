/** What a recogniser says of two faces, in a sentence: the same for the command line and the page. */
import type { Judge, PairFace, PairVerdict } from './check.ts'

/** Who judges: `sirius (attacked)`. */
export const judgeOf = ({ id, heldOut }: Pick<Judge, 'id' | 'heldOut'>): string =>
  `${id} (${heldOut ? 'held out' : 'attacked'})`

/** `sirius (attacked) no longer takes these for the same person: 0.145, threshold 0.475`. */
export const pairSentence = (verdict: PairVerdict, { matchedBy }: Pick<PairFace, 'matchedBy'>): string =>
  `${judgeOf(verdict)} ${verdict.matches ? 'still takes' : matchedBy === 'old-place' ? 'would not take' : 'no longer takes'} these for the same person: ` +
  `${verdict.similarity.toFixed(3)}, threshold ${verdict.threshold.toFixed(3)}`
