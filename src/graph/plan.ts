/** A compiled graph: what it is told, runs and is asked, in the order of the calls. Running it is a flat loop. */
import { BufferUsage, MAP_READ } from '../device/flags.ts'
import type { Gpu } from '../device/gpu.ts'
import { formatShape, ShapeError } from '../kernels/op.ts'
import { type Call, dispatch } from './calls.ts'
import type { Rate } from './graph.ts'
import type { Value } from './lower.ts'
import type { Slot } from './memory.ts'
import { floatsOf, type Numbers } from './numbers.ts'

/** A plan is used after its end. */
export class PlanDestroyedError extends Error {
  override name = 'PlanDestroyedError'
}

/** A plan is asked for something before it was told what that needs: an input that was not written, a result before a run. */
export class PlanOrderError extends Error {
  override name = 'PlanOrderError'
}

/** Arithmetic after which a submission ends, so that no driver's watchdog resets the GPU (about 50 ms at 1 TFLOP/s). */
const FLOP_PER_SUBMIT = 5e10

/** What a plan is made of, as numbers. */
export interface PlanSummary {
  nodes: number
  dispatches: Record<Rate, number>
  /** Bytes of all buffers after compilation. */
  mib: number
  /** Arithmetic of one run. */
  gflop: number
  /** How often which operations are computed in one kernel, by their names joined with `+`. */
  fusions: Readonly<Record<string, number>>
  /** Tensors in memory that are f16. */
  halfTensors: number
}

/** What `compile` gives a plan. */
export interface PlanParts {
  stages: Record<Rate, Call[]>
  named: ReadonlyMap<string, Value>
  /** Names of the outputs. */
  outputs: readonly string[]
  /** Inputs of the graph that nothing here reads. */
  unread: ReadonlySet<string>
  buffer: (value: Value) => GPUBuffer
  buffers: readonly GPUBuffer[]
  updates: (readonly [Value, Value])[]
  poisoned: Slot[]
  poisonBuffer: (slot: Slot) => GPUBuffer
  /** Throws where a kernel wrote past the end of a buffer; for poisoned plans. It submits at once, then waits. */
  checkGuards: (() => Promise<void>) | undefined
  bytes: number
  nodes: number
  fusions: Readonly<Record<string, number>>
  halfTensors: number
}

/** Names that can be read: outputs, and inputs where `compile` was told their names. */
type Readable<In extends string, Out extends string> = Out | (string extends In ? never : In)

/**
 * A compiled graph. What is submitted takes effect in the order of the calls, however their promises overlap: a `run` has the inputs that
 * were written before it was called, and a `read` gives what the runs before it have made.
 */
export class Plan<In extends string = string, Out extends string = string> implements Disposable {
  readonly gpu: Gpu
  /** Bytes of GPU memory that the plan holds. */
  readonly bytes: number
  private readonly parts: PlanParts
  private destroyed = false
  /** Inputs that were never written and have no start. */
  private readonly missing: Set<Value>
  /** A fixed input was written after what depends on it was computed. */
  private stale: boolean
  private hasRun = false

  constructor(gpu: Gpu, parts: PlanParts) {
    this.gpu = gpu
    this.parts = parts
    this.bytes = parts.bytes
    this.stale = parts.stages.fixed.length > 0
    this.missing = new Set([...parts.named.values()].filter(({ leaf }) => leaf && !leaf.data))
  }

  /** Whether an input or output of this name exists; inputs that nothing needs do not. */
  has(name: string): boolean {
    return this.parts.named.has(name)
  }

  /**
   * Sets an input, for the runs submitted from now on. The data is copied at once; numbers that are no f32 are rounded.
   * Throws ShapeError for a name that there is not and a wrong number of values, TypeError and RangeError for what is no array of numbers.
   */
  write(name: In, data: Numbers): void {
    this.upload(this.inputOf(name), this.checked(name, data))
  }

