/** A graph of ONNX as a network of ours: nodes become recorded operations, with gradients. */
import { graph } from '../../graph/index.ts'
import { elements, formatShape, type Recorder, type Shape, ShapeError, type Tensor } from '../../kernels/op.ts'
import {
  neededNodes,
  nodeError,
  nodeKey,
  type OnnxModel,
  type OnnxNode,
  type OnnxValueInfo,
} from '../../weights/onnx-model.ts'
import { isFloat, OnnxError } from '../../weights/onnx-tensor.ts'
import { type Batch, Call, newWork, type Operator } from './call.ts'
import { convolutionNorm } from './convolution.ts'
import { operators } from './operators.ts'
import { isKnown, type OnnxValue } from './values.ts'

/** Versions of ONNX' operators that are understood; some operators are since before the first. */
export const OPSETS = [7, 21] as const

export interface OnnxNetworkOptions {
  /** Names of the outputs to compute; all of the model's unless told. */
  outputs?: readonly string[]
}

export interface OnnxNetwork {
  /** What the network takes, in the order of the file. */
  readonly inputs: readonly OnnxValueInfo[]
  /** Names of what it gives. */
  readonly outputs: readonly string[]
  /**
   * Records the network for a network of one input and one output.
   * @param x its input; the batch may be another than the one the model was written for
   * @throws OnnxError naming the node that cannot be computed
   */
  build(x: Tensor): Tensor
  /**
   * Records the network.
   * @param inputs values by name; one that is known while recording can be what a constant can be
   * @returns outputs by name; one that follows from shapes alone is known
   * @throws OnnxError naming the node that cannot be computed
   */
  record(recorder: Recorder, inputs: ReadonlyMap<string, OnnxValue>): Map<string, OnnxValue>
}

/**
 * Prepares a model. What follows from its constants alone is computed here, once.
 *
 * @throws OnnxError for a version or an operator that is not understood, naming the node
 */
export function onnxNetwork(model: OnnxModel, { outputs }: OnnxNetworkOptions = {}): OnnxNetwork {
  const { file, opset } = model
  const names = outputs ?? model.outputs.map(({ name }) => name)
  const nodes = neededNodes(model, names)
  for (const node of nodes) operatorOf(model, node)
  const values = new Map<string, OnnxValue>(model.constants)
  const taken = new Set([...names, ...nodes.flatMap((node) => node.inputs)])
  const inputs = model.inputs.filter(({ name }) => taken.has(name))
  const given = [...model.constants.keys(), ...inputs.map(({ name }) => name)]
  const defined = new Set([...given, ...nodes.flatMap((node) => node.outputs)])
  const nowhere = names.find((name) => !defined.has(name))
  if (nowhere !== undefined) throw new OnnxError(file, `has no value "${nowhere}"`)

  // Constants of constants need no recorder: what folds asks for none.
  const place = { file, opset, recorder: graph(), batch: { samples: 1, fixed: undefined }, values, work: newWork() }
  const rest = nodes.filter((node) => {
    const operator = operatorOf(model, node)
    if (!operator.fold || !isFoldable(node, values)) return true
    run(model, node, values, () => evaluate(new Call(node, place), operator, values))
    return false
  })
  const norms = normsAfterConvolutions(rest, model, new Set(names))

  const record: OnnxNetwork['record'] = (recorder, given) => {
    const batch = batchOf(file, inputs, given)
    const all = new Map<string, OnnxValue>([...values, ...given])
    const at = { ...place, recorder, batch, values: all, work: newWork() }
    const done = new Set<OnnxNode>()
    for (const node of rest) {
      if (done.has(node)) continue
      const norm = norms.get(node)
      if (norm) done.add(norm)
      run(model, node, all, () =>
        recorder.scope(nodeKey(node), () => {
          const call = new Call(node, at)
          if (!norm) return evaluate(call, operatorOf(model, node), all)
          const after = new Call(norm, at)
          all.set(norm.outputs[0], convolutionNorm(call, after))
          call.end()
          after.end()
        }),
      )
    }
    return new Map(names.map((name) => [name, all.get(name)!]))
  }

  return {
    inputs,
    outputs: names,
    record,
    build(x) {
      if (inputs.length !== 1 || names.length !== 1)
        throw new OnnxError(file, `has ${inputs.length} inputs and ${names.length} outputs, not one of each`)
      const y = record(x.recorder, new Map([[inputs[0].name, x]])).get(names[0])!
      if (isKnown(y)) throw new OnnxError(file, `computes "${names[0]}" without looking at its input`)
      return y
    },
  }
}

/** Most of the operators that a message names. */
const SHOWN_OPERATORS = 20

