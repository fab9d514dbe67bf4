/** The kernel of a fusion: its nodes' expressions in the stores and loads of its head, or by themselves. */
import { type FusedOperation, fusedCode, pointwiseKernel } from '../kernels/fused.ts'
import type { Dispatch, Kernel, Op } from '../kernels/op.ts'
import { type Fusion, membersOf } from './fuse.ts'
import { type GraphTensor, memoryOf } from './graph.ts'

/** Names of the operations in a fusion, joined with `+`. */
export const labelOf = (fusion: Fusion): string =>
  membersOf(fusion)
    .map((node) => node.op?.name)
    .join('+')

/**
 * @param own the head's kernel, if there is a head
 * @param bind tells under which buffer reference an operand or a written value is bound
 */
export function fusedKernel(fusion: Fusion, own: Kernel | undefined, bind: (node: GraphTensor) => number): Kernel {
  const { head, before, after, written } = fusion
  const label = labelOf(fusion)
  if (!own || !head) {
    const places = written.map((node) => after.indexOf(node))
    return pointwiseKernel(label, operationsOf(after, after, bind), places, written.map(bind))
  }
  const dispatches = [...own.dispatches]
  if (before.length > 0) dispatches[0] = withLoad(dispatches[0], before, bind)
  if (after.length > 0) {
    const last = dispatches.length - 1
    dispatches[last] = withStore(dispatches[last], fusion, bind)
  }
  dispatches[dispatches.length - 1] = { ...dispatches[dispatches.length - 1], label }
  return { ...own, dispatches }
}

/** The operations that compute `nodes`; `values` are what their operands may be without being read. */
function operationsOf(
  nodes: readonly GraphTensor[],
  values: readonly GraphTensor[],
  bind: (node: GraphTensor) => number,
): FusedOperation[] {
  return nodes.map((node) => ({
    form: (node.op as Op<unknown>).pointwise!,
    args: node.args as Record<string, number>,
    shape: node.shape,
    operands: node.inputs.map((input) => {
      const value = values.indexOf(memoryOf(input))
      return value >= 0 ? value : { buffer: bind(memoryOf(input)), shape: input.shape }
    }),
  }))
}

function withLoad(dispatch: Dispatch, before: readonly GraphTensor[], bind: (node: GraphTensor) => number): Dispatch {
  const { lines, values, reads, params } = fusedCode(operationsOf(before, before, bind), { type: 'f32', prefix: 'l' })
  return {
    ...dispatch,
    reads: [...dispatch.reads.filter(({ name }) => name !== dispatch.loads), ...reads],
    params: { ...dispatch.params, ...params },
    loadCode: `fn load(i: u32) -> f32 {\n  ${lines.join('\n  ')}\n  return ${values.at(-1)};\n}`,
  }
}

function withStore(
  dispatch: Dispatch,
  { head, after, written }: Fusion,
  bind: (node: GraphTensor) => number,
): Dispatch {
  const type = dispatch.stores!
  const members = [head!, ...after]
  const channels = dispatch.flat ? undefined : head!.shape
  const { lines, values, reads, params } = fusedCode(operationsOf(after, members, bind), {
    type,
    given: 'value',
    channels,
  })
  const writes = written.map((node, k) => ({ name: `written${k}`, buffer: bind(node), type }))
  const stores = written.map((node, k) => `written${k}[i] = ${values[members.indexOf(node)]};`)
  return {
    ...dispatch,
    reads: [...dispatch.reads, ...reads],
    writes,
    params: { ...dispatch.params, ...params },
    storeCode: `fn store(i: u32, c: u32, value: ${type}) {\n  ${[...lines, ...stores].join('\n  ')}\n}`,
  }
}
