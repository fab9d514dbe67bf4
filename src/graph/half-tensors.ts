/** Which tensors are kept in f16 between operations. */
import { elements } from '../kernels/op.ts'
import { type GraphTensor, memoryOf } from './graph.ts'

/**
 * Outputs of operations that allow it (`Op.half`) and change between runs, unless they or views of them are among the roots: what is
 * read, written or carried from step to step is f32. What follows an f32 tensor as large as itself is f32 too, so that nothing which
 * was kept exact is rounded on the way: a photo, a parameter and its update.
 * @param nodes in recording order
 * @param roots outputs of the plan, inputs that it updates, and their next values
 */
export function halfTensors(nodes: readonly GraphTensor[], roots: readonly GraphTensor[]): Set<GraphTensor> {
  const exact = new Set(roots.map(memoryOf))
  const halves = new Set<GraphTensor>()
  for (const node of nodes) {
    const { op, inputs, rate } = node
    if (!op?.half || op.view || rate === 'constant' || exact.has(node)) continue
    const largest = Math.max(...inputs.map(({ shape }) => elements(shape)))
    const follows = inputs.every((input) => elements(input.shape) < largest || halves.has(memoryOf(input)))
    if (op.half === 'always' || follows) halves.add(node)
  }
  return halves
}
