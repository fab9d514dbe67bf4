/**
 * From a recorded graph to a plan: kernels chosen, memory assigned, buffers, pipelines and bind groups made. What not every program
 * comes to (trials, guards) is imported when it is needed, so that bundlers can make files of it which pages need not
 * load to begin with.
 */
import { BufferUsage } from '../device/flags.ts'
import type { Gpu, TuningCache } from '../device/gpu.ts'
import { elements, formatShape, type Precision, ShapeError, type Tensor } from '../kernels/op.ts'
import { type Call, uploadParams } from './calls.ts'
import type { WrittenBefore } from './fuse.ts'
import { type GraphTensor, RATES, type Rate } from './graph.ts'
import { checkLimits, mib, PlanMemoryError, totalBytes } from './limits.ts'
import {
  type Adapter,
  adapterOf,
  type ChooseKernel,
  type Lowered,
  lower,
  offerKernels,
  reachable,
  type Value,
} from './lower.ts'
import { planMemory, type Slot } from './memory.ts'
import { type CompileEarly, EARLY, type EarlyOptions, pipelineFor } from './pipelines.ts'
import { Plan } from './plan.ts'

/** Tensors by the names that a plan knows them by. */
export type Named = Readonly<Record<string, Tensor>>

/** Where f16 (11 bits, 6e-8 to 65504) may stand in for f32; nowhere unless told, and nowhere on adapters without it. */
export interface HalfOptions {
  /** `f16`: kernels of convolutions and matrix products may round their operands so. Sums stay f32. */
  products?: Precision
  /**
   * `f16`: tensors between operations are kept so where these allow it (`Op.half`), with half the memory and traffic. Outputs, inputs and
   * what updates them stay f32, as do sums.
   */
  storage?: Precision
}

export interface CompileOptions<Inputs extends Named = Named> extends HalfOptions, EarlyOptions {
  /**
   * All inputs by the names that the plan takes them by; the plan's types know these names then, and one that is missing here is an
   * error. Unless told, inputs go by the names they were recorded under.
   */
  inputs?: Inputs
  /** After each run the value is copied to the input: the state of an iteration. */
  updates?: readonly (readonly [input: Tensor, value: Tensor])[]
  /**
   * Fill outputs and temporaries with NaN before each run, which shows elements that no kernel writes, and put guards behind all buffers:
   * `read` throws where a kernel wrote past an end. Tests use it.
   */
  poison?: boolean
  /** Chooses among an operation's kernels. Unless told, the first is taken, and among rivals the one that `tuning` says. */
  choose?: ChooseKernel
  /**
   * Where measured choices among rivals are kept; false for none, the first is taken then. Unless told, `gpu.tuning`.
   */
  tuning?: TuningCache | false
  /** Compute pointwise operations in the kernel before them where possible; on unless told. */
  fuse?: boolean
  /** Upper bound of the plan's GPU memory in bytes; a larger plan is refused before anything is allocated. */
  maxBytes?: number
}

const WRITTEN = Symbol('written')

/** What fused kernels wrote on this device so far, where the adapter is a processor: its driver takes half a second for a shader. */
function writtenOn(gpu: Gpu): WrittenBefore | undefined {
  return gpu.capabilities.software ? gpu.keep(WRITTEN, (): WrittenBefore => new Map()) : undefined
}

/** What `compile` has made so far; all of it is freed where something fails on the way. */
type Buffers = Map<Slot, GPUBuffer>

/**
 * Compiles the graph that computes the outputs. Throws ShapeError or PlanMemoryError, with the numbers, before anything runs
 * where a tensor or the whole does not fit the device; Error where the array of a constant was changed meanwhile.
 */
