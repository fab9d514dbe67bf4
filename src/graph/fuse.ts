/**
 * Pointwise operations computed together, in the kernel before them or in the kernel after them: activations, residual sums, and in the
 * backward pass the gradients of activations and the sums of gradients ride in the `store` of convolutions and products; what is summed is
 * computed in the `load` of the sum; the others are kernels of several operations. What is needed later is written on the way.
 */
import type { Capabilities } from '../device/gpu.ts'
import { accessOf, isWide } from '../kernels/fused.ts'
import { type Dispatch, elements, type Kernel } from '../kernels/op.ts'
import { type GraphTensor, memoryOf } from './graph.ts'

/** Nodes that are one kernel. */
export interface Fusion {
  /** Its own kernel has the others in its stores and loads; without one there are pointwise nodes alone. */
  head?: GraphTensor
  /** Pointwise nodes that are computed where the head loads them. */
  before: GraphTensor[]
  /** Pointwise nodes that are computed where the head stores, in an order of computation. */
  after: GraphTensor[]
  /** Nodes of head and `after` whose values others need: the kernel writes them all. */
  written: readonly GraphTensor[]
}

/** Which values kernels write, by what the kernels are otherwise; see `alike`. */
export type WrittenBefore = Map<string, readonly boolean[]>

export const membersOf = ({ head, before, after }: Fusion): GraphTensor[] => [
  ...before,
  ...(head ? [head] : []),
  ...after,
]

/** Nodes in one kernel: more would hold many values at a time. */
const MOST = 40

/** Finds what can be fused; the fusion of each node that is in one. */
export function findFusions(
  nodes: readonly GraphTensor[],
  kept: ReadonlySet<GraphTensor>,
  kernelOf: (node: GraphTensor) => Kernel,
  gpu: Capabilities,
  before?: WrittenBefore,
): Map<GraphTensor, Fusion> {
  const search = new Search(nodes, kept, kernelOf, gpu)
  const work = nodes.filter((node) => node.op && !node.op.view)
  // From the last on: of two that feed one sum, the later one takes it, as the other's value is there by then.
  for (const node of work.toReversed()) if (!node.op?.pointwise) search.growStore(node)
  for (const node of work) if (!node.op?.pointwise) search.growLoad(node)
  for (const node of work.toReversed()) if (node.op?.pointwise) search.growAlone(node)
  const { fusions } = search
  if (before) writeAlike(new Set(fusions.values()), kernelOf, gpu, before)
  return fusions
}

class Search {
  readonly fusions = new Map<GraphTensor, Fusion>()
  private readonly consumers = new Map<GraphTensor, GraphTensor[]>()
  private readonly kept: ReadonlySet<GraphTensor>
  private readonly kernelOf: (node: GraphTensor) => Kernel
  private readonly gpu: Capabilities

  constructor(
    nodes: readonly GraphTensor[],
    kept: ReadonlySet<GraphTensor>,
    kernelOf: (node: GraphTensor) => Kernel,
    gpu: Capabilities,
  ) {
    this.kept = new Set([...kept].map(memoryOf))
    this.kernelOf = kernelOf
    this.gpu = gpu
    for (const node of nodes) {
      if (node.op?.view) continue
      for (const input of new Set(node.inputs.map(memoryOf))) this.consumers.set(input, [...this.usersOf(input), node])
    }
  }

  /** What follows a node, in its `store`. */
  growStore(head: GraphTensor): void {
    const last = this.kernelOf(head).dispatches.at(-1)
    if (!last?.stores) return
    const fusion: Fusion = { head, before: [], after: [], written: [] }
    // Convolutions and products know the channel of what they store; another index would cost them a division for every element.
    const isNear = (input: GraphTensor, node: GraphTensor): boolean =>
      last.flat || ['element', 'single', 'channel'].includes(accessOf(input.shape, node.shape, head.shape))
    this.grow(fusion, [head], (node) =>
      node.inputs.every((input) => isNear(input, node) && (last.stores === 'f32' || isWide(input.shape, node.shape))),
    )
    if (fusion.after.length > 0) this.keep(fusion)
  }

