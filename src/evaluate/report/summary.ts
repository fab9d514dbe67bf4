import type { Evaluation, PresetResult, VictimResult } from '../results.ts'
import { count, decimal, duration, isNumber, NONE } from './figures.ts'
import { html, type Markup } from './html.ts'
import { accepted, found, stacked } from './rates.ts'
import { cell, columnHead, groupHead } from './table.ts'
import { type VictimColumn, victimColumns, victimName } from './victims.ts'

/** Columns on visibility and cost; the one on held-out LPIPS only where it was measured. */
function changeColumns(evaluation: Evaluation): { name: string; of: (preset: PresetResult) => string }[] {
  const heldOut = Object.values(evaluation.presets).some(({ lpipsHeldOut }) => isNumber(lpipsHeldOut))
  return [
    { name: 'People', of: ({ people }) => count(people) },
    { name: 'Photos', of: ({ photos }) => count(photos) },
    ...(heldOut ? [{ name: 'LPIPS held out', of: ({ lpipsHeldOut }: PresetResult) => decimal(lpipsHeldOut, 4) }] : []),
    { name: 'LPIPS in the loop', of: ({ lpips }) => decimal(lpips, 4) },
    { name: 'SSIM', of: ({ ssim }) => decimal(ssim, 3) },
    { name: 'PSNR', of: ({ psnr }) => (isNumber(psnr) ? `${decimal(psnr, 1)} dB` : NONE) },
    { name: 'Per photo', of: ({ secondsPerPhoto }) => duration(secondsPerPhoto) },
  ]
}

/** Presets beside each other: the visible change, and for each recogniser, held-out ones first, rank-1 and acceptance. */
export function summaryTable(evaluation: Evaluation): Markup {
  const presets = Object.entries(evaluation.presets)
  const victims = victimColumns(evaluation)
  const change = changeColumns(evaluation)
  const cells = (victim: VictimResult | undefined, gallery: 'clean' | 'protected', { id, heldOut }: VictimColumn) => {
    const result = victim?.[gallery]
    const kind =
      victim && heldOut === undefined && gallery === 'protected' && (victim.heldOut ? 'held out' : 'attacked')
    return [
      cell(
        `${id}, rank-1`,
        result ? html`${stacked(found(result.identification))}${kind && html`<small>${kind}</small>`}` : NONE,
        'first',
      ),
      cell(`${id}, accepted`, result ? stacked(accepted(result.verification)) : NONE),
    ]
  }
  // Clean photos are the same for all presets: those of the first that has results of the recogniser.
  const baseline = (column: VictimColumn) =>
    cells(presets.map(([, { victims }]) => victims[column.id]).find(Boolean), 'clean', column)
  const row = ([name, preset]: (typeof presets)[number]) =>
    html`<tr role="row"><th role="rowheader" scope="row"><bdi>${name}</bdi></th>${change.map((column) =>
      cell(column.name, column.of(preset)),
    )}${victims.map((column) => cells(preset.victims[column.id], 'protected', column))}</tr>`
  return html`<div class="scroll"><table role="table" class="cards"><caption>Clean probes against the gallery. In small print: 95% intervals.</caption>
<thead role="rowgroup"><tr role="row"><td role="cell"></td>${groupHead('Visible change and cost', change.length, '')}${victims.map(
    (victim) => groupHead(victimName(victim), 2),
  )}</tr>
<tr role="row">${columnHead('Preset')}${change.map(({ name }) => columnHead(name))}${victims.map(() => [columnHead('Rank-1', 'first'), columnHead('Accepted')])}</tr></thead>
<tbody role="rowgroup"><tr role="row" class="baseline"><th role="rowheader" scope="row">no protection</th>${change.map(
    ({ name }) => cell(name, NONE, 'none'),
  )}${victims.map(baseline)}</tr>
${presets.map(row)}</tbody></table></div>`
}
