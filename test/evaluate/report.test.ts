/** The evaluation's report as text: what stands in it, and that nothing of an evaluation can become markup or an address. */
import { describe, expect, test } from 'vitest'
import { cosineRange, distributions } from '../../src/evaluate/report/distributions.ts'
import { count, decimal, duration, mean, percent, range, wilson } from '../../src/evaluate/report/figures.ts'
import { handlingBars, handlingsOf, largestRate } from '../../src/evaluate/report/handlings.ts'
import { escapeText, html } from '../../src/evaluate/report/html.ts'
import { boxOf, overlap, placeLabels } from '../../src/evaluate/report/labels.ts'
import { linear, logarithmic, quarters, rateEnd, ticks } from '../../src/evaluate/report/plot.ts'
import { chanceAt, rankCurves } from '../../src/evaluate/report/rank-curves.ts'
import { accepted, found, spelled } from '../../src/evaluate/report/rates.ts'
import { renderReport } from '../../src/evaluate/report/report.ts'
import { sizes } from '../../src/evaluate/report/sizes.ts'
import { frontier } from '../../src/evaluate/report/trade-off.ts'
import type { Evaluation, PresetResult, VictimResult } from '../../src/evaluate/results.ts'
import { hostileEvaluation, syntheticEvaluation } from '../support/evaluation.ts'

const evaluation = syntheticEvaluation()
const report = renderReport(evaluation)

/** The same evaluation with every preset changed. */
function withPresets(change: (preset: PresetResult) => Partial<PresetResult>): Evaluation {
  const presets = Object.entries(evaluation.presets).map(([name, preset]) => [name, { ...preset, ...change(preset) }])
  return { ...evaluation, presets: Object.fromEntries(presets) }
}

function withVictims(change: (victim: VictimResult) => Partial<VictimResult>): Evaluation {
  return withPresets(({ victims }) => ({
    victims: Object.fromEntries(Object.entries(victims).map(([id, victim]) => [id, { ...victim, ...change(victim) }])),
  }))
}

/** Whole pages are no help in a message: only what was looked for, and what was found instead of nothing. */
function expectIn(page: string, ...parts: readonly string[]): void {
  expect(parts.filter((part) => !page.includes(part))).toEqual([])
}

function expectNone(page: string, pattern: RegExp): void {
  expect(page.match(pattern)?.[0]).toBeUndefined()
}

const headings = (page: string): string[] =>
  [...page.matchAll(/<h[23]>(.*?)<\/h[23]>/g)].map(([, text]) => text.replace(/<[^>]*>/g, ''))
const tags = (page: string): string[] => [...page.matchAll(/<(\/?[a-z][a-z0-9]*)/g)].map(([, name]) => name)
/** Without tags, entities as they are. */
const text = (markup: string): string => markup.replace(/<style>.*?<\/style>/s, '').replace(/<[^>]*>/g, ' ')
const row = (page: string, name: string): string => {
  const rows = page.slice(page.indexOf('<tbody')).split('<tr')
  return rows.find((each) => each.includes(`<bdi>${name}</bdi></th>`))!
}

