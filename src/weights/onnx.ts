/**
 * Reads ONNX models: graphs of operators with their constants. Field numbers are those of onnx.proto:
 * https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 *
 * The reader is strict and knows no operator but Constant: what it returns is known to be a graph without cycles in which every value
 * is defined once. Constants are views of the file and are decoded when they are asked for.
 */
import {
  checkedModel,
  nodeError,
  type OnnxAttribute,
  type OnnxModel,
  type OnnxNode,
  type OnnxValueInfo,
} from './onnx-model.ts'
import {
  type ExternalData,
  OnnxError,
  type OnnxNumbers,
  type OnnxTensor,
  type OnnxType,
  onnxTensor,
  pushExtent,
  RANK_LIMIT,
  readTensor,
  typeOf,
} from './onnx-tensor.ts'
import { type Field, type Refuse, visitFields } from './protobuf.ts'

/** Before version 3 models had no operator set; what comes after 13 is not known here. */
const [OLDEST, NEWEST] = [3, 13]

/**
 * Reads a model.
 *
 * @param bytes the file; it must not be written to afterwards
 * @param file its name, for messages
 * @param external gives the files beside the model in which it keeps constants, if it keeps any there
 * @throws OnnxError if the file is damaged, breaks a rule of the format, or holds constants of a type that is not read
 */
export function readOnnx(bytes: Uint8Array, file: string, external?: ExternalData): OnnxModel {
  const refuse = refusal(file)
  let version = 0
  let opset: number | undefined
  let graph: Uint8Array | undefined
  visitFields(bytes, refuse, (field) => {
    if (field.id === 1) version = field.integer()
    else if (field.id === 7) graph = graph ? refuse('has two graphs') : field.bytes()
    else if (field.id === 8) {
      const set = readOperatorSet(field.bytes(), refuse)
      if (set.domain !== '') return
      opset = opset === undefined ? set.version : refuse("names two versions of ONNX' operators")
    }
  })
  if (!(version >= OLDEST && version <= NEWEST))
    refuse(`is of version ${version} of the ONNX format, not ${OLDEST} to ${NEWEST} (if it is an ONNX model at all)`)
  if (!graph) return refuse('has no graph')
  if (opset === undefined) return refuse("does not say which version of ONNX' operators it uses")
  return checkedModel({ file, opset, ...readGraph(graph, file, external) })
}

/**
 * Reads a file that holds a single tensor, as ONNX' test data do.
 *
 * @throws OnnxError if it cannot be read
 */
export const readOnnxTensor = (bytes: Uint8Array, file: string): { name: string; tensor: OnnxTensor } =>
  readTensor(bytes, refusal(file))

const refusal =
  (file: string): Refuse =>
  (problem) => {
    throw new OnnxError(file, problem)
  }

/** ONNX' own operators have two names for their domain. */
const domainOf = (domain: string): string => (domain === 'ai.onnx' ? '' : domain)

/** OperatorSetIdProto. */
function readOperatorSet(message: Uint8Array, refuse: Refuse): { domain: string; version: number } {
  let domain = ''
  let version = 0
  visitFields(message, refuse, (field) => {
    if (field.id === 1) domain = domainOf(field.text())
    else if (field.id === 2) version = field.integer()
  })
  return { domain, version }
}

/** GraphProto. */
function readGraph(message: Uint8Array, file: string, external?: ExternalData): Omit<OnnxModel, 'file' | 'opset'> {
  const refuse = refusal(file)
  const nodes: OnnxNode[] = []
  const constants = new Map<string, OnnxTensor>()
  const inputs: OnnxValueInfo[] = []
  const outputs: OnnxValueInfo[] = []
  const define = (name: string, tensor: OnnxTensor): void => {
    if (name === '') refuse('has a constant without a name')
    if (constants.has(name)) refuse(`defines "${name}" twice`)
    constants.set(name, tensor)
  }
  visitFields(message, refuse, (field) => {
    if (field.id === 1) {
      const node = readNode(field.bytes(), refuse, external)
      if (node.op !== 'Constant' || node.domain !== '') nodes.push(node)
      else if (node.outputs.length === 1) define(node.outputs[0], constantOf(node, file))
      else throw nodeError(file, node, `has ${node.outputs.length} outputs`)
    } else if (field.id === 5) {
      const { name, tensor } = readTensor(field.bytes(), refuse, external)
      define(name, tensor)
    } else if (field.id === 11) inputs.push(readValue(field.bytes(), refuse))
    else if (field.id === 12) outputs.push(readValue(field.bytes(), refuse))
    else if (field.id === 15) refuse('has a sparse constant, which is not read')
  })
  // Until version 4 of the format every constant had to be among the inputs, and it may still be: as their default.
  return { nodes, constants, outputs, inputs: inputs.filter(({ name }) => !constants.has(name)) }
}

/** NodeProto. */
function readNode(message: Uint8Array, refuse: Refuse, external?: ExternalData): OnnxNode {
  const inputs: string[] = []
  const outputs: string[] = []
  const attributes = new Map<string, OnnxAttribute>()
  let name = ''
  let op = ''
  let domain = ''
  visitFields(message, refuse, (field) => {
    if (field.id === 1) inputs.push(field.text())
    else if (field.id === 2) outputs.push(field.text())
    else if (field.id === 3) name = field.text()
    else if (field.id === 4) op = field.text()
    else if (field.id === 7) domain = domainOf(field.text())
    else if (field.id === 5) {
      const [key, attribute] = readAttribute(field.bytes(), refuse, external)
      if (attributes.has(key)) refuse(`has a node with two attributes "${key}"`)
      attributes.set(key, attribute)
    }
  })
  if (op === '') refuse(`has a node "${name}" without an operator`)
  return { name, op, domain, inputs, outputs, attributes }
}

