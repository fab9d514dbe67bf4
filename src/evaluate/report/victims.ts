/** The recognisers of an evaluation: held-out ones first, since only they say what to expect of an unknown service. */
import type { Evaluation, PresetResult, VictimFacts, VictimResult } from '../results.ts'
import { html, type Markup } from './html.ts'

/** Of one preset, held-out ones first. */
export function victimsOf(preset: PresetResult): VictimResult[] {
  const victims = Object.values(preset.victims)
  return [...victims.filter(({ heldOut }) => heldOut), ...victims.filter(({ heldOut }) => !heldOut)]
}

export interface VictimColumn {
  id: string
  /** Undefined: held out for some presets and attacked by others. */
  heldOut: boolean | undefined
}

/** Of all presets, in the same order for all. */
export function victimColumns(evaluation: Evaluation): VictimColumn[] {
  const results = Object.values(evaluation.presets).flatMap(victimsOf)
  const ids = new Set([...evaluation.victims.map(({ id }) => id), ...results.map(({ id }) => id)])
  const columns = [...ids].flatMap((id) => {
    const kinds = new Set(results.filter((result) => result.id === id).map(({ heldOut }) => heldOut))
    return kinds.size ? [{ id, heldOut: kinds.size > 1 ? undefined : kinds.has(true) }] : []
  })
  const order = ({ heldOut }: VictimColumn) => [true, undefined, false].indexOf(heldOut)
  return columns.sort((a, b) => order(a) - order(b))
}

export function factsOf(evaluation: Evaluation, id: string): VictimFacts | undefined {
  return evaluation.victims.find((facts) => facts.id === id)
}

export function badge(heldOut: boolean | undefined): Markup {
  if (heldOut === undefined) return html`<span class="badge">held out or attacked</span>`
  return heldOut ? html`<span class="badge held">held out</span>` : html`<span class="badge">attacked</span>`
}

/** Name and badge. */
export function victimName({ id, heldOut }: VictimColumn): Markup {
  return html`<bdi class="name">${id}</bdi> ${badge(heldOut)}`
}
