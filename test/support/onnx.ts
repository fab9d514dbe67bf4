/** A small writer of ONNX files, for tests. Field numbers are those of onnx.proto. */

/** Code of each type that tests write, and how its raw bytes are made. */
const TYPES = {
  float32: { code: 1, bytes: (v: readonly number[]) => Float32Array.from(v) },
  uint8: { code: 2, bytes: (v: readonly number[]) => Uint8Array.from(v) },
  int8: { code: 3, bytes: (v: readonly number[]) => Int8Array.from(v) },
  uint16: { code: 4, bytes: (v: readonly number[]) => Uint16Array.from(v) },
  int16: { code: 5, bytes: (v: readonly number[]) => Int16Array.from(v) },
  int32: { code: 6, bytes: (v: readonly number[]) => Int32Array.from(v) },
  int64: { code: 7, bytes: (v: readonly number[]) => BigInt64Array.from(v, BigInt) },
  bool: { code: 9, bytes: (v: readonly number[]) => Uint8Array.from(v) },
  float16: { code: 10, bytes: (v: readonly number[]) => Uint16Array.from(v) },
  float64: { code: 11, bytes: (v: readonly number[]) => Float64Array.from(v) },
  uint32: { code: 12, bytes: (v: readonly number[]) => Uint32Array.from(v) },
  uint64: { code: 13, bytes: (v: readonly number[]) => BigUint64Array.from(v, BigInt) },
  bfloat16: { code: 16, bytes: (v: readonly number[]) => Uint16Array.from(v) },
} as const
export type WrittenType = keyof typeof TYPES

type Bytes = number[]

export function varint(value: number | bigint): Bytes {
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: Bytes = []
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return bytes
}

/** A field that holds a number. */
export const number = (id: number, value: number | bigint): Bytes => [...varint(id * 8), ...varint(value)]

/** A field that holds a message or bytes. */
export const bytes = (id: number, content: Iterable<number>): Bytes => {
  const list = [...content]
  return [...varint(id * 8 + 2), ...varint(list.length), ...list]
}

export const text = (id: number, value: string): Bytes => bytes(id, new TextEncoder().encode(value))

const float = (id: number, value: number): Bytes => [...varint(id * 8 + 5), ...rawBytes(Float32Array.of(value))]

const rawBytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** A constant: type, shape, values (halves as their bits). */
export type Constant = readonly [type: WrittenType, shape: readonly number[], values: readonly number[]]

/** TensorProto with raw data. */
export const tensor = (name: string, [type, shape, values]: Constant): Bytes => [
  ...shape.flatMap((extent) => number(1, extent)),
  ...number(2, TYPES[type].code),
  ...text(8, name),
  ...bytes(9, rawBytes(TYPES[type].bytes(values))),
]

/** Whole numbers are ints, `{ f }` is a float; lists likewise; a constant is a tensor. */
export type Attribute =
  | number
  | { f: number }
  | readonly number[]
  | { fs: readonly number[] }
  | string
  | { t: Constant }

function attribute(name: string, value: Attribute): Bytes {
  const typed = (type: number, content: Bytes) => bytes(5, [...text(1, name), ...content, ...number(20, type)])
  if (typeof value === 'number') return typed(2, number(3, value))
  if (typeof value === 'string') return typed(3, text(4, value))
  if ('f' in value) return typed(1, float(2, value.f))
  if ('fs' in value)
    return typed(
      6,
      value.fs.flatMap((each) => float(7, each)),
    )
  if ('t' in value) return typed(4, bytes(5, tensor('', value.t)))
  return typed(
    7,
    value.flatMap((each) => number(8, each)),
  )
}

export interface WrittenNode {
  op: string
  /** A list of names, or one with blanks between them; `_` is an input that is left out. */
  inputs: string
  /** `y` unless told. */
  outputs?: string
  attributes?: Readonly<Record<string, Attribute>>
  name?: string
  domain?: string
}

const names = (list: string): string[] =>
  list.split(' ').flatMap((name) => (name === '' ? [] : [name === '_' ? '' : name]))

export const node = ({ op, inputs, outputs = 'y', attributes = {}, name = '', domain = '' }: WrittenNode): Bytes => [
  ...names(inputs).flatMap((each) => text(1, each)),
  ...names(outputs).flatMap((each) => text(2, each)),
  ...text(3, name),
  ...text(4, op),
  ...Object.entries(attributes).flatMap(([key, value]) => attribute(key, value)),
  ...text(7, domain),
]

/** ValueInfoProto; a text is an extent's name. */
export const value = (name: string, shape: readonly (number | string)[], type: WrittenType = 'float32'): Bytes => [
  ...text(1, name),
  ...bytes(
    2,
    bytes(1, [
      ...number(1, TYPES[type].code),
      ...bytes(
        2,
        shape.flatMap((extent) => bytes(1, typeof extent === 'number' ? number(1, extent) : text(2, extent))),
      ),
    ]),
  ),
]

export interface WrittenModel {
  opset?: number
  irVersion?: number
  /** Shapes by name; of type float32. */
  inputs: Readonly<Record<string, readonly (number | string)[]>>
  /** Names of the outputs with blanks between them; `y` unless told. */
  outputs?: string
  nodes: readonly WrittenNode[]
  constants?: Readonly<Record<string, Constant>>
  /** Further fields of the graph, already written. */
  further?: Bytes
}

/** The file. */
export function onnxFile(model: WrittenModel): Uint8Array {
  const { opset = 17, irVersion = 8, inputs, outputs = 'y', nodes, constants = {}, further = [] } = model
  const graph = [
    ...nodes.flatMap((each) => bytes(1, node(each))),
    ...text(2, 'graph'),
    ...Object.entries(constants).flatMap(([name, constant]) => bytes(5, tensor(name, constant))),
    ...Object.entries(inputs).flatMap(([name, shape]) => bytes(11, value(name, shape))),
    ...names(outputs).flatMap((name) => bytes(12, value(name, []))),
    ...further,
  ]
  return modelFile(graph, opset, irVersion)
}

/** The file around a graph. */
export const modelFile = (graph: Bytes, opset = 17, irVersion = 8): Uint8Array =>
  Uint8Array.from([...number(1, irVersion), ...bytes(7, graph), ...bytes(8, [...text(1, ''), ...number(2, opset)])])