export async function compile<Outputs extends Named, Inputs extends Named = Named>(
  gpu: Gpu,
  outputs: Outputs,
  options: CompileOptions<Inputs> = {},
): Promise<Plan<keyof Inputs & string, keyof Outputs & string>> {
  const updates = (options.updates ?? []) as readonly (readonly [GraphTensor, GraphTensor])[]
  for (const [to, from] of updates) {
    if (to.op || to.rate === 'constant' || elements(to.shape) !== elements(from.shape)) {
      throw new ShapeError(
        `compile: ${from.name} ${formatShape(from.shape)} cannot update ${to.name} ${formatShape(to.shape)}; the target must be an input of the same size`,
      )
    }
  }
  const roots = [...(Object.values(outputs) as GraphTensor[]), ...updates.flat()]
  const foreign = roots.find((root) => root.recorder !== roots[0].recorder)
  if (foreign) throw new ShapeError(`compile: ${foreign.name} belongs to another graph than ${roots[0].name}`)
  for (const name of ['products', 'storage'] as const) {
    const asked = options[name]
    if (asked !== undefined && asked !== 'f32' && asked !== 'f16')
      throw new TypeError(`compile: ${name} is f32 or f16, not ${asked}`)
  }
  const half = options.storage === 'f16' && gpu.capabilities.f16
  const adapter = adapterOf(gpu, options.products)
  const nodes = reachable(roots)
  await offerKernels(nodes, adapter.target, adapter.offers)
  const choose = options.choose ?? (await chosenByTrial(gpu, adapter, nodes, options.tuning ?? gpu.tuning))
  const lowered = lower(roots, adapter.target, {
    ...options,
    choose,
    half,
    offers: adapter.offers,
    written: writtenOn(gpu),
  })
  const kept = new Set(roots.map(lowered.value))
  const named = nameValues(outputs, options.inputs, lowered, kept)
  const copies = copiesOf(updates, lowered)
  const memory = planMemory(lowered, kept)
  checkLimits(gpu, lowered, memory, options.maxBytes)
  const dispatches = lowered.placed.map((each) => each.dispatch)
  await gpu.keep<CompileEarly | undefined>(EARLY, () => undefined)?.(gpu, dispatches, options)
  const guards = options.poison ? await import('./guards.ts') : undefined
  const pipelines = await Promise.all(dispatches.map((dispatch) => pipelineFor(gpu, dispatch)))
  for (const node of nodes) node.recorder.expectUnchanged(node)

  const { device } = gpu
  const bufferOf: Buffers = new Map()
  const made: GPUBuffer[] = []
  try {
    await makeBuffers(gpu, memory.slots, bufferOf, guards)
    made.push(...bufferOf.values())
    const params = uploadParams(device, lowered.placed)
    made.push(params.buffer)
    const buffer = (value: Value): GPUBuffer => bufferOf.get(memory.slotOf.get(value)!)!
    const calls = lowered.placed.map((placed, i): Call => {
      const pipeline = pipelines[i]
      const storage = [...placed.reads, ...placed.writes].map((v) => ({ buffer: buffer(v) }))
      const uniform = params.at(i)
      const resources: GPUBindingResource[] = uniform ? [...storage, uniform] : storage
      const group = device.createBindGroup({
        label: placed.node.name,
        layout: pipeline.getBindGroupLayout(0),
        entries: resources.map((resource, binding) => ({ binding, resource })),
      })
      return { pipeline, group, workgroups: placed.dispatch.workgroups, placed }
    })
    const stages = Object.fromEntries(RATES.map((rate) => [rate, calls.filter((c) => c.placed.rate === rate)]))
    // What only the constant stage uses is not needed any more afterwards: weights that were packed, and temporaries.
    const later = new Set(lowered.placed.flatMap((s) => (s.rate === 'constant' ? [] : [...s.reads, ...s.writes])))
    const passing = memory.slots.filter((slot) => !slot.values.some((v) => kept.has(v) || later.has(v)))
    const guarded = memory.slots.map((slot, index) => ({ slot, index, buffer: bufferOf.get(slot)! }))
    const lasting = guarded.filter(({ slot }) => !passing.includes(slot))
    const plan = new Plan<keyof Inputs & string, keyof Outputs & string>(gpu, {
      stages: stages as Record<Rate, Call[]>,
      named,
      outputs: Object.keys(outputs),
      unread: unreadInputs(nodes),
      buffer,
      buffers: made,
      updates: copies,
      poisoned: options.poison ? memory.slots.filter((s) => !s.values[0].leaf) : [],
      poisonBuffer: (slot) => bufferOf.get(slot)!,
      checkGuards: guards && (() => guards.checkGuards(gpu, lasting)),
      bytes: totalBytes(memory) - totalBytes({ slots: passing }),
      nodes: new Set(lowered.placed.map((s) => s.node)).size,
      halfTensors: memory.slots.flatMap((s) => s.values).filter((v) => v.half).length,
      fusions: lowered.fusions,
    })
    await plan.runConstants()
    await guards?.checkGuards(gpu, guarded)
    for (const slot of passing) bufferOf.get(slot)!.destroy()
    return plan
  } catch (error) {
    for (const each of new Set([...bufferOf.values(), ...made])) each.destroy()
    throw error
  }
}

