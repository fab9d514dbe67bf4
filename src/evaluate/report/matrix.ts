import type { MatrixResult } from '../results.ts'
import { decimal, isNumber, percent } from './figures.ts'
import { html, type Markup } from './html.ts'

/** Every attacker against every victim: a table whose cells have the stronger colour the more often the victim still finds people. */
export function matrix({ attackers, victims, rank1, meanCosine, acceptedStrict }: MatrixResult): Markup {
  const cell = (row: number, column: number) => {
    const rate = rank1[row]?.[column]
    const attacked = attackers[row].surrogates.includes(victims[column])
    const heat = isNumber(rate) ? Math.round(Math.min(1, Math.max(0, rate)) * 10) : 0
    return html`<td role="cell" class="heat-${heat}${attacked && ' white-box'}" data-label="${victims[column]}"><b>${percent(rate)}</b><small>cosine ${decimal(meanCosine[row]?.[column], 2)}</small><small>accepted ${percent(acceptedStrict[row]?.[column])}</small>${attacked && html`<small class="mark">attacked</small>`}</td>`
  }
  return html`<div class="scroll"><table role="table" class="matrix"><thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">attacked ↓ seen by →</th>${victims.map(
    (victim) => html`<th role="columnheader" scope="col"><bdi>${victim}</bdi></th>`,
  )}</tr></thead><tbody role="rowgroup">${attackers.map(
    ({ name, surrogates }, row) =>
      html`<tr role="row"><th role="rowheader" scope="row"><bdi>${name}</bdi>${surrogates.join() !== name && html`<small><bdi>${surrogates.join(', ')}</bdi></small>`}</th>${victims.map((_, column) => cell(row, column))}</tr>`,
  )}</tbody></table></div>`
}