function operatorOf({ file, opset, nodes }: OnnxModel, node: OnnxNode): Operator {
  const operator = node.domain === '' ? operators.get(node.op) : undefined
  if (!operator) {
    const unknown = new Set(nodes.filter((n) => n.domain !== '' || !operators.has(n.op)).map((n) => n.op))
    unknown.delete(node.op)
    const others = unknown.size > 0 ? `, nor are ${[...unknown].slice(0, SHOWN_OPERATORS).join(', ')}` : ''
    const domain = node.domain === '' ? '' : ` of "${node.domain}"`
    throw nodeError(file, node, `the operator ${node.op}${domain} is not supported${others}`)
  }
  const { since = OPSETS[0], until = OPSETS[1] } = operator
  if (opset < since || opset > until)
    throw nodeError(file, node, `is of version ${opset}, which is not understood; ${since} to ${until} are`)
  const [fewest, most] = operator.inputs
  const { length } = node.inputs
  if (length < fewest || length > most)
    throw nodeError(
      file,
      node,
      `has ${length} inputs; ${node.op} takes ${fewest === most ? fewest : `${fewest} to ${most}`}`,
    )
  return operator
}

/** Floats beyond so many are left to the GPU, which computes what follows from constants once, too. */
const FOLDED_FLOATS = 2 ** 16

/** Whether all inputs of a node are known, and few enough or such that only the processor can do it. */
function isFoldable(node: OnnxNode, values: ReadonlyMap<string, OnnxValue>): boolean {
  let floats = 0
  let others = 0
  for (const input of node.inputs) {
    if (input === '') continue
    const value = values.get(input)
    if (!value || !isKnown(value)) return false
    const count = elements(value.shape)
    if (isFloat(value.type)) floats += count
    else others += count
  }
  return others > 0 || floats <= FOLDED_FLOATS
}

function evaluate(call: Call, operator: Operator, values: Map<string, OnnxValue>): void {
  const { outputs } = call.node
  const result = operator.fold && isFoldable(call.node, values) ? operator.fold(call) : operator.build(call)
  const results = Array.isArray(result) ? (result as readonly OnnxValue[]) : [result as OnnxValue]
  call.end()
  outputs.forEach((output, k) => {
    if (output === '') return
    values.set(output, results[k] ?? call.fail(`has an output ${k}, which is not computed here`))
  })
}

/** Runs what a node records; errors of our operations become errors about the node. */
function run(model: OnnxModel, node: OnnxNode, values: ReadonlyMap<string, OnnxValue>, record: () => void): void {
  try {
    record()
  } catch (cause) {
    if (!(cause instanceof ShapeError || cause instanceof RangeError)) throw cause
    const shapes = node.inputs.flatMap((input) => {
      const value = values.get(input)
      return value ? [`${input} ${formatShape(value.shape)}`] : []
    })
    throw nodeError(model.file, node, `${cause.message}${shapes.length > 0 ? ` (${shapes.join(', ')})` : ''}`, {
      cause,
    })
  }
}

/** BatchNormalization nodes by the Conv whose result nothing else takes. */
function normsAfterConvolutions(
  nodes: readonly OnnxNode[],
  { constants }: OnnxModel,
  outputs: ReadonlySet<string>,
): Map<OnnxNode, OnnxNode> {
  const users = new Map<string, OnnxNode[]>()
  for (const node of nodes) {
    for (const input of node.inputs) {
      const list = users.get(input)
      if (list) list.push(node)
      else users.set(input, [node])
    }
  }
  const norms = new Map<OnnxNode, OnnxNode>()
  for (const node of nodes) {
    if (node.op !== 'Conv' || outputs.has(node.outputs[0])) continue
    const [user, ...others] = users.get(node.outputs[0]) ?? []
    const isNorm = user?.op === 'BatchNormalization' && others.length === 0 && user.inputs[0] === node.outputs[0]
    // Otherwise scaling the kernels would be work in every run.
    const isFixed = [...node.inputs.slice(1), ...(user?.inputs.slice(1) ?? [])].every((input) => constants.has(input))
    if (isNorm && isFixed) norms.set(node, user)
  }
  return norms
}

/** How many samples there are, and checks that the inputs are what the model says. */
function batchOf(file: string, inputs: readonly OnnxValueInfo[], given: ReadonlyMap<string, OnnxValue>): Batch {
  let batch: Batch = { samples: 1, fixed: undefined }
  for (const [k, { name, type, shape }] of inputs.entries()) {
    const value = given.get(name)
    if (!value) throw new OnnxError(file, `takes an input "${name}", which is not given`)
    if (!isKnown(value) && !(type && isFloat(type)))
      throw new OnnxError(
        file,
        `takes an input "${name}" of ${type ?? 'a type that is not read'}; only floats can be fed`,
      )
    if (shape && !fits(shape, value.shape))
      throw new OnnxError(
        file,
        `takes an input "${name}" of [${shape.map((n) => n || '?')}], not ${formatShape(value.shape)}`,
      )
    const fixed = shape?.[0]
    if (k === 0) batch = { samples: value.shape[0] ?? 1, fixed: typeof fixed === 'number' ? fixed : undefined }
  }
  return batch
}

/** Whether a shape is as declared; the first axis, the batch, is free. */
const fits = (declared: readonly (number | string)[], shape: Shape): boolean =>
  declared.length === shape.length &&
  declared.every((extent, axis) => axis === 0 || typeof extent === 'string' || extent === shape[axis])
