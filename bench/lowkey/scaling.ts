/** How the time grows with faces, photos, steps, networks and pixels. */
import type { Preset } from '../../src/attack/presets.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import type { Configuration, Networks } from './configurations.ts'
import { type Budget, timeSteps } from './measure.ts'
import { PHASES, PhotoRunner } from './photo-run.ts'
import { photoOfFaces, photoOfSize } from './photos.ts'
import { seededRecogniser } from './seeded.ts'
import { timed } from './timing.ts'

/** A row of a table: what grows, and the times. */
export interface ScalingRow {
  of: string
  faces: number
  /** One step of one area. */
  msPerStep: number
  dispatchesPerStep: number
  detectSeconds: number
  /** Everything compiled; steps that were not made are taken to be as long as `msPerStep`. */
  secondsPerPhoto: number
}

/** Photos one after another that share a plan. */
export interface BatchRow {
  photos: number
  /** With compilation, which the first one waits for. */
  seconds: number
  photosPerMinute: number
}

export interface Scaling {
  faces: ScalingRow[]
  photoSize: ScalingRow[]
  networks: ScalingRow[]
  /** Steps of one photo, as they come: seconds for so many. */
  steps: { steps: number; seconds: number }[]
  batch: BatchRow[]
}

const FACES = [1, 2, 4, 8]
const SIZES = [
  [256, 256],
  [512, 512],
  [1024, 1024],
  [1920, 1080],
  [4000, 3000],
] as const
const NETWORKS = [1, 2, 4]
const STEPS = [1, 2, 4, 8]
const PHOTOS = [1, 2, 4]

class Scale {
  private readonly gpu: Gpu
  private readonly preset: Preset
  private readonly budget: Budget

  constructor(gpu: Gpu, preset: Preset, budget: Budget) {
    this.gpu = gpu
    this.preset = preset
    this.budget = budget
  }

  async row(of: string, networks: Networks, photo: Pixels): Promise<ScalingRow> {
    const { preset, budget } = this
    using runner = await PhotoRunner.create(this.gpu, networks, preset)
    const made = Math.min(budget.steps, preset.steps)
    await runner.run(photo, 1) // compiles
    const { seconds, faces } = await runner.run(photo, made)
    const { plan } = runner.attack
    const {
      clock: { median },
    } = await timeSteps(this.gpu, plan, budget)
    const rest = (preset.steps - made) * faces * (median / 1000)
    return {
      of,
      faces,
      msPerStep: median,
      dispatchesPerStep: plan.summary().dispatches.step,
      detectSeconds: seconds.detect,
      secondsPerPhoto: PHASES.reduce((sum, phase) => sum + seconds[phase], rest),
    }
  }

  async steps(networks: Networks, photo: Pixels): Promise<Scaling['steps']> {
    using runner = await PhotoRunner.create(this.gpu, networks, this.preset)
    await runner.run(photo, 1)
    const rows: Scaling['steps'] = []
    for (const steps of STEPS) rows.push({ steps, seconds: (await runner.run(photo, steps)).seconds.steps })
    return rows
  }

  async batch(networks: Networks, photo: Pixels): Promise<BatchRow[]> {
    const rows: BatchRow[] = []
    const made = Math.min(this.budget.steps, this.preset.steps)
    for (const photos of PHOTOS) {
      const { seconds } = await timed(async () => {
        using runner = await PhotoRunner.create(this.gpu, networks, this.preset)
        for (let i = 0; i < photos; i++) await runner.run(photo, made)
      })
      rows.push({ photos, seconds, photosPerMinute: (60 * photos) / seconds })
    }
    return rows
  }
}

/**
 * Measures the tables on a configuration's ensemble and preset. Rows of `batch` make `budget.steps` steps a photo, not the preset's; those of
 * `networks` have drawn weights.
 */
export async function measureScaling(gpu: Gpu, configuration: Configuration, budget: Budget): Promise<Scaling> {
  const networks = await configuration.networks()
  const scale = new Scale(gpu, configuration.preset, budget)
  const faces: ScalingRow[] = []
  for (const count of FACES) faces.push(await scale.row(`${count}`, networks, await photoOfFaces(count)))
  const photoSize: ScalingRow[] = []
  for (const [width, height] of SIZES)
    photoSize.push(await scale.row(`${width}x${height}`, networks, await photoOfSize(width, height)))
  const portrait = await photoOfSize(512, 512)
  const ensembles: ScalingRow[] = []
  for (const count of NETWORKS) {
    const surrogates = Array.from({ length: count }, (_, seed) => seededRecogniser('mobilefacenet', seed))
    ensembles.push(await scale.row(`${count} x mobilefacenet`, { ...networks, surrogates }, portrait))
  }
  return {
    faces,
    photoSize,
    networks: ensembles,
    steps: await scale.steps(networks, portrait),
    batch: await scale.batch(networks, portrait),
  }
}
