/** What `lowkey-gpu protect` says of a photo, and of all of them, on standard error. */

import type { Preset } from '../../attack/presets.ts'
import type { FaceReport, Protection } from '../../attack/protect.ts'
import { stillMatches } from '../../attack/verdict.ts'
import { perMinute } from '../progress.ts'
import { table } from '../table.ts'
import { type FaceCounts, faceNote, noFaces } from './face-counts.ts'

/** How many photos came to which end. */
export interface Outcomes {
  protected: number
  'without a face': number
  failed: number
  /** Of a folder: pictures that are not read, photos that were not looked into. */
  'left alone': number
}

/** What a run over several photos came to. */
export interface Closing {
  outcomes: Outcomes
  /** Photos that were not done, because the run ended early. */
  notDone?: number
  /** Earlier results among the files. */
  results?: number
  /** Photos that another task or an earlier run had done; undefined where nobody looked. */
  before?: number
  faces?: FaceCounts
  dryRun?: boolean
}

/** A photo's lines: every recogniser before and after, how visible the change is, and the seconds by phase. */
export function photoLines(protection: Protection, preset: Preset, seconds: number, adapter: string): string[] {
  const { faces, lpips, psnr, smallest } = protection
  const { detect, compile, attack, measure } = protection.seconds
  const where = { photo: 'the whole photo', face: 'the area around the face' }[preset.area]
  return [
    ...faces.flatMap(({ box, recognisers, rounds, foundAgain, sure }, i) => {
      const rows = recognisers.map(({ id, heldOut, before, after, threshold }) => [
        id,
        heldOut ? 'held out' : 'attacked',
        before.toFixed(3),
        after.toFixed(3),
        threshold.toFixed(3),
        stillMatches({ after, threshold })
          ? 'STILL MATCHES'
          : foundAgain === false
            ? 'no match at its old place'
            : sure === false
              ? 'no match, uncertain'
              : 'no match any more',
      ])
      return [
        `face ${i + 1} of ${faces.length}, at ${box.map(Math.round).join(', ')}`,
        ...table(['recogniser', 'role', 'before', 'after', 'threshold', ''], rows).map((line) => `  ${line}`),
        ...advice(recognisers, rounds, preset),
      ]
    }),
    ...(smallest.upright > USUAL ? [notLookedFor(smallest)] : []),
    `visible change: LPIPS ${lpips.toFixed(4)}, PSNR ${psnr.toFixed(1)} dB (of ${where})`,
    `${seconds.toFixed(1)} s (detect ${detect.toFixed(1)}, compile ${compile.toFixed(1)}, attack ${attack.toFixed(1)}, ` +
      `measure ${measure.toFixed(1)}) on ${adapter}`,
  ]
}

/** Pixels of the smallest face that is looked for in photos of ordinary size. */
const USUAL = 20

/** Of large photos: which faces nobody looked for. */
const notLookedFor = ({ upright, turned }: Protection['smallest']): string =>
  `faces under ${Math.ceil(upright)} pixels were not looked for in a photo of this size, nor under ${Math.ceil(turned)} on their side or upside down`

/** What to do about a face that is still recognised, and how many further rounds it took; nothing to say of most. */
function advice(recognisers: FaceReport['recognisers'], rounds: number, preset: Preset): string[] {
  const still = recognisers.filter(stillMatches)
  const took = `took ${rounds} further ${rounds === 1 ? 'round' : 'rounds'}`
  if (still.length === 0) return rounds > 0 ? [`  ${took}, because a recogniser matched it after the first`] : []
  const attacked = still.filter(({ heldOut }) => !heldOut)
  const names = (attacked.length > 0 ? attacked : still).map(({ id }) => id).join(', ')
  if (attacked.length === 0) {
    return [
      `  It still matches (${names}), which was not attacked: name it in --models, or try --strength high, on the original.`,
    ]
  }
  if (preset.rounds === 0) {
    return [
      `  It still matches (${names}). Protect the original again with --strength auto: it goes on until none matches.`,
    ]
  }
  const tried = rounds > 0 ? `; it ${took}, which could not change that` : ''
  return [
    `  It still matches (${names})${tried}. Try --strength high --steps 100 on the original, or do not publish this face.`,
  ]
}

/**
 * The last line of a run over several photos, e.g. `6 photos: 4 protected, 0 without a face, 1 failed, 1 left alone`. What was not done,
 * because the run ended early, earlier results among the files and faces that need a look are told where there are any.
 */
export function closingLine({
  outcomes,
  notDone = 0,
  results = 0,
  before = 0,
  faces = noFaces(),
  dryRun = false,
}: Closing): string {
  const counts = Object.entries(outcomes)
  const photos = counts.reduce((sum, [, count]) => sum + count, notDone + before)
  const parts = counts.map(
    ([what, count]) => `${count} ${dryRun && what === 'protected' ? 'would be protected' : what}`,
  )
  if (before > 0) parts.push(`${before} done before`)
  if (notDone > 0) parts.push(`${notDone} not done`)
  if (results > 0) parts.push(`besides ${results} earlier ${results === 1 ? 'result' : 'results'}`)
  const note = faceNote(faces)
  return `${photos} ${photos === 1 ? 'photo' : 'photos'}: ${parts.join(', ')}${note && `; ${note}`}`
}

/** The same for `--json`. */
export function closingRow({ outcomes, notDone = 0, results = 0, before, faces = noFaces() }: Closing) {
  const { protected: done, 'without a face': withoutFace, failed, 'left alone': leftAlone } = outcomes
  const photos = done + withoutFace + failed + leftAlone + notDone + (before ?? 0)
  const counts = { photos, protected: done, withoutFace, failed, leftAlone, notDone, earlierResults: results, faces }
  return before === undefined ? counts : { ...counts, doneBefore: before }
}

/** What several photos took. */
export const rateLine = (photos: number, seconds: number): string =>
  `${photos} worked on in ${seconds.toFixed(1)} s, ${perMinute(photos, seconds)} a minute`

/** Errors about files begin with the name already. */
export const withName = (name: string, message: string): string =>
  message.startsWith(name) ? message : `${name}: ${message}`