  /**
   * Without arguments: submits one run, and does not wait. With inputs by name: writes them, runs, and gives all outputs.
   * Inputs that are left out keep their values. Throws PlanOrderError where one never had any.
   */
  run(): void
  run(inputs: { readonly [name in In]?: Numbers }): Promise<{ [name in Out]: Float32Array }>
  run(inputs?: Readonly<Record<string, Numbers | undefined>>): undefined | Promise<Record<string, Float32Array>> {
    if (inputs) return this.runWith(inputs)
    this.freshen()
    this.submit('step', this.parts.updates)
    this.hasRun = true
    return undefined
  }

  /**
   * The value of an output or input after everything submitted so far.
   * Throws PlanOrderError for an output before the first run, and for an input that was never written.
   */
  async read(name: Readable<In, Out>): Promise<Float32Array> {
    const [data] = await this.readAll([name])
    return data
  }

  /**
   * The buffer of an output or input, to be bound or copied elsewhere; it lives as long as the plan. Whoever writes an input through it asks
   * for it each time: only then is what depends on a fixed one computed anew.
   */
  buffer(name: Readable<In, Out>): GPUBuffer {
    const value = this.find(name)
    if (value.leaf) this.written(value)
    else if (value.rate === 'fixed') this.freshen()
    return this.parts.buffer(value)
  }

  summary(): PlanSummary {
    const { stages } = this.parts
    return {
      nodes: this.parts.nodes,
      dispatches: { constant: stages.constant.length, fixed: stages.fixed.length, step: stages.step.length },
      mib: this.bytes / 2 ** 20,
      gflop: stages.step.reduce((n, c) => n + c.placed.flop, 0) / 1e9,
      fusions: this.parts.fusions,
      halfTensors: this.parts.halfTensors,
    }
  }

  /**
   * The dispatches of a run, for those who encode them in ways of their own (`profile`, trials). What depends on fixed inputs is computed
   * first. Throws PlanOrderError where an input has no value.
   */
  calls(): readonly Call[] {
    this.freshen()
    return this.parts.stages.step
  }

  /** Frees the plan's GPU memory. */
  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    for (const buffer of this.parts.buffers) buffer.destroy()
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  /** Runs the constant stage; `compile` calls it once. */
  async runConstants(): Promise<void> {
    this.submit('constant')
    await this.gpu.wait()
  }

  private async runWith(inputs: Readonly<Record<string, Numbers | undefined>>): Promise<Record<string, Float32Array>> {
    // All are looked at before the first is written: a call that is refused changes nothing.
    const given = Object.entries(inputs).map(([name, data]) => [this.inputOf(name), this.checked(name, data)] as const)
    for (const [value, data] of given) this.upload(value, data)
    this.run()
    const { outputs } = this.parts
    const results = await this.readAll(outputs)
    return Object.fromEntries(outputs.map((name, i) => [name, results[i]]))
  }

  private async readAll(names: readonly string[]): Promise<Float32Array[]> {
    const values = names.map((name) => this.readable(name))
    const offsets: number[] = []
    let size = 0
    for (const { elements } of values) {
      offsets.push(size)
      size += elements * 4
    }
    if (size === 0) return []
    const { device } = this.gpu
    const staging = device.createBuffer({
      label: `read ${names.join(', ')}`,
      size,
      usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST,
    })
    try {
      const encoder = device.createCommandEncoder()
      values.forEach((value, i) => {
        encoder.copyBufferToBuffer(this.parts.buffer(value), 0, staging, offsets[i], value.elements * 4)
      })
      device.queue.submit([encoder.finish()])
      const guards = this.parts.checkGuards?.()
      await Promise.all([guards, this.gpu.settle(staging.mapAsync(MAP_READ))])
      const mapped = staging.getMappedRange()
      return values.map(({ elements }, i) => new Float32Array(mapped, offsets[i], elements).slice())
    } finally {
      staging.destroy()
    }
  }

  /** An output or input that has a value now. */
  private readable(name: string): Value {
    const value = this.find(name)
    if (value.leaf) {
      if (this.missing.has(value)) throw new PlanOrderError(`plan.read: the input ${name} was never written`)
    } else if (value.rate === 'fixed') this.freshen()
    else if (value.rate === 'step' && !this.hasRun) {
      throw new PlanOrderError(`plan.read: ${name} is computed by plan.run(), which was not called yet`)
    }
    return value
  }