  /** What comes before a node and is needed by it alone, in its `load`. */
  growLoad(head: GraphTensor): void {
    const [first] = this.kernelOf(head).dispatches
    const at = first?.reads.find(({ name }) => name === first.loads)?.buffer
    if (typeof at !== 'number') return
    const fusion = this.fusions.get(head) ?? { head, before: [], after: [], written: [head] }
    const inside = new Set([head])
    const tryOne = (given: GraphTensor): void => {
      const node = memoryOf(given)
      if (!this.joins(head.inputs[at], node) || this.kept.has(node)) return
      if (!this.usersOf(node).every((user) => inside.has(user))) return
      if (node === memoryOf(head.inputs[at]) && head.inputs.filter((input) => memoryOf(input) === node).length > 1)
        return
      const grown = { ...fusion, before: [node, ...fusion.before].sort((a, b) => a.id - b.id) }
      if (!this.fits(grown) || this.isCircular(grown)) return
      fusion.before = grown.before
      inside.add(node)
      for (const input of node.inputs) tryOne(input)
    }
    tryOne(head.inputs[at])
    if (fusion.before.length > 0) this.keep(fusion)
  }

  /** Pointwise nodes as a kernel of their own, with those that read the same. */
  growAlone(seed: GraphTensor): void {
    if (this.fusions.has(seed)) return
    const fusion: Fusion = { before: [], after: [seed], written: [seed] }
    this.grow(fusion, [seed], () => true)
    if (fusion.after.length > 1) this.keep(fusion)
  }

  private grow(fusion: Fusion, from: readonly GraphTensor[], takes: (node: GraphTensor) => boolean): void {
    const inside = new Set<GraphTensor>(from)
    const refused = new Set<GraphTensor>()
    for (let grew = true; grew && inside.size < MOST; ) {
      grew = false
      for (const node of this.neighbours(fusion, inside)) {
        if (refused.has(node) || !this.joins(from[0], node) || !takes(node)) continue
        const grown = { ...fusion, after: [...fusion.after, node].sort((a, b) => a.id - b.id) }
        if (!this.fits(grown) || this.isCircular(grown)) {
          refused.add(node)
          continue
        }
        fusion.after = grown.after
        inside.add(node)
        grew = true
        break
      }
    }
    fusion.written = membersOf(fusion).filter((node) => this.isWritten(node, inside))
  }

  /** Those that could be next, nearest first: users, operands, and in kernels of pointwise nodes alone what reads the same operands. */
  private neighbours({ head, after }: Fusion, inside: ReadonlySet<GraphTensor>): GraphTensor[] {
    const users = [...inside].flatMap((node) => this.usersOf(node)).sort((a, b) => a.id - b.id)
    const operands = after.flatMap((node) => node.inputs.map(memoryOf))
    const siblings = head ? [] : operands.filter((node) => !inside.has(node)).flatMap((node) => this.usersOf(node))
    return [...new Set([...users, ...operands, ...siblings])].filter((node) => !inside.has(node))
  }

  /** Whether a node can be computed with values of the rate and as many elements. */
  private joins(with_: GraphTensor, node: GraphTensor): boolean {
    return (
      node.op?.pointwise !== undefined &&
      !this.fusions.has(node) &&
      node.rate === with_.rate &&
      elements(node.shape) === elements(with_.shape)
    )
  }

  /** Whether a kernel binds no more buffers than it may. */
  private fits(fusion: Fusion): boolean {
    const { head, before, after } = fusion
    const inside = new Set(membersOf(fusion))
    const channels = head?.shape
    const operandsOf = (nodes: readonly GraphTensor[]): number => {
      const found = new Set<string>()
      for (const node of nodes)
        for (const input of node.inputs) {
          const from = memoryOf(input)
          if (!inside.has(from)) found.add(`${from.id} ${accessOf(input.shape, node.shape, channels)}`)
        }
      return found.size
    }
    const written = [...(head ? [head] : []), ...after].filter((node) => this.isWritten(node, inside)).length
    const dispatches = head ? this.kernelOf(head).dispatches : []
    const [first, last] = [dispatches[0], dispatches.at(-1)]
    const limit = this.gpu.maxStorageBuffers
    const loading = (first?.reads.length ?? 0) - 1 + operandsOf(before)
    const storing = (last?.reads.length ?? 0) + operandsOf(after) + written
    if (before.length === 0) return storing <= limit
    if (first === last) return loading + operandsOf(after) + written <= limit
    return storing <= limit && loading + first.writes.length <= limit
  }

