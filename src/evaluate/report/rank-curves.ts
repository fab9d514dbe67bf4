import { type Evaluation, type Identification, RANKS, type VictimResult } from '../results.ts'
import { isNumber, percent } from './figures.ts'
import { html, type Markup } from './html.ts'
import {
  area,
  chart,
  type Frame,
  key,
  line,
  linear,
  logarithmic,
  marker,
  type Point,
  type Shape,
  xAxis,
  yAxis,
} from './plot.ts'
import { found, intervalOf, rateOf, spelled } from './rates.ts'

const FRAME: Frame = { width: 320, height: 214, left: 40, right: 10, top: 12, bottom: 36 }

const SERIES: readonly { of: 'clean' | 'protected' | 'bothProtected'; name: string; style: string; shape: Shape }[] = [
  { of: 'clean', name: 'clean probe, clean gallery', style: 'clean', shape: 'circle' },
  { of: 'bothProtected', name: 'protected probe, protected gallery', style: 'both', shape: 'triangle' },
  { of: 'protected', name: 'clean probe, protected gallery', style: 'protected', shape: 'square' },
]

export function rankLegend(): Markup {
  return html`<ul class="legend">${SERIES.map(({ name, style, shape }) => key(name, style, shape))}${key('by chance', 'chance')}</ul>`
}

/** Part of the probes found within the first k places, for one recogniser; bands are 95% intervals, the dotted line is chance. */
export function rankCurves(victim: VictimResult, { people, galleryPerPerson, distractors }: Evaluation): Markup {
  const ranks = RANKS.slice(0, Math.max(...SERIES.map(({ of }) => victim[of].identification.curve.length)))
  const x = logarithmic(1, ranks.at(-1) ?? 1, FRAME.left + 6, FRAME.width - FRAME.right - 4)
  const y = linear(0, 1, FRAME.height - FRAME.bottom, FRAME.top)
  const chance: Point[] = ranks.map((rank) => [
    x(rank),
    y(chanceAt(rank, galleryPerPerson, people * galleryPerPerson + distractors)),
  ])
  const curve = ({ curve, probes }: Identification, style: string, name: string, shape: Shape) => {
    const places = ranks.map((rank, i) => ({ rank, ...rateOf(curve[i], probes) })).filter(({ rate }) => isNumber(rate))
    const edge = (side: 'low' | 'high'): Point[] =>
      places.map((place) => [x(place.rank), y(intervalOf(place)?.[side] ?? place.rate)])
    const points = places.map(({ rank, rate }): Point => [x(rank), y(rate)])
    const marks = places.map((place, i) =>
      marker(shape, ...points[i], `${name}: ${spelled(place)} at rank ${place.rank}`),
    )
    return html`<g class="${style}"><path class="band" d="${area(edge('high'), edge('low'))}"/><path class="curve" d="${line(points)}"/>${marks}</g>`
  }
  const label = SERIES.map(({ of, name }) => `${name} ${percent(found(victim[of].identification).rate)}`).join(', ')
  return chart(FRAME, `Rank curves of ${victim.id}. Found at rank 1: ${label}.`, [
    yAxis(FRAME, y, { values: [0, 0.25, 0.5, 0.75, 1], format: percent }),
    // There is no room for the name of rank 3.
    xAxis(FRAME, x, { values: ranks.filter((rank) => rank !== 3), format: String, title: 'rank, logarithmic' }),
    html`<g class="chance"><path class="curve" d="${line(chance)}"/></g>`,
    SERIES.map(({ of, name, style, shape }) => curve(victim[of].identification, style, name, shape)),
  ])
}

/** That one of `own` photos is among the first `rank` of a gallery in random order. */
export function chanceAt(rank: number, own: number, gallery: number): number {
  let missed = 1
  for (let i = 0; i < rank; i++) missed *= Math.max(0, gallery - own - i) / Math.max(1, gallery - i)
  return 1 - missed
}
