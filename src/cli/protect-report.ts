/** What `lowkey-gpu protect` says of a photo, and of all of them, on standard error. */

import type { Preset } from '../attack/presets.ts'
import type { FaceReport, Protection } from '../attack/protect.ts'
import { table } from './table.ts'

/** How many photos came to which end. */
export interface Outcomes {
  protected: number
  /** Copied or skipped, as `--on-no-face` says. */
  'without a face': number
  failed: number
}

/** A photo's lines: every recogniser before and after, how visible the change is, and the seconds by phase. */
export function photoLines(protection: Protection, preset: Preset, seconds: number, adapter: string): string[] {
  const { faces, lpips, psnr } = protection
  const { detect, compile, attack, measure } = protection.seconds
  const where = { photo: 'the whole photo', face: 'the area around the face' }[preset.area]
  return [
    ...faces.flatMap(({ box, recognisers, rounds }, i) => {
      const rows = recognisers.map(({ id, heldOut, before, after, threshold }) => [
        id,
        heldOut ? 'held out' : 'attacked',
        before.toFixed(3),
        after.toFixed(3),
        threshold.toFixed(3),
        after < threshold ? 'no match any more' : 'STILL MATCHES',
      ])
      return [
        `face ${i + 1} of ${faces.length}, at ${box.map(Math.round).join(', ')}`,
        ...table(['recogniser', 'role', 'before', 'after', 'threshold', ''], rows).map((line) => `  ${line}`),
        ...advice(recognisers, rounds, preset),
      ]
    }),
    `visible change: LPIPS ${lpips.toFixed(4)}, PSNR ${psnr.toFixed(1)} dB (of ${where})`,
    `${seconds.toFixed(1)} s (detect ${detect.toFixed(1)}, compile ${compile.toFixed(1)}, attack ${attack.toFixed(1)}, ` +
      `measure ${measure.toFixed(1)}) on ${adapter}`,
  ]
}

/** What to do about a face that is still recognised, and how many further rounds it took; nothing to say of most. */
function advice(recognisers: FaceReport['recognisers'], rounds: number, preset: Preset): string[] {
  const still = recognisers.filter(({ after, threshold }) => after >= threshold)
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

/** The line at the end of several photos, e.g. `5 of 6 photos in 12.3 s, 24.4 a minute: 4 protected, 1 failed`. */
export function summaryLine(outcomes: Outcomes, photos: number, seconds: number): string {
  const counts = Object.entries(outcomes).filter(([, count]) => count > 0)
  const done = counts.reduce((sum, [, count]) => sum + count, 0)
  const number = done === photos ? `${photos} photos` : `${done} of ${photos} photos`
  const what = counts.map(([outcome, count]) => `${count} ${outcome}`).join(', ')
  return `${number} in ${seconds.toFixed(1)} s, ${perMinute(done, seconds)} a minute: ${what}`
}

/** Photos a minute, with three digits at most. */
export function perMinute(photos: number, seconds: number): string {
  const rate = (60 * photos) / seconds
  return rate < 99.95 ? rate.toFixed(1) : rate.toFixed(0)
}
