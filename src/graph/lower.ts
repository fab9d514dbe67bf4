/** From nodes to dispatches: picks each operation's kernel, resolves views, and sorts dispatches by how often they must run. */
import type { Gpu } from '../device/gpu.ts'
import {
  type Binding,
  type BufferRef,
  type Cost,
  type Dispatch,
  elements,
  formatShape,
  type Kernel,
  type Op,
  type Precision,
  type Shape,
  ShapeError,
  type Target,
} from '../kernels/op.ts'
import { type Fusion, findFusions, membersOf, type WrittenBefore } from './fuse.ts'
import { fusedKernel, labelOf } from './fused-kernel.ts'
import { exactNumber, type GraphTensor, memoryOf, RATES, type Rate } from './graph.ts'
import { halfTensors } from './half-tensors.ts'

/** A piece of GPU memory with one meaning: a leaf, the output of an operation, or a kernel's scratch. */
export interface Value {
  name: string
  elements: number
  rate: Rate
  /** The leaf that defines it, if any. */
  leaf?: GraphTensor
  /** It belongs to a kernel, not to a node. */
  scratch?: boolean
  /** It is kept in f16. */
  half?: boolean
}

export const bytesOf = (value: Value): number => value.elements * (value.half ? 2 : 4)

/** A dispatch with its buffers resolved. */
export interface PlacedDispatch {
  dispatch: Dispatch
  node: GraphTensor
  variant: string
  rate: Rate
  reads: Value[]
  writes: Value[]
  /** Arithmetic of the operation, on its last dispatch; 0 on the others. */
  flop: number
  bytes: number
}

export interface Lowered {
  placed: PlacedDispatch[]
  /** Memory of a node, views resolved. */
  value(node: GraphTensor): Value
  /** How often which operations were fused, by names joined with `+`. */
  fusions: Readonly<Record<string, number>>
}

/** Chooses among an operation's kernels; the default takes the first, which the operation ranks best. */
export type ChooseKernel = (node: GraphTensor, kernels: readonly Kernel[]) => Kernel

export interface LowerOptions {
  choose?: ChooseKernel
  /** Compute pointwise operations in the kernel before them where possible; on unless told. */
  fuse?: boolean
  /** Keep tensors in f16 between the operations that allow it; the adapter must have f16. Off unless told. */
  half?: boolean
  /** What operations offer for the nodes; see `offerKernels`. */
  offers: Offers
  /** What fused kernels of the plans before wrote, where kernels are to be few; see `findFusions`. */
  written?: WrittenBefore
}

export function lower(roots: readonly GraphTensor[], gpu: Target, options: LowerOptions): Lowered {
  const { choose = (_, kernels) => kernels[0], fuse = true, offers } = options
  const nodes = reachable(roots)
  const halves = options.half ? halfTensors(nodes, roots) : new Set<GraphTensor>()
  const values = new Map<number, Value>()
  const value = (node: GraphTensor): Value => {
    const known = values.get(node.id)
    if (known) return known
    const isView = node.op?.view
    const made: Value = isView
      ? value(node.inputs[0])
      : node.op
        ? // Raised by the dispatches that write it: one that leaves an input unread may run less often than the node says.
          { name: node.name, elements: elements(node.shape), rate: 'constant', half: halves.has(node) }
        : { name: node.name, elements: elements(node.shape), rate: node.rate, leaf: node }
    values.set(node.id, made)
    return made
  }
  const kernels = new Map<GraphTensor, Kernel>()
  const kernelOf = (node: GraphTensor): Kernel => {
    let kernel = kernels.get(node)
    if (!kernel) kernels.set(node, (kernel = choose(node, kernelsOf(node, offers))))
    return kernel
  }
  const fusions = fuse
    ? findFusions(nodes, new Set(roots), kernelOf, gpu, options.written)
    : new Map<GraphTensor, Fusion>()
  const counts: Record<string, number> = {}
  const placed: PlacedDispatch[] = []
  const done = new Set<GraphTensor | Fusion>()
  /** Adds the kernel of a node or of its fusion, after those that it needs. */
  const add = (node: GraphTensor): void => {
    const fusion = fusions.get(node)
    if (!node.op || done.has(fusion ?? node)) return
    done.add(fusion ?? node)
    for (const member of fusion ? membersOf(fusion) : [node]) for (const input of member.inputs) add(memoryOf(input))
    if (!fusion) {
      placed.push(...dispatchesOf(node, kernelOf(node), value))
      return
    }
    const label = labelOf(fusion)
    counts[label] = (counts[label] ?? 0) + 1
    placed.push(...fusedDispatches(fusion, fusion.head && kernelOf(fusion.head), value))
  }
  for (const node of nodes) {
    const fusion = fusions.get(node)
    const isLast = !fusion || node === membersOf(fusion).reduce((a, b) => (a.id > b.id ? a : b))
    if (isLast && !node.op?.view) add(node)
  }
  return { placed: withoutRepetition(placed), value, fusions: counts }
}