/** Choices among rivals by the cache's memory, and by trials of what it does not know; undefined where trials are not wanted. */
async function chosenByTrial(
  gpu: Gpu,
  adapter: Adapter,
  nodes: readonly GraphTensor[],
  tuning: TuningCache | false,
): Promise<ChooseKernel | undefined> {
  if (!tuning) return undefined
  const { chooseByTrial } = await import('./tune.ts')
  return chooseByTrial(gpu, adapter, nodes, tuning, (trial, choose) => compile(gpu, trial, { choose, poison: true }))
}

/**
 * A buffer for each slot, with the values of constants and states in it, and a guard behind it where there are guards. Throws
 * PlanMemoryError where the device has no room.
 */
async function makeBuffers(
  gpu: Gpu,
  slots: readonly Slot[],
  bufferOf: Buffers,
  guards: typeof import('./guards.ts') | undefined,
): Promise<void> {
  const { device } = gpu
  device.pushErrorScope('out-of-memory')
  let scope: Promise<GPUError | null>
  try {
    for (const [index, slot] of slots.entries()) {
      const usage = BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST
      const data = slot.values[0].leaf?.data
      const buffer = device.createBuffer({
        label: slot.values[0].name,
        size: slot.bytes + (guards?.GUARD_BYTES ?? 0),
        usage,
        mappedAtCreation: guards !== undefined || data !== undefined,
      })
      bufferOf.set(slot, buffer)
      if (!guards && !data) continue
      const mapped = buffer.getMappedRange()
      if (data) new Float32Array(mapped, 0, data.length).set(data)
      if (guards) new Uint32Array(mapped, slot.bytes).set(guards.guardOf(index))
      buffer.unmap()
    }
  } finally {
    scope = device.popErrorScope()
    scope.catch(() => {}) // where the device is lost, `settle` says so
  }
  const refused = await gpu.settle(scope)
  if (refused) {
    throw new PlanMemoryError(
      `compile: the device refused ${mib(totalBytes({ slots }))} of buffers: ${refused.message}`,
    )
  }
}

/** Whether a leaf is an input: constants are not. */
const isInput = (node: GraphTensor | undefined): node is GraphTensor =>
  node !== undefined && !node.op && node.rate !== 'constant'

/** Inputs and outputs by name. Throws ShapeError where two have the same, and where `inputs` names too few or too many. */
function nameValues(
  outputs: Named,
  inputs: Named | undefined,
  { placed, value }: Lowered,
  kept: ReadonlySet<Value>,
): Map<string, Value> {
  const named = new Map<string, Value>()
  const add = (name: string, v: Value) => {
    if ((named.get(name) ?? v) !== v) throw new ShapeError(`compile: two inputs or outputs are named ${name}`)
    named.set(name, v)
  }
  const leaves = new Set([...kept, ...placed.flatMap((s) => s.reads)].filter((v) => isInput(v.leaf)))
  const listed = new Map<Value, string>()
  for (const [name, tensor] of Object.entries(inputs ?? {}) as [string, GraphTensor][]) {
    if (!isInput(tensor))
      throw new ShapeError(`compile: inputs.${name} is no input of the graph (g.input, g.fixed, g.state)`)
    const v = value(tensor)
    if (!leaves.has(v)) throw new ShapeError(`compile: nothing that is computed reads the input ${name}`)
    listed.set(v, name)
  }
  for (const v of leaves) {
    const { name, data } = v.leaf!
    if (inputs && !data && !listed.has(v))
      throw new ShapeError(`compile: the input ${name} is read, but not among inputs`)
    add(listed.get(v) ?? name, v)
  }
  for (const [name, tensor] of Object.entries(outputs)) add(name, value(tensor as GraphTensor))
  return named
}

/** Names of the graph's inputs that nothing which is computed needs. */
function unreadInputs(nodes: readonly GraphTensor[]): ReadonlySet<string> {
  const needed = new Set(nodes)
  const all = nodes[0]?.recorder.nodes ?? []
  return new Set(all.filter((node) => isInput(node) && !needed.has(node)).map(({ name }) => name))
}

/** What is copied after a run, in this order. Throws ShapeError where a copy would overwrite what another one still reads. */
function copiesOf(
  updates: readonly (readonly [GraphTensor, GraphTensor])[],
  { value }: Lowered,
): (readonly [Value, Value])[] {
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
