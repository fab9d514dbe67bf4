/** The parts of the documents that say how long things take, from bench/results. */

import type { StepCounts } from '../../bench/counts-form.ts'
import type { DemoTimes } from '../../bench/demo-times.ts'
import type { Report } from '../../bench/lowkey/report.ts'
import { markdownTable, wrapped } from './markers.ts'

type Row = Report['configurations'][number]

const number = (value: number): string => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)
const percent = (share: number): string => `${Math.round(100 * share)} %`

/** Reports by the names of their files, in order; the demo's times, if they were measured. */
export function performanceParts(
  reports: Readonly<Record<string, Report>>,
  demo: DemoTimes | undefined,
  counts: StepCounts,
): Record<string, () => string> {
  return {
    'demo-time': () =>
      demo ? wrapped(demoSentence(demo)) : 'How long it takes has not been measured for this version.',
    'demo-times': () => (demo ? demoTable(demo) : 'Not measured for this version.'),
    'step-counts': () => countsTable(counts),
    'bench-reports': () =>
      Object.entries(reports)
        .map(([file, report]) => section(file, report))
        .join('\n\n'),
  }
}

/** Of a whole command, for README. */
function demoSentence({ runs, processor }: DemoTimes): string {
  const seconds = (driver: string, cache: string) =>
    runs.find((run) => run.driver === driver && run.cache === cache)?.seconds.toFixed(0)
  const said = [
    [
      seconds('lavapipe', 'warm'),
      "with Mesa's lavapipe, a software driver (`npx lowkey-gpu doctor` says how to install it)",
    ],
    [seconds('lavapipe', 'cold'), 'with lavapipe the first time, when the driver compiles its shaders'],
    [
      seconds('swiftshader', 'cold') ?? seconds('swiftshader', 'warm'),
      'with SwiftShader, which comes with `npm ci` and is used where there is no driver',
    ],
  ].filter(([time]) => time !== undefined)
  return `On two cores (${processor}) the demo took ${said.map(([time, how]) => `${time} s ${how}`).join('; ')}.`
}

function demoTable({ runs }: DemoTimes): string {
  return markdownTable(
    ['driver', 'caches', 'seconds', 'seconds of processor', 'runs', 'date', 'commit'],
    runs.map(({ driver, cache, seconds, processorSeconds, runs: count, date, commit }) => [
      driver,
      cache === 'cold' ? 'empty' : 'filled',
      number(seconds),
      number(processorSeconds),
      `${count}`,
      date,
      commit,
    ]),
  )
}

function countsTable({ rows }: StepCounts): string {
  return markdownTable(
    ['step', 'area', 'kernels for a', 'GFLOP', 'dispatches', 'MiB, while it compiles'],
    rows.map((row) => [
      row.name,
      `${row.width}x${row.height}`,
      row.target,
      number(row.gflop),
      `${row.dispatches}`,
      `${number(row.mib)}, ${number(row.mibWhileCompiling)}`,
    ]),
  )
}

function section(file: string, report: Report): string {
  const { adapter, configurations, cores, load } = report
  // Other work had the cores as well: the clock then says little of the program.
  const quiet = load <= cores
  const { gflops, gbps, dispatchMicroseconds } = adapter.roofs
  const intro =
    `Measured on ${report.date.slice(0, 10)} on ${adapter.name}, ${report.processor} with ${cores} cores; all numbers are in ` +
    `[${file}](../bench/results/${file}). ` +
    (quiet
      ? `Roofs then: ${number(gflops)} GFLOP/s f32, ${number(gbps)} GB/s copied, ${number(dispatchMicroseconds)} us a dispatch.`
      : `The machine did other work, at a load of ${number(load)}: times of the clock, roofs and single operations are in the file alone.`)
  return [
    `### ${adapter.driver}, ${report.quick ? 'quick' : 'full'} run`,
    wrapped(intro),
    ...configurations.map(quiet ? configuration : (row) => wrapped(withoutClock(row))),
  ].join('\n\n')
}

/** What other work on the machine changes little or not at all. */
const withoutClock = (row: Row): string =>
  `\`${row.name}\`, attacking ${row.surrogates.join(', ')}, a photo of ${row.photo.width}x${row.photo.height} worked on at ` +
  `${row.work.width}x${row.work.height}: a step takes **${number(row.processorMsPerStep)} ms of processor**, ${row.dispatchesPerStep} dispatches, ` +
  `${number(row.gflopPerStep)} GFLOP. Memory: ${number(row.planMiB)} MiB in the plan, ${number(row.peakMiB)} MiB at most at once.`

function configuration(row: Row): string {
  const equal = row.stepsTimed < row.steps ? ` (${row.stepsTimed} were made, the others counted as equal)` : ''
  const text =
    `\`${row.name}\`, attacking ${row.surrogates.join(', ')}, a photo of ${row.photo.width}x${row.photo.height}, ${row.steps} steps${equal}: ` +
    `**${number(row.secondsPerPhoto)} s a photo**, the first ${number(row.secondsFirst)} s. The first step begins ` +
    `${number(row.secondsToFirstStep)} s after the start. A step takes ${number(row.msPerStep)} ms ` +
    `(${row.msPerStepSpread.quartiles.map(number).join(' to ')}), ${number(row.processorMsPerStep)} ms of processor, ${row.dispatchesPerStep} dispatches, ${number(row.gflopPerStep)} GFLOP: ` +
    `${percent(row.shareOfRoofs.arithmetic)} of the arithmetic roof. Memory: ${number(row.planMiB)} MiB in the plan, ${number(row.peakMiB)} MiB at most at once.`
  // Those that there were when it was measured.
  const phases = Object.entries(row.phases)
  const parts = [
    wrapped(text),
    markdownTable(
      ['seconds', ...phases.map(([phase]) => phase)],
      [
        ['first', ...phases.map(([, { first }]) => number(first))],
        ['later', ...phases.map(([, { later }]) => number(later))],
      ],
    ),
  ]
  if (row.operations) {
    const { sumMs, ratio, operations } = row.operations
    const main = operations.filter(({ share }) => share >= 0.02)
    const named = main.map(({ op, share, gflops }) => `\`${op}\` ${percent(share)} (${number(gflops)} GFLOP/s)`)
    parts.push(
      wrapped(
        `The operations by themselves take ${number(sumMs)} ms; the step takes ${number(ratio)} of that. Of it: ${named.join(', ')}; all else below 2 % each.`,
      ),
    )
  }
  const peers = Object.entries(row.peers ?? {})
  if (peers.length > 0)
    parts.push(
      'The published loop on the same networks and photo, ours and the peer in turn:',
      markdownTable(
        ['engine', 'ms a step', 'ours then', 'theirs / ours', 'cosine of the gradients'],
        peers.map(([name, peer]) => [
          name,
          number(peer.msPerStep),
          number(peer.ours.msPerStep),
          number(peer.msPerStep / peer.ours.msPerStep),
          peer.cosine?.toFixed(6) ?? '-',
        ]),
      ),
    )
  return parts.join('\n\n')
}