describe('figures', () => {
  test("Wilson's interval, against values of his formula computed elsewhere", () => {
    // statsmodels.stats.proportion.proportion_confint(count, nobs, method='wilson')
    expect(wilson(0, 18)!.low).toBe(0)
    expect(wilson(0, 18)!.high).toBeCloseTo(0.17588, 4)
    expect(wilson(0.5, 10)!.low).toBeCloseTo(0.23659, 4)
    expect(wilson(0.5, 10)!.high).toBeCloseTo(0.76341, 4)
    expect(wilson(3 / 30, 30)!.low).toBeCloseTo(0.0346, 4)
    expect(wilson(3 / 30, 30)!.high).toBeCloseTo(0.25621, 4)
    expect(wilson(1, 18)!.high).toBeCloseTo(1, 12)
    expect(wilson(1, 18)!.high).toBeLessThanOrEqual(1)
    expect(wilson(0.5, 0)).toBeUndefined()
    expect(wilson(null, 9)).toBeUndefined()
  })

  test('rates, counts and times as text', () => {
    expect([0, 0.0004, 0.004, 0.0834, 0.134, 0.944, 0.992, 0.9999, 1].map(percent)).toEqual([
      ...['0%', '<0.1%', '0.4%', '8.3%', '13%', '94%', '99.2%', '>99.9%', '100%'],
    ])
    expect([percent(Number.NaN), percent(null), decimal(undefined, 2), count(Number.NaN)]).toEqual(['–', '–', '–', '–'])
    expect(range(wilson(0, 18))).toBe('0–18%')
    expect(range({ low: 0.058, high: 0.392 })).toBe('5.8–39%')
    expect(range(undefined)).toBe('–')
    expect(decimal(-0.126, 2)).toBe('−0.13')
    expect(count(12345)).toBe('12,345')
    expect([0.25, 8.71, 32.4, 300, 3600].map(duration)).toEqual(['250 ms', '8.7 s', '32 s', '5.0 min', '60 min'])
    expect(mean([1, Number.NaN, null, 3])).toBe(2)
  })

  test('a rate of nothing is not zero', () => {
    const { identification, verification } = evaluation.presets.paper.victims.dlib.clean
    expect(spelled(found(identification))).toMatch(/^\d+% \(\d+–\d+%\)$/)
    expect(spelled(found({ ...identification, rank1: 0, probes: 0 }))).toBe('–')
    expect(accepted({ ...verification, acceptedStrict: 0, pairs: 0 }).rate).toBeNaN()
  })

  test('chance: one of 9 photos among the first of 630', () => {
    expect(chanceAt(1, 9, 630)).toBeCloseTo(9 / 630, 12)
    expect(chanceAt(2, 9, 630)).toBeCloseTo(1 - (621 / 630) * (620 / 629), 12)
    expect(chanceAt(6, 2, 8)).toBeCloseTo(27 / 28, 12)
    expect(chanceAt(7, 2, 8)).toBe(1)
    expect(chanceAt(50, 4, 0)).toBe(1)
  })
})

