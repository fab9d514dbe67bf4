/** The ascent: a compiled objective, stepped without reading anything back. */
import type { Gpu } from '../device/gpu.ts'
import type { Affine } from '../faces/alignment.ts'
import { type CompileOptions, compile, graph, type Plan, PlanMemoryError } from '../graph/index.ts'
import type { Recogniser } from '../models/recognisers.ts'
import { STEP_INPUT } from './ascent.ts'
import { directionOf, fromMean } from './directions.ts'
import type { FaceEmbeddings } from './embedder.ts'
import { drawnView, jitterMatrices, mirroredMatrix } from './jitter.ts'
import {
  apartInput,
  blurredInput,
  directionInput,
  isCentred,
  isDirected,
  matrixInput,
  type ObjectiveParts,
  type ObjectiveShape,
  recordObjective,
  type Surrogate,
  stacksOf,
  viewInput,
} from './objective.ts'
import { takeSteps } from './stepping.ts'

/** The photo's part of an attack. Planes are [3,height,width] in 0..1. */
export interface AttackImages {
  clean: Float32Array
  base: Float32Array
  /** [height,width] in 0..1; only where the attack was compiled with a mask. */
  mask?: Float32Array
  /** For each alignment in use, one sampling matrix a face (crop to area, see affineWarp). */
  matrices: ReadonlyMap<Recogniser['alignment'], readonly Affine[]>
  /** One draw of normal numbers for each face, from which directions follow; only where the preset has directions. */
  draws?: readonly Float32Array[]
  /** For each face the protected ones that it is driven away from, as `setApart` takes them. */
  apartFrom?: readonly (readonly FaceEmbeddings[])[]
}

/** The objective's value before a step. */
export interface ObjectiveValue {
  total: number
  feature: number
  lpips: number
}

export interface RunOptions {
  steps: number
  /** What the size of every step is multiplied by, 1 unless told; only where the preset's steps decay. */
  stepScale?: number
  /** First change, [3,height,width] or [height,width] for grey; the published one is uniform noise. */
  start: Float32Array
  /** Seed of the drawn views. */
  seed?: number
  /** Called after some of the steps, with how many are done. */
  onProgress?: (step: number) => void
  /** Ends the run between steps with the signal's reason. */
  signal?: AbortSignal
}

/** The result holds numbers that no photo can have; nothing may be written from it. */
export class AttackError extends Error {
  override name = 'AttackError'
}

/** Part of the first step that the last one is, where steps get smaller. */
const LAST_STEP = 0.1

export class Attack implements Disposable {
  readonly shape: ObjectiveShape
  readonly plan: Plan
  private readonly parts: ObjectiveParts
  private readonly stacks: readonly (readonly Surrogate[])[]
  private matrices: AttackImages['matrices'] = new Map()
  private running = false

  private constructor(parts: ObjectiveParts, { plan, stacks }: { plan: Plan; stacks: Surrogate[][] }) {
    this.shape = parts.shape
    this.parts = parts
    this.plan = plan
    this.stacks = stacks
  }

  /**
   * Records and compiles the objective for areas of one size and number of faces. Surrogates of one architecture are stacked, unless
   * that takes larger buffers than the device has.
   * @param options as `compile` takes them; loss and change stay f32 in all
   */
  static async compile(
    gpu: Gpu,
    parts: ObjectiveParts,
    options: Pick<CompileOptions, 'products' | 'storage' | 'onProgress'> = {},
  ): Promise<Attack> {
    const compiled = async (stacked: boolean) => {
      const recorded = recordObjective(graph(), parts, { stacked, half: options.storage === 'f16' })
      const { total, feature, lpips, gradient, delta, nextDelta } = recorded
      const outputs = { total, feature, lpips, gradient }
      const plan = await compile(gpu, outputs, { updates: [[delta, nextDelta]], ...options })
      return { plan, stacks: stacksOf(parts.surrogates, stacked) }
    }
    const made = await compiled(true).catch((error: unknown) => {
      if (error instanceof PlanMemoryError) return compiled(false)
      throw error
    })
    return new Attack(parts, made)
  }

  /**
   * Sets the photo and computes what stays the same in every step: clean features and LPIPS' taps of the clean photo.
   * Throws AttackError during a run, RangeError where the mask, draws or what it is driven away from are missing, ShapeError for data of another size and for an alignment that nothing here uses.
   */
  load({ clean, base, mask, matrices, draws, apartFrom }: AttackImages): void {
    this.checkIdle()
    this.plan.write('clean', clean)
    this.plan.write('base', base)
    if (this.parts.masked) {
      if (!mask) throw new RangeError('attack: this objective was compiled with a mask, none was given')
      this.plan.write('mask', mask)
    }
    for (const [alignment, faces] of matrices) {
      this.plan.write(matrixInput(alignment), Float32Array.from(faces.flat()))
    }
    for (const stack of this.stacks) {
      if (!isDirected(stack, this.parts.preset)) continue
      if (draws?.length !== this.shape.faces)
        throw new RangeError('attack: this objective was compiled with directions, and takes one draw for each face')
      const centred = isCentred(stack, this.parts.preset)
      const rows = draws.flatMap((draw) => stack.map(({ population }) => directionOf(population!, draw, centred)))
      this.plan.write(directionInput(stack), joined(rows))
    }
    this.matrices = matrices
    if (this.shape.slots) this.setApart(apartFrom ?? [])
  }

