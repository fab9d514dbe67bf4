/** From nodes to dispatches: picks each operation's kernel, resolves views, and sorts dispatches by how often they must run. */
import type { Capabilities } from '../device/gpu.ts'
import { type Dispatch, elements, formatShape, type Kernel, type Op, ShapeError } from '../kernels/op.ts'
import { type Node, RATES, type Rate } from './graph.ts'

/** A piece of GPU memory with one meaning: a leaf, the output of an operation, or a kernel's scratch. */
export interface Value {
  name: string
  elements: number
  rate: Rate
  /** The leaf that defines it, if any. */
  leaf?: Node
}

/** A dispatch with its buffers resolved. */
export interface Step {
  dispatch: Dispatch
  node: Node
  variant: string
  rate: Rate
  reads: Value[]
  writes: Value[]
  /** Arithmetic of the operation, on its last dispatch; 0 on the others. */
  flop: number
  bytes: number
}

export interface Lowered {
  steps: Step[]
  /** Memory of a node, views resolved. */
  value(node: Node): Value
}

/** Chooses among an operation's kernels; the default takes the first, which the operation ranks best. */
export type ChooseKernel = (node: Node, kernels: readonly Kernel[]) => Kernel

export function lower(
  roots: readonly Node[],
  gpu: Capabilities,
  choose: ChooseKernel = (_, kernels) => kernels[0],
): Lowered {
  const values = new Map<number, Value>()
  const steps: Step[] = []
  const value = (node: Node): Value => {
    const known = values.get(node.id)
    if (known) return known
    const isView = node.op?.view
    const made: Value = isView
      ? value(node.inputs[0])
      : { name: node.name, elements: elements(node.shape), rate: node.rate, leaf: node.op ? undefined : node }
    values.set(node.id, made)
    return made
  }
  for (const node of reachable(roots)) {
    if (!node.op || node.op.view) continue
    const op = node.op as Op<unknown>
    const shapes = node.inputs.map((n) => n.shape)
    const kernels = op.kernels(node.args, shapes, gpu)
    if (kernels.length === 0) {
      throw new ShapeError(
        `${op.name}(${node.name}): no kernel for ${shapes.map(formatShape).join(', ')} on ${gpu.description}`,
      )
    }
    const kernel = choose(node, kernels)
    const scratch = (kernel.scratch ?? []).map(
      (count, i): Value => ({ name: `${node.name}#${i}`, elements: count, rate: 'constant' }),
    )
    const resolve = (buffer: Dispatch['reads'][number]['buffer']): Value =>
      typeof buffer === 'number'
        ? value(node.inputs[buffer])
        : buffer === 'output'
          ? value(node)
          : scratch[Number(buffer.slice('scratch'.length))]
    const own = kernel.dispatches.map(
      (dispatch): Step => ({
        dispatch,
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
    const cost = op.cost(node.args, shapes)
    Object.assign(own.at(-1)!, cost)
    steps.push(...own)
  }
  return { steps, value }
}

/** A dispatch runs as often as what it reads; all that write one value run at the highest of their rates. */
function assignRates(own: readonly Step[]): void {
  for (let changed = true; changed; ) {
    changed = false
    for (const step of own) {
      const written = step.writes.filter((v) => own.some((s) => s !== step && s.writes.includes(v))).map((v) => v.rate)
      const rate = highest([step.rate, ...step.reads.map((v) => v.rate), ...written])
      if (rate !== step.rate) {
        step.rate = rate
        changed = true
      }
      for (const v of step.writes) {
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
function reachable(roots: readonly Node[]): Node[] {
  const seen = new Map<number, Node>()
  const stack = [...roots]
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node.id)) continue
    seen.set(node.id, node)
    stack.push(...node.inputs)
  }
  return [...seen.values()].sort((a, b) => a.id - b.id)
}