describe('drawings', () => {
  test('scales and ticks', () => {
    expect(linear(0, 2, 10, 30)(0.5)).toBe(15)
    expect(linear(1, 1, 10, 30)(1)).toBe(20)
    expect(logarithmic(1, 100, 0, 8)(10)).toBeCloseTo(4, 12)
    expect(ticks(0, 0.06, 5)).toEqual([0, 0.02, 0.04, 0.06])
    expect(ticks(-0.4, 1, 7)).toEqual([-0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1])
    expect([0, 0.05, 0.2, 0.21, 0.9].map(rateEnd)).toEqual([0.04, 0.08, 0.2, 0.4, 1])
    expect(quarters(0.2)).toEqual([0, 0.05, 0.1, 0.15000000000000002, 0.2].map((value) => expect.closeTo(value, 12)))
  })

  test('bars are as long as the rates they stand for', () => {
    const { dlib } = evaluation.presets.paper.victims
    const png = dlib.handlings.png!
    const identification = { ...png.identification, rank1: 0.5, probes: 18 }
    const verification = { ...png.verification, acceptedStrict: 0.25, pairs: 72 }
    const { text: drawing } = handlingBars(
      { ...dlib, handlings: { png: { identification, verification } } },
      ['png'],
      1,
    )
    const lengths = [...drawing.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map(([, width]) => Number(width))
    expect(lengths).toHaveLength(2)
    expect(lengths[0] / lengths[1]).toBeCloseTo(2, 2)
    expect(drawing).toContain('PNG, found at rank 1: 50% (29–71%) of 18')
    expect(drawing).toContain('PNG, pairs accepted: 25% (16–36%) of 72')
    const empty = { identification: { ...identification, rank1: 0, probes: 0 }, verification }
    expect(
      handlingBars({ ...dlib, handlings: { png: empty } }, ['png', 'blur'], 1).text.split('no result'),
    ).toHaveLength(5)
  })

  test('the axis of bars holds every interval', () => {
    const victims = Object.values(evaluation.presets.low.victims)
    const end = largestRate(victims)
    const highs = victims.flatMap(({ handlings }) =>
      Object.values(handlings).map(({ identification: { rank1, probes } }) => wilson(rank1, probes)!.high),
    )
    expect(Math.max(...highs)).toBeLessThanOrEqual(end)
    expect(handlingsOf(evaluation.presets.low)).toEqual(
      ...[['png', 'jpeg95', 'jpeg85', 'jpeg75', 'half-size', 'blur', 'other-detector']],
    )
  })

  test('rank curves: a point for every rank, rising, and none for kinds without probes', () => {
    const { dlib } = evaluation.presets.paper.victims
    const { text: drawing } = rankCurves(dlib, evaluation)
    const [, path] = drawing.match(/<g class="protected">.*?<path class="curve" d="([^"]*)"/)!
    const points = path
      .slice(1)
      .split('L')
      .map((point) => point.split(' ').map(Number))
    expect(points).toHaveLength(9)
    points.slice(1).forEach(([x, y], i) => {
      expect(x).toBeGreaterThan(points[i][0])
      expect(y).toBeLessThanOrEqual(points[i][1])
    })
    const { identification, verification } = dlib.bothProtected
    const alone = { ...dlib, bothProtected: { identification: { ...identification, probes: 0 }, verification } }
    expect(rankCurves(alone, evaluation).text).toMatch(
      /<g class="both"><path class="band" d=""\/><path class="curve" d=""\/><\/g>/,
    )
  })

  test('distributions: what lies above the threshold is split off, also within a bin', () => {
    const { dlib } = evaluation.presets.paper.victims
    const histogram = new Array<number>(80).fill(0)
    histogram[60] = 4 // 0.5 to 0.525
    histogram[61] = 8
    const clean = {
      ...dlib.clean,
      verification: { ...dlib.clean.verification, histogram, pairs: 12, acceptedStrict: 0.5 },
    }
    const facts = { id: 'dlib', threshold: 0.4, strictThreshold: 0.5125 }
    const { text: drawing } = distributions({ ...dlib, clean }, facts, [0, 1])
    const [, below, above] = drawing.match(/<g class="clean">.*?class="below" d="([^"]*)".*?class="above" d="([^"]*)"/)!
    const across = (path: string) =>
      [...path.matchAll(/M([\d.]+) \d+V[\d.]+H([\d.]+)/g)].map(([, from, to]) => [Number(from), Number(to)])
    expect(across(below)).toHaveLength(1)
    expect(across(above)).toHaveLength(2)
    expect(across(below)[0][1]).toBe(across(above)[0][0])
    expect(drawing).toContain('50% accepted')
    expect(drawing).toContain('1 in 1,000: 0.51')
    expect(drawing).toContain('own 0.40')
    expect(distributions(dlib, undefined, [-1, 1]).text).not.toContain('threshold"')
  })

  test('cosines share an axis that holds all of them and both thresholds', () => {
    const victims = Object.values(evaluation.presets).map(({ victims }) => victims.dlib)
    const facts = { id: 'dlib', threshold: 0.2, strictThreshold: 0.88 }
    const [low, high] = cosineRange(victims, facts)
    expect(low).toBeLessThan(0.2)
    expect(high).toBe(1)
    expect(cosineRange([], undefined)).toEqual([-1, 1])
  })

  test('every mark of every drawing is inside of it', () => {
    const drawings = [...report.matchAll(/<svg viewBox="0 0 (\d+) (\d+)" role="img".*?<\/svg>/gs)]
    const outside = drawings.flatMap(([drawing, width, height]) => {
      const circles = [...drawing.matchAll(/<circle [^>]*cx="([-\d.]+)" cy="([-\d.]+)"/g)]
      const paths = [...drawing.matchAll(/<path class="(?:mark|curve|band)[^>]* d="M([-\d.]+) ([-\d.]+)/g)]
      const points = [...circles, ...paths].map(([, x, y]) => [Number(x), Number(y)])
      expect(
        points.length + drawing.split('<rect').length - 1 + drawing.split('class="above"').length - 1,
      ).toBeGreaterThan(0)
      return points.filter(([x, y]) => !(x >= 0 && x <= Number(width) && y >= 0 && y <= Number(height) - 30))
    })
    expect(drawings).toHaveLength(3 + 4 * (4 * 3 + 2))
    expect(outside).toEqual([])
  })

  test('sizes: a line for each recogniser over the sizes in order', () => {
    const { paper } = evaluation.presets
    const scales = { '8': paper.scales[8], '1': paper.scales[1], '3.0': paper.scales[3], none: paper.scales[3] }
    const drawing = sizes({ ...paper, scales })!.text
    expect(drawing).toContain('>1×</text>')
    const lines = [...drawing.matchAll(/<path class="curve" d="(M[^"]*L[^"]*)"/g)].map(([, path]) =>
      path
        .slice(1)
        .split('L')
        .map((point) => Number(point.split(' ')[0])),
    )
    expect(lines).toHaveLength(2 * 4)
    for (const [one, three, eight] of lines)
      expect((three - one) / (eight - one)).toBeCloseTo(Math.log(3) / Math.log(8), 2)
    expect(drawing).toContain(`dlib, 8×: ${percent(paper.scales[8].dlib.rank1)}`)
    expect(sizes({ ...paper, scales: { 1: paper.scales[1] } })).toBeUndefined()
  })

  test('the frontier: presets that no other one beats in both', () => {
    const a = { lpips: 0.02, rate: 0.4 }
    const b = { lpips: 0.03, rate: 0.1 }
    const beaten = { lpips: 0.04, rate: 0.2 }
    const twin = { lpips: 0.03, rate: 0.1 }
    expect(frontier([beaten, b, a, twin])).toEqual([a, b, twin])
  })

  test('names of crowded points cover neither each other nor other points', () => {
    const frame = { width: 400, height: 284, left: 42, right: 16, top: 14, bottom: 36 }
    const names = ['paper', 'default', 'low', 'fawkes-high', 'medium:steps=20']
    const points = [
      [200, 200],
      [206, 206],
      [214, 198],
      [380, 240],
      [50, 20],
    ].map(([x, y]) => [x, y] as const)
    const boxes = placeLabels(points, names, frame).map((label, i) => boxOf(label, names[i]))
    boxes.forEach((box, i) => {
      expect(box.left).toBeGreaterThanOrEqual(0)
      expect(box.right).toBeLessThanOrEqual(frame.width)
      expect(box.top).toBeGreaterThanOrEqual(0)
      for (const other of boxes.slice(0, i)) expect(overlap(box, other)).toBe(0)
    })
  })
})