  /**
   * Sets what features are driven away from: for each face protected ones, at most as many as there are slots, by their unit embeddings in
   * every surrogate. Throws AttackError during a run, RangeError for another number of faces and for too many.
   */
  setApart(apartFrom: readonly (readonly FaceEmbeddings[])[]): void {
    this.checkIdle()
    const { faces, slots = 0 } = this.shape
    if (apartFrom.length !== faces || apartFrom.some((earlier) => earlier.length > slots))
      throw new RangeError(`attack: this objective takes at most ${slots} protected faces for each of ${faces}`)
    for (const stack of this.stacks) {
      const centred = isCentred(stack, this.parts.preset)
      const { embedding } = stack[0].network
      const rows = new Float32Array(faces * stack.length * slots * embedding)
      for (const [face, earlier] of apartFrom.entries()) {
        for (const [member, { network, population }] of stack.entries()) {
          for (const [slot, embeddings] of earlier.entries()) {
            const features = embeddings.get(network.id)!
            const at = (face * stack.length + member) * slots + slot
            rows.set(centred ? fromMean(population!, features) : features, at * embedding)
          }
        }
      }
      this.plan.write(apartInput(stack), rows)
    }
  }

  /** Sets what changes are added to, and leaves the rest as it was loaded. Throws as `load`. */
  setBase(base: Float32Array): void {
    this.checkIdle()
    this.plan.write('base', base)
  }

  /**
   * Runs the ascent, one at a time, and gives the change of the last step, of the shape of `start`, before the mask. Nothing is read back in between.
   * Throws the signal's reason when interrupted, AttackError during another run and where a number is not finite.
   */
  async run(options: RunOptions): Promise<Float32Array> {
    this.checkIdle()
    this.running = true
    try {
      return await this.ascend(options)
    } finally {
      this.running = false
    }
  }

  private async ascend({
    steps,
    start,
    stepScale = 1,
    seed = 1,
    onProgress,
    signal,
  }: RunOptions): Promise<Float32Array> {
    if (!(Number.isInteger(steps) && steps >= 0)) throw new RangeError(`attack: steps is a whole number, not ${steps}`)
    const { plan } = this
    plan.write('delta', start)
    const send = (step: number) => {
      this.writeStep(seed, step, steps, stepScale)
      plan.run()
    }
    await takeSteps(plan.gpu, steps, send, { onProgress, signal })
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
    this.checkIdle()
    this.plan.write('delta', delta)
    this.writeAlignedViews()
    this.writeStepSize(this.parts.preset.stepSize)
    this.plan.run()
    const [total, feature, lpips] = await Promise.all(['total', 'feature', 'lpips'].map((name) => this.plan.read(name)))
    return { total: total[0], feature: feature[0], lpips: lpips[0] }
  }

  /** The plan holds one change: two runs at once would give each the other's. */
  private checkIdle(): void {
    if (this.running) throw new AttackError('this attack is running: wait for it, or compile another')
  }

  /** What a step is told: where its crops are, and how far it goes. */
  private writeStep(seed: number, step: number, steps: number, scale: number): void {
    const { stepSize } = this.parts.preset
    this.writeDrawnViews(seed, step)
    const part = steps > 1 ? step / (steps - 1) : 0
    this.writeStepSize(scale * stepSize * (1 - part * (1 - LAST_STEP)))
  }

  private writeStepSize(size: number): void {
    if (this.parts.preset.decay) this.plan.write(STEP_INPUT, new Float32Array([size]))
  }

  /** Another view for each stack of surrogates, the same in all its faces but for the jitter. */
  private writeDrawnViews(seed: number, step: number): void {
    const { drawn } = this.parts.preset
    if (!drawn) return
    for (const [k, stack] of this.stacks.entries()) {
      const { size, alignment } = stack[0].network
      const { blurred, mirrored } = drawnView(seed, step, k)
      const aligned = this.matrices.get(alignment)!
      const faces = mirrored ? aligned.map((face) => mirroredMatrix(face, size)) : aligned
      const draw = step * this.stacks.length + k
      this.writeView(stack, jitterMatrices(faces, drawn, seed, draw, size), blurred)
    }
  }

  private writeAlignedViews(): void {
    if (!this.parts.preset.drawn) return
    for (const stack of this.stacks) this.writeView(stack, this.matrices.get(stack[0].network.alignment)!, false)
  }

  private writeView(stack: readonly Surrogate[], matrices: readonly Affine[], blurred: boolean): void {
    this.plan.write(viewInput(stack), Float32Array.from(matrices.flat()))
    if (this.parts.preset.blur) this.plan.write(blurredInput(stack), Float32Array.of(blurred ? 1 : 0))
  }

  [Symbol.dispose](): void {
    this.plan.destroy()
  }
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((n, row) => n + row.length, 0))
  let at = 0
  for (const row of rows) {
    all.set(row, at)
    at += row.length
  }
  return all
}
