/** What the plots are made of: scales, axes, lines, markers. Numbers in, SVG out; colours are classes of the style sheet. */
import { type Content, html, type Markup } from './html.ts'

/** Size of a drawing and the margins around its data, in user units; a unit is about a CSS pixel. */
export interface Frame {
  width: number
  height: number
  left: number
  right: number
  top: number
  bottom: number
}

export type Scale = (value: number) => number
export type Point = readonly [x: number, y: number]
/** Shapes tell series apart where colours do not. */
export type Shape = 'circle' | 'square' | 'triangle' | 'diamond' | 'cross' | 'ring'

export const SHAPES: readonly Shape[] = ['circle', 'square', 'triangle', 'diamond', 'cross', 'ring']

/** Maps [from, to] to [low, high]; a domain without extent to the middle. */
export function linear(from: number, to: number, low: number, high: number): Scale {
  if (from === to) return () => (low + high) / 2
  return (value) => low + ((value - from) / (to - from)) * (high - low)
}

/** The same for logarithms of positive values. */
export function logarithmic(from: number, to: number, low: number, high: number): Scale {
  const scale = linear(Math.log(from), Math.log(to), low, high)
  return (value) => scale(Math.log(value))
}

/** Round numbers (1, 2 or 5 times a power of ten apart) within [low, high], about as many as asked for. */
export function ticks(low: number, high: number, about: number): number[] {
  if (!(high > low)) return [low]
  const rough = (high - low) / about
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough * 0.999) ?? 10)
  const first = Math.ceil(low / step - 1e-9)
  const last = Math.floor(high / step + 1e-9)
  // The sum of steps would carry rounding errors into the labels.
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}

/** End of an axis of rates that start at 0, such that `highest` is on it and quarters of it are round. */
export function rateEnd(highest: number): number {
  return [0.04, 0.08, 0.2, 0.4, 0.6, 0.8].find((end) => highest <= end) ?? 1
}

export const quarters = (end: number): number[] => [0, 0.25, 0.5, 0.75, 1].map((part) => part * end)

/** A coordinate with as many decimals as an eye can tell. */
export const at = (value: number): string => String(Math.round(value * 10) / 10)

/** The drawing. `label` says in words what it shows, for those who do not see it. */
export function chart({ width, height }: Pick<Frame, 'width' | 'height'>, label: string, content: Content): Markup {
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">${content}</svg>`
}

interface Axis {
  values: readonly number[]
  format: (value: number) => string
  title?: string
  /** Lines through the data at every value. */
  grid?: boolean
}

/** At the bottom. */
export function xAxis(frame: Frame, scale: Scale, { values, format, title, grid }: Axis): Markup {
  const bottom = frame.height - frame.bottom
  const middle = (frame.left + frame.width - frame.right) / 2
  const tick = (value: number) => {
    const x = at(scale(value))
    return html`<line class="${grid ? 'grid' : 'tick'}" x1="${x}" x2="${x}" y1="${grid ? frame.top : bottom}" y2="${bottom + 4}"/><text x="${x}" y="${bottom + 15}" text-anchor="middle">${format(value)}</text>`
  }
  return html`<g class="axis">${values.map(tick)}<line class="base" x1="${frame.left}" x2="${frame.width - frame.right}" y1="${bottom}" y2="${bottom}"/>${
    title && html`<text class="title" x="${at(middle)}" y="${bottom + 30}" text-anchor="middle">${title}</text>`
  }</g>`
}

/** On the left, always with lines through the data; the title stands above, where it can be read without turning the head. */
export function yAxis(frame: Frame, scale: Scale, { values, format, title }: Axis): Markup {
  const tick = (value: number) => {
    const y = scale(value)
    return html`<line class="grid" x1="${frame.left}" x2="${frame.width - frame.right}" y1="${at(y)}" y2="${at(y)}"/><text x="${frame.left - 6}" y="${at(y + 3.5)}" text-anchor="end">${format(value)}</text>`
  }
  return html`<g class="axis">${values.map(tick)}${title && html`<text class="title" x="2" y="11">${title}</text>`}</g>`
}

/** Path through points. */
export const line = (points: readonly Point[]): string =>
  points.map(([x, y], i) => `${i ? 'L' : 'M'}${at(x)} ${at(y)}`).join('')

/** Path around what lies between two lines. */
export const area = (upper: readonly Point[], lower: readonly Point[]): string =>
  upper.length ? `${line(upper)}${line([...lower].reverse()).replace('M', 'L')}Z` : ''

export function marker(shape: Shape, x: number, y: number, title?: string, radius = 3.5): Markup {
  const r = radius
  const outline: Record<Exclude<Shape, 'circle' | 'ring'>, string> = {
    square: `M${at(x - r)} ${at(y - r)}h${2 * r}v${2 * r}h${-2 * r}Z`,
    triangle: `M${at(x)} ${at(y - r * 1.2)}L${at(x + r * 1.2)} ${at(y + r)}H${at(x - r * 1.2)}Z`,
    diamond: `M${at(x)} ${at(y - r * 1.4)}L${at(x + r * 1.4)} ${at(y)}L${at(x)} ${at(y + r * 1.4)}L${at(x - r * 1.4)} ${at(y)}Z`,
    cross: `M${at(x - r)} ${at(y - r)}L${at(x + r)} ${at(y + r)}M${at(x - r)} ${at(y + r)}L${at(x + r)} ${at(y - r)}`,
  }
  const tip = title && html`<title>${title}</title>`
  if (shape === 'circle' || shape === 'ring')
    return html`<circle class="mark ${shape}" cx="${at(x)}" cy="${at(y)}" r="${r}">${tip}</circle>`
  return html`<path class="mark ${shape}" d="${outline[shape]}">${tip}</path>`
}

/** One entry of a legend: a piece of the line with its marker, if it has one, and what it stands for. */
export function key(name: Content, series: string, shape?: Shape): Markup {
  return html`<li><svg class="key ${series}" viewBox="0 0 30 12" aria-hidden="true"><path class="curve" d="M1 6H29"/>${shape && marker(shape, 15, 6)}</svg>${name}</li>`
}

/** A drawing with its heading, one of several alike. */
export function panel(heading: Content, drawing: Markup): Markup {
  return html`<figure class="panel"><figcaption>${heading}</figcaption>${drawing}</figure>`
}
