/** Every generated part of the repository's documents and of `--help`, from the measurements and the sources. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StepCounts } from '../../bench/counts-form.ts'
import type { DemoTimes } from '../../bench/demo-times.ts'
import type { Report } from '../../bench/lowkey/report.ts'
import type { ScaleTimes } from '../../bench/scale/times.ts'
import { readOptions } from '../../src/cli/protect/options.ts'
import manifest from '../../weights/manifest.json' with { type: 'json' }
import { apiPages } from './api.ts'
import { type Earlier, earlierResults } from './earlier.ts'
import { type FormatRow, formatsTable, type JpegQualities, jpegQualityTable } from './formats.ts'
import { type LpipsTraining, lpipsCurves, lpipsTable } from './lpips-training.ts'
import { filled } from './markers.ts'
import { performanceParts } from './performance.ts'
import { ProtectionParts } from './protection.ts'
import { commandReference } from './reference.ts'
import { parseResults, presetsIn, type Results } from './results.ts'
import { scaleParts } from './scale.ts'
import { tradeOff } from './trade-off.ts'
import { type TrainingRun, trainingCurves } from './training.ts'
import { wrapMarkdown } from './wrap.ts'

/** The strength that `protect` uses where none is named. */
const STANDARD = readOptions([]).preset.name

const SHIPPED = manifest.networks.filter(({ role }) => role === 'recogniser').map(({ id }) => id)

/** Measurements by the path that they have in the repository. */
export interface Measurements {
  shipped: Results | undefined
  /** The first form of the default, whose further rounds were longer. */
  firstAuto: Results | undefined
  /** The published loop and the default, on fewer people. */
  paper: Results | undefined
  /** The default beside `medium`, which has no further rounds. */
  rounds: Results | undefined
  /** The default on photos as they are and enlarged. */
  sizes: Results | undefined
  earlier: Earlier
  reports: Readonly<Record<string, Report>>
  demo: DemoTimes | undefined
  counts: StepCounts
  formats: readonly FormatRow[]
  jpegQuality: JpegQualities
  scale: ScaleTimes | undefined
  training: readonly TrainingRun[]
  lpipsTraining: LpipsTraining
}

export function readMeasurements(repository: string): Measurements {
  const read = (path: string) => readFileSync(join(repository, path), 'utf8')
  const resultsAt = (path: string) => (existsSync(join(repository, path)) ? parseResults(read(path), path) : undefined)
  const demo = 'bench/results/demo.json'
  const scale = 'bench/results/scale.json'
  const reports = readdirSync(join(repository, 'bench/results')).filter((file) => /^run-.*\.json$/.test(file))
  return {
    shipped: resultsAt('docs/results/shipped.json'),
    firstAuto: resultsAt('docs/results/first-auto.json'),
    paper: resultsAt('docs/results/paper.json'),
    rounds: resultsAt('docs/results/rounds.json'),
    sizes: resultsAt('docs/results/sizes.json'),
    earlier: JSON.parse(read('docs/results/earlier.json')) as Earlier,
    reports: Object.fromEntries(
      reports.toSorted().map((file) => [file, JSON.parse(read(`bench/results/${file}`)) as Report]),
    ),
    demo: existsSync(join(repository, demo)) ? (JSON.parse(read(demo)) as DemoTimes) : undefined,
    counts: JSON.parse(read('bench/results/counts.json')) as StepCounts,
    formats: JSON.parse(read('docs/results/formats.json')) as FormatRow[],
    jpegQuality: JSON.parse(read('bench/results/jpeg-quality.json')) as JpegQualities,
    scale: existsSync(join(repository, scale)) ? (JSON.parse(read(scale)) as ScaleTimes) : undefined,
    training: JSON.parse(read('docs/results/training.json')) as TrainingRun[],
    lpipsTraining: JSON.parse(read('docs/results/lpips-training.json')) as LpipsTraining,
  }
}

