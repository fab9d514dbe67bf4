import type { PresetResult, VictimResult } from '../results.ts'
import { decimal, percent } from './figures.ts'
import { type Content, html, type Markup } from './html.ts'
import { accepted, found, rateOf, stacked } from './rates.ts'
import { cell, columnHead, groupHead } from './table.ts'
import { victimName, victimsOf } from './victims.ts'

type Gallery = 'clean' | 'protected' | 'bothProtected'

const NAMES: Readonly<Record<Gallery, string>> = { clean: 'clean', protected: 'protected', bothProtected: 'both' }

/** A figure for several kinds of probes and galleries. */
interface Group {
  name: string
  galleries: readonly Gallery[]
  of: (victim: VictimResult, gallery: Gallery) => Content
}

const GROUPS: readonly Group[] = [
  {
    name: 'Rank-1',
    galleries: ['clean', 'protected', 'bothProtected'],
    of: (victim, gallery) => stacked(found(victim[gallery].identification)),
  },
  {
    name: 'Rank-5',
    galleries: ['clean', 'protected'],
    of: (victim, gallery) => {
      const { rank5, probes } = victim[gallery].identification
      return percent(rateOf(rank5, probes).rate)
    },
  },
  {
    name: 'Rank-50',
    galleries: ['clean', 'protected'],
    of: (victim, gallery) => {
      const { rank50, probes } = victim[gallery].identification
      return percent(rateOf(rank50, probes).rate)
    },
  },
  {
    name: 'Mean rank',
    galleries: ['clean', 'protected'],
    of: (victim, gallery) => {
      const { meanRank, probes } = victim[gallery].identification
      return decimal(rateOf(meanRank, probes).rate, 1)
    },
  },
  {
    name: 'Pairs accepted',
    galleries: ['clean', 'protected', 'bothProtected'],
    of: (victim, gallery) => stacked(accepted(victim[gallery].verification)),
  },
  {
    name: 'Accuracy',
    galleries: ['clean', 'protected'],
    of: (victim, gallery) => percent(gallery === 'clean' ? victim.accuracyClean : victim.accuracyProtected),
  },
]

/** Everything that was measured with one preset, a row for each recogniser. */
export function victimTable(preset: PresetResult): Markup {
  const style = (column: number) => (column === 0 ? 'first' : '')
  const heads = GROUPS.map(({ galleries }) => galleries.map((gallery, i) => columnHead(NAMES[gallery], style(i))))
  const cells = (victim: VictimResult) =>
    GROUPS.map(({ name, galleries, of }) =>
      galleries.map((gallery, i) => cell(`${name}, ${NAMES[gallery]}`, of(victim, gallery), style(i))),
    )
  return html`<div class="scroll"><table role="table" class="cards">
<thead role="rowgroup"><tr role="row"><td role="cell"></td>${GROUPS.map(({ name, galleries }) => groupHead(name, galleries.length))}</tr>
<tr role="row">${columnHead('Recogniser')}${heads}</tr></thead>
<tbody role="rowgroup">${victimsOf(preset).map(
    (victim) => html`<tr role="row"><th role="rowheader" scope="row">${victimName(victim)}</th>${cells(victim)}</tr>\n`,
  )}</tbody></table></div>`
}
