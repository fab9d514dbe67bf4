/** Rates with what they rest on: a rate of nothing is not zero. */
import type { Identification, Verification } from '../results.ts'
import { type Interval, percent, range, wilson } from './figures.ts'
import { html, type Markup } from './html.ts'

export interface Rate {
  /** 0..1; NaN without trials, whatever was put down for it. */
  rate: number
  /** Probes, or pairs of photos. */
  trials: number
}

export const rateOf = (rate: number, trials: number): Rate => ({ rate: trials > 0 ? rate : Number.NaN, trials })

/** Part of the probes that find the person at the first place. */
export const found = ({ rank1, probes }: Identification): Rate => rateOf(rank1, probes)

/** Part of the pairs accepted at one false match in a thousand. */
export const accepted = ({ acceptedStrict, pairs }: Verification): Rate => rateOf(acceptedStrict, pairs)

export const intervalOf = ({ rate, trials }: Rate): Interval | undefined => wilson(rate, trials)

/** `17% (5.8–39%)`. */
export function spelled(rate: Rate): string {
  const interval = intervalOf(rate)
  return interval ? `${percent(rate.rate)} (${range(interval)})` : percent(rate.rate)
}

/** The same for a cell of a table. */
export function stacked(rate: Rate): Markup {
  const interval = intervalOf(rate)
  return html`<b>${percent(rate.rate)}</b>${interval && html`<small>${range(interval)}</small>`}`
}