  /** Whether something would have to be computed before itself: a value of the kernel is needed for one of its operands. */
  private isCircular(fusion: Fusion): boolean {
    const { head, before, after } = fusion
    const inside = new Set(membersOf(fusion))
    // What the kernel stores comes too late for what it loads.
    const stored = new Set([...(head ? [head] : []), ...after])
    const loaded = [...before, ...(head ? [head] : [])].flatMap((node) => node.inputs.map(memoryOf))
    if (loaded.some((node) => stored.has(node))) return true
    // Nothing older than all nodes of the kernel is computed from it, other than by way of kernels that have younger nodes too.
    let oldest = Math.min(...[...inside].map((node) => node.id))
    const others = [...new Set(this.fusions.values())].map((other) => membersOf(other).map((node) => node.id))
    for (let moved = true; moved; ) {
      moved = false
      for (const ids of others) {
        const least = Math.min(...ids)
        if (least >= oldest || Math.max(...ids) <= oldest) continue
        oldest = least
        moved = true
      }
    }
    const seen = new Set<GraphTensor>()
    const stack = [...inside].flatMap((node) => node.inputs.map(memoryOf)).filter((node) => !inside.has(node))
    for (let node = stack.pop(); node; node = stack.pop()) {
      if (inside.has(node)) return true
      if (seen.has(node) || node.id < oldest) continue
      const other = this.fusions.get(node)
      for (const member of other ? membersOf(other) : [node]) {
        seen.add(member)
        stack.push(...member.inputs.map(memoryOf).filter((input) => !seen.has(input)))
      }
    }
    return false
  }

  private isWritten(node: GraphTensor, inside: ReadonlySet<GraphTensor>): boolean {
    return this.kept.has(node) || this.usersOf(node).some((user) => !inside.has(user))
  }

  private usersOf(node: GraphTensor): readonly GraphTensor[] {
    return this.consumers.get(node) ?? []
  }

  private keep(fusion: Fusion): void {
    const inside = new Set(membersOf(fusion))
    const own = [...(fusion.head ? [fusion.head] : []), ...fusion.after]
    fusion.written = own.filter((node) => this.isWritten(node, inside))
    for (const node of inside) this.fusions.set(node, fusion)
  }
}

/**
 * Has kernels that differ in nothing but which values they write all write the same, those of the plans before this one included: an
 * activation's input is written where the gradient needs it, and in a copy of the network without gradient as well. It is for adapters
 * where a store is cheap beside the compilation of one more shader.
 */
function writeAlike(
  fusions: ReadonlySet<Fusion>,
  kernelOf: (node: GraphTensor) => Kernel,
  gpu: Capabilities,
  before: WrittenBefore,
): void {
  const alike = new Map<string, Fusion[]>()
  for (const fusion of fusions) {
    const { head, after, written } = fusion
    if (!head || after.length === 0 || fusion.before.length > 0) continue
    const members = [head, ...after]
    const { code, reads } = kernelOf(head).dispatches.at(-1) as Dispatch
    const operands = after.map(({ op, inputs, shape }) => [
      op?.name,
      inputs.map((input) => {
        const member = members.indexOf(memoryOf(input))
        return member >= 0 ? member : accessOf(input.shape, shape, head.shape)
      }),
    ])
    const key = JSON.stringify([code, reads.map(({ type }) => type), operands])
    const bound = reads.length + after.reduce((n, { inputs }) => n + inputs.length, 0)
    const all = members.map((member, i) => written.includes(member) || (before.get(key)?.[i] ?? false))
    if (bound + all.filter(Boolean).length > gpu.maxStorageBuffers) continue
    before.set(key, all)
    alike.set(key, [...(alike.get(key) ?? []), fusion])
  }
  for (const [key, group] of alike) {
    const all = before.get(key)!
    for (const fusion of group) fusion.written = [fusion.head!, ...fusion.after].filter((_, i) => all[i])
  }
}