/**
 * Without constant dispatches that only repeat another one in a scratch buffer of their own: a network on several images has the packed
 * form of its weights once.
 */
function withoutRepetition(placed: readonly PlacedDispatch[]): PlacedDispatch[] {
  const numbers = new Map<Value, number>()
  const numberOf = (v: Value): number => {
    if (!numbers.has(v)) numbers.set(v, numbers.size)
    return numbers.get(v)!
  }
  const writers = new Map<Value, number>()
  for (const { writes } of placed) for (const v of writes) writers.set(v, (writers.get(v) ?? 0) + 1)
  const known = new Map<string, Value>()
  const instead = new Map<Value, Value>()
  return placed.filter((each) => {
    each.reads = each.reads.map((v) => instead.get(v) ?? v)
    const [written] = each.writes
    if (each.rate !== 'constant' || each.writes.length > 1 || !written.scratch || writers.get(written) !== 1)
      return true
    const { code, params, workgroups } = each.dispatch
    const key = JSON.stringify([each.reads.map(numberOf), written.elements, workgroups, params, code])
    const before = known.get(key)
    if (before) instead.set(written, before)
    else known.set(key, written)
    return !before
  })
}

/** Kernels that operations offer for arguments and shapes: networks repeat their layers, and writing WGSL for all variants takes a while. */
export type Offers = WeakMap<Op<unknown>, Map<string, readonly Kernel[]>>

/** What kernels are chosen for, and what was offered for it before. */
export interface Adapter {
  target: Target
  offers: Offers
}

const ADAPTERS = Symbol('adapters')

/** The device as kernels see it where products are to be so exact: the same object each time, so that what was offered is known later. */
export function adapterOf(gpu: Gpu, products: Precision = 'f32'): Adapter {
  const known = gpu.keep(ADAPTERS, () => new Map<Precision, Adapter>())
  let adapter = known.get(products)
  if (!adapter) known.set(products, (adapter = { target: { ...gpu.capabilities, products }, offers: new WeakMap() }))
  return adapter
}

const shapesOf = ({ inputs }: GraphTensor): Shape[] => inputs.map(({ shape }) => shape)

const offerKey = (node: GraphTensor): string => `${JSON.stringify(node.args, exactNumber)}|${shapesOf(node).join(';')}`

/** Has all operations offer their kernels for these nodes, best first. Throws ShapeError where one has none. */
export async function offerKernels(
  nodes: readonly GraphTensor[],
  target: Target,
  offers: Offers = new WeakMap(),
): Promise<Offers> {
  for (const node of nodes) {
    if (!node.op || node.op.view) continue
    const op = node.op as Op<unknown>
    if (!offers.has(op)) offers.set(op, new Map())
    const known = offers.get(op)!
    const key = offerKey(node)
    if (known.has(key)) continue
    const given = op.kernels(node.args, shapesOf(node), target)
    const kernels = Array.isArray(given) ? given : await given
    if (kernels.length === 0) {
      const shapes = shapesOf(node).map(formatShape).join(', ')
      throw new ShapeError(`${op.name}(${node.name}): no kernel for ${shapes} on ${target.description}`)
    }
    if (!known.has(key)) known.set(key, kernels)
  }
  return offers
}

