/** TensorProto, ONNX' tensors. https://github.com/onnx/onnx/blob/main/onnx/onnx.proto */
import { WeightsError } from './errors.ts'
import { decodeNumbers } from './numbers.ts'
import { type Field, type Refuse, visitFields } from './protobuf.ts'

/** A file that is no ONNX model that can be read or computed here. The message names the file and, where there is one, the node. */
export class OnnxError extends WeightsError {
  override name = 'OnnxError'
  /** The node that cannot be read or computed: its name, or that of its first output where it has none. */
  readonly node: string | undefined

  constructor(file: string, problem: string, node?: string, options?: ErrorOptions) {
    super(file, problem, options)
    this.node = node
  }
}

/** Element types, by their numbers in TensorProto.DataType. Text, complex numbers and types of less than a byte are not read. */
const TYPES = {
  1: 'float32',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  9: 'bool',
  10: 'float16',
  11: 'float64',
  12: 'uint32',
  13: 'uint64',
  16: 'bfloat16',
} as const
export type OnnxType = (typeof TYPES)[keyof typeof TYPES]

export const onnxTypes: readonly OnnxType[] = Object.values(TYPES)

/** The type of a number in the format; undefined for those that are not read. */
export const typeOf = (code: number): OnnxType | undefined => (TYPES as Record<number, OnnxType>)[code]

export const isFloat = (type: OnnxType): boolean => type.includes('float')

/** Values in C order: f32 for float32, float16 and bfloat16, f64 for all others (so that beyond 2^53 integers are rounded). */
export type OnnxNumbers = Float32Array | Float64Array

export interface OnnxTensor {
  readonly type: OnnxType
  readonly shape: readonly number[]
  /** Decoded when first asked for. */
  readonly data: OnnxNumbers
  /** The values as graphs take them: the same array each time, so that a graph holds a constant once. */
  readonly singles: Float32Array
}

/** The bytes of a file beside the model, by its location as the model writes it; undefined if there is none. */
export type ExternalData = (location: string) => Uint8Array | undefined

export const RANK_LIMIT = 8
/** No buffer here is longer than a few GiB, so no axis is. */
export const EXTENT_LIMIT = 2 ** 31

const BYTES_OF: Record<OnnxType, number> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float64: 8,
  int8: 1,
  uint8: 1,
  bool: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
}

/** Numbers of a tensor's fields. The lists of values and `raw` are alternatives. */
const ID = {
  dims: 1,
  type: 2,
  floats: 4,
  int32s: 5,
  texts: 6,
  int64s: 7,
  name: 8,
  raw: 9,
  doubles: 10,
  uint64s: 11,
  external: 13,
  location: 14,
} as const

/** The list in which values of a type are, where they are not raw bytes. */
function listOf(type: OnnxType): number {
  if (type === 'float32') return ID.floats
  if (type === 'float64') return ID.doubles
  if (type === 'int64') return ID.int64s
  return type === 'uint32' || type === 'uint64' ? ID.uint64s : ID.int32s
}

/**
 * Reads a tensor; its values are decoded later.
 *
 * @param refuse called, and expected to throw, where something in it is wrong; it names the tensor's place
 */
export function readTensor(
  message: Uint8Array,
  refuse: (problem: string) => never,
  external?: ExternalData,
): { name: string; tensor: OnnxTensor } {
  const shape: number[] = []
  const counts = new Map<number, number>()
  const entries = new Map<string, string>()
  let name = ''
  let code = 0
  let location = 0
  let raw: Uint8Array | undefined
  const fail: Refuse = (problem) => refuse(name === '' ? problem : `tensor "${name}" ${problem}`)
  const count = (id: number, more: number) => counts.set(id, (counts.get(id) ?? 0) + more)
  visitFields(message, fail, (field) => {
    if (field.id === ID.dims) field.visitIntegers((extent) => pushExtent(shape, extent, fail))
    else if (field.id === ID.type) code = field.integer()
    else if (field.id === ID.name) name = field.text()
    else if (field.id === ID.raw) raw = raw ? fail('has raw data twice') : field.bytes()
    else if (field.id === ID.external) readEntry(field.bytes(), entries, fail)
    else if (field.id === ID.location) location = field.integer()
    else if (field.id === ID.floats) count(field.id, field.fixed(4).length / 4)
    else if (field.id === ID.doubles) count(field.id, field.fixed(8).length / 8)
    else if (field.id === ID.int32s || field.id === ID.int64s || field.id === ID.uint64s)
      field.visitIntegers(() => count(field.id, 1))
    else if (field.id === ID.texts) count(field.id, 1)
  })

  const type = typeOf(code) ?? fail(`has elements of type ${code}, which is not one of ${onnxTypes.join(', ')}`)
  const length = shape.reduce((product, n) => product * n, 1)
  const list = listOf(type)
  if (location !== 0 && location !== 1) fail(`keeps its data at location ${location}`)
  if (location === 1) raw = externalBytes(entries, length * BYTES_OF[type], external, fail)
  const other = [...counts.keys()].find((id) => raw || id !== list)
  if (other !== undefined) fail(`is of type ${type} and has values in field ${other}`)
  const found = raw ? raw.length / BYTES_OF[type] : (counts.get(list) ?? 0)
  if (found !== length) fail(`of shape [${shape}] needs ${length} values of type ${type}, it has ${found}`)
  const bytes = raw
  const make = () => (bytes ? fromBytes(type, bytes) : fromList(type, message, length, fail))
  return { name, tensor: onnxTensor(type, shape, make) }
}

