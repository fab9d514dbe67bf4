/** A compiled graph: buffers, pipelines and bind groups made beforehand; running it is a flat loop. */
import { BufferUsage, MAP_READ } from '../device/flags.ts'
import type { Gpu } from '../device/gpu.ts'
import { measureRoofs } from '../device/roofs.ts'
import { timePass } from '../device/stopwatch.ts'
import { elements, formatShape, type Precision, ShapeError, type Target, type Tensor } from '../kernels/op.ts'
import { paramBytes } from '../kernels/wgsl.ts'
import { type Node, RATES, type Rate } from './graph.ts'
import { bytesOf, type ChooseKernel, type Lowered, lower, reachable, type Step, type Value } from './lower.ts'
import { type MemoryPlan, planMemory, type Slot } from './memory.ts'
import { pipelineFor } from './pipelines.ts'
import { type ProfileRow, underRoofs } from './profile.ts'
import { chooseByTrial, type TuningCache } from './tune.ts'

export interface CompileOptions {
  /** After each run the value is copied to the input: the state of an iteration. */
  updates?: readonly (readonly [input: Tensor, value: Tensor])[]
  /** Fill outputs and temporaries with NaN before each run: shows elements that no kernel writes. Tests use it. */
  poison?: boolean
  /** Chooses among an operation's kernels. Unless told, the first is taken, and among rivals the one that `tuning` says. */
  choose?: ChooseKernel
  /**
   * Where measured choices among rivals are kept; false for none, the first is taken then. Unless told, what `setTuning` set for the
   * device; else memory, and false where the adapter is the processor.
   */
  tuning?: TuningCache | false
  /**
   * How exact the arithmetic must be; f32 unless told, and everywhere on adapters without f16. `f16` allows kernels of products that
   * round their operands so. `f16 tensors` does too, and keeps tensors between operations in f16 where these allow it (`Op.half`):
   * half the memory and traffic. Outputs, inputs and what updates them stay f32, as do sums.
   */
  precision?: Precision | 'f16 tensors'
  /** Compute pointwise operations in the kernel before them where possible; on unless told. */
  fuse?: boolean
  /** Upper bound of the plan's GPU memory in bytes; a larger plan is refused before anything is allocated. */
  maxBytes?: number
}

/** A plan needs more memory than the device or the caller allows. */
export class PlanMemoryError extends Error {
  override name = 'PlanMemoryError'
}

/** A plan is used after its end. */
export class PlanDestroyedError extends Error {
  override name = 'PlanDestroyedError'
}

/** Arithmetic after which a submission ends, so that no driver's watchdog resets the GPU (about 50 ms at 1 TFLOP/s). */
const FLOP_PER_SUBMIT = 5e10

interface Call {
  pipeline: GPUComputePipeline
  group: GPUBindGroup
  workgroups: readonly [number, number, number]
  step: Step
}

/**
 * Compiles the graph that computes the outputs. Throws ShapeError or PlanMemoryError, with the numbers, before anything runs
 * where a tensor or the whole does not fit the device.
 */
