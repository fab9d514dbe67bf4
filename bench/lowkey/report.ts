/** Results as people read them. `--json` and `--save` give the same as they are. */
import type { Capabilities } from '../../src/device/gpu.ts'
import type { Roofs } from '../../src/device/roofs.ts'
import type { ConfigurationReport } from './measure.ts'
import type { PeerStep } from './peers.ts'
import { PHASES } from './photo-run.ts'
import type { PrecisionRow } from './precisions.ts'
import type { Scaling, ScalingRow } from './scaling.ts'
import type { Spread } from './timing.ts'

export interface Report {
  date: string
  node: string
  platform: string
  processor: string
  cores: number
  /** Processes that wanted a core when it began: the machine's load over a minute. */
  load: number
  adapter: Capabilities & { name: string; roofs: Roofs; openSeconds: number }
  quick: boolean
  configurations: ConfigurationReport[]
  precisions?: PrecisionRow[]
  scaling?: Scaling
  /** What was left out, and why. */
  notes: string[]
}

/** Rows of cells as lines with aligned columns; the first column is text, the others numbers. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [head, ...rows]
  const widths = head.map((_, k) => Math.max(...lines.map((line) => line[k].length)))
  return lines.map((line) =>
    `  ${line.map((cell, k) => (k === 0 ? cell.padEnd(widths[k]) : cell.padStart(widths[k]))).join('  ')}`.trimEnd(),
  )
}

/** About three digits, thousandths at most. */
const number = (value: number): string =>
  value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.1 || value === 0 ? 2 : 3)

const spread = ({ median, quartiles: [low, high] }: Spread): string =>
  `${number(median)} (${number(low)} to ${number(high)})`

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`

export function adapterLines({ adapter }: Report): string[] {
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`
  const { roofs } = adapter
  const units = adapter.subgroupMatrix.map(
    ({ M, N, K, componentType, resultComponentType }) => `${M}x${N}x${K} ${componentType}->${resultComponentType}`,
  )
  const subgroups = adapter.subgroups ? `${adapter.subgroupMinSize} to ${adapter.subgroupMaxSize} lanes` : 'no'
  return [
    `Adapter: ${adapter.name}${adapter.software ? ', which is the processor' : ''}; opened in ${number(adapter.openSeconds)} s`,
    `  f16 ${adapter.f16 ? 'yes' : 'no'}, subgroups ${subgroups}, matrix units ${units.join(', ') || 'no'}`,
    `  binding ${mib(adapter.maxBindingBytes)}, buffer ${mib(adapter.maxBufferBytes)}, workgroup ${adapter.maxInvocations} invocations, ${adapter.maxWorkgroupStorage / 1024} KiB`,
    `  roofs, measured: ${number(roofs.gflops)} GFLOP/s f32, ${number(roofs.gbps)} GB/s copied, ${number(roofs.dispatchMicroseconds)} us a dispatch`,
  ]
}

