/** A configuration, measured: its phases, its step, its memory, and how far it is from what the adapter can do. */
import type { Gpu } from '../../src/device/gpu.ts'
import { measureRoofs, type Roofs } from '../../src/device/roofs.ts'
import type { Plan } from '../../src/graph/index.ts'
import type { Configuration } from './configurations.ts'
import type { MemoryWatch } from './memory.ts'
import { type OperationSum, operationsOf } from './operations.ts'
import type { PeerStep } from './peers.ts'
import { PHASES, type PhaseSeconds, PhotoRunner } from './photo-run.ts'
import { type ShaderSum, shadersOf } from './shaders.ts'
import { type Spread, spreadOf, timed } from './timing.ts'

export interface Budget {
  /** Steps that are really made of those that the preset has; the rest is extrapolated. */
  steps: number
  /** Photos after the first one. */
  photos: number
  /** Measurements of the step, and how long each lasts at least; a single step where that is 0. */
  samples: number
  sampleMs: number
}

/** What LowKey's authors report for a photo, and for Fawkes (Cherepanova et al. 2021, section 4.4), on one GeForce RTX 2080 Ti. */
export const PUBLISHED = { lowkey: 32, fawkes: 54 } as const

/** A photo beside the published times. */
export interface AgainstPublished {
  /** How many times as fast as the 32 s and the 54 s; of another machine, and of other networks where `sameWork` is false. */
  timesLowkey: number
  timesFawkes: number
  sameWork: boolean
}

export interface ConfigurationReport {
  name: string
  description: string
  photo: { width: number; height: number }
  /** Pixels of the area that steps work on. */
  work: { width: number; height: number }
  faces: number
  surrogates: string[]
  steps: number
  /** Steps that were made; fewer than `steps` mean that the seconds of the phase were extrapolated from them. */
  stepsTimed: number
  /** From decoded pixels to the file, networks loaded and compiled; median over photos. */
  secondsPerPhoto: number
  /** The first photo, with loading and compilation. */
  secondsFirst: number
  /** Until its first step could begin, the device being open. */
  secondsToFirstStep: number
  msPerStep: number
  msPerStepSpread: Spread
  /** Of all cores, the driver's threads among them; median. Other work on the machine changes it little. */
  processorMsPerStep: number
  dispatchesPerStep: number
  gflopPerStep: number
  /** What the plan of the step holds. */
  planMiB: number
  /** All buffers of the device at once, at most, while the configuration was measured; compilation included. */
  peakMiB: number
  shareOfRoofs: {
    /** Arithmetic by the operations' definitions; Winograd needs less, so that this can be above 1. */
    arithmetic: number
    /** Dispatches times what one costs at least. */
    dispatch: number
  }
  phases: Record<keyof PhaseSeconds, { first: number; later: number }>
  /** Shaders that the driver compiled when they were first to run; none where it found them in its cache or compiles earlier. */
  shaders: ShaderSum
  published: AgainstPublished
  operations?: OperationSum
  peers: Record<string, PeerStep>
}

/** Milliseconds of a step, of the clock and of the processor, in samples of several steps each. */
export async function timeSteps(
  gpu: Gpu,
  plan: Plan,
  { samples, sampleMs }: Budget,
): Promise<{ clock: Spread; processor: Spread }> {
  const run = async (steps: number) => {
    const used = process.cpuUsage()
    const start = performance.now()
    for (let i = 0; i < steps; i++) plan.run()
    await gpu.wait()
    const clock = (performance.now() - start) / steps
    const { user, system } = process.cpuUsage(used)
    return { clock, processor: (user + system) / 1000 / steps }
  }
  await run(1) // for caches and clocks
  const steps = sampleMs > 0 ? Math.max(1, Math.ceil(sampleMs / (await run(1)).clock)) : 1
  const times: { clock: number; processor: number }[] = []
  while (times.length < samples) times.push(await run(steps))
  return { clock: spreadOf(times.map((t) => t.clock)), processor: spreadOf(times.map((t) => t.processor)) }
}

export async function measureConfiguration(
  gpu: Gpu,
  configuration: Configuration,
  budget: Budget,
  memory: MemoryWatch,
): Promise<ConfigurationReport> {
  memory.peakMiB()
  const { preset } = configuration
  const shaders = shadersOf(gpu)
  const photo = await configuration.photo()
  const { seconds: load, value: networks } = await timed(configuration.networks)
  const { seconds: detector, value: runner } = await timed(() => PhotoRunner.create(gpu, networks, preset))
  using used = runner
  const stepsTimed = Math.min(preset.steps, budget.steps)
  const first = await used.run(photo, stepsTimed)
  first.seconds.load = load
  first.seconds.compile += detector
  const later: PhaseSeconds[] = []
  while (later.length < budget.photos) later.push((await used.run(photo, stepsTimed)).seconds)
  const { plan } = used.attack
  const { clock: spread, processor } = await timeSteps(gpu, plan, budget)
  // The first steps of a run may wait for what a driver compiles late: the steps that were not made are taken to be ordinary ones.
  const untimed = ((preset.steps - stepsTimed) * spread.median) / 1000
  const whole = (seconds: PhaseSeconds): PhaseSeconds => ({ ...seconds, steps: seconds.steps + untimed })
  const median = (of: (seconds: PhaseSeconds) => number) => spreadOf(later.map((each) => of(whole(each)))).median
  const total = (seconds: PhaseSeconds) => PHASES.reduce((sum, phase) => sum + seconds[phase], 0)
  const secondsPerPhoto = median(total)
  const { dispatches, gflop, mib } = plan.summary()
  const roofs = await measureRoofs(gpu)
  return {
    name: configuration.name,
    description: configuration.description,
    photo: { width: photo.width, height: photo.height },
    work: first.work,
    faces: first.faces,
    surrogates: networks.surrogates.map(({ network }) => network.id),
    steps: preset.steps,
    stepsTimed,
    secondsPerPhoto,
    secondsFirst: total(whole(first.seconds)),
    secondsToFirstStep: total({ ...first.seconds, steps: 0, measure: 0, save: 0 }),
    msPerStep: spread.median,
    msPerStepSpread: spread,
    processorMsPerStep: processor.median,
    dispatchesPerStep: dispatches.step,
    gflopPerStep: gflop,
    planMiB: mib,
    peakMiB: memory.peakMiB(),
    shareOfRoofs: sharesOf(roofs, spread.median, gflop, dispatches.step),
    phases: Object.fromEntries(
      PHASES.map((phase) => [phase, { first: whole(first.seconds)[phase], later: median((s) => s[phase]) }]),
    ) as ConfigurationReport['phases'],
    published: {
      timesLowkey: PUBLISHED.lowkey / secondsPerPhoto,
      timesFawkes: PUBLISHED.fawkes / secondsPerPhoto,
      sameWork: configuration.published,
    },
    shaders: shaders.sum(),
    operations: await operationsOf(plan, spread.median, Math.ceil(budget.samples / 2)),
    peers: {},
  }
}

const sharesOf = (
  roofs: Roofs,
  ms: number,
  gflop: number,
  dispatches: number,
): ConfigurationReport['shareOfRoofs'] => ({
  arithmetic: gflop / (ms / 1000) / roofs.gflops,
  dispatch: (dispatches * roofs.dispatchMicroseconds) / (ms * 1000),
})