export async function compile(
  gpu: Gpu,
  outputs: Readonly<Record<string, Tensor>>,
  options: CompileOptions = {},
): Promise<Plan> {
  const updates = (options.updates ?? []) as readonly (readonly [Node, Node])[]
  for (const [to, from] of updates) {
    if (to.op || to.rate === 'constant' || elements(to.shape) !== elements(from.shape)) {
      throw new ShapeError(
        `compile: ${from.name} ${formatShape(from.shape)} cannot update ${to.name} ${formatShape(to.shape)}; the target must be an input of the same size`,
      )
    }
  }
  const roots = [...(Object.values(outputs) as Node[]), ...updates.flat()]
  const foreign = roots.find((root) => root.recorder !== roots[0].recorder)
  if (foreign) throw new ShapeError(`compile: ${foreign.name} belongs to another graph than ${roots[0].name}`)
  const { precision } = options
  const half = precision === 'f16 tensors' && gpu.capabilities.f16
  const target: Target = { ...gpu.capabilities, precision: precision === 'f16 tensors' ? 'f16' : precision }
  const choose =
    options.choose ??
    (await chooseByTrial(gpu, target, reachable(roots), options.tuning, (trial, kernel) =>
      compile(gpu, trial, { choose: kernel, poison: true }),
    ))
  const lowered = lower(roots, target, { ...options, choose, half })
  const kept = new Set(roots.map(lowered.value))
  const named = nameValues(outputs, lowered, kept)
  const copies = copiesOf(updates, lowered)
  const memory = planMemory(lowered, kept)
  checkLimits(gpu, lowered, memory, options.maxBytes)
  const pipelines = await Promise.all(lowered.steps.map((step) => pipelineFor(gpu, step.dispatch)))

  const { device } = gpu
  device.pushErrorScope('out-of-memory')
  const bufferOf = new Map<Slot, GPUBuffer>()
  for (const slot of memory.slots) {
    const usage = BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST
    const data = slot.values[0].leaf?.data
    const buffer = device.createBuffer({
      label: slot.values[0].name,
      size: slot.bytes,
      usage,
      mappedAtCreation: data !== undefined,
    })
    if (data) {
      new Float32Array(buffer.getMappedRange(), 0, data.length).set(data)
      buffer.unmap()
    }
    bufferOf.set(slot, buffer)
  }
  const refused = await gpu.settle(device.popErrorScope())
  if (refused) {
    for (const buffer of bufferOf.values()) buffer.destroy()
    throw new PlanMemoryError(`compile: the device refused ${mib(totalBytes(memory))} of buffers: ${refused.message}`)
  }
  const params = uploadParams(device, lowered.steps)
  const buffer = (value: Value): GPUBuffer => bufferOf.get(memory.slotOf.get(value)!)!
  const calls = lowered.steps.map((step, i): Call => {
    const pipeline = pipelines[i]
    const storage = [...step.reads, ...step.writes].map((v) => ({ buffer: buffer(v) }))
    const uniform = params.at(i)
    const resources: GPUBindingResource[] = uniform ? [...storage, uniform] : storage
    const group = device.createBindGroup({
      label: step.node.name,
      layout: pipeline.getBindGroupLayout(0),
      entries: resources.map((resource, binding) => ({ binding, resource })),
    })
    return { pipeline, group, workgroups: step.dispatch.workgroups, step }
  })
  const stages = Object.fromEntries(RATES.map((rate) => [rate, calls.filter((c) => c.step.rate === rate)]))
  const plan = new Plan(gpu, {
    stages: stages as Record<Rate, Call[]>,
    named,
    buffer,
    buffers: [...bufferOf.values(), params.buffer],
    updates: copies,
    poisoned: options.poison ? memory.slots.filter((s) => !s.values[0].leaf) : [],
    poisonBuffer: (slot) => bufferOf.get(slot)!,
    bytes: totalBytes(memory),
    nodes: new Set(lowered.steps.map((s) => s.node)).size,
    halfTensors: memory.slots.flatMap((s) => s.values).filter((v) => v.half).length,
    fusions: lowered.fusions,
  })
  try {
    await plan.runConstants()
  } catch (error) {
    plan.destroy()
    throw error
  }
  // What only the constant stage uses is not needed any more: weights that were packed into another layout, and temporaries.
  const later = new Set(lowered.steps.flatMap((s) => (s.rate === 'constant' ? [] : [...s.reads, ...s.writes])))
  for (const slot of memory.slots) {
    if (slot.values.some((v) => kept.has(v) || later.has(v))) continue
    bufferOf.get(slot)!.destroy()
    plan.bytes -= slot.bytes
  }
  return plan
}

/** Inputs and outputs by name. Throws ShapeError where two have the same. */
function nameValues(
  outputs: Readonly<Record<string, Tensor>>,
  { steps, value }: Lowered,
  kept: ReadonlySet<Value>,
): Map<string, Value> {
  const named = new Map<string, Value>()
  const add = (name: string, v: Value) => {
    if ((named.get(name) ?? v) !== v) throw new ShapeError(`compile: two inputs or outputs are named ${name}`)
    named.set(name, v)
  }
  for (const v of [...kept, ...steps.flatMap((s) => s.reads)]) if (v.leaf && !v.leaf.data) add(v.leaf.name, v)
  for (const [name, tensor] of Object.entries(outputs)) add(name, value(tensor as Node))
  return named
}

/** What is copied after a run, in this order. Throws ShapeError where a copy would overwrite what another one still reads. */
function copiesOf(updates: readonly (readonly [Node, Node])[], { value }: Lowered): (readonly [Value, Value])[] {
  const copies = updates.map(([to, from]) => [value(to), value(from)] as const)
  copies.forEach(([to, from], i) => {
    for (const [earlier] of copies.slice(0, i)) {
      if (earlier === to) throw new ShapeError(`compile: ${to.name} has two updates`)
      if (earlier === from) {
        throw new ShapeError(`compile: ${to.name} takes ${from.name}, which is updated before; swap the updates`)
      }
    }
  })
  return copies.filter(([to, from]) => to !== from)
}

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

interface PlanParts {
  stages: Record<Rate, Call[]>
  named: Map<string, Value>
  buffer: (value: Value) => GPUBuffer
  buffers: GPUBuffer[]
  updates: (readonly [Value, Value])[]
  poisoned: Slot[]
  poisonBuffer: (slot: Slot) => GPUBuffer
  bytes: number
  nodes: number
  fusions: Readonly<Record<string, number>>
  halfTensors: number
}

