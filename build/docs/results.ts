/**
 * Measurements as they are committed: docs/results/NAME.json, what the tables of the documents are made of. `node build/results.ts` makes
 * such a file of what `lowkey-gpu evaluate` writes. Without names of people, files and folders.
 */
import type { RateInterval } from '../../src/evaluate/bootstrap.ts'
import type {
  Evaluation,
  Handling,
  Identification,
  PresetResult,
  Verification,
  VictimFacts,
  VictimResult,
} from '../../src/evaluate/results.ts'

/** Pairs and probes of one kind as one recogniser sees them. Rates are parts of one. */
export interface Judged {
  rank1: number
  rank50: number
  meanRank: number
  probes: number
  meanCosine: number
  /** At the threshold that one in a thousand pairs of different people reaches. */
  accepted: number
  pairs: number
}

export interface VictimSummary {
  heldOut: boolean
  /** Clean probes in the clean gallery; in the protected one; protected photos among each other. */
  clean: Judged
  protected: Judged
  bothProtected: Judged
  handlings: Partial<Record<Handling, Judged>>
  /** 95 % intervals over people (bootstrap): rank-1, clean-protected and protected-protected pairs accepted. */
  overPeople?: VictimResult['overPeople']
}

/** Fields of a result that are numbers of all photos, in the order of the committed files. */
const FIGURES = ['lpips', 'lpipsHeldOut', 'ssim', 'psnr', 'secondsPerPhoto'] as const

export interface PresetSummary
  extends Pick<PresetResult, 'surrogates' | 'people' | 'photos' | (typeof FIGURES)[number]> {
  /** Pixels outside of face regions, over all photos. */
  changedOutside: number
  /** Photos in which the detector still finds the face. */
  found: number
  victims: Readonly<Record<string, VictimSummary>>
  scales: PresetResult['scales']
}

/** One run of `evaluate`. */
export interface Run {
  date: string
  /** PEOPLE and OTHERS in the place of folders. */
  command: string
  adapter: string
  processor: string
  commit: string
  programVersion: string
  people: number
  galleryPerPerson: number
  probes: number
  distractors: number
  withoutFace: number
  victims: readonly VictimFacts[]
  presets: Readonly<Record<string, PresetSummary>>
}

/**
 * Runs on the same people, which are read together. A recogniser's figure as "left out" comes from a run in whose preset it is held out,
 * its figure as "attacked", and what is seen, from a run in which it is attacked; where several are, from the one with the most
 * surrogates. So to leave each of three recognisers out in turn are three runs, each with one `--hold-out`, and a fourth attacks all.
 */
export interface Results {
  format: 'lowkey-gpu results'
  version: 1
  /** What photos these are. */
  photos: string
  runs: readonly Run[]
}

/** Not more digits than few people carry. */
const rounded = (value: number): number => Number(value.toFixed(4))

const judged = (parts: { identification: Identification; verification: Verification }): Judged => ({
  rank1: rounded(parts.identification.rank1),
  rank50: rounded(parts.identification.rank50),
  meanRank: rounded(parts.identification.meanRank),
  probes: parts.identification.probes,
  meanCosine: rounded(parts.verification.meanCosine),
  accepted: rounded(parts.verification.acceptedStrict),
  pairs: parts.verification.pairs,
})

const intervalOf = (interval: RateInterval | null): RateInterval | null =>
  interval && { low: rounded(interval.low), high: rounded(interval.high) }

const victimSummary = (victim: VictimResult): VictimSummary => ({
  heldOut: victim.heldOut,
  clean: judged(victim.clean),
  protected: judged(victim.protected),
  bothProtected: judged(victim.bothProtected),
  handlings: mapped(victim.handlings as Record<string, VictimResult['clean']>, judged),
  ...(victim.overPeople && { overPeople: mapped(victim.overPeople, intervalOf) as VictimSummary['overPeople'] }),
})

function presetSummary(preset: PresetResult): PresetSummary {
  const asTaken = preset.details.filter(({ scale }) => scale === 1)
  return {
    surrogates: preset.surrogates,
    people: preset.people,
    photos: preset.photos,
    ...(Object.fromEntries(
      FIGURES.map((figure) => [figure, preset[figure] === null ? null : rounded(preset[figure])]),
    ) as Pick<PresetResult, (typeof FIGURES)[number]>),
    changedOutside: asTaken.reduce((sum, photo) => sum + photo.changedOutside, 0),
    found: asTaken.filter((photo) => photo.found !== false).length,
    victims: mapped(preset.victims, victimSummary),
    scales: mapped(preset.scales, (victims) =>
      mapped(victims, ({ rank1, meanCosine }) => ({ rank1: rounded(rank1), meanCosine: rounded(meanCosine) })),
    ),
  }
}

const mapped = <A, B>(values: Readonly<Record<string, A>>, each: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, each(value)]))

/** What `readOptions` of `evaluate` takes: `keep`s its value in the committed command, hides a folder, or is left out with its value. */
const OPTIONS: Readonly<Record<string, 'keep' | 'alone' | 'drop' | string>> = {
  '--people': 'keep',
  '--gallery-per-person': 'keep',
  '--distractors': 'OTHERS',
  '--preset': 'keep',
  '-p': 'keep',
  '--models': 'keep',
  '--hold-out': 'keep',
  '--victims': 'keep',
  '--matrix': 'alone',
  '--scales': 'keep',
  '--no-robustness': 'alone',
  '--seed': 'keep',
  '--out': 'drop',
  '--gpu': 'drop',
  '--json': 'drop alone',
  '--quiet': 'drop alone',
  '-q': 'drop alone',
}