/** Everything about one configuration. */
export function configurationLines(row: ConfigurationReport): string[] {
  const { photo, work, published, shareOfRoofs } = row
  const extrapolated =
    row.stepsTimed < row.steps ? `; ${row.stepsTimed} of ${row.steps} steps made, the others counted as equal` : ''
  const ratio = `${number(published.timesLowkey)}x the 32 s and ${number(published.timesFawkes)}x the 54 s (Fawkes) on an RTX 2080 Ti`
  const honest = published.sameWork ? 'the same work' : 'not the same work: other networks'
  const lines = [
    `${row.name}: ${row.description}`,
    `  ${row.surrogates.join(', ')}; photo ${photo.width}x${photo.height}, worked on at ${work.width}x${work.height}, ${row.faces} face${row.faces === 1 ? '' : 's'}, ${row.steps} steps${extrapolated}`,
    `  ${number(row.secondsPerPhoto)} s a photo (the first ${number(row.secondsFirst)} s, its steps from ${number(row.secondsToFirstStep)} s on): ${ratio}; ${honest}`,
    `  ${spread(row.msPerStepSpread)} ms a step (${number(row.processorMsPerStep)} ms of processor), ${row.dispatchesPerStep} dispatches, ${number(row.gflopPerStep)} GFLOP; ${percent(shareOfRoofs.arithmetic)} of the arithmetic roof, dispatches at least ${percent(shareOfRoofs.dispatch)}`,
    `  memory: ${number(row.planMiB)} MiB in the step's plan, ${number(row.peakMiB)} MiB at most at once`,
    ...table(
      ['seconds', ...PHASES],
      [
        ['first', ...PHASES.map((phase) => number(row.phases[phase].first))],
        ['later', ...PHASES.map((phase) => number(row.phases[phase].later))],
      ],
    ),
  ]
  const { count, seconds, kernels } = row.shaders
  if (count > 0) {
    lines.push(
      `  the driver compiled ${count} shaders in ${number(seconds)} s of one thread, two at a time:`,
      ...table(
        ['kernel', 'shaders', 's'],
        kernels.map((kernel) => [kernel.name, `${kernel.count}`, number(kernel.seconds)]),
      ),
    )
  }
  if (row.operations) {
    const { sumMs, ratio, operations } = row.operations
    const shown = operations.filter(({ share }) => share >= 0.01)
    lines.push(
      `  operations by themselves: ${number(sumMs)} ms in all; the step takes ${ratio.toFixed(2)} of that`,
      ...table(
        ['operation', 'count', 'ms', 'share', 'GFLOP/s'],
        shown.map((o) => [o.op, `${o.count}`, number(o.ms), percent(o.share), number(o.gflops)]),
      ),
    )
  }
  return lines
}

/** The published loop by other engines beside ours. */
export function peerLines(peers: Record<string, PeerStep>): string[] {
  const rows = Object.entries(peers).map(([name, peer]) => [
    name,
    spread(peer.msPerStepSpread),
    spread(peer.ours.msPerStepSpread),
    `${number(peer.msPerStep / peer.ours.msPerStep)}x`,
    peer.cosine === undefined ? '-' : peer.cosine.toFixed(6),
    peer.note ?? '',
  ])
  if (rows.length === 0) return ['  no other engine has a time for the loop']
  return [
    '  the published loop by other engines:',
    ...table(['engine', 'ms a step', 'ours', 'theirs / ours', 'cosine of gradients', ''], rows),
  ]
}

export function precisionLines(rows: readonly PrecisionRow[]): string[] {
  return [
    'precision (the published loop, embedded):',
    ...table(
      ['products', 'storage', 'ms a step', 'plan MiB', 'cosine of gradients', 'objective off by'],
      rows.map((row) => [
        row.products,
        row.storage,
        spread(row.msPerStepSpread),
        number(row.planMiB),
        row.cosine.toFixed(6),
        row.objectiveError.toExponential(1),
      ]),
    ),
  ]
}

export function scalingLines({ faces, photoSize, networks, steps, batch }: Scaling): string[] {
  const rows = (title: string, list: readonly ScalingRow[]) =>
    table(
      [title, 'faces found', 'ms a step', 'dispatches', 'detect s', 's a photo'],
      list.map((row) => [
        row.of,
        `${row.faces}`,
        number(row.msPerStep),
        `${row.dispatchesPerStep}`,
        number(row.detectSeconds),
        number(row.secondsPerPhoto),
      ]),
    )
  return [
    'scaling (embedded):',
    ...rows('faces', faces),
    ...rows('photo', photoSize),
    ...rows('networks', networks),
    ...table(
      ['steps', 's'],
      steps.map((row) => [`${row.steps}`, number(row.seconds)]),
    ),
    ...table(
      ['photos', 's, with compilation', 'photos a minute'],
      batch.map((row) => [`${row.photos}`, number(row.seconds), number(row.photosPerMinute)]),
    ),
  ]
}
