/** What `--help` says of each strength. */
import { type PresetName, presets } from '../../attack/presets.ts'
import { measuredStrengths } from './strengths.ts'

const summaries: Readonly<Record<PresetName, string>> = {
  auto: 'the default: medium, and on from there while a recogniser that is attacked still matches',
  low: 'the least visible change, and the least protection',
  medium: 'a change that you will see',
  high: 'the strongest protection; the change is plain to see',
  paper: 'LowKey as published; the whole photo may change',
  small: 'the small attack of the paper: LPIPS weighs five times as much',
  'no-blur': 'the paper without its blurred branch',
}

/** A line for each strength, with what was measured of it. */
export const strengthLines = (): string[] =>
  (Object.keys(presets) as PresetName[]).map((name) => {
    const measured = Object.hasOwn(measuredStrengths, name) ? `. ${measuredStrengths[name]}` : ''
    return `  ${name.padEnd(8)} ${summaries[name]}${measured}`
  })
