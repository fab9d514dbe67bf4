/**
 * ONNX models inside safetensors files, the only format that is loaded at run time: floats are tensors of the file, by their names in the
 * model; the graph with its integers is JSON in the file's metadata, under the key `onnx`.
 */
import {
  checkedModel,
  neededNodes,
  type OnnxAttribute,
  type OnnxModel,
  type OnnxNode,
  type OnnxValueInfo,
} from './onnx-model.ts'
import { isFloat, OnnxError, type OnnxTensor, type OnnxType, onnxTensor, onnxTypes } from './onnx-tensor.ts'
import type { WeightTensor } from './registry.ts'

/** What a safetensors file takes of a model. */
export interface StoredOnnx {
  tensors: Map<string, { shape: readonly number[]; data: Float32Array }>
  metadata: { onnx: string }
}

/** Of numbers that JSON does not know, and of all that are not whole; -0 among them. */
type JsonNumber = number | string

/** The graph as JSON. Attributes are [name, kind, value]. */
interface Document {
  version: 1
  opset: number
  inputs: OnnxValueInfo[]
  outputs: OnnxValueInfo[]
  nodes: [op: string, name: string, inputs: string[], outputs: string[], ...attributes: [string, string, unknown][]][]
  /** Names of the floats, which are tensors of the file. */
  floats: string[]
  /** All other constants: type, shape, values. */
  others: Record<string, [type: OnnxType, shape: readonly number[], values: JsonNumber[]]>
}

/**
 * What of a model some of its values need, to be written into a safetensors file. The same model gives the same result. Floats of all
 * widths become f32.
 *
 * @throws OnnxError if the model has no value of one of these names, or a part that is needed cannot be stored
 */
export function storeOnnx(model: OnnxModel, outputs: readonly string[]): StoredOnnx {
  const { file, opset, constants } = model
  const nodes = neededNodes(model, outputs)
  const used = new Set([...outputs, ...nodes.flatMap((node) => node.inputs)])
  const tensors: StoredOnnx['tensors'] = new Map()
  const document: Document = {
    version: 1,
    opset,
    inputs: model.inputs.filter(({ name }) => used.has(name)),
    outputs: outputs.map((name) => {
      const value = model.outputs.find((output) => output.name === name)
      return value ?? { name, type: undefined, shape: undefined }
    }),
    nodes: nodes.map((node) => {
      if (node.domain !== '')
        throw new OnnxError(file, `cannot be stored: ${node.op} is an operator of "${node.domain}"`)
      const attributes = [...node.attributes].map(([name, { kind, value }]): [string, string, unknown] => {
        if (kind === 'other') throw new OnnxError(file, `cannot be stored: ${node.op} holds ${value}`)
        return [name, kind, encodeAttribute(value)]
      })
      return [node.op, node.name, [...node.inputs], [...node.outputs], ...attributes]
    }),
    floats: [],
    others: Object.create(null),
  }
  for (const [name, tensor] of constants) {
    if (!used.has(name)) continue
    const { type, shape, data } = tensor
    if (!isFloat(type)) document.others[name] = encodeTensor(tensor)
    else {
      tensors.set(name, { shape, data: data instanceof Float32Array ? data : Float32Array.from(data) })
      document.floats.push(name)
    }
  }
  return { tensors, metadata: { onnx: JSON.stringify(document) } }
}

const encodeTensor = ({ type, shape, data }: OnnxTensor): [OnnxType, readonly number[], JsonNumber[]] => [
  type,
  shape,
  Array.from(data, encodeNumber),
]

function encodeNumber(value: number): JsonNumber {
  if (Object.is(value, -0)) return '-0'
  return Number.isInteger(value) ? value : String(value)
}

function encodeAttribute(value: OnnxAttribute['value']): unknown {
  if (typeof value === 'number') return encodeNumber(value)
  if (typeof value === 'string') return value
  if ('data' in value) return encodeTensor(value)
  return value.map((each) => (typeof each === 'number' ? encodeNumber(each) : each))
}

/** An opened safetensors file. */
export interface OnnxSource {
  readonly metadata: Readonly<Record<string, string>>
  tensor(name: string): WeightTensor
}

/**
 * The model that `storeOnnx` stored.
 *
 * @param file the file's name, for messages
 * @throws OnnxError if the file holds none, or one that is not as it was stored; WeightsError where a tensor is missing
 */
export function loadOnnx(source: OnnxSource, file: string): OnnxModel {
  const text = source.metadata.onnx
  if (text === undefined) throw new OnnxError(file, 'holds no ONNX graph')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new OnnxError(file, 'holds an ONNX graph that is not JSON', undefined, { cause })
  }
  return checkedModel(new Reader(file).document(value, source))
}

