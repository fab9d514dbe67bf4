/** What an ONNX model is once it has been read, and the rules that make its nodes a graph. */
import { OnnxError, type OnnxTensor, type OnnxType } from './onnx-tensor.ts'

/** What attributes hold, by kind; subgraphs, sparse tensors and types are not read, only called what they are (`other`). */
export interface OnnxAttributes {
  float: number
  int: number
  string: string
  tensor: OnnxTensor
  floats: readonly number[]
  ints: readonly number[]
  strings: readonly string[]
  other: string
}

export type OnnxAttribute = {
  [K in keyof OnnxAttributes]: { readonly kind: K; readonly value: OnnxAttributes[K] }
}[keyof OnnxAttributes]

export interface OnnxNode {
  /** May be empty. */
  readonly name: string
  readonly op: string
  /** Empty for the operators of ONNX itself. */
  readonly domain: string
  /** Names of values; an empty one stands for an input that is left out. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: ReadonlyMap<string, OnnxAttribute>
}

/** An input or output of the graph. */
export interface OnnxValueInfo {
  readonly name: string
  /** Undefined where it is no tensor, or its elements are of a type that is not read. */
  readonly type: OnnxType | undefined
  /** A text (it may be empty) stands for an extent that is not fixed; undefined where nothing is said of the shape. */
  readonly shape: readonly (number | string)[] | undefined
}

export interface OnnxModel {
  readonly file: string
  /** Version of ONNX' own operators that the nodes are written in. */
  readonly opset: number
  /** In an order of computation. Nodes called Constant are not among them. */
  readonly nodes: readonly OnnxNode[]
  /** Initialisers, and what nodes called Constant hold. */
  readonly constants: ReadonlyMap<string, OnnxTensor>
  /** Inputs that no initialiser defines. */
  readonly inputs: readonly OnnxValueInfo[]
  readonly outputs: readonly OnnxValueInfo[]
}

/** How messages call a node. */
export const nodeLabel = ({ name, op, outputs }: Pick<OnnxNode, 'name' | 'op' | 'outputs'>): string =>
  name === '' ? `the node of "${firstOutput(outputs)}" (${op})` : `node "${name}" (${op})`

/** What stands for a node in an error: its name, or that of its first output. */
export const nodeKey = ({ name, outputs }: Pick<OnnxNode, 'name' | 'outputs'>): string =>
  name === '' ? firstOutput(outputs) : name

const firstOutput = (outputs: readonly string[]): string => outputs.find((output) => output !== '') ?? ''

/** An error about a node of a model. */
export const nodeError = (file: string, node: OnnxNode, problem: string, options?: ErrorOptions): OnnxError =>
  new OnnxError(file, `${nodeLabel(node)}: ${problem}`, nodeKey(node), options)

/**
 * The model with its nodes in an order of computation.
 *
 * @throws OnnxError where a value is defined twice or not at all, two nodes have one name, or nodes wait for each other
 */
export function checkedModel(model: OnnxModel): OnnxModel {
  const { file, nodes, constants, inputs, outputs } = model
  const defined = new Set(constants.keys())
  for (const { name } of inputs) {
    if (name === '') throw new OnnxError(file, 'has an input without a name')
    if (defined.has(name)) throw new OnnxError(file, `defines "${name}" twice`)
    defined.add(name)
  }
  const producers = new Map<string, OnnxNode>()
  const names = new Set<string>()
  for (const node of nodes) {
    if (node.name !== '' && names.has(node.name)) throw nodeError(file, node, 'there is another node of that name')
    names.add(node.name)
    if (node.outputs.every((output) => output === '')) throw nodeError(file, node, 'has no output')
    for (const output of node.outputs) {
      if (output === '') continue
      if (defined.has(output)) throw nodeError(file, node, `defines "${output}", which is defined already`)
      defined.add(output)
      producers.set(output, node)
    }
  }
  for (const node of nodes) {
    const missing = node.inputs.find((input) => input !== '' && !defined.has(input))
    if (missing !== undefined) throw nodeError(file, node, `takes "${missing}", which nothing defines`)
  }
  if (outputs.length === 0) throw new OnnxError(file, 'has no output')
  const given = new Set<string>()
  for (const { name } of outputs) {
    if (!defined.has(name)) throw new OnnxError(file, `has an output "${name}", which nothing defines`)
    if (given.has(name)) throw new OnnxError(file, `has two outputs "${name}"`)
    given.add(name)
  }
  return { ...model, nodes: ordered(file, nodes, producers) }
}

/**
 * The order of the file if it is one of computation, as the format demands and a few writers do not heed; else one by Kahn (1962): a
 * node follows when all nodes that it takes values of have.
 */
function ordered(
  file: string,
  nodes: readonly OnnxNode[],
  producers: ReadonlyMap<string, OnnxNode>,
): readonly OnnxNode[] {
  const position = new Map(nodes.map((node, i) => [node, i]))
  const follows = (node: OnnxNode, i: number) =>
    node.inputs.every((input) => {
      const producer = producers.get(input)
      return !producer || position.get(producer)! < i
    })
  if (nodes.every(follows)) return nodes
  const waiting = new Map<OnnxNode, number>()
  const users = new Map<OnnxNode, OnnxNode[]>()
  for (const node of nodes) {
    const before = new Set(node.inputs.flatMap((input) => producers.get(input) ?? []))
    waiting.set(node, before.size)
    for (const producer of before) {
      const list = users.get(producer)
      if (list) list.push(node)
      else users.set(producer, [node])
    }
  }
  const ready = nodes.filter((node) => waiting.get(node) === 0)
  for (let i = 0; i < ready.length; i++) {
    for (const user of users.get(ready[i]) ?? []) {
      const left = waiting.get(user)! - 1
      waiting.set(user, left)
      if (left === 0) ready.push(user)
    }
  }
  const stuck = nodes.find((node) => waiting.get(node)! > 0)
  if (stuck) throw nodeError(file, stuck, 'waits for its own output: the graph has a cycle')
  return ready
}

/** The nodes that some of the model's values need, in order. */
export function neededNodes({ nodes }: OnnxModel, values: readonly string[]): OnnxNode[] {
  const needed = new Set(values)
  const kept = nodes.toReversed().filter((node) => {
    if (!node.outputs.some((output) => output !== '' && needed.has(output))) return false
    for (const input of node.inputs) needed.add(input)
    return true
  })
  return kept.reverse()
}
