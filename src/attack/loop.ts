/** The ascent: a compiled objective, stepped without reading anything back. */
import type { Gpu } from '../device/gpu.ts'
import type { Affine } from '../faces/alignment.ts'
import { compile, graph, type Plan, PlanMemoryError } from '../graph/index.ts'
import type { Recogniser } from '../models/recognisers.ts'
import { matrixInput, type ObjectiveShape, type Perceptual, recordObjective, type Surrogate } from './objective.ts'
import type { Preset } from './presets.ts'

/** The photo's part of an attack. Planes are [3,height,width] in 0..1. */
export interface AttackImages {
  clean: Float32Array
  base: Float32Array
  /** [height,width] in 0..1; only where the attack was compiled with a mask. */
  mask?: Float32Array
  /** For each alignment in use, one sampling matrix a face (crop to area, see affineWarp). */
  matrices: ReadonlyMap<Recogniser['alignment'], readonly Affine[]>
}

/** The objective's value before a step. */
export interface ObjectiveValue {
  total: number
  feature: number
  lpips: number
}

export interface RunOptions {
  steps: number
  /** First change, [3,height,width] or [height,width] for grey; the published one is uniform noise. */
  start: Float32Array
  /** Called after some of the steps, with how many are done. */
  onProgress?: (step: number) => void
  /** Ends the run between steps with the signal's reason. */
  signal?: AbortSignal
}

/** Time between waits for the GPU: long enough to keep it busy, short enough for progress and interruption. */
const PROGRESS_MS = 100

/** The result holds numbers that no photo can have; nothing may be written from it. */
export class AttackError extends Error {
  override name = 'AttackError'
}

export class Attack implements Disposable {
  readonly shape: ObjectiveShape
  readonly plan: Plan
  private readonly masked: boolean

  private constructor(shape: ObjectiveShape, plan: Plan, masked: boolean) {
    this.shape = shape
    this.plan = plan
    this.masked = masked
  }

  /**
   * Records and compiles the objective for areas of one size and number of faces. Surrogates of one architecture are stacked, unless
   * that takes larger buffers than the device has.
   */
  static async compile(
    gpu: Gpu,
    shape: ObjectiveShape,
    surrogates: readonly Surrogate[],
    perceptual: Perceptual,
    preset: Pick<Preset, 'stepSize' | 'lpipsWeight' | 'blur'>,
    masked: boolean,
  ): Promise<Attack> {
    const planOf = (stacked: boolean): Promise<Plan> => {
      const recorded = recordObjective(graph(), shape, surrogates, perceptual, preset, masked, stacked)
      const { total, feature, lpips, gradient, delta, nextDelta } = recorded
      return compile(gpu, { total, feature, lpips, gradient }, { updates: [[delta, nextDelta]] })
    }
    const plan = await planOf(true).catch((error: unknown) => {
      if (error instanceof PlanMemoryError) return planOf(false)
      throw error
    })
    return new Attack(shape, plan, masked)
  }

  /**
   * Sets the photo and computes what stays the same in every step: clean features and LPIPS' taps of the clean photo.
   * Throws RangeError where the mask is missing, ShapeError for data of another size and for an alignment that nothing here uses.
   */
  load({ clean, base, mask, matrices }: AttackImages): void {
    this.plan.write('clean', clean)
    this.plan.write('base', base)
    if (this.masked) {
      if (!mask) throw new RangeError('attack: this objective was compiled with a mask, none was given')
      this.plan.write('mask', mask)
    }
    for (const [alignment, faces] of matrices) {
      this.plan.write(matrixInput(alignment), Float32Array.from(faces.flat()))
    }
    this.plan.prepare()
  }

  /**
   * Runs the ascent and gives the change of the last step, of the shape of `start`, before the mask. Nothing is read back in between.
   * Throws the signal's reason when interrupted, AttackError where a number is not finite.
   */
  async run({ steps, start, onProgress, signal }: RunOptions): Promise<Float32Array> {
    const { plan } = this
    plan.write('delta', start)
    let stride = 1
    for (let done = 0; done < steps; ) {
      signal?.throwIfAborted()
      const now = performance.now()
      const until = Math.min(steps, done + stride)
      for (; done < until; done++) plan.run()
      await plan.gpu.wait()
      onProgress?.(done)
      if (performance.now() - now < PROGRESS_MS / 2) stride *= 2
    }
    signal?.throwIfAborted()
    const delta = await plan.read('delta')
    if (!delta.every(Number.isFinite)) {
      throw new AttackError(
        `the attack gave numbers that are not finite on ${plan.gpu.capabilities.description}; nothing was written`,
      )
    }
    return delta
  }

  /** The objective at a change, without keeping a step. */
  async evaluate(delta: Float32Array): Promise<ObjectiveValue> {
    this.plan.write('delta', delta)
    this.plan.run()
    const [total, feature, lpips] = await Promise.all(['total', 'feature', 'lpips'].map((name) => this.plan.read(name)))
    return { total: total[0], feature: feature[0], lpips: lpips[0] }
  }

  [Symbol.dispose](): void {
    this.plan.destroy()
  }
}