/**
 * Below this a weight or bias is nothing beside the others of its sum, which f32 knows to 1 in 10^7. Channels that died in training
 * are full of such numbers, down to 1e-45. Their products are below what f32 holds with all its digits (1.2e-38), and with those many
 * processors compute a hundred times as slowly.
 */
const DUST = 1e-15

/** The numbers with zeros for dust; the same array where there is none, and single numbers (limits, epsilons) as they are. */
function withoutDust(data: Float32Array): Float32Array {
  const isDust = (v: number) => v !== 0 && Math.abs(v) < DUST
  return data.length > 1 && data.some(isDust) ? data.map((v) => (isDust(v) ? 0 : v)) : data
}

/** Checks every part of the document: what comes out of JSON may be anything. */
class Reader {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  document(value: unknown, source: OnnxSource): OnnxModel {
    const { version, opset, inputs, outputs, nodes, floats, others } = this.#record(value)
    if (version !== 1) this.#fail(`of version ${version}`)
    const constants = new Map<string, OnnxTensor>()
    for (const name of this.#list(floats, this.#text)) {
      const { shape } = source.tensor(name)
      constants.set(
        name,
        onnxTensor('float32', shape, () => withoutDust(source.tensor(name).data)),
      )
    }
    for (const [name, tensor] of Object.entries(this.#record(others))) {
      if (constants.has(name)) this.#fail(`with two constants "${name}"`)
      constants.set(name, this.#tensor(tensor))
    }
    return {
      file: this.#file,
      opset: this.#natural(opset),
      inputs: this.#list(inputs, this.#value),
      outputs: this.#list(outputs, this.#value),
      nodes: this.#list(nodes, this.#node),
      constants,
    }
  }

  #fail(problem: string): never {
    throw new OnnxError(this.#file, `holds an ONNX graph ${problem}: it is damaged`)
  }

  #record(value: unknown): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.#fail('with a part that is no object')
    return value as Record<string, unknown>
  }

  #list<T>(value: unknown, read: (each: unknown) => T): T[] {
    if (!Array.isArray(value)) return this.#fail('with a part that is no list')
    return value.map((each) => read(each))
  }

  #text = (value: unknown): string => (typeof value === 'string' ? value : this.#fail('with a name that is no text'))

  #natural = (value: unknown): number =>
    Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : this.#fail('with a number out of range')

  #number = (value: unknown): number => {
    if (typeof value === 'number') return value
    const number = typeof value === 'string' ? Number(value) : undefined
    return number !== undefined && (value === String(number) || value === '-0')
      ? number
      : this.#fail('with a number that is none')
  }

  #type = (value: unknown): OnnxType =>
    onnxTypes.find((type) => type === value) ?? this.#fail('with a type that is not known')

  #value = (value: unknown): OnnxValueInfo => {
    const { name, type, shape } = this.#record(value)
    const extent = (each: unknown) => (typeof each === 'string' ? each : this.#natural(each))
    return {
      name: this.#text(name),
      type: type === undefined ? undefined : this.#type(type),
      shape: shape === undefined ? undefined : this.#list(shape, extent),
    }
  }

  #tensor = (value: unknown): OnnxTensor => {
    const [type, shape, values] = this.#list(value, (each) => each)
    const extents = this.#list(shape, this.#natural)
    const numbers = this.#list(values, this.#number)
    if (extents.reduce((product, extent) => product * extent, 1) !== numbers.length)
      this.#fail('with a constant that is not as long as its shape')
    const found = this.#type(type)
    const data = isFloat(found) && found !== 'float64' ? Float32Array.from(numbers) : Float64Array.from(numbers)
    return onnxTensor(found, extents, () => data)
  }

  #node = (value: unknown): OnnxNode => {
    const [op, name, inputs, outputs, ...attributes] = this.#list(value, (each) => each)
    const map = new Map<string, OnnxAttribute>()
    for (const attribute of attributes) {
      const [key, kind, held] = this.#list(attribute, (each) => each)
      map.set(this.#text(key), this.#attribute(kind, held))
    }
    return {
      op: this.#text(op),
      name: this.#text(name),
      domain: '',
      inputs: this.#list(inputs, this.#text),
      outputs: this.#list(outputs, this.#text),
      attributes: map,
    }
  }

  #attribute(kind: unknown, value: unknown): OnnxAttribute {
    switch (kind) {
      case 'float':
      case 'int':
        return { kind, value: this.#number(value) }
      case 'floats':
      case 'ints':
        return { kind, value: this.#list(value, this.#number) }
      case 'string':
        return { kind, value: this.#text(value) }
      case 'strings':
        return { kind, value: this.#list(value, this.#text) }
      case 'tensor':
        return { kind, value: this.#tensor(value) }
      default:
        return this.#fail('with an attribute of no known kind')
    }
  }
}