/** The command line without folders of this machine. Throws RangeError for an option that is not known here. */
export function withoutPaths(command: string): string {
  const [program, name, ...args] = command.split(' ')
  const kept = [program, name]
  let folders = 0
  for (let i = 0; i < args.length; i++) {
    const [option, value] = args[i].startsWith('-') ? args[i].split(/=(.*)/s) : ['']
    if (option === '') {
      if (folders++ === 0) kept.push('PEOPLE')
      continue
    }
    const rule = OPTIONS[option]
    if (rule === undefined) throw new RangeError(`${option}: add to OPTIONS whether its value may be published`)
    if (rule === 'alone') kept.push(option)
    if (rule.endsWith('alone')) continue
    const given = value ?? args[++i]
    if (rule !== 'drop') kept.push(option, rule === 'keep' ? given : rule)
  }
  return kept.join(' ')
}

/**
 * What is committed of evaluations of the same people. Strength `default` is under the name it has in `presets`.
 * @param alias the strength that `default` names
 * @throws RangeError where they are not of the same people and recognisers, or say not what they were measured with
 */
export function resultsOf(evaluations: readonly Evaluation[], photos: string, alias: string): Results {
  const runs = evaluations.map((evaluation): Run => {
    const { date, command, adapter, processor, commit, programVersion } = evaluation
    const { people, galleryPerPerson, probes, distractors, withoutFace, victims } = evaluation
    if (!processor) throw new RangeError('an evaluation does not name the processor: measure again with this version')
    const presets = Object.entries(evaluation.presets).map(([name, preset]) => [
      name === 'default' ? alias : name,
      presetSummary(preset),
    ])
    return {
      date: date.slice(0, 10),
      command: withoutPaths(command),
      adapter,
      processor,
      commit: commit ?? `version ${programVersion}`,
      programVersion,
      ...{ people, galleryPerPerson, probes, distractors, withoutFace },
      victims: victims.map(({ id, threshold, strictThreshold }) => ({
        id,
        threshold: rounded(threshold),
        strictThreshold: rounded(strictThreshold),
      })),
      presets: Object.fromEntries(presets),
    }
  })
  checkTogether(runs)
  return { format: 'lowkey-gpu results', version: 1, photos, runs }
}

function checkTogether(runs: readonly Run[]): void {
  const asked = ({ people, galleryPerPerson, probes, distractors, victims }: Run) =>
    JSON.stringify({ people, galleryPerPerson, probes, distractors, victims })
  const other = runs.findIndex((run) => asked(run) !== asked(runs[0]))
  if (runs.length === 0) throw new RangeError('no evaluation')
  if (other >= 0)
    throw new RangeError(
      `runs 1 and ${other + 1} are not of the same experiment: ${asked(runs[0])}; ${asked(runs[other])}`,
    )
}

/** A preset in all runs that have it. */
export class Strength {
  readonly name: string
  /** The run that attacks the most recognisers: what is seen, and how long it takes, is its. */
  readonly main: PresetSummary
  private readonly all: readonly PresetSummary[]

  /** Throws RangeError where no run has it. */
  constructor(results: Results, name: string) {
    this.name = name
    this.all = results.runs
      .flatMap((run) => run.presets[name] ?? [])
      .toSorted((a, b) => b.surrogates.length - a.surrogates.length)
    if (this.all.length === 0) throw new RangeError(`no run has preset ${name}`)
    this.main = this.all[0]
  }

  /** What a recogniser that was not attacked makes of the photos; undefined where it was attacked in all runs. */
  leftOut(victim: string): VictimSummary | undefined {
    return this.all.map(({ victims }) => victims[victim]).find((each) => each?.heldOut)
  }

  /** By scale, what a recogniser makes of enlarged photos: from a run that left it out, if one has sizes; else from one that attacked it. */
  sizes(
    victim: string,
  ): { heldOut: boolean; by: Readonly<Record<string, { rank1: number; meanCosine: number }>> } | undefined {
    const measured = this.all.filter(({ victims, scales }) => victims[victim] && Object.keys(scales).length > 0)
    const preset = measured.find(({ victims }) => victims[victim].heldOut) ?? measured[0]
    if (!preset) return undefined
    return { heldOut: preset.victims[victim].heldOut, by: mapped(preset.scales, (seen) => seen[victim]) }
  }

  /** What a recogniser that was attacked makes of them; undefined where it was in no run. */
  attacked(victim: string): VictimSummary | undefined {
    return this.all.map(({ victims }) => victims[victim]).find((each) => each && !each.heldOut)
  }
}

/** Names of the presets of all runs, in the order of their first appearance. */
export const presetsIn = (results: Results): string[] => [
  ...new Set(results.runs.flatMap((run) => Object.keys(run.presets))),
]

/** Reads a committed file. Throws RangeError with its name where it is none. */
export function parseResults(text: string, file: string): Results {
  const results = JSON.parse(text) as Results
  if (results.format !== 'lowkey-gpu results' || results.version !== 1)
    throw new RangeError(`${file} is no "lowkey-gpu results" of version 1`)
  checkTogether(results.runs)
  return results
}