  /** Computes what depends on fixed inputs, where one was written since. Throws PlanOrderError where an input has no value. */
  private freshen(): void {
    this.check()
    if (this.missing.size > 0) {
      const names = [...this.parts.named].flatMap(([name, value]) => (this.missing.has(value) ? [name] : []))
      const [verb, them] = names.length === 1 ? ['was', 'it'] : ['were', 'them']
      throw new PlanOrderError(
        `plan.run: ${names.join(', ')} ${verb} never written; give ${them} to plan.run({ ... }) or plan.write, or record a state (g.state), which has a start`,
      )
    }
    if (!this.stale) return
    this.submit('fixed')
    this.stale = false
  }

  /** Data for an input, as f32 and as many as it takes. */
  private checked(name: string, data: Numbers | undefined): Float32Array {
    const floats = floatsOf(data as Numbers, `plan.write: ${name}`)
    const { elements, leaf } = this.find(name)
    if (floats.length === elements) return floats
    throw new ShapeError(
      `plan.write: ${name} takes ${elements} values ${formatShape(leaf!.shape)}, got ${floats.length}`,
    )
  }

  private upload(value: Value, data: Float32Array): void {
    this.gpu.device.queue.writeBuffer(this.parts.buffer(value), 0, data as Float32Array<ArrayBuffer>)
    this.written(value)
  }

  private written(value: Value): void {
    this.missing.delete(value)
    if (value.rate === 'fixed') this.stale = this.parts.stages.fixed.length > 0
  }

  private submit(rate: Rate, updates: readonly (readonly [Value, Value])[] = []): void {
    this.check()
    const { device } = this.gpu
    const calls = this.parts.stages[rate]
    this.poison(rate)
    let at = 0
    do {
      const encoder = device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      let flop = 0
      while (at < calls.length && flop < FLOP_PER_SUBMIT) {
        const call = calls[at++]
        dispatch(pass, call)
        flop += call.placed.flop
      }
      pass.end()
      if (at >= calls.length) {
        for (const [to, from] of updates) {
          encoder.copyBufferToBuffer(this.parts.buffer(from), 0, this.parts.buffer(to), 0, to.elements * 4)
        }
      }
      device.queue.submit([encoder.finish()])
    } while (at < calls.length)
  }

  /** Fills what the dispatches of a rate write with bits that are no number, be they f32 or f16. */
  private poison(rate: Rate): void {
    const slots = this.parts.poisoned.filter(({ values }) => values.some((v) => v.rate === rate))
    // In pieces: arrays as large as the buffers would be made and thrown away for each of them.
    const nan = new Uint8Array(Math.min(2 ** 20, Math.max(0, ...slots.map(({ bytes }) => bytes)))).fill(255)
    for (const slot of slots) {
      const buffer = this.parts.poisonBuffer(slot)
      for (let at = 0; at < slot.bytes; at += nan.length)
        this.gpu.device.queue.writeBuffer(buffer, at, nan, 0, Math.min(nan.length, slot.bytes - at))
    }
  }

  private check(): void {
    if (this.destroyed) throw new PlanDestroyedError('the plan was destroyed; compile the graph again')
  }

  private find(name: string): Value {
    this.check()
    const { named, unread } = this.parts
    const value = named.get(name)
    if (value) return value
    const there = `there are ${[...named.keys()].join(', ')}`
    if (unread.has(name)) {
      throw new ShapeError(
        `plan: the graph has an input ${name}, but nothing that this plan computes reads it; ${there}`,
      )
    }
    throw new ShapeError(`plan: no input or output is named ${name}; ${there}`)
  }

  private inputOf(name: string): Value {
    const value = this.find(name)
    if (value.leaf && value.leaf.rate !== 'constant') return value
    throw new ShapeError(`plan.write: ${name} is no input`)
  }
}