/** A tensor whose values are made when first asked for, and then kept. */
export function onnxTensor(type: OnnxType, shape: readonly number[], make: () => OnnxNumbers): OnnxTensor {
  let data: OnnxNumbers | undefined
  let singles: Float32Array | undefined
  return {
    type,
    shape,
    get data() {
      data ??= make()
      return data
    },
    get singles() {
      singles ??= this.data instanceof Float32Array ? this.data : Float32Array.from(this.data)
      return singles
    },
  }
}

/** The same elements under another shape. */
export const reshapedTensor = (tensor: OnnxTensor, shape: readonly number[]): OnnxTensor => ({
  type: tensor.type,
  shape,
  get data() {
    return tensor.data
  },
  get singles() {
    return tensor.singles
  },
})

/** Adds an extent to a shape that is being read. */
export function pushExtent(shape: number[], extent: number, refuse: Refuse): void {
  if (!(extent >= 0 && extent < EXTENT_LIMIT)) refuse(`has an axis of ${extent} elements`)
  if (shape.push(extent) > RANK_LIMIT) refuse(`has more than ${RANK_LIMIT} axes`)
}

/** StringStringEntryProto. */
function readEntry(message: Uint8Array, entries: Map<string, string>, refuse: Refuse): void {
  let key = ''
  let value = ''
  visitFields(message, refuse, (field) => {
    if (field.id === 1) key = field.text()
    if (field.id === 2) value = field.text()
  })
  if (entries.has(key)) refuse(`says twice what "${key}" of its external data is`)
  entries.set(key, value)
}

/** A path below the model's own folder: nothing that could lead elsewhere on any system. */
const isInside = (location: string): boolean =>
  location !== '' &&
  !/[\\:\0]/.test(location) &&
  location.split('/').every((part) => part !== '' && part !== '.' && part !== '..')

function externalBytes(
  entries: ReadonlyMap<string, string>,
  size: number,
  external: ExternalData | undefined,
  refuse: Refuse,
): Uint8Array {
  const location = entries.get('location') ?? ''
  if (!isInside(location)) refuse(`keeps its data in "${location}", which is no file beside the model`)
  const file =
    external?.(location) ?? refuse(`keeps its data in "${location}", which is not there: put it beside the model`)
  const number = (key: string, otherwise: number): number => {
    const value = entries.get(key) ?? String(otherwise)
    return /^\d{1,15}$/.test(value) ? Number(value) : refuse(`has "${value}" as ${key} of its external data`)
  }
  const offset = number('offset', 0)
  const length = number('length', size)
  if (length !== size) refuse(`needs ${size} bytes, its external data has ${length}`)
  if (offset + length > file.length)
    refuse(`needs bytes ${offset}..${offset + length} of "${location}", which has ${file.length}`)
  return file.subarray(offset, offset + length)
}

/** Little-endian raw bytes to numbers. Typed arrays need an aligned start, which the format does not promise. */
function fromBytes(type: OnnxType, raw: Uint8Array): OnnxNumbers {
  const size = BYTES_OF[type]
  const { buffer, byteOffset } = raw.byteOffset % size === 0 ? raw : new Uint8Array(raw)
  const length = raw.length / size
  const read = {
    float32: () => decodeNumbers('F32', raw) as Float32Array,
    float16: () => decodeNumbers('F16', raw) as Float32Array,
    bfloat16: () => decodeNumbers('BF16', raw) as Float32Array,
    float64: () => new Float64Array(buffer, byteOffset, length),
    int8: () => Float64Array.from(new Int8Array(buffer, byteOffset, length)),
    uint8: () => Float64Array.from(raw),
    bool: () => Float64Array.from(raw, (byte) => (byte === 0 ? 0 : 1)),
    int16: () => Float64Array.from(new Int16Array(buffer, byteOffset, length)),
    uint16: () => Float64Array.from(new Uint16Array(buffer, byteOffset, length)),
    int32: () => Float64Array.from(new Int32Array(buffer, byteOffset, length)),
    uint32: () => Float64Array.from(new Uint32Array(buffer, byteOffset, length)),
    int64: () => Float64Array.from(new BigInt64Array(buffer, byteOffset, length), Number),
    uint64: () => Float64Array.from(new BigUint64Array(buffer, byteOffset, length), Number),
  } satisfies Record<OnnxType, () => OnnxNumbers>
  return read[type]()
}

/** The values of a tensor that lists them. */
function fromList(type: OnnxType, message: Uint8Array, length: number, refuse: Refuse): OnnxNumbers {
  const list = listOf(type)
  if (list === ID.floats || list === ID.doubles) {
    const size = list === ID.floats ? 4 : 8
    const bytes = new Uint8Array(length * size)
    let at = 0
    visitFields(message, refuse, (field) => {
      if (field.id !== list) return
      bytes.set(field.fixed(size), at)
      at += field.fixed(size).length
    })
    return fromBytes(type, bytes)
  }
  const values = new Float64Array(length)
  let at = 0
  visitFields(message, refuse, (field: Field) => {
    if (field.id === list)
      field.visitIntegers((value) => {
        values[at++] = value
      })
  })
  // Halves are stored as their bits; unsigned 64-bit numbers come out of a varint as signed ones; a bool is 0 or 1.
  if (isFloat(type)) return fromBytes(type, new Uint8Array(Uint16Array.from(values).buffer))
  if (type === 'uint64') return values.map((value) => (value < 0 ? value + 2 ** 64 : value))
  return type === 'bool' ? values.map((value) => (value === 0 ? 0 : 1)) : values
}