export class Plan implements Disposable {
  readonly gpu: Gpu
  /** Bytes of GPU memory that the plan holds. */
  bytes: number
  private readonly parts: PlanParts
  private destroyed = false

  constructor(gpu: Gpu, parts: PlanParts) {
    this.gpu = gpu
    this.parts = parts
    this.bytes = parts.bytes
  }

  /** Whether an input or output of this name exists; inputs that nothing needs do not. */
  has(name: string): boolean {
    return this.parts.named.has(name)
  }

  /** Sets an input. The data is copied at once and takes effect before the next submission. */
  write(name: string, data: Float32Array): void {
    const value = this.find(name)
    if (!value.leaf || value.leaf.data) throw new ShapeError(`plan.write: ${name} is no input`)
    if (data.length !== value.elements) {
      throw new ShapeError(
        `plan.write: ${name} takes ${value.elements} values ${formatShape(value.leaf.shape)}, got ${data.length}`,
      )
    }
    this.gpu.device.queue.writeBuffer(this.parts.buffer(value), 0, data as Float32Array<ArrayBuffer>)
  }

  /** Computes what depends on `fixed` inputs alone; call it after they were written and before `run`. */
  prepare(): void {
    this.submit('fixed')
  }

  /** Encodes and submits one run; does not wait. */
  run(): void {
    this.submit('step', this.parts.updates)
  }

  /** The value of an output or input after everything submitted so far. */
  async read(name: string): Promise<Float32Array> {
    const value = this.find(name)
    const { device } = this.gpu
    const size = value.elements * 4
    const staging = device.createBuffer({
      label: `read ${name}`,
      size,
      usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST,
    })
    try {
      const encoder = device.createCommandEncoder()
      encoder.copyBufferToBuffer(this.parts.buffer(value), 0, staging, 0, size)
      device.queue.submit([encoder.finish()])
      await this.gpu.settle(staging.mapAsync(MAP_READ))
      const data = new Float32Array(value.elements)
      data.set(new Float32Array(staging.getMappedRange()))
      return data
    } finally {
      staging.destroy()
    }
  }

  /** The buffer of an output or input, to be bound or copied elsewhere; it lives as long as the plan. */
  buffer(name: string): GPUBuffer {
    return this.parts.buffer(this.find(name))
  }

  summary(): PlanSummary {
    const { stages } = this.parts
    return {
      nodes: this.parts.nodes,
      dispatches: { constant: stages.constant.length, fixed: stages.fixed.length, step: stages.step.length },
      mib: this.bytes / 2 ** 20,
      gflop: stages.step.reduce((n, c) => n + c.step.flop, 0) / 1e9,
      fusions: this.parts.fusions,
      halfTensors: this.parts.halfTensors,
    }
  }

  /**
   * Runs once with a timestamp around every dispatch: a row per operation, slowest first, beside the adapter's roofs, which are
   * measured before the first profile of a device. Needs the `timestamp-query` feature; throws where the adapter lacks it. Each
   * dispatch is a pass of its own here, so the total is above a run's time.
   */
  async profile(): Promise<ProfileRow[]> {
    this.check()
    const { device, capabilities } = this.gpu
    if (!capabilities.timestamps) throw new Error(`plan.profile: ${capabilities.description} has no timestamp-query`)
    const roofs = await measureRoofs(this.gpu)
    const calls = this.parts.stages.step
    const rows = new Map<
      string,
      Omit<ProfileRow, keyof ReturnType<typeof underRoofs>> & { flop: number; bytes: number }
    >()
    const perSet = 2048
    for (let start = 0; start < calls.length; start += perSet) {
      const part = calls.slice(start, start + perSet)
      const querySet = device.createQuerySet({ type: 'timestamp', count: part.length * 2 })
      const resolved = device.createBuffer({
        size: part.length * 16,
        usage: BufferUsage.QUERY_RESOLVE | BufferUsage.COPY_SRC,
      })
      const staging = device.createBuffer({
        size: part.length * 16,
        usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST,
      })
      const encoder = device.createCommandEncoder()
      part.forEach((call, i) => {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
        })
        dispatch(pass, call)
        pass.end()
      })
      encoder.resolveQuerySet(querySet, 0, part.length * 2, resolved, 0)
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, part.length * 16)
      device.queue.submit([encoder.finish()])
      await this.gpu.settle(staging.mapAsync(MAP_READ))
      const times = new BigUint64Array(staging.getMappedRange())
      part.forEach(({ step }, i) => {
        const key = `${step.node.id}`
        const row = rows.get(key) ?? {
          op: step.node.op?.name ?? '',
          node: step.node.name,
          shape: formatShape(step.node.shape),
          variant: step.variant,
          microseconds: 0,
          flop: 0,
          bytes: 0,
        }
        row.microseconds += Number(times[2 * i + 1] - times[2 * i]) / 1000
        row.flop += step.flop
        row.bytes += step.bytes
        rows.set(key, row)
      })
      staging.destroy()
      resolved.destroy()
      querySet.destroy()
    }
    return [...rows.values()]
      .map(({ flop, bytes, ...row }) => ({ ...row, ...underRoofs({ flop, bytes, ...row }, roofs) }))
      .sort((a, b) => b.microseconds - a.microseconds)
  }

  /**
   * Microseconds of so many runs without updates, one after another in one pass, by the GPU's own clock where there is one. For short
   * plans: it is one submission, and drivers reset a GPU that is busy with one for seconds.
   */
  async time(runs: number): Promise<number> {
    this.check()
    return timePass(this.gpu, (pass) => {
      for (let i = 0; i < runs; i++) for (const call of this.parts.stages.step) dispatch(pass, call)
    })
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

  private submit(rate: Rate, updates: readonly (readonly [Value, Value])[] = []): void {
    this.check()
    const { device } = this.gpu
    const calls = this.parts.stages[rate]
    for (const slot of this.parts.poisoned) {
      if (!slot.values.some((v) => v.rate === rate)) continue
      // All bits set: no number, be it f32 or f16.
      device.queue.writeBuffer(this.parts.poisonBuffer(slot), 0, new Uint8Array(slot.bytes).fill(255))
    }
    let at = 0
    do {
      const encoder = device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      let flop = 0
      while (at < calls.length && flop < FLOP_PER_SUBMIT) {
        const call = calls[at++]
        dispatch(pass, call)
        flop += call.step.flop
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

  private check(): void {
    if (this.destroyed) throw new PlanDestroyedError('the plan was destroyed; compile the graph again')
  }

  private find(name: string): Value {
    this.check()
    const value = this.parts.named.get(name)
    if (!value)
      throw new ShapeError(
        `plan: no input or output is named ${name}; there are ${[...this.parts.named.keys()].join(', ')}`,
      )
    return value
  }
}

function dispatch(pass: GPUComputePassEncoder, { pipeline, group, workgroups }: Call): void {
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, group)
  pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2])
}

