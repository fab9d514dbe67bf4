/** What `lowkey-gpu evaluate` prints. */
import type { Evaluation } from '../../evaluate/results.ts'
import { table } from '../table.ts'

/** Tables for people. Parts are those with the clean gallery and with the protected one. */
export function summary(evaluation: Evaluation): string[] {
  const percent = (part: number) => `${(100 * part).toFixed(1)}%`
  const change = (before: number, after: number, text: (value: number) => string) => `${text(before)} > ${text(after)}`
  const { people, galleryPerPerson, probes, distractors, withoutFace } = evaluation
  const lines = [
    `${people} people, ${galleryPerPerson} protected photos of each; ${count(probes, 'clean probe')}; ` +
      `${count(distractors, 'photo')} of others; ${count(withoutFace, 'photo')} without a face`,
  ]
  for (const [name, preset] of Object.entries(evaluation.presets)) {
    const heldOut = preset.lpipsHeldOut === null ? 'not measured' : preset.lpipsHeldOut.toFixed(4)
    const rows = Object.values(preset.victims).map((victim) => {
      const { clean, protected: after, bothProtected: both } = victim
      return [
        victim.id,
        victim.heldOut ? 'held out' : 'attacked',
        change(clean.identification.rank1, after.identification.rank1, percent),
        change(clean.identification.rank50, after.identification.rank50, percent),
        change(clean.identification.meanRank, after.identification.meanRank, (rank) => rank.toFixed(1)),
        change(clean.verification.meanCosine, after.verification.meanCosine, (cosine) => cosine.toFixed(3)),
        change(clean.verification.acceptedStrict, after.verification.acceptedStrict, percent),
        both.verification.pairs > 0 ? percent(both.verification.acceptedStrict) : '-',
        both.identification.probes > 0 ? percent(both.identification.rank1) : '-',
      ]
    })
    lines.push(
      '',
      `${name}, against ${preset.surrogates.join(', ')}: ${count(preset.photos, 'photo')}, ${preset.secondsPerPhoto.toFixed(1)} s each; ` +
        `LPIPS ${preset.lpips.toFixed(4)}, held out ${heldOut}; SSIM ${preset.ssim.toFixed(4)}; PSNR ${preset.psnr.toFixed(1)} dB`,
      ...table(COLUMNS, rows),
    )
  }
  return lines
}

const COLUMNS = [
  ...['recogniser', 'role', 'rank-1', 'rank-50', 'mean rank', 'cosine', 'accepted at 1e-3'],
  ...['both protected: accepted', 'rank-1'],
]

const count = (number: number, what: string): string =>
  // "2 photos", "1 photo"
  `${number} ${what}${number === 1 ? '' : 's'}`
