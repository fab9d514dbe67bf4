import type { PresetResult } from '../results.ts'
import { decimal, isNumber, percent } from './figures.ts'
import { html, type Markup } from './html.ts'
import {
  chart,
  type Frame,
  key,
  line,
  linear,
  logarithmic,
  marker,
  panel,
  quarters,
  rateEnd,
  SHAPES,
  ticks,
  xAxis,
  yAxis,
} from './plot.ts'
import { victimName, victimsOf } from './victims.ts'

const FRAME: Frame = { width: 320, height: 214, left: 40, right: 14, top: 22, bottom: 36 }

interface Axis {
  low: number
  high: number
  /** Where there are numbers. */
  at: readonly number[]
}

/** Rank-1 and mean cosine over the size of the same faces, a line for each recogniser; undefined with less than two sizes. */
export function sizes(preset: PresetResult): Markup | undefined {
  const bySize = Object.entries(preset.scales)
    .map(([scale, results]) => ({ scale: Number(scale), results }))
    .filter(({ scale }) => scale > 0)
    .sort((a, b) => a.scale - b.scale)
  const scales = bySize.map(({ scale }) => scale)
  const victims = victimsOf(preset).filter(({ id }) => bySize.some(({ results }) => results[id]))
  if (scales.length < 2 || !victims.length) return undefined
  const x = logarithmic(scales[0], scales.at(-1)!, FRAME.left + 10, FRAME.width - FRAME.right - 6)

  const drawing = (
    of: 'rank1' | 'meanCosine',
    name: string,
    { low, high, at }: Axis,
    format: (value: number) => string,
  ) => {
    const y = linear(low, high, FRAME.height - FRAME.bottom, FRAME.top)
    const curve = (id: string, i: number) => {
      const found = bySize
        .map(({ scale, results }) => ({ scale, value: results[id]?.[of] }))
        .filter(({ value }) => isNumber(value))
      const shape = SHAPES[i % SHAPES.length]
      return html`<g class="series-${i % 6}"><path class="curve" d="${line(found.map(({ scale, value }) => [x(scale), y(value)]))}"/>${found.map(
        ({ scale, value }) => marker(shape, x(scale), y(value), `${id}, ${scale}×: ${format(value)}`),
      )}</g>`
    }
    const spoken = victims.map(
      ({ id }) => `${id} ${bySize.map(({ scale, results }) => `${format(results[id]?.[of])} at ${scale}×`).join(', ')}`,
    )
    return chart(FRAME, `${name} by size of the photo: ${spoken.join('; ')}.`, [
      yAxis(FRAME, y, { values: at, format }),
      xAxis(FRAME, x, { values: scales, format: (scale) => `${scale}×`, title: 'photo enlarged by' }),
      victims.map(({ id }, i) => curve(id, i)),
    ])
  }

  const values = (of: 'rank1' | 'meanCosine') =>
    bySize.flatMap(({ results }) => victims.map(({ id }) => results[id]?.[of])).filter(isNumber)
  const cosines = values('meanCosine')
  const end = rateEnd(Math.max(0, ...values('rank1')))
  const low = Math.floor(Math.min(0, ...cosines) * 5) / 5
  const high = Math.ceil(Math.max(0.2, ...cosines) * 5) / 5
  return html`<ul class="legend">${victims.map((victim, i) =>
    key(victimName(victim), `series-${i % 6}`, SHAPES[i % SHAPES.length]),
  )}</ul><div class="panels">${panel('Probes found at rank 1', drawing('rank1', 'Rank-1', { low: 0, high: end, at: quarters(end) }, percent))}${panel(
    'Mean cosine, clean with protected',
    drawing('meanCosine', 'Mean cosine', { low, high, at: ticks(low, high, 8) }, (value) => decimal(value, 1)),
  )}</div>`
}
