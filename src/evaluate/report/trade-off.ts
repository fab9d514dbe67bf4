import type { Evaluation, PresetResult, VictimResult } from '../results.ts'
import { decimal, isNumber, mean, percent } from './figures.ts'
import { html, type Markup } from './html.ts'
import { placeLabels } from './labels.ts'
import {
  at,
  chart,
  type Frame,
  line,
  linear,
  marker,
  type Point,
  panel,
  quarters,
  rateEnd,
  SHAPES,
  ticks,
  xAxis,
  yAxis,
} from './plot.ts'
import { accepted, found, intervalOf, type Rate, spelled } from './rates.ts'

const FRAME: Frame = { width: 400, height: 284, left: 42, right: 16, top: 14, bottom: 36 }

interface Measure {
  title: string
  of: (victim: VictimResult) => Rate
}

const MEASURES: readonly Measure[] = [
  { title: 'Clean probes found at rank 1', of: (victim) => found(victim.protected.identification) },
  { title: 'Clean photo accepted with protected', of: (victim) => accepted(victim.protected.verification) },
  { title: 'Protected photo accepted with protected', of: ({ bothProtected }) => accepted(bothProtected.verification) },
]

interface Place extends Rate {
  name: string
  lpips: number
}

/**
 * What a preset costs the eye (LPIPS of a trunk that was not optimised) against what it buys (mean over held-out recognisers):
 * a drawing for each way to be found. Undefined unless a preset has both.
 */
export function tradeOff(evaluation: Evaluation): Markup | undefined {
  const panels = MEASURES.flatMap((measure) => {
    const places = Object.entries(evaluation.presets).flatMap(([name, preset]) => placeOf(name, preset, measure))
    return places.length ? [panel(measure.title, scatter(measure.title, places))] : []
  })
  return panels.length ? html`<div class="panels large">${panels}</div>` : undefined
}

function placeOf(name: string, { victims, lpipsHeldOut }: PresetResult, { of }: Measure): Place[] {
  const rates = Object.values(victims).flatMap((victim) => (victim.heldOut ? of(victim) : []))
  const rate = mean(rates.map((each) => each.rate))
  if (!isNumber(rate) || !isNumber(lpipsHeldOut)) return []
  // All recognisers see the same probes: together they rest on no more people than one of them.
  return [{ name, lpips: lpipsHeldOut, rate, trials: Math.max(...rates.map(({ trials }) => trials)) }]
}

function scatter(title: string, places: readonly Place[]): Markup {
  const right = Math.max(...places.map(({ lpips }) => lpips)) * 1.15 || 0.01
  const end = rateEnd(Math.max(...places.map((place) => intervalOf(place)?.high ?? place.rate)))
  const x = linear(0, right, FRAME.left, FRAME.width - FRAME.right)
  const y = linear(0, end, FRAME.height - FRAME.bottom, FRAME.top)
  const points = places.map(({ lpips, rate }): Point => [x(lpips), y(rate)])
  const names = places.map(({ name }) => shortened(name))
  const labels = placeLabels(points, names, FRAME)
  const dot = (place: Place, i: number) => {
    const { name, lpips, rate } = place
    const interval = intervalOf(place)
    const tip = `${name}: held-out LPIPS ${decimal(lpips, 4)}, ${spelled(place)}`
    return html`<g class="series-${i % 6}">${
      interval && html`<path class="whisker" d="M${at(x(lpips))} ${at(y(interval.low))}V${at(y(interval.high))}"/>`
    }${marker(SHAPES[i % SHAPES.length], x(lpips), y(rate), tip, 5)}</g>`
  }
  const spoken = places
    .map(({ name, lpips, rate }) => `${name} ${percent(rate)} at LPIPS ${decimal(lpips, 3)}`)
    .join(', ')
  const format = (value: number) => decimal(value, right < 0.05 ? 3 : 2)
  return chart(FRAME, `${title} against held-out LPIPS: ${spoken}.`, [
    yAxis(FRAME, y, { values: quarters(end), format: percent }),
    xAxis(FRAME, x, { values: ticks(0, right, 5), format, title: 'visible change (held-out LPIPS)', grid: true }),
    html`<path class="frontier" d="${line(frontier(places).map(({ lpips, rate }): Point => [x(lpips), y(rate)]))}"/>`,
    places.map(dot),
    labels.map(
      ({ x, y, anchor }, i) =>
        html`<text class="halo strong" x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${names[i]}</text>`,
    ),
  ])
}

/** Those that no other place beats in both, from the least visible on. */
export function frontier<T extends { lpips: number; rate: number }>(places: readonly T[]): T[] {
  return places
    .filter(
      (a) => !places.some((b) => b.lpips <= a.lpips && b.rate <= a.rate && (b.lpips < a.lpips || b.rate < a.rate)),
    )
    .sort((a, b) => a.lpips - b.lpips)
}

function shortened(name: string): string {
  const characters = [...name]
  return characters.length > 22 ? `${characters.slice(0, 21).join('')}…` : name
}
