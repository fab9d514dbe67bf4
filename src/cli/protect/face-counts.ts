/** How many faces of a run came to which end, over all photos. */
import { type Choice, CUT, isSmall } from '../../attack/choose.ts'
import type { FaceReport } from '../../attack/protect.ts'

export interface FaceCounts {
  protected: number
  /** Of these: cut by the photo's border, under 20 pixels wide, with landmarks that are not certain or not found again. */
  cut: number
  small: number
  uncertain: number
  /** Found, and not chosen by `--face`, `--faces` or `--box`. */
  notChosen: number
  /** Places that may be faces, and stay as they are. */
  mayBe: number
}

export const noFaces = (): FaceCounts => ({ protected: 0, cut: 0, small: 0, uncertain: 0, notChosen: 0, mayBe: 0 })

/** Adds those of a photo. */
export function countFaces(
  counts: FaceCounts,
  faces: readonly (Pick<FaceReport, 'box' | 'beyond' | 'sure'> & { foundAgain?: boolean })[],
  { notChosen, weak }: Choice['left'],
): void {
  counts.protected += faces.length
  counts.cut += faces.filter(({ beyond }) => beyond > CUT).length
  counts.small += faces.filter(isSmall).length
  counts.uncertain += faces.filter(({ sure, foundAgain }) => !sure || foundAgain === false).length
  counts.notChosen += notChosen.length
  counts.mayBe += weak.length
}

/** What of them a user should know, e.g. `of 9 faces 1 cut by the border; 2 places may be faces`; empty where that is nothing. */
export function faceNote({ protected: done, cut, small, uncertain, notChosen, mayBe }: FaceCounts): string {
  const special = [
    [cut, 'cut by the border'],
    [small, 'under 20 pixels'],
    [uncertain, 'uncertain'],
  ] as const
  const said = special.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  const parts: string[] = []
  if (said.length > 0) parts.push(`of ${done} ${done === 1 ? 'face' : 'faces'} ${said.join(', ')}`)
  if (notChosen > 0) parts.push(`${notChosen} ${notChosen === 1 ? 'face' : 'faces'} not chosen`)
  if (mayBe > 0) parts.push(`${mayBe} ${mayBe === 1 ? 'place may be a face' : 'places may be faces'}`)
  return parts.join('; ')
}
