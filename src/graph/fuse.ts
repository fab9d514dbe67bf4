/**
 * Pointwise operations computed in the kernel before them: activations, residual sums, and in the backward pass the gradients of
 * activations and the sums of gradients ride in the `store` of convolutions. What is needed later is still written on the way.
 */
import type { Capabilities } from '../device/gpu.ts'
import { type Dispatch, elements, f32, type Kernel, type Op, type Param, type Shape, sameShape } from '../kernels/op.ts'
import type { Node } from './graph.ts'

/** A node whose kernel also computes the nodes of `chain`, one after another. It runs in the place of the last. */
export interface Fusion {
  producer: Node
  chain: readonly Node[]
  /** Nodes of producer and chain whose values others need, the last one included: the kernel writes them all. */
  written: readonly Node[]
}

/** Which values of a chain its kernels write, by what the kernels are otherwise; see `alike`. */
export type WrittenBefore = Map<string, readonly boolean[]>

/** How an operand is read in a store: the same element, one value a channel, or one value. */
type Access = 'element' | 'channel' | 'single'

/**
 * Finds what can be fused. A chain grows while the value at its end feeds a pointwise operation of the same shape and rate whose other
 * operands are of that shape, one value a channel, or single, and while whoever else needs a value of the chain comes later.
 */
export function findFusions(
  nodes: readonly Node[],
  kept: ReadonlySet<Node>,
  kernelOf: (node: Node) => Kernel,
  gpu: Capabilities,
  before?: WrittenBefore,
): Map<Node, Fusion> {
  const consumers = new Map<Node, Node[]>()
  for (const node of nodes)
    for (const input of new Set(node.inputs)) consumers.set(input, [...(consumers.get(input) ?? []), node])
  const fusions = new Map<Node, Fusion>()
  const taken = new Set<Node>()
  // From the last producer on: of two that feed one sum, the later one takes it, as the other's value is there by then.
  for (const producer of nodes.toReversed()) {
    if (!producer.op || producer.op.view || taken.has(producer)) continue
    const last = kernelOf(producer).dispatches.at(-1)
    if (!last?.stores) continue
    const members = [producer]
    let buffers = last.reads.length + 1
    for (;;) {
      const end = members[members.length - 1]
      const users = consumers.get(end) ?? []
      const next = users.length > 0 ? users.reduce((a, b) => (a.id < b.id ? a : b)) : undefined
      if (!next || taken.has(next) || !follows(end, next)) break
      const others = next.inputs.filter((input) => input !== end)
      const waiting = members.some((m) => (consumers.get(m) ?? []).some((u) => !members.includes(u) && u.id < next.id))
      if (waiting || others.some((input) => members.includes(input))) break
      const needed = isWritten(end, next, consumers, kept) ? 1 : 0
      if (buffers + others.length + needed > gpu.maxStorageBuffers) break
      buffers += others.length + needed
      members.push(next)
    }
    if (members.length === 1) continue
    const written = members.filter((m, i) => i === members.length - 1 || isWritten(m, members[i + 1], consumers, kept))
    const fusion = { producer, chain: members.slice(1), written }
    for (const member of members) {
      taken.add(member)
      fusions.set(member, fusion)
    }
  }
  if (before) writeAlike(new Set(fusions.values()), kernelOf, gpu, before)
  return fusions
}

/**
 * Has kernels that differ in nothing but which values of their chain they write all write the same, those of the plans before this one
 * included: an activation's input is written where the gradient needs it, and in a copy of the network without gradient as well. It is
 * for adapters where a store is cheap beside the compilation of one more shader.
 */