/** Kinds by their numbers in AttributeProto.AttributeType, with the field that holds the value; the others are not read. */
const KINDS: Record<number, { kind: OnnxAttribute['kind']; id: number }> = {
  1: { kind: 'float', id: 2 },
  2: { kind: 'int', id: 3 },
  3: { kind: 'string', id: 4 },
  4: { kind: 'tensor', id: 5 },
  6: { kind: 'floats', id: 7 },
  7: { kind: 'ints', id: 8 },
  8: { kind: 'strings', id: 9 },
}
/** Fields that hold values of other kinds: graphs, sparse tensors, types, lists of tensors and of those. */
const OTHERS: Record<number, string> = {
  6: 'a graph',
  10: 'tensors',
  11: 'graphs',
  14: 'a type',
  15: 'types',
  22: 'a sparse tensor',
  23: 'sparse tensors',
}

/** AttributeProto. */
function readAttribute(message: Uint8Array, refuse: Refuse, external?: ExternalData): [string, OnnxAttribute] {
  let name = ''
  let type = 0
  let holds: number | undefined
  const numbers: number[] = []
  const texts: string[] = []
  let tensor: OnnxTensor | undefined
  visitFields(message, refuse, (field) => {
    if (field.id === 1) name = field.text()
    else if (field.id === 20) type = field.integer()
    else if (field.id === 21) refuse('refers to an attribute of a function')
    else if (field.id !== 13) {
      if (holds !== undefined && holds !== field.id) refuse(`has an attribute "${name}" of two kinds`)
      holds = field.id
      if (field.id === 5) tensor = readTensor(field.bytes(), refuse, external).tensor
      else readAttributeValue(field, numbers, texts)
    }
  })
  if (name === '') refuse('has an attribute without a name')
  if (holds !== undefined && holds in OTHERS) return [name, { kind: 'other', value: OTHERS[holds] }]
  // Old files do not name the type; then the value does.
  const found = KINDS[type] ?? Object.values(KINDS).find(({ id }) => id === holds)
  if (!found || (holds !== undefined && found.id !== holds)) return refuse(`has an attribute "${name}" of type ${type}`)
  const { kind } = found
  if (kind === 'tensor') return [name, { kind, value: tensor ?? refuse(`has an attribute "${name}" without a tensor`) }]
  // A value that is left out is zero or empty.
  if (kind === 'float' || kind === 'int') return [name, { kind, value: numbers.at(-1) ?? 0 }]
  if (kind === 'string') return [name, { kind, value: texts.at(-1) ?? '' }]
  if (kind === 'strings') return [name, { kind, value: texts }]
  return [name, { kind: kind as 'floats' | 'ints', value: numbers }]
}

function readAttributeValue(field: Field, numbers: number[], texts: string[]): void {
  if (field.id === 2) numbers.push(field.float())
  else if (field.id === 3) numbers.push(field.integer())
  else if (field.id === 4 || field.id === 9) texts.push(field.text())
  else if (field.id === 8) field.visitIntegers((value) => numbers.push(value))
  else if (field.id === 7) {
    const bytes = new Uint8Array(field.fixed(4))
    for (const value of new Float32Array(bytes.buffer)) numbers.push(value)
  }
}

/** What a node called Constant holds. */
function constantOf(node: OnnxNode, file: string): OnnxTensor {
  const entries = [...node.attributes]
  const [name, attribute] = entries[0] ?? ['', undefined]
  const listed = (type: OnnxType, values: OnnxNumbers, shape: readonly number[]) =>
    onnxTensor(type, shape, () => values)
  if (entries.length === 1 && attribute) {
    const { kind, value } = attribute
    if (name === 'value' && kind === 'tensor') return value
    if (name === 'value_float' && kind === 'float') return listed('float32', Float32Array.of(value), [])
    if (name === 'value_floats' && kind === 'floats') return listed('float32', Float32Array.from(value), [value.length])
    if (name === 'value_int' && kind === 'int') return listed('int64', Float64Array.of(value), [])
    if (name === 'value_ints' && kind === 'ints') return listed('int64', Float64Array.from(value), [value.length])
  }
  throw nodeError(file, node, `cannot be read: it holds ${entries.map(([key]) => `"${key}"`).join(', ') || 'nothing'}`)
}

/** ValueInfoProto with its TypeProto, as far as it is a tensor's. */
function readValue(message: Uint8Array, refuse: Refuse): OnnxValueInfo {
  let name = ''
  let tensor: Uint8Array | undefined
  visitFields(message, refuse, (field) => {
    if (field.id === 1) name = field.text()
    else if (field.id === 2)
      visitFields(field.bytes(), refuse, (type) => {
        if (type.id === 1) tensor = type.bytes()
      })
  })
  let type: OnnxType | undefined
  let shape: (number | string)[] | undefined
  if (tensor)
    visitFields(tensor, refuse, (field) => {
      if (field.id === 1) type = typeOf(field.integer())
      else if (field.id === 2) shape = readShape(field.bytes(), refuse)
    })
  return { name, type, shape }
}

/** TensorShapeProto. */
function readShape(message: Uint8Array, refuse: Refuse): (number | string)[] {
  const shape: (number | string)[] = []
  visitFields(message, refuse, (field) => {
    if (field.id !== 1) return
    const extents: number[] = []
    let name = ''
    visitFields(field.bytes(), refuse, (dimension) => {
      if (dimension.id === 1) pushExtent(extents, dimension.integer(), refuse)
      else if (dimension.id === 2) name = dimension.text()
    })
    // Some exporters write 0 where they mean that an extent is free.
    shape.push(extents[0] || name)
    if (shape.length > RANK_LIMIT) refuse(`has a value of more than ${RANK_LIMIT} axes`)
  })
  return shape
}
