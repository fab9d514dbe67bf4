/** The result of an evaluation as one HTML file that explains itself: no script, nothing fetched, drawings as inline SVG. */
import type { Evaluation, PresetResult, VictimResult } from '../results.ts'
import { cosineRange, distributions } from './distributions.ts'
import { day, documentOf, fact, type Section } from './document.ts'
import { meaning } from './explanation.ts'
import { count } from './figures.ts'
import { handlingBars, handlingLegend, handlingsOf, largestRate } from './handlings.ts'
import { type Content, html, type Markup } from './html.ts'
import { inShort } from './in-short.ts'
import { matrix } from './matrix.ts'
import { photoTable, pictures, sideEffects } from './pictures.ts'
import { panel } from './plot.ts'
import { rankCurves, rankLegend } from './rank-curves.ts'
import { sizes } from './sizes.ts'
import { summaryTable } from './summary.ts'
import { tradeOff } from './trade-off.ts'
import { victimTable } from './victim-table.ts'
import { factsOf, victimName, victimsOf } from './victims.ts'

/**
 * The whole page. Parts without results (no matrix, no handlings, one size only, no held-out LPIPS) are left out. Text of the
 * evaluation is escaped, and addresses of pictures that are no `data:` addresses of images are not used.
 */
export function renderReport(evaluation: Evaluation): string {
  const title = `Evaluation of ${Object.keys(evaluation.presets).join(', ') || 'no preset'}`
  return documentOf(title, header(evaluation), sectionsOf(evaluation))
}

function header(evaluation: Evaluation): Markup {
  const { date, command, adapter, programVersion, people, galleryPerPerson, probes, distractors, withoutFace } =
    evaluation
  return html`<header><div><p class="eyebrow">lowkey-gpu ${programVersion} · <time datetime="${date}">${day(date)}</time></p><h1>Does face recognition still find these people?</h1><dl class="facts">${fact('people', count(people))}${fact('gallery photos each', count(galleryPerPerson))}${fact('probes', count(probes))}${fact('distractors', count(distractors))}${withoutFace > 0 && fact('left out, no face', count(withoutFace))}</dl></div><dl class="made"><div><dt>Command</dt><dd><code>${command}</code></dd></div><div><dt>Adapter</dt><dd>${adapter}</dd></div></dl></header>`
}

function sectionsOf(evaluation: Evaluation): Section[] {
  const presets = Object.entries(evaluation.presets)
  if (!presets.length) return [{ id: 'summary', title: 'Results', content: html`<p>No preset was evaluated.</p>` }]
  const sections: Section[] = [
    {
      id: 'summary',
      title: 'In short',
      content: html`<div class="shorts">${presets.map(([name, preset]) => inShort(name, preset))}</div>${summaryTable(evaluation)}`,
    },
  ]
  const scatter = tradeOff(evaluation)
  if (scatter)
    sections.push({
      id: 'trade-off',
      title: 'Protection against visible change',
      content: html`<p>Each mark is a preset; the best place is at the bottom left. Rates are means over held-out recognisers, whiskers are 95% intervals for the probes or pairs of one recogniser. The line joins the presets that no other one beats in both.</p>${scatter}`,
    })
  sections.push({ id: 'meaning', title: 'What the figures mean and do not mean', content: meaning(evaluation) })
  if (evaluation.matrix?.attackers.length)
    sections.push({
      id: 'matrix',
      title: 'Every attacker against every recogniser',
      content: html`<p>Rank-1 of clean probes after the gallery was protected with preset <bdi>${evaluation.matrix.preset}</bdi> against the recognisers named on the left. The stronger the colour, the more people are still found; a frame marks recognisers that were attacked.</p>${matrix(evaluation.matrix)}`,
    })
  presets.forEach(([name, preset], i) => {
    sections.push({
      id: `preset-${i + 1}`,
      title: html`Preset <bdi>${name}</bdi>`,
      content: presetContent(preset, evaluation),
    })
  })
  return sections
}

function presetContent(preset: PresetResult, evaluation: Evaluation): Content {
  const victims = victimsOf(preset)
  const handlings = handlingsOf(preset)
  const panels = (drawing: (victim: VictimResult) => Markup) =>
    html`<div class="panels">${victims.map((victim) => panel(victimName(victim), drawing(victim)))}</div>`
  const all = (id: string) => Object.values(evaluation.presets).flatMap(({ victims }) => victims[id] ?? [])
  const end = largestRate(victims)
  const bySize = sizes(preset)
  const shown = pictures(preset)
  return [
    html`<p>Attacked: <bdi>${preset.surrogates.join(', ') || 'nothing'}</bdi>. ${count(preset.photos)} photos of ${count(preset.people)} people. ${sideEffects(preset)}</p>`,
    shown && html`<h3>Pictures</h3>${shown}`,
    victims.length > 0 && [
      html`<h3>All figures</h3>${victimTable(preset)}`,
      html`<h3>Rank curves</h3><p>Part of the probes found within the first places of the gallery. Bands are 95% intervals.</p>${rankLegend()}${panels((victim) => rankCurves(victim, evaluation))}`,
      html`<h3>Similarity</h3><p>How similar pairs of photos are: of different people, and of one person. Each row is as high as its fullest bin; what lies above the threshold that one in a thousand pairs of different people reaches is filled and counted.</p>${panels(
        (victim) => {
          const facts = factsOf(evaluation, victim.id)
          return distributions(victim, facts, cosineRange(all(victim.id), facts))
        },
      )}`,
    ],
    handlings.length > 0 &&
      html`<h3>Robustness</h3><p>The protected photos were handled as shown before the recogniser saw them. Clean probes, protected gallery; the same axis for all recognisers.</p>${handlingLegend()}${panels((victim) => handlingBars(victim, handlings, end))}`,
    bySize &&
      html`<h3>Size</h3><p>The same people in enlarged photos. Protection that does not depend on size gives level lines.</p>${bySize}`,
    photoTable(preset),
  ]
}
