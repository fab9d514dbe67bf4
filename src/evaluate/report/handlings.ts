import type { Handled, Handling, PresetResult, VictimResult } from '../results.ts'
import { count, isNumber, percent } from './figures.ts'
import { html, type Markup } from './html.ts'
import { at, chart, type Frame, linear, quarters, rateEnd, xAxis } from './plot.ts'
import { accepted, found, intervalOf, type Rate, spelled } from './rates.ts'

/** In the order of the report: untouched first. */
export const HANDLINGS: Readonly<Record<Handling, string>> = {
  png: 'PNG',
  jpeg95: 'JPEG q95',
  jpeg85: 'JPEG q85',
  jpeg75: 'JPEG q75',
  'half-size': 'half size, back',
  blur: 'light blur',
  'other-detector': 'other detector',
}

const ROW = 36
const BAR = 10
const FRAME: Omit<Frame, 'height'> = { width: 320, left: 92, right: 44, top: 6, bottom: 36 }

interface Bar {
  name: string
  style: string
  of: (handled: Handled) => Rate
}

const BARS: readonly Bar[] = [
  { name: 'found at rank 1', style: 'rank-bar', of: ({ identification }) => found(identification) },
  { name: 'pairs accepted', style: 'accept-bar', of: ({ verification }) => accepted(verification) },
]

/** Those that any recogniser of the preset has results for. */
export function handlingsOf(preset: PresetResult): Handling[] {
  return (Object.keys(HANDLINGS) as Handling[]).filter((handling) =>
    Object.values(preset.victims).some(({ handlings }) => handlings[handling]),
  )
}

/** End of the axis for all recognisers of a preset: a round number that no interval exceeds. */
export function largestRate(victims: readonly VictimResult[]): number {
  const rates = victims.flatMap(({ handlings }) =>
    Object.values(handlings).flatMap((handled) => BARS.map(({ of }) => of(handled))),
  )
  return rateEnd(Math.max(0, ...rates.map((rate) => intervalOf(rate)?.high ?? 0)))
}

export function handlingLegend(): Markup {
  const key = ({ name, style }: Bar) =>
    html`<li><svg class="key ${style}" viewBox="0 0 30 12" aria-hidden="true"><rect x="1" y="1" width="28" height="10"/></svg>${name}</li>`
  return html`<ul class="legend">${BARS.map(key)}<li><svg class="key" viewBox="0 0 30 12" aria-hidden="true"><path class="whisker" d="M3 6H27M3 3V9M27 3V9"/></svg>95% interval</li></ul>`
}

/** Bars: how often one recogniser still finds or accepts people after their protected photos were saved, scaled, blurred. */
export function handlingBars(victim: VictimResult, handlings: readonly Handling[], end: number): Markup {
  const frame: Frame = { ...FRAME, height: FRAME.top + handlings.length * ROW + FRAME.bottom }
  const x = linear(0, end, FRAME.left, FRAME.width - FRAME.right)
  const bar = (handling: Handling, { name, style, of }: Bar, top: number) => {
    const handled = victim.handlings[handling]
    const rate = handled && of(handled)
    const value = (right: number, text: string) =>
      html`<text class="value" x="${at(right + 5)}" y="${top + BAR - 1}">${text}</text>`
    if (!rate || !isNumber(rate.rate)) return value(FRAME.left, 'no result')
    const tip = `${HANDLINGS[handling]}, ${name}: ${spelled(rate)} of ${count(rate.trials)}`
    const interval = intervalOf(rate) ?? { low: rate.rate, high: rate.rate }
    const [low, high] = [at(x(interval.low)), at(x(interval.high))]
    const whisker = `M${low} ${top + BAR / 2}H${high}M${low} ${top + 2}v${BAR - 4}M${high} ${top + 2}v${BAR - 4}`
    const length = Math.max(1, x(rate.rate) - FRAME.left)
    return html`<g class="${style}"><title>${tip}</title><rect x="${FRAME.left}" y="${top}" width="${at(length)}" height="${BAR}"/><path class="whisker" d="${whisker}"/>${value(x(interval.high), percent(rate.rate))}</g>`
  }
  const row = (handling: Handling, i: number) => {
    const top = FRAME.top + i * ROW
    const name = html`<text class="label" x="${FRAME.left - 8}" y="${top + ROW / 2 + 4}" text-anchor="end">${HANDLINGS[handling]}</text>`
    return [name, BARS.map((each, k) => bar(handling, each, top + 6 + k * (BAR + 3)))]
  }
  const spoken = handlings.map((handling) => {
    const handled = victim.handlings[handling]
    return `${HANDLINGS[handling]} ${handled ? BARS.map(({ of }) => percent(of(handled).rate)).join(' and ') : 'no result'}`
  })
  return chart(frame, `${victim.id}, found and accepted after handling: ${spoken.join('; ')}.`, [
    xAxis(frame, x, { values: quarters(end), format: percent, title: 'lower is better', grid: true }),
    handlings.map(row),
  ])
}
