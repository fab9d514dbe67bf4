/** The parts of the documents that say how well photos are protected, from docs/results. */
import type { Handling } from '../../src/evaluate/results.ts'
import { markdownTable, wrapped } from './markers.ts'
import { type Judged, presetsIn, type Results, type Run, Strength, type VictimSummary } from './results.ts'

/** In the order in which strengths are listed; what is in no list comes last. */
export const ORDER = ['low', 'medium', 'auto', 'high', 'paper']

const HANDLINGS: Readonly<Record<Handling, string>> = {
  png: 'as saved',
  jpeg95: 'JPEG 95',
  jpeg85: 'JPEG 85',
  jpeg75: 'JPEG 75',
  'half-size': 'half size and back',
  blur: 'light blur',
  'other-detector': 'another detector',
}

const NOT_MEASURED = 'What this version ships has not been measured yet.'

/** Of a part of one: no more digits than few people carry. */
const percent = (part: number): string => (100 * part).toFixed(part > 0 && part < 0.01 ? 1 : 0)
const cosine = (value: number): string => value.toFixed(3).replace('0.', '.')

/** Marks what is of a recogniser that was attacked. */
const STAR = '\\*'

/** Of the two the one that has it, the one left out before the one attacked; undefined where neither does. */
function starred(
  leftOut: VictimSummary | undefined,
  attacked: VictimSummary | undefined,
  has: (victim: VictimSummary) => boolean,
): { victim: VictimSummary; star: string } | undefined {
  if (leftOut && has(leftOut)) return { victim: leftOut, star: '' }
  return attacked && has(attacked) ? { victim: attacked, star: STAR } : undefined
}

