/** Reverse-mode differentiation: walks the recorded nodes backwards and records each operation's backward rule. */
import { add } from '../kernels/elementwise.ts'
import { elements, inputName, type Op, ShapeError, type Tensor } from '../kernels/op.ts'
import { expand, sumTo } from '../kernels/reduce.ts'
import type { Graph, GraphTensor } from './graph.ts'

/**
 * Gradients of a scalar with respect to tensors of the same graph; the same shapes as the tensors.
 * Throws ShapeError where the loss is no scalar or does not depend on a tensor, and where an operation on the way has no
 * gradient.
 */
export function grad(loss: Tensor, wrt: Tensor): Tensor
export function grad(loss: Tensor, wrt: readonly Tensor[]): Tensor[]
export function grad(loss: Tensor, wrt: Tensor | readonly Tensor[]): Tensor | Tensor[] {
  const targets = (Array.isArray(wrt) ? wrt : [wrt]) as GraphTensor[]
  const root = loss as GraphTensor
  const graph: Graph = root.recorder
  if (elements(loss.shape) !== 1)
    throw new ShapeError(`grad: ${loss.name} has shape [${loss.shape.join()}]; a gradient needs a scalar`)
  const foreign = targets.find((target) => target.recorder !== graph)
  if (foreign) throw new ShapeError(`grad: ${foreign.name} belongs to another graph than ${loss.name}`)
  const nodes = graph.nodes.slice(0, root.id + 1)
  const depends = new Uint8Array(nodes.length)
  for (const target of targets) if (target.id < depends.length) depends[target.id] = 1
  for (const node of nodes) {
    if (!node.op?.detached && node.inputs.some((input) => depends[input.id])) depends[node.id] = 1
  }

  const gradients = new Map<number, Tensor>([[root.id, graph.constant([1], loss.shape, 'one')]])
  return graph.scope('grad', () => {
    for (let id = root.id; id >= 0; id--) {
      const node = nodes[id]
      const gradient = gradients.get(id)
      if (!gradient || !node.op || node.op.detached) continue
      const op = node.op as Op<unknown>
      const wanted = node.inputs.map((input) => depends[input.id] === 1)
      if (!wanted.includes(true)) continue
      if (!op.backward) throw new ShapeError(`grad: ${op.name}(${node.name}) has no gradient`)
      const found = op.backward({ args: node.args, inputs: node.inputs, output: node, gradient, wanted })
      node.inputs.forEach((input, k) => {
        if (!wanted[k]) return
        const part = found[k]
        if (part === 0) return
        if (!part) throw new ShapeError(`grad: ${op.name}(${node.name}) has no gradient for ${inputName(op.inputs, k)}`)
        const own = sumTo(part, input.shape)
        const sofar = gradients.get(input.id)
        gradients.set(input.id, sofar ? add(sofar, own) : own)
      })
    }
    const out = targets.map((target) => {
      const gradient = gradients.get(target.id)
      // All that leads from it to the loss is flat.
      if (!gradient && leadsTo(root, target)) return expand(graph.constant([0], []), target.shape)
      if (!gradient) throw new ShapeError(`grad: ${loss.name} does not depend on ${target.name}`)
      return gradient
    })
    return Array.isArray(wrt) ? out : out[0]
  })
}

/** Whether the loss is computed from the target, other than through detached tensors. */
function leadsTo(loss: GraphTensor, target: GraphTensor): boolean {
  const seen = new Set([loss])
  for (const node of seen) if (!node.op?.detached) for (const input of node.inputs) seen.add(input)
  return seen.has(target)
}
