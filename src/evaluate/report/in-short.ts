import type { PresetResult, VictimResult } from '../results.ts'
import { decimal, isNumber, mean, percent } from './figures.ts'
import { type Content, html, type Markup } from './html.ts'
import { accepted, found, type Rate, spelled } from './rates.ts'
import { victimsOf } from './victims.ts'

/** One preset in four lines: how often people are found, how often their photos match, what can be seen. */
export function inShort(name: string, preset: PresetResult): Markup {
  const victims = victimsOf(preset)
  const heldOut = victims.filter((victim) => victim.heldOut)
  const asked = heldOut.length ? heldOut : victims
  const who = heldOut.length
    ? `Recognisers it does not know (${heldOut.length}), mean`
    : victims.length
      ? 'Only attacked recognisers, mean'
      : 'No recogniser was asked'
  const visible = isNumber(preset.lpipsHeldOut)
    ? line(decimal(preset.lpipsHeldOut, 3), 'visible change (LPIPS held out)')
    : line(decimal(preset.lpips, 3), 'visible change (LPIPS in the loop, which is no judge of itself)')
  return html`<article class="short"><h3><bdi>${name}</bdi></h3><p>${who}</p><dl>${asked.length > 0 && matches(asked)}${visible}</dl></article>`
}

const line = (value: string, words: Content): Markup => html`<div><dt>${words}</dt><dd>${value}</dd></div>`

function matches(asked: readonly VictimResult[]): Markup[] {
  const average = (of: (victim: VictimResult) => Rate) => percent(mean(asked.map((victim) => of(victim).rate)))
  const protectedRate = (victim: VictimResult) => found(victim.protected.identification)
  const worst = asked.reduce((a, b) => (protectedRate(b).rate > protectedRate(a).rate ? b : a))
  return [
    line(
      average(protectedRate),
      html`of the clean probes find the person first, instead of ${average(({ clean }) => found(clean.identification))}; most with <bdi>${worst.id}</bdi>: ${spelled(protectedRate(worst))}`,
    ),
    line(
      average((victim) => accepted(victim.protected.verification)),
      'of the pairs of a clean and a protected photo are accepted as one person',
    ),
    line(
      average(({ bothProtected }) => accepted(bothProtected.verification)),
      'of the pairs of two protected photos are accepted',
    ),
  ]
}