/** "a", "a and b", "a, b and c". */
const listed = (names: readonly string[]): string =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`

/** "19 %" or "19 to 28 %". */
function span(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)].map(percent)
  return least === most ? `${least} %` : `${least} to ${most} %`
}

export class ProtectionParts {
  private readonly results: Results | undefined
  /** The strength that `protect` uses if no other is named. */
  private readonly standard: string

  /** Recognisers that come with the package. */
  private readonly shipped: readonly string[]

  /** @param results of docs/results/shipped.json; undefined where nothing is measured */
  constructor(results: Results | undefined, standard: string, shipped: readonly string[]) {
    this.results = results
    this.standard = standard
    this.shipped = shipped
  }

  private get run(): Run {
    return this.results!.runs[0]
  }

  private get strengths(): Strength[] {
    const place = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length)
    const names = presetsIn(this.results!).toSorted((a, b) => place(a) - place(b))
    return names.map((name) => new Strength(this.results!, name))
  }

  /** Recognisers of the runs, and what each makes of a strength where it was not attacked. */
  private leftOut(strength: Strength): { id: string; victim: VictimSummary }[] {
    return this.run.victims.flatMap(({ id }) => {
      const victim = strength.leftOut(id)
      return victim ? [{ id, victim }] : []
    })
  }

  /**
   * One figure of every recogniser, with slashes: left out where it was; else as it was attacked, with a star.
   * @param has whether a recogniser's results have the figure
   */
  private each(
    strength: Strength,
    figure: (victim: VictimSummary) => string,
    has: (victim: VictimSummary) => boolean = () => true,
  ): string {
    return this.run.victims
      .map(({ id }) => {
        const seen = starred(strength.leftOut(id), strength.attacked(id), has)
        return seen ? `${figure(seen.victim)}${seen.star}` : '-'
      })
      .join(' / ')
  }

  /** The same of the clean photos, which are no strength's. */
  private eachClean(strength: Strength, figure: (judged: Judged) => string): string {
    const seen = this.run.victims.map(({ id }) => strength.leftOut(id) ?? strength.attacked(id))
    return seen.map((victim) => (victim ? figure(victim.clean) : '-')).join(' / ')
  }

  /** Recognisers that no run left out. */
  private alwaysAttacked(strength: Strength): string[] {
    return this.run.victims.map(({ id }) => id).filter((id) => !strength.leftOut(id) && strength.attacked(id))
  }

  private get ids(): string {
    return this.run.victims.map(({ id }) => id).join(' / ')
  }

  readonly parts: Readonly<Record<string, () => string>> = {
    'protection-in-short': () => this.measured(() => wrapped(this.inShort())),
    'protection-table': () => this.measured(() => this.table()),
    'protection-basis': () => this.measured(() => wrapped(this.basis())),
    'protected-pairs': () =>
      this.results ? this.protectedPairs() : 'how many still do has not been measured for this version',
    'results-commands': () => this.measured(() => this.commands()),
    'results-figures': () => this.measured(() => this.figures()),
    'results-attacked': () => this.measured(() => this.attackedTable()),
    'trade-off': () =>
      this.results && this.strengths.filter(({ name }) => ORDER.includes(name)).length > 1
        ? `![visible change of each strength, and the share of people that each recogniser finds](images/trade-off.svg)`
        : 'Strengths beside each other have not been measured for this version.',
    'results-handlings': () => this.measured(() => this.handlings()),
    'results-sizes': () => this.measured(() => this.sizes()),
  }

  private measured(part: () => string): string {
    return this.results ? part() : NOT_MEASURED
  }

  private inShort(): string {
    const strength = new Strength(this.results!, this.standard)
    const judges = this.leftOut(strength)
    const attacked = this.alwaysAttacked(strength)
    const { people, probes } = this.run
    const of = (victims: readonly VictimSummary[], figure: (victim: VictimSummary) => number) =>
      span(victims.map(figure))
    const all = this.run.victims.flatMap(({ id }) => strength.leftOut(id) ?? strength.attacked(id) ?? [])
    const seen = judges.map(({ victim }) => victim)
    const found = of(seen, (victim) => victim.protected.rank1)
    const accepted = of(seen, (victim) => victim.protected.accepted)
    const sentences = [
      `In a test with ${people} people, each recogniser was asked ${probes} times to find a person by another photo.`,
      `Without protection it finds the person in ${of(all, (victim) => victim.clean.rank1)} of the searches.`,
    ]
    if (attacked.length > 0) {
      const victims = attacked.map((id) => strength.attacked(id)!)
      const figure = of(victims, (victim) => victim.protected.rank1)
      sentences.push(
        `At the default strength, the recognisers that were attacked (${listed(attacked)}) still do in ${figure}.`,
      )
    }
    if (judges.length === 1)
      sentences.push(
        `${judges[0].id}, which was not attacked${this.shipped.includes(judges[0].id) ? '' : ' and does not ship'}, does so in ${found}, and takes ` +
          `${accepted} of the protected photos for the person in a clean one.`,
      )
    else if (judges.length > 1)
      sentences.push(
        `Recognisers that were not attacked (${listed(judges.map(({ id }) => id))}${judges.some(({ id }) => strength.attacked(id)) ? ', each left out of the attack when it judged' : ''}) do so in ${found} at ` +
          `the default strength, and take ${accepted} of the protected photos for the person in a clean one.`,
      )
    if (presetsIn(this.results!).includes('paper') && judges.length > 0) {
      const paper = this.leftOut(new Strength(this.results!, 'paper')).map(({ victim }) => victim)
      if (paper.length > 0)
        sentences.push(`LowKey as it was published leaves ${of(paper, (victim) => victim.protected.rank1)}.`)
    }
    return sentences.join(' ')
  }

  private table(): string {
    const offered = this.strengths.filter(({ name }) => ORDER.includes(name))
    const rows = offered.map((strength) => {
      const { main, name } = strength
      const lpips = main.lpipsHeldOut ?? main.lpips
      return [
        name === this.standard ? `**${name}**, the default` : name,
        `${main.psnr.toFixed(1)} dB, ${cosine(lpips)}`,
        `${this.each(strength, (victim) => percent(victim.protected.rank1))} %`,
        `${this.each(strength, (victim) => percent(victim.protected.accepted))} %`,
        `${this.each(strength, (victim) => percent(victim.bothProtected.accepted))} %`,
      ]
    })
    const list = (figure: (judged: Judged) => number) =>
      `${this.eachClean(this.strengths[0], (judged) => percent(figure(judged)))} %`
    return markdownTable(
      [
        '`--strength`',
        'change: PSNR, LPIPS',
        `person found, by ${this.ids}`,
        'accepted: protected with clean',
        'accepted: both protected',
      ],
      [['no protection', '', list(({ rank1 }) => rank1), list(({ accepted }) => accepted), ''], ...rows],
    )
  }

  private basis(): string {
    const { people, probes, distractors, galleryPerPerson, processor, adapter, date, commit } = this.run
    const main = new Strength(this.results!, this.standard).main
    const margin = Math.ceil(100 * 1.96 * Math.sqrt(0.25 / probes))
    const others = (people - 1) * galleryPerPerson + distractors
    return (
      `${people} people, ${main.photos} protected photos, ${probes} clean photos to look for them with, ${others} photos of others. ` +
      `${this.whoJudged()} ` +
      `With ${probes} searches a share may be off by ${margin} points and more. ` +
      `${this.results!.photos}. Measured on ${processor} (${adapter}), ${date}, commit ${commit}.`
    )
  }

  /** Which figures are of recognisers that were attacked, and who does not ship. */
  private whoJudged(): string {
    const strength = new Strength(this.results!, this.standard)
    const attacked = this.alwaysAttacked(strength)
    const leftOut = this.run.victims.map(({ id }) => id).filter((id) => strength.leftOut(id) && strength.attacked(id))
    const others = this.run.victims.map(({ id }) => id).filter((id) => !this.shipped.includes(id))
    return [
      attacked.length > 0 ? `\\*: ${listed(attacked)} ${attacked.length > 1 ? 'were' : 'was'} attacked.` : '',
      leftOut.length > 0
        ? `${listed(leftOut)}: left out of the attack for ${leftOut.length > 1 ? 'their' : 'its'} own figures; the change that is seen is that of the attack on all.`
        : '',
      others.length > 0
        ? `${listed(others)} did not ship, and no run attacked ${others.length > 1 ? 'them' : 'it'}.`
        : '',
    ]
      .filter(Boolean)
      .join(' ')
  }

  private protectedPairs(): string {
    const seen = this.leftOut(new Strength(this.results!, this.standard))
    const accepted = span(seen.map(({ victim }) => victim.bothProtected.accepted))
    return `of ${seen[0].victim.bothProtected.pairs} such pairs ${accepted} did at the default strength`
  }

  private commands(): string {
    const lines = this.results!.runs.map(({ command }) => command)
    return ['```sh', ...new Set(lines), '```'].join('\n')
  }

  /** Everything about each strength, each recogniser left out. */
  private figures(): string {
    const strengths = this.strengths
    const row = (title: string, cell: (strength: Strength) => string) => [title, ...strengths.map(cell)]
    const each = (figure: (victim: VictimSummary) => string) => (strength: Strength) => this.each(strength, figure)
    const clean = (figure: (judged: Judged) => string) => this.eachClean(strengths[0], figure)
    const rate = (kind: 'protected' | 'bothProtected', value: 'rank1' | 'rank50' | 'accepted') =>
      each((victim) => (victim[kind].pairs > 0 ? percent(victim[kind][value]) : '-'))
    const interval = (value: 'rank1' | 'accepted' | 'bothAccepted') =>
      each(({ overPeople }) => {
        const found = overPeople?.[value]
        return found ? `${percent(found.low)} to ${percent(found.high)}` : '-'
      })
    return markdownTable(
      [this.ids, ...strengths.map(({ name }) => (name === this.standard ? `**${name}**` : name))],
      [
        row('photos', ({ main }) => `${main.photos}`),
        row('LPIPS not in the loop (SqueezeNet)', ({ main }) =>
          main.lpipsHeldOut === null ? 'not measured' : main.lpipsHeldOut.toFixed(4),
        ),
        row('LPIPS in the loop (AlexNet)', ({ main }) => main.lpips.toFixed(4)),
        row('SSIM / PSNR', ({ main }) => `${main.ssim.toFixed(3)} / ${main.psnr.toFixed(1)} dB`),
        row('pixels changed outside face regions', ({ main }) => main.changedOutside.toLocaleString('en-US')),
        row('face still found by the detector', ({ main }) => `${main.found} of ${main.photos}`),
        row(`rank-1, % (clean ${clean(({ rank1 }) => percent(rank1))})`, rate('protected', 'rank1')),
        row(`rank-50, % (clean ${clean(({ rank50 }) => percent(rank50))})`, rate('protected', 'rank50')),
        row(
          `mean rank (clean ${clean(({ meanRank }) => meanRank.toFixed(1))})`,
          each((victim) => victim.protected.meanRank.toFixed(1)),
        ),
        row(`c-p accepted, % (clean ${clean(({ accepted }) => percent(accepted))})`, rate('protected', 'accepted')),
        row('p-p accepted, %', rate('bothProtected', 'accepted')),
        ...(strengths.some((strength) => this.leftOut(strength).some(({ victim }) => victim.overPeople))
          ? [
              row('rank-1, %: 95 % interval over people', interval('rank1')),
              row('c-p accepted, %: the same', interval('accepted')),
              row('p-p accepted, %: the same', interval('bothAccepted')),
            ]
          : []),
        row(
          `c-p cosine (clean ${clean(({ meanCosine }) => cosine(meanCosine))})`,
          each((victim) => cosine(victim.protected.meanCosine)),
        ),
        row('seconds a photo, while other work ran', ({ main }) => main.secondsPerPhoto.toFixed(0)),
      ],
    )
  }

  /** The same recognisers where they were attacked. */
  private attackedTable(): string {
    const rows = this.strengths.flatMap((strength) => {
      const seen = this.run.victims.map(({ id }) => strength.attacked(id))
      if (seen.every((victim) => victim === undefined)) return []
      const list = (figure: (victim: VictimSummary) => string) =>
        seen.map((victim) => (victim ? figure(victim) : '-')).join(' / ')
      return [
        [
          strength.name,
          list((victim) => percent(victim.protected.rank1)),
          list((victim) => percent(victim.protected.accepted)),
          list((victim) => percent(victim.bothProtected.accepted)),
          list((victim) => cosine(victim.protected.meanCosine)),
        ],
      ]
    })
    return markdownTable([this.ids, 'rank-1, %', 'c-p accepted, %', 'p-p accepted, %', 'c-p cosine'], rows)
  }

  private handlings(): string {
    const isHandled = ({ handlings }: VictimSummary) => Object.keys(handlings).length > 1
    const measured = this.strengths.flatMap((strength) => {
      const seen = this.run.victims.flatMap(
        ({ id }) => starred(strength.leftOut(id), strength.attacked(id), isHandled)?.victim ?? [],
      )
      return seen.length > 0 ? [{ strength, seen }] : []
    })
    if (measured.length === 0) return 'Not measured for this version.'
    const names = (Object.keys(HANDLINGS) as Handling[]).filter((name) =>
      measured.some(({ seen }) => seen.some(({ handlings }) => name in handlings)),
    )
    const row = (strength: Strength, title: string, figure: (judged: Judged) => string) => [
      `${strength.name}, ${title}`,
      ...names.map((name) =>
        this.each(
          strength,
          ({ handlings }) => figure(handlings[name]!),
          (victim) => isHandled(victim) && name in victim.handlings,
        ),
      ),
    ]
    const rows = measured.flatMap(({ strength }) => [
      row(strength, 'rank-1, %', ({ rank1 }) => percent(rank1)),
      row(strength, 'accepted, %', ({ accepted }) => percent(accepted)),
      row(strength, 'c-p cosine', ({ meanCosine }) => cosine(meanCosine)),
    ])
    return markdownTable([this.ids, ...names.map((name) => HANDLINGS[name])], rows)
  }

  private sizes(): string {
    const rows = this.strengths.flatMap((strength) => {
      const sizes = this.run.victims.map(({ id }) => strength.sizes(id))
      const scales = [...new Set(sizes.flatMap((seen) => Object.keys(seen?.by ?? {})))]
      if (scales.length < 2) return []
      return scales.map((scale) => {
        const each = (figure: (seen: { rank1: number; meanCosine: number }) => string) =>
          sizes
            .map((seen) => (seen?.by[scale] ? `${figure(seen.by[scale])}${seen.heldOut ? '' : STAR}` : '-'))
            .join(' / ')
        return [
          `${strength.name}, ${scale}x`,
          each(({ rank1 }) => percent(rank1)),
          each(({ meanCosine }) => cosine(meanCosine)),
        ]
      })
    })
    return rows.length === 0
      ? 'Not measured for this version.'
      : markdownTable([this.ids, 'rank-1, %', 'c-p cosine'], rows)
  }

  /** What `protect --help` says of each strength that was measured. */
  summaries(): Record<string, string> {
    if (!this.results) return {}
    const entries = this.strengths.map((strength): [string, string] => {
      const judges = this.leftOut(strength).map(({ victim }) => victim.protected.rank1)
      if (judges.length === 0) return [strength.name, `PSNR ${strength.main.psnr.toFixed(0)} dB`]
      const who = judges.length === 1 ? 'a recogniser not attacked finds' : 'recognisers not attacked find'
      return [
        strength.name,
        `PSNR ${strength.main.psnr.toFixed(0)} dB; ${who} the person in ${span(judges)} of searches`,
      ]
    })
    return Object.fromEntries(entries.filter(([name]) => ORDER.includes(name)))
  }
}
