/**
 * Writes ONNX models of float tensors: the few fields of onnx.proto3 (github.com/onnx/onnx, IR version 8) that one
 * operation needs. A protobuf message is a sequence of fields: a number with the wire type (0 an integer, 2 bytes with
 * their length before them), then the value; integers are little-endian groups of seven bits.
 */
import { elements, type Shape } from '../../src/kernels/op.ts'

export interface OnnxNode {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[]
  /** Constants. */
  readonly initializers?: Readonly<Record<string, { readonly shape: Shape; readonly data: Float32Array }>>
  readonly inputs: Readonly<Record<string, Shape>>
  readonly outputs: Readonly<Record<string, Shape>>
}

const IR_VERSION = 8
const OPSET = 17
/** TensorProto.DataType, AttributeProto.AttributeType. */
const FLOAT = 1
const INT = 2
const INTS = 7

/** @throws RangeError for a tensor whose data do not have its shape. */
export function writeOnnx({ nodes, initializers = {}, inputs, outputs }: OnnxModel): Uint8Array {
  const graph = [
    ...nodes.map((node) => message(1, writeNode(node))),
    message(2, text('graph')),
    ...Object.entries(initializers).map(([name, { shape, data }]) => message(5, writeTensor(name, shape, data))),
    ...Object.entries(inputs).map(([name, shape]) => message(11, writeValueInfo(name, shape))),
    ...Object.entries(outputs).map(([name, shape]) => message(12, writeValueInfo(name, shape))),
  ]
  const opset = [message(1, text('')), integer(2, OPSET)]
  return Buffer.concat([integer(1, IR_VERSION), message(7, graph), message(8, opset)])
}

function writeNode({ op, inputs, outputs, attributes = {} }: OnnxNode): Buffer[] {
  return [
    ...inputs.map((name) => message(1, text(name))),
    ...outputs.map((name) => message(2, text(name))),
    message(4, text(op)),
    ...Object.entries(attributes).map(([name, value]) => message(5, writeAttribute(name, value))),
  ]
}

function writeAttribute(name: string, value: number | readonly number[]): Buffer[] {
  const values = typeof value === 'number' ? [integer(3, value)] : value.map((item) => integer(8, item))
  return [message(1, text(name)), ...values, integer(20, typeof value === 'number' ? INT : INTS)]
}

function writeTensor(name: string, shape: Shape, data: Float32Array): Buffer[] {
  if (data.length !== elements(shape)) throw new RangeError(`${name}: ${data.length} values for [${shape}]`)
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return [...shape.map((extent) => integer(1, extent)), integer(2, FLOAT), message(8, text(name)), message(9, [raw])]
}

/** A name with its type: a tensor of floats, of that shape. */
function writeValueInfo(name: string, shape: Shape): Buffer[] {
  const dimensions = shape.map((extent) => message(1, [integer(1, extent)]))
  const tensor = [integer(1, FLOAT), message(2, dimensions)]
  return [message(1, text(name)), message(2, [message(1, tensor)])]
}

const text = (value: string): Buffer[] => [Buffer.from(value)]

const integer = (field: number, value: number): Buffer => Buffer.concat([varint(field << 3), varint(value)])

function message(field: number, parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([varint((field << 3) | 2), varint(length), ...parts])
}

/** Sizes and counts only: below 2^31 and not negative. */
function varint(value: number): Buffer {
  const bytes: number[] = []
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128)
  return Buffer.from([...bytes, value])
}