function writeAlike(
  fusions: ReadonlySet<Fusion>,
  kernelOf: (node: Node) => Kernel,
  gpu: Capabilities,
  before: WrittenBefore,
): void {
  const alike = new Map<string, Fusion[]>()
  for (const fusion of fusions) {
    const { producer, chain, written } = fusion
    const members = [producer, ...chain]
    const { code, reads } = kernelOf(producer).dispatches.at(-1)!
    const operands = chain.map(({ op, inputs }, k) => [
      op?.name,
      inputs.map((input) => (input === members[k] ? 'chain' : accessOf(input.shape, producer.shape))),
    ])
    const key = JSON.stringify([code, reads.map(({ type }) => type), operands])
    const bound = reads.length + chain.reduce((n, { inputs }) => n + inputs.length - 1, 0)
    const all = members.map((member, i) => written.includes(member) || (before.get(key)?.[i] ?? false))
    if (bound + all.filter(Boolean).length > gpu.maxStorageBuffers) continue
    before.set(key, all)
    alike.set(key, [...(alike.get(key) ?? []), fusion])
  }
  for (const [key, group] of alike) {
    const all = before.get(key)!
    for (const fusion of group) fusion.written = [fusion.producer, ...fusion.chain].filter((_, i) => all[i])
  }
}

const isWritten = (
  node: Node,
  next: Node,
  consumers: ReadonlyMap<Node, readonly Node[]>,
  kept: ReadonlySet<Node>,
): boolean => kept.has(node) || (consumers.get(node) ?? []).some((user) => user !== next)

function follows(end: Node, next: Node): boolean {
  const op = next.op as Op<unknown> | undefined
  return (
    op?.expression !== undefined &&
    next.rate === end.rate &&
    sameShape(next.shape, end.shape) &&
    next.inputs.every((input) => input === end || accessOf(input.shape, end.shape) !== undefined)
  )
}

function accessOf(operand: Shape, output: Shape): Access | undefined {
  if (sameShape(operand, output)) return 'element'
  if (elements(operand) === 1) return 'single'
  const lead = output.length - operand.length
  const channel = output[1]
  const isChannel = operand.every((extent, i) => extent === (i + lead === 1 ? channel : 1)) && lead <= 1
  return isChannel ? 'channel' : undefined
}

/**
 * The producer's last dispatch with the chain in its `store`. `bindRead` and `bindWrite` tell under which buffer reference an operand
 * and a written value are bound.
 */
export function fuseStore(
  dispatch: Dispatch,
  { producer, chain, written }: Fusion,
  bindRead: (node: Node) => number,
  bindWrite: (node: Node) => number,
): Dispatch {
  const reads = [...dispatch.reads]
  const params: Record<string, Param> = { ...dispatch.params }
  const type = dispatch.stores!
  const writes = written.map((node, k) => ({ name: `written${k}`, buffer: bindWrite(node), type }))
  const lines: string[] = []
  const note = (node: Node, value: string) => {
    const k = written.indexOf(node)
    if (k >= 0) lines.push(`written${k}[i] = ${value};`)
  }
  note(producer, 'value')
  let current = 'value'
  chain.forEach((node, step) => {
    const op = node.op as Op<unknown>
    const { wgsl, params: names } = op.expression!
    const before = step === 0 ? producer : chain[step - 1]
    const operands = node.inputs.map((input, k) => {
      if (input === before) return current
      const name = `operand${step}_${k}`
      const access = accessOf(input.shape, node.shape)!
      reads.push({ name, buffer: bindRead(input), type: access === 'element' ? type : 'f32' })
      return `${type}(${name}[${{ element: 'i', channel: 'c', single: '0' }[access]}])`
    })
    let expression = wgsl
    for (const name of names) {
      params[`${name}${step}`] = f32((node.args as Record<string, number>)[name])
      expression = expression.replaceAll(new RegExp(`\\bp\\.${name}\\b`, 'g'), `p.${name}${step}`)
    }
    const own = op.inputs.map((id, k) => `let ${id} = ${operands[k]};`)
    // A block of its own: rows name their inputs alike.
    current = `value${step}`
    lines.push(
      `var ${current}: ${type};`,
      `{ ${own.join(' ')} ${current} = ${expression.replaceAll(/\bT\(/g, `${type}(`)}; }`,
    )
    note(node, current)
  })
  return {
    ...dispatch,
    label: [dispatch.label, ...chain.map((node) => node.op?.name)].join('+'),
    reads,
    writes,
    params,
    storeCode: `fn store(i: u32, c: u32, value: ${type}) {\n  ${lines.join('\n  ')}\n}`,
  }
}