/** All uniform structs in one buffer, each at the 256 bytes that every device aligns to. */
function uploadParams(
  device: GPUDevice,
  steps: readonly Step[],
): { buffer: GPUBuffer; at(i: number): GPUBufferBinding | undefined } {
  const structs = steps.map((s) => paramBytes(s.dispatch))
  const offsets: number[] = []
  let size = 0
  for (const bytes of structs) {
    offsets.push(size)
    size += Math.ceil(bytes.byteLength / 256) * 256
  }
  const buffer = device.createBuffer({
    label: 'params',
    size: Math.max(size, 256),
    usage: BufferUsage.UNIFORM,
    mappedAtCreation: true,
  })
  const target = new Uint8Array(buffer.getMappedRange())
  structs.forEach((bytes, i) => {
    target.set(new Uint8Array(bytes), offsets[i])
  })
  buffer.unmap()
  return {
    buffer,
    at: (i) => (structs[i].byteLength > 0 ? { buffer, offset: offsets[i], size: structs[i].byteLength } : undefined),
  }
}

function checkLimits(gpu: Gpu, lowered: Lowered, memory: MemoryPlan, maxBytes = Number.POSITIVE_INFINITY): void {
  const { maxBindingBytes, maxBufferBytes, maxWorkgroupsPerDimension, maxStorageBuffers, description } =
    gpu.capabilities
  for (const { dispatch, node, reads, writes } of lowered.steps) {
    const where = `${node.op?.name}(${node.name})`
    for (const v of [...reads, ...writes]) {
      const bytes = bytesOf(v)
      if (bytes > Math.min(maxBindingBytes, maxBufferBytes)) {
        throw new PlanMemoryError(
          `${where}: ${v.name} needs ${mib(bytes)} in one binding; ${description} allows ${mib(Math.min(maxBindingBytes, maxBufferBytes))}`,
        )
      }
    }
    if (reads.length + writes.length > maxStorageBuffers) {
      throw new PlanMemoryError(
        `${where}: ${reads.length + writes.length} buffers in one dispatch; ${description} allows ${maxStorageBuffers}`,
      )
    }
    if (dispatch.workgroups.some((n) => n > maxWorkgroupsPerDimension || !Number.isInteger(n) || n < 1)) {
      throw new ShapeError(
        `${where}: a grid of ${dispatch.workgroups.join('x')} workgroups; ${description} allows ${maxWorkgroupsPerDimension} per dimension`,
      )
    }
  }
  const total = totalBytes(memory)
  if (total > maxBytes) throw new PlanMemoryError(`compile: the plan needs ${mib(total)}, ${mib(maxBytes)} are allowed`)
}

const totalBytes = ({ slots }: MemoryPlan): number => slots.reduce((n, s) => n + s.bytes, 0)
const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
