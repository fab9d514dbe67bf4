/** A recorded graph in float64 on the processor, by the reference of each operation. */
import type { GraphTensor } from '../../src/graph/index.ts'
import type { Op, Tensor } from '../../src/kernels/op.ts'
import type { Reference } from '../operations/check.ts'
import { referenceOf } from '../operations/index.ts'

type Numbers = ArrayLike<number>

/** References of a test's own operations. */
type Own = ReadonlyMap<Op<object>, Reference<object>>

/**
 * The function from the inputs named in `varying` to the values of `outputs`, with all other inputs as given. What depends on none of
 * the varying inputs is computed once.
 * @throws Error for an input that has no value, or a value of another length than its shape.
 */
export function referenceFunction(
  outputs: readonly Tensor[],
  inputs: Readonly<Record<string, Numbers>>,
  varying: readonly string[],
  own: Own = new Map(),
): (values: Readonly<Record<string, Numbers>>) => Float64Array[] {
  const nodes = neededBy(outputs as readonly GraphTensor[])
  const varies = new Set<GraphTensor>()
  for (const node of nodes) {
    if ((!node.op && varying.includes(node.name)) || node.inputs.some((input) => varies.has(input))) varies.add(node)
  }
  const known = new Map<GraphTensor, Float64Array>()
  for (const node of nodes) if (!varies.has(node)) known.set(node, computed(node, inputs, known, own))
  return (values) => {
    const all = new Map(known)
    for (const node of nodes) if (varies.has(node)) all.set(node, computed(node, values, all, own))
    return (outputs as readonly GraphTensor[]).map((node) => all.get(node)!)
  }
}

/** The values of `outputs` for these inputs. */
export const referenceValues = (
  outputs: readonly Tensor[],
  inputs: Readonly<Record<string, Numbers>>,
  own?: Own,
): Float64Array[] => referenceFunction(outputs, inputs, [], own)({})

function computed(
  node: GraphTensor,
  inputs: Readonly<Record<string, Numbers>>,
  known: ReadonlyMap<GraphTensor, Float64Array>,
  own: Own,
): Float64Array {
  const count = node.shape.reduce((n, extent) => n * extent, 1)
  const shapes = node.inputs.map((input) => input.shape)
  const op = node.op as Op<object> | undefined
  const value = op
    ? (own.get(op) ?? referenceOf(op))(
        node.args as object,
        node.inputs.map((input) => known.get(input)!),
        shapes,
      )
    : Float64Array.from(node.data ?? inputs[node.name] ?? [])
  if (value.length !== count)
    throw new Error(`reference: ${node.name} [${node.shape}] has ${value.length} values, not ${count}`)
  return value
}

/** Nodes that the outputs need, in recording order, which is an order of computation. */
function neededBy(outputs: readonly GraphTensor[]): GraphTensor[] {
  const seen = new Set<GraphTensor>()
  const stack = [...outputs]
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue
    seen.add(node)
    stack.push(...node.inputs)
  }
  return [...seen].sort((a, b) => a.id - b.id)
}