describe('the report', () => {
  test('names its origin and its sizes', () => {
    for (const part of [evaluation.command, evaluation.adapter, 'lowkey-gpu 0.1.0', '2026-11-20 14:03 UTC'])
      expectIn(report, part)
    const facts = [...report.matchAll(/<dt>([^<]*)<\/dt><dd>([\d,]+)<\/dd>/g)].map(
      ([, name, value]) => `${value} ${name}`,
    )
    expect(facts).toEqual(['6 people', '4 gallery photos each', '18 probes', '300 distractors', '2 left out, no face'])
  })

  test('has every part, in order', () => {
    const presets = Object.keys(evaluation.presets)
    const short = ['In short', ...presets]
    const meaning = ['What the figures mean and do not mean', 'What they mean', 'What they do not mean']
    const parts = ['Pictures', 'All figures', 'Rank curves', 'Similarity', 'Robustness', 'Size']
    expect(headings(report)).toEqual([
      ...short,
      'Protection against visible change',
      ...meaning,
      'Every attacker against every recogniser',
      ...presets.flatMap((name) => [`Preset ${name}`, ...parts]),
    ])
    // Of each preset three drawings a recogniser and two of sizes, and three of all.
    expect(report.split('role="img"')).toHaveLength(1 + 3 + presets.length * (4 * 3 + 2))
  })

  test('the summary gives every figure with its interval, held-out recognisers first', () => {
    const columns = [
      ...report.matchAll(
        /scope="colgroup" colspan="2" class="first"><bdi class="name">(\w+)<\/bdi> <span class="badge( held)?"/g,
      ),
    ]
    expect(columns.slice(0, 4).map(([, id, held]) => `${id}${held ?? ''}`)).toEqual([
      ...['faceplugin held', 'dlib held', 'sirius', 'foamliu'],
    ])
    const paper = evaluation.presets.paper
    const cells = text(`<td${row(report, 'paper')}`)
      .split(/\s+/)
      .filter(Boolean)
    for (const value of [
      '6',
      '24',
      paper.lpipsHeldOut!.toFixed(4),
      paper.lpips.toFixed(4),
      paper.ssim.toFixed(3),
      paper.psnr.toFixed(1),
    ])
      expect(cells).toContain(value)
    const figures = ['faceplugin', 'dlib', 'sirius', 'foamliu'].flatMap((id) => {
      const { rank1Protected, verificationProtected, protected: bare } = paper.victims[id]
      return [
        percent(rank1Protected),
        range(wilson(rank1Protected, bare.identification.probes)),
        percent(verificationProtected),
        range(wilson(verificationProtected, bare.verification.pairs)),
      ]
    })
    expect(cells.slice(-16)).toEqual(figures)
  })

  test('a recogniser that some presets attack is marked for each of them', () => {
    const { paper, low } = evaluation.presets
    const victims = { ...low.victims, dlib: { ...low.victims.dlib, heldOut: false } }
    const page = renderReport({ ...evaluation, presets: { paper, low: { ...low, victims } } })
    expectIn(page, '<bdi class="name">dlib</bdi> <span class="badge">held out or attacked</span>')
    expectIn(row(page, 'paper'), '<small>held out</small>')
    expectIn(row(page, 'low'), '<small>attacked</small>')
  })

  test('the matrix has a cell for every pair, and frames what was attacked', () => {
    const table = report.match(/<table role="table" class="matrix">.*?<\/table>/s)![0]
    expect(table.split('<td')).toHaveLength(1 + 4 * 4)
    expect(table.split('white-box')).toHaveLength(1 + 5)
    expect(table).toContain(`<b>${percent(evaluation.matrix!.rank1[1][2])}</b>`)
  })

  test('no figure is missing or broken', () => {
    expectNone(text(report), /NaN|undefined|Infinity|null|\[object/)
    expectNone(report.replace(/base64,[^"]*/g, ''), /NaN|undefined|Infinity/)
  })

  test('asks for nothing: no address but of itself and of data, no script', () => {
    const addresses = [...report.matchAll(/\b(?:src|href|srcset|action|poster|data|xlink:href)="([^"]*)"/g)].map(
      ([, value]) => value,
    )
    expect(addresses.length).toBeGreaterThan(20)
    for (const address of addresses) expect(address).toMatch(/^(?:#|data:)/)
    expectNone(report, /https?:|url\(|@import|<script|<iframe|<object|<base|\son\w+=/i)
    expectIn(report, `content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"`)
  })

  test('pictures that are no data of images are left out', () => {
    const bad = [
      'https://example.org/a.png',
      'data:image/svg+xml;base64,PHN2Zz4=',
      'data:image/png;base64,AA==" onerror="x',
    ]
    const [before, after, difference] = bad
    const page = renderReport(
      withPresets(() => ({ pictures: [{ person: 'A', before, after, difference, amplified: 8 }] })),
    )
    expect(page.includes('<img')).toBe(false)
    expect(page.includes('example.org')).toBe(false)
    expect(page.split('left out</p>')).toHaveLength(1 + 3 * 4)
  })

  test('hostile names change no tag, and are shown', () => {
    const page = renderReport(hostileEvaluation())
    expect(tags(page)).toEqual(tags(report))
    expectNone(page, /<script|<img src=x/i)
    expectIn(page, '&lt;script&gt;alert(1)&lt;/script&gt;')
    expectIn(page, '&quot; onmouseover=&quot;alert(2)')
    // Right-to-left override and a control character.
    expectNone(page, /(?!\n)[\p{Cc}\p{Bidi_Control}]/u)
  })

  test('escapes what markup, attributes and the order of text hang on', () => {
    expect(escapeText(`<a b="c" d='e'>&amp;`)).toBe('&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;amp;')
    expect(escapeText('a\u202eb\u0000c\ud800d\te😀é')).toBe('a\ufffdb\ufffdc\ufffdd\te😀é')
    expect(html`<i>${['<', html`<b>${'>'}</b>`, 1, null, undefined, false]}</i>`.text).toBe('<i>&lt;<b>&gt;</b>1</i>')
  })

  describe('leaves out what was not measured', () => {
    test('held-out LPIPS: no trade-off, no column', () => {
      const page = renderReport(withPresets(() => ({ lpipsHeldOut: null })))
      expect(headings(page)).not.toContain('Protection against visible change')
      expect(page.includes('data-label="LPIPS held out"')).toBe(false)
      expectIn(page, 'LPIPS in the loop, which is no judge of itself')
    })

    test('held-out LPIPS of one preset only: the others have a dash and no mark', () => {
      const { paper, low } = evaluation.presets
      const page = renderReport({ ...evaluation, presets: { paper, low: { ...low, lpipsHeldOut: null } } })
      expectIn(row(page, 'low'), 'data-label="LPIPS held out">–</td>')
      expect(page).toMatch(/against held-out LPIPS: paper [\d.]+% at LPIPS [\d.]+\."/)
    })

    test('matrix, handlings, sizes, pictures, photos', () => {
      const bare = withVictims(() => ({ handlings: {} }))
      const presets = Object.entries(bare.presets).map(([name, preset]) => [
        name,
        { ...preset, scales: { 1: preset.scales[1] }, pictures: [], details: [] },
      ])
      const page = renderReport({ ...bare, matrix: null, presets: Object.fromEntries(presets) })
      const left = new Set(headings(page))
      for (const part of ['Pictures', 'Robustness', 'Size', 'Every attacker against every recogniser'])
        expect(left).not.toContain(part)
      for (const part of ['All figures', 'Rank curves', 'Similarity']) expect(left).toContain(part)
      expect(page.includes('<details')).toBe(false)
      expect(page.includes('Outside the face regions')).toBe(false)
    })

    test('no held-out recogniser, and no recogniser at all', () => {
      const attacked = renderReport(withVictims(() => ({ heldOut: false })))
      expectIn(attacked, 'Only attacked recognisers, mean')
      expect(headings(attacked)).not.toContain('Protection against visible change')
      const nobody = renderReport({ ...withPresets(() => ({ victims: {} })), victims: [] })
      expectIn(nobody, 'No recogniser was asked')
      expect(headings(nobody)).not.toContain('Rank curves')
      expectNone(text(nobody), /NaN|undefined/)
    })

    test('nothing: no preset', () => {
      const page = renderReport({ ...evaluation, presets: {}, matrix: null, withoutFace: 0 })
      expect(headings(page)).toEqual(['Results'])
      expectIn(page, 'No preset was evaluated.')
      expect(page.includes('left out, no face')).toBe(false)
    })

    test('figures that JSON could not hold are dashes', () => {
      const broken: Evaluation = JSON.parse(
        JSON.stringify(
          withPresets(() => ({ psnr: Number.NaN, ssim: Number.NaN, secondsPerPhoto: Number.POSITIVE_INFINITY })),
        ),
      )
      const page = renderReport(broken)
      for (const name of ['SSIM', 'PSNR', 'Per photo']) expectIn(row(page, 'paper'), `data-label="${name}">–</td>`)
    })

    test('probes and pairs: dashes, not zeros', () => {
      const none = { rank1: 0, rank5: 0, rank50: 0, meanRank: 0, probes: 0, curve: new Array<number>(9).fill(0) }
      const pairs = {
        pairs: 0,
        meanCosine: 0,
        accepted: 0,
        acceptedStrict: 0,
        histogram: new Array<number>(80).fill(0),
      }
      const page = renderReport(withVictims(() => ({ bothProtected: { identification: none, verification: pairs } })))
      expectIn(page, 'data-label="Rank-1, both"><b>–</b></td>')
      expectIn(page, 'data-label="Pairs accepted, both"><b>–</b></td>')
      expectIn(page, 'no pairs</text>')
      expectNone(text(page), /NaN|undefined/)
    })
  })

  test('side effects are told: pixels changed elsewhere, faces not found again', () => {
    expect(report).toContain(
      'Outside the face regions pixels changed in 24 of 24 photos. In 6 the detector does not find the face any more',
    )
    expectIn(report, 'Outside the face regions not one pixel changed, in 24 photos.</p>')
  })
})