/** Documents with generated parts between what is written by hand. */
export function documents(repository: string): string[] {
  const below = (folder: string) =>
    readdirSync(join(repository, folder))
      .filter((file) => file.endsWith('.md'))
      .map((file) => (folder === '.' ? file : `${folder}/${file}`))
  return ['.', 'docs', 'docs/results', 'weights']
    .flatMap(below)
    .filter((file) => file !== 'docs/cli.md')
    .toSorted()
}

const NOT_WRAPPED = ['CHANGELOG.md', 'docs/engine.md', 'docs/architecture.md', 'docs/formats.md', 'docs/decisions.md']

/** The documents by their paths, with their generated parts as the measurements would have them, wrapped. */
export function filledDocuments(repository: string, measurements: Measurements): Record<string, string> {
  const { shipped, firstAuto, paper, rounds, sizes, earlier, reports, demo, counts, formats, jpegQuality, scale } =
    measurements
  /** Of results that stand beside those of what ships: their basis, commands and figures, under a name of their own. */
  const beside = (name: string, results: Results | undefined) => {
    const { parts } = new ProtectionParts(results, STANDARD, SHIPPED)
    return {
      [`${name}-basis`]: parts['protection-basis'],
      [`${name}-commands`]: parts['results-commands'],
      [`${name}-figures`]: parts['results-figures'],
    }
  }
  const parts = {
    ...new ProtectionParts(shipped, STANDARD, SHIPPED).parts,
    ...beside('first-auto', firstAuto),
    ...beside('paper', paper),
    ...beside('rounds', rounds),
    ...beside('sizes', sizes),
    'results-sizes': new ProtectionParts(sizes, STANDARD, SHIPPED).parts['results-sizes'],
    ...performanceParts(reports, demo, counts),
    ...scaleParts(scale),
    'earlier-results': () => earlierResults(earlier),
    'formats-table': () => formatsTable(formats),
    'jpeg-quality': () => jpegQualityTable(jpegQuality),
    'lpips-training': () => lpipsTable(measurements.lpipsTraining),
  }
  const made = (file: string) => {
    const text = filled(readFileSync(join(repository, file), 'utf8'), parts, file)
    return NOT_WRAPPED.includes(file) ? text : wrapMarkdown(text)
  }
  return Object.fromEntries(documents(repository).map((file) => [file, made(file)]))
}

/** What `--help` says of the strengths, as a source file. */
export function strengthsSource({ shipped }: Measurements): string {
  const entries = Object.entries(new ProtectionParts(shipped, STANDARD, SHIPPED).summaries())
  const body = entries.length > 0 ? `{\n${entries.map(([name, text]) => `  ${name}: '${text}',\n`).join('')}}` : '{}'
  return (
    '// Generated by `npm run docs` from docs/results/shipped.json. Do not edit.\n\n' +
    '/** What was measured of each strength, as `protect --help` says it; empty where nothing was. */\n' +
    `export const measuredStrengths: Readonly<Record<string, string>> = ${body}\n`
  )
}

/** Drawings by their paths; no trade-off where strengths were not measured beside each other. */
export function drawings({ shipped, training, lpipsTraining }: Measurements): Record<string, string> {
  return {
    ...(shipped && presetsIn(shipped).length > 1 ? { 'docs/images/trade-off.svg': tradeOff(shipped) } : {}),
    'docs/images/training.svg': trainingCurves(training),
    'docs/images/lpips-training.svg': lpipsCurves(lpipsTraining),
  }
}

/** References made of the sources: docs/cli.md and docs/api. Asks the program and the compiler, a few seconds. */
export function references(repository: string): Record<string, string> {
  const pages = Object.entries(apiPages(repository)).map(([file, text]) => [`docs/api/${file}`, `${text}\n`])
  return { 'docs/cli.md': `${commandReference(repository)}\n`, ...Object.fromEntries(pages) }
}