/** What was offered for a node. */
export const kernelsOf = (node: GraphTensor, offers: Offers): readonly Kernel[] =>
  offers.get(node.op as Op<unknown>)!.get(offerKey(node))!

export const costOf = (node: GraphTensor): Cost => (node.op as Op<unknown>).cost(node.args, shapesOf(node))

/** The dispatches of one node. Buffer references from `inputs.length` on are those of a fusion's further operands. */
function dispatchesOf(
  node: GraphTensor,
  kernel: Kernel,
  value: (node: GraphTensor) => Value,
  further: readonly Value[] = [],
): PlacedDispatch[] {
  const scratch = (kernel.scratch ?? []).map(
    (count, i): Value => ({ name: `${node.name}#${i}`, elements: count, rate: 'constant', scratch: true }),
  )
  const resolve = (buffer: BufferRef): Value => {
    if (buffer === 'output') return value(node)
    if (typeof buffer === 'string') return scratch[Number(buffer.slice('scratch'.length))]
    return buffer < node.inputs.length ? value(node.inputs[buffer]) : further[buffer - node.inputs.length]
  }
  const bound = (b: Binding): Binding => (resolve(b.buffer).half ? { ...b, half: true } : b)
  const own = kernel.dispatches.map(
    (dispatch): PlacedDispatch => ({
      dispatch: { ...dispatch, reads: dispatch.reads.map(bound), writes: dispatch.writes.map(bound) },
      node,
      variant: kernel.variant,
      rate: 'constant',
      reads: dispatch.reads.map((b) => resolve(b.buffer)),
      writes: dispatch.writes.map((b) => resolve(b.buffer)),
      flop: 0,
      bytes: 0,
    }),
  )
  assignRates(own)
  const { flop, bytes } = costOf(node)
  const tensors = [...node.inputs, node].map(value)
  const share = total(tensors, bytesOf) / total(tensors, (v) => 4 * v.elements)
  Object.assign(own.at(-1)!, { flop, bytes: bytes * share })
  return own
}

const total = (values: readonly Value[], of: (value: Value) => number): number => values.reduce((n, v) => n + of(v), 0)

function fusedDispatches(
  fusion: Fusion,
  own: Kernel | undefined,
  value: (node: GraphTensor) => Value,
): PlacedDispatch[] {
  const { head, before, after } = fusion
  const node = head ?? after.at(-1)!
  const further: Value[] = []
  const numbers = new Map<GraphTensor, number>()
  const bind = (bound: GraphTensor): number => {
    if (!numbers.has(bound)) numbers.set(bound, node.inputs.length + further.push(value(bound)) - 1)
    return numbers.get(bound)!
  }
  const placed = dispatchesOf(node, fusedKernel(fusion, own, bind), value, further)
  const [first, end] = [placed[0], placed.at(-1)!]
  for (const each of before) first.flop += costOf(each).flop
  for (const each of after) if (each !== node) end.flop += costOf(each).flop
  end.bytes = total([...end.reads, ...end.writes], bytesOf)
  return placed
}

/** A dispatch runs as often as what it reads; all that write one value run at the highest of their rates. */
function assignRates(own: readonly PlacedDispatch[]): void {
  for (let changed = true; changed; ) {
    changed = false
    for (const each of own) {
      const written = each.writes.filter((v) => own.some((s) => s !== each && s.writes.includes(v))).map((v) => v.rate)
      const rate = highest([each.rate, ...each.reads.map((v) => v.rate), ...written])
      if (rate !== each.rate) {
        each.rate = rate
        changed = true
      }
      for (const v of each.writes) {
        const to = highest([v.rate, rate])
        if (to !== v.rate) {
          v.rate = to
          changed = true
        }
      }
    }
  }
}

const highest = (rates: readonly Rate[]): Rate => RATES[Math.max(...rates.map((r) => RATES.indexOf(r)))]

/** Nodes that the roots need, in recording order. */
export function reachable(roots: readonly GraphTensor[]): GraphTensor[] {
  const seen = new Map<number, GraphTensor>()
  const stack = [...roots]
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node.id)) continue
    seen.set(node.id, node)
    stack.push(...node.inputs)
  }
  return [...seen.values()].sort((a, b) => a.id - b.id)
}
