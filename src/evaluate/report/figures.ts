/** Figures as text, and how sure they are. What is not a number (no pairs, no probes) is a dash. */

export const NONE = '–'

/** `0.134` as `13%`; one decimal below 10% and above 99%, where it matters. */
export function percent(rate: number | null | undefined): string {
  if (!isNumber(rate)) return NONE
  const value = rate * 100
  if (value > 0 && value < 0.05) return '<0.1%'
  if (value >= 99.95 && value < 100) return '>99.9%'
  return `${rounded(value)}%`
}

function rounded(value: number): string {
  return value.toFixed(value < 9.95 || value > 99 ? 1 : 0).replace(/\.0$/, '')
}

export function decimal(value: number | null | undefined, digits: number): string {
  return isNumber(value) ? value.toFixed(digits).replace('-', '−') : NONE
}

/** A count, with separators of thousands. */
export function count(value: number | null | undefined): string {
  return isNumber(value) ? value.toLocaleString('en-US', { maximumFractionDigits: 0 }) : NONE
}

export function duration(seconds: number | null | undefined): string {
  if (!isNumber(seconds)) return NONE
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)} ms`
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`
  return `${(seconds / 60).toFixed(seconds < 600 ? 1 : 0)} min`
}

export interface Interval {
  low: number
  high: number
}

/** Two-sided 95% quantile of the normal distribution. */
const Z = 1.959964

/**
 * Wilson's 95% interval (E. B. Wilson, 1927) of a rate found in `trials` independent trials. Unlike the usual rate ± error it
 * stays within 0..1 and says something where nothing, or everything, was found. Undefined without trials.
 */
export function wilson(rate: number | null | undefined, trials: number): Interval | undefined {
  if (!isNumber(rate) || !(trials > 0)) return undefined
  const square = Z ** 2 / trials
  const centre = (rate + square / 2) / (1 + square)
  const half = Math.sqrt(square * (rate * (1 - rate) + square / 4)) / (1 + square)
  return { low: Math.max(0, centre - half), high: Math.min(1, centre + half) }
}

/** `2–15%`. */
export function range(interval: Interval | undefined): string {
  if (!interval) return NONE
  const [low, high] = [interval.low, interval.high].map((rate) => rounded(rate * 100))
  return low === high ? `${low}%` : `${low}–${high}%`
}

/** Mean of those that are numbers; NaN if none is. */
export function mean(values: readonly (number | null | undefined)[]): number {
  const numbers = values.filter(isNumber)
  return numbers.reduce((sum, value) => sum + value, 0) / numbers.length
}

/** JSON has null where a computation gave NaN, whatever the types say. */
export function isNumber(value: number | null | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}
