import { HISTOGRAM_BINS, type Verification, type VictimFacts, type VictimResult } from '../results.ts'
import { count, decimal, percent } from './figures.ts'
import { html, type Markup } from './html.ts'
import { at, chart, type Frame, linear, ticks, xAxis } from './plot.ts'
import { accepted } from './rates.ts'

const ROW = 52
const FRAME: Frame = { width: 320, height: 4 * ROW + 62, left: 14, right: 14, top: 26, bottom: 36 }

const ROWS: readonly { name: string; style: string; of: (victim: VictimResult) => Verification }[] = [
  { name: 'different people', style: 'impostor', of: ({ impostors }) => impostors },
  { name: 'clean, clean', style: 'clean', of: ({ clean }) => clean.verification },
  { name: 'clean, protected', style: 'protected', of: (victim) => victim.protected.verification },
  { name: 'protected, protected', style: 'both', of: ({ bothProtected }) => bothProtected.verification },
]

const BIN = 2 / HISTOGRAM_BINS
const edge = (bin: number): number => -1 + bin * BIN

/** The part of [-1,1] in which any of these results of one recogniser, or its thresholds, lie: presets share their axis. */
export function cosineRange(victims: readonly VictimResult[], facts: VictimFacts | undefined): [number, number] {
  const bins = victims
    .flatMap((victim) => ROWS.map(({ of }) => of(victim).histogram))
    .flatMap((histogram) => histogram.flatMap((pairs, bin) => (pairs > 0 ? [bin] : [])))
  const cosines = [...bins.map(edge), ...bins.map((bin) => edge(bin + 1))]
  if (facts) cosines.push(facts.threshold - BIN, facts.strictThreshold + BIN)
  if (!cosines.length) return [-1, 1]
  const low = cosines.reduce((a, b) => Math.min(a, b))
  const high = cosines.reduce((a, b) => Math.max(a, b))
  return [Math.max(-1, low), Math.min(1, high)]
}

/**
 * How similar one recogniser finds pairs of photos: a row each for different people and for photos of one person, clean and
 * protected, each as high as its fullest bin. What lies above the strict threshold is filled stronger.
 */
export function distributions(
  victim: VictimResult,
  facts: VictimFacts | undefined,
  [low, high]: [number, number],
): Markup {
  const x = linear(low, high, FRAME.left, FRAME.width - FRAME.right)
  const bottom = FRAME.height - FRAME.bottom
  const row = ({ name, style, of }: (typeof ROWS)[number], i: number) => {
    const verification = of(victim)
    const { histogram, pairs, meanCosine } = verification
    const base = FRAME.top + (i + 1) * ROW
    const strict = facts?.strictThreshold ?? 1
    const tip = `${name}: ${acceptance(verification)}, ${count(pairs)} pairs, mean cosine ${decimal(pairs > 0 ? meanCosine : Number.NaN, 2)}`
    return html`<g class="${style}"><title>${tip}</title><path class="below" d="${steps(histogram, x, base, -1, strict)}"/><path class="above" d="${steps(histogram, x, base, strict, 1)}"/><line class="floor" x1="${FRAME.left}" x2="${FRAME.width - FRAME.right}" y1="${base}" y2="${base}"/></g>`
  }
  const label = ({ name, of }: (typeof ROWS)[number], i: number) => {
    const y = FRAME.top + i * ROW + 14
    return html`<text class="halo" x="${FRAME.left}" y="${y}">${name}</text><text class="halo strong" x="${FRAME.width - FRAME.right}" y="${y}" text-anchor="end">${acceptance(of(victim))}</text>`
  }
  const threshold = ({ value, name, style, anchor, shift }: Mark) =>
    html`<line class="${style}" x1="${at(x(value))}" x2="${at(x(value))}" y1="${FRAME.top - 8}" y2="${bottom}"/><text x="${at(x(value) + shift)}" y="${FRAME.top - 12}" text-anchor="${anchor}">${name}</text>`
  const marks = facts && thresholds(facts, x).map(threshold)
  const summary = ROWS.map((each) => `${each.name} ${acceptance(each.of(victim))}`).join(', ')
  return chart(FRAME, `Cosines of ${victim.id}. At one false match in a thousand: ${summary}.`, [
    xAxis(FRAME, x, {
      values: ticks(low, high, 6),
      format: (v) => decimal(v, high - low < 0.5 ? 2 : 1),
      title: 'cosine',
    }),
    ROWS.map(row),
    marks,
    ROWS.map(label),
  ])
}

const acceptance = (verification: Verification): string =>
  verification.pairs > 0 ? `${percent(accepted(verification).rate)} accepted` : 'no pairs'

interface Mark {
  value: number
  name: string
  style: string
  anchor: 'start' | 'end'
  /** Of the name from the line. */
  shift: number
}

/** Both thresholds: the name of the lower one ends at its line, that of the higher one begins at its line, if there is room. */
function thresholds({ threshold, strictThreshold }: VictimFacts, x: (value: number) => number): Mark[] {
  const own = { value: threshold, name: `own ${decimal(threshold, 2)}`, style: 'own-threshold' }
  const strict = {
    value: strictThreshold,
    name: `1 in 1,000: ${decimal(strictThreshold, 2)}`,
    style: 'strict-threshold',
  }
  const [lower, higher] = threshold <= strictThreshold ? [own, strict] : [strict, own]
  const width = ({ name }: { name: string }) => name.length * 5.8
  const [a, b] = [x(lower.value), x(higher.value)]
  const gap = 10
  // Both names in a row, the border between them as near to the lines as the edges of the drawing let it be.
  const border = Math.min(Math.max((a + b) / 2, width(lower) + gap / 2), FRAME.width - width(higher) - gap / 2)
  return [
    { ...lower, anchor: 'end', shift: Math.min(a, border - gap / 2) - a },
    { ...higher, anchor: 'start', shift: Math.max(b, border + gap / 2) - b },
  ]
}

/** Outline of the bins within [from, to], the bins that a border cuts included in part. */
function steps(
  histogram: readonly number[],
  x: (value: number) => number,
  base: number,
  from: number,
  to: number,
): string {
  const highest = histogram.reduce((a, b) => Math.max(a, b), 0)
  return histogram
    .map((pairs, bin) => {
      const left = Math.max(from, edge(bin))
      const right = Math.min(to, edge(bin + 1))
      if (!(pairs > 0) || left >= right) return ''
      // A single pair in a full distribution still shows.
      const height = Math.max(1, (pairs / highest) * (ROW - 22))
      return `M${at(x(left))} ${base}V${at(base - height)}H${at(x(right))}V${base}Z`
    })
    .join('')
}
