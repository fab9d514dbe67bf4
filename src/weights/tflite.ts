/**
 * The part of TensorFlow Lite's format that a plain network needs: the tensors of its graph with their constant data,
 * and its list of operators. A `.tflite` file is a FlatBuffer; field numbers are those of TensorFlow's schema.fbs (v3):
 * https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/schema/schema.fbs
 */
import { WeightsError } from './errors.ts'

/** A file that is not a TensorFlow Lite model this reader can vouch for. */
export class TfliteError extends WeightsError {
  override name = 'TfliteError'
}

export type TfliteType = 'float32' | 'int32'

export interface TfliteTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly type: TfliteType
  /** The constant's values in C order; undefined where the tensor is computed by an operator or is an input. */
  readonly data: Float32Array | Int32Array | undefined
}

export type TfliteOperator = (
  | {
      readonly kind: 'conv2d' | 'depthwiseConv2d'
      readonly padding: 'same' | 'valid'
      readonly strides: [number, number]
    }
  | { readonly kind: 'add' | 'sub' | 'mul' | 'relu' | 'abs' | 'reshape' }
) & {
  /** Indices of tensors. */
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
}

export interface TfliteGraph {
  readonly tensors: readonly TfliteTensor[]
  readonly operators: readonly TfliteOperator[]
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
}

const TENSOR_TYPES: Record<number, TfliteType> = { 0: 'float32', 2: 'int32' }
/** BuiltinOperator numbers of the operators that the networks in use are made of. */
const OPERATORS: Record<number, TfliteOperator['kind']> = {
  0: 'add',
  3: 'conv2d',
  4: 'depthwiseConv2d',
  18: 'mul',
  19: 'relu',
  22: 'reshape',
  41: 'sub',
  101: 'abs',
}
const RANK_LIMIT = 8

/**
 * Reads a model of one float subgraph. Constants are views of `bytes`, so it must not be written to afterwards.
 *
 * @param bytes the file, starting at a multiple of 4 in its buffer
 * @param file its name, for messages
 * @throws TfliteError if the file is damaged, or uses a type, operator or option that is not in the lists above
 *   (quantisation, fused activations and dilation among them)
 */
export function readTflite(bytes: Uint8Array, file: string): TfliteGraph {
  const buffer = new FlatBuffer(bytes, file)
  if (buffer.text(4, 4) !== 'TFL3') throw new TfliteError(file, 'is not a TensorFlow Lite model (no TFL3 mark)')
  const model = buffer.table(buffer.pointer(0))
  const version = model.uint32(0)
  if (version !== 3) throw new TfliteError(file, `has schema version ${version}, not 3`)
  const codes = model.tables(1).map((code) => Math.max(code.int8(0), code.int32(3)))
  const subgraphs = model.tables(2)
  if (subgraphs.length !== 1) throw new TfliteError(file, `has ${subgraphs.length} subgraphs, not 1`)
  const [graph] = subgraphs
  const buffers = model.tables(4).map((table) => table.bytes(0))
  const tensors = graph.tables(0).map((tensor) => readTensor(tensor, buffers, file))
  const indices = (table: Table, field: number): number[] => {
    const list = table.int32s(field)
    for (const index of list)
      if (!(index in tensors)) throw new TfliteError(file, `refers to tensor ${index}, which is not there`)
    return list
  }
  return {
    tensors,
    inputs: indices(graph, 1),
    outputs: indices(graph, 2),
    operators: graph.tables(3).map((operator, i) => {
      const code = codes[operator.uint32(0)]
      const kind = OPERATORS[code]
      if (!kind) throw new TfliteError(file, `operator ${i} has code ${code}, which this reader does not know`)
      const wiring = { inputs: indices(operator, 1), outputs: indices(operator, 2) }
      return { ...readOptions(kind, operator.optionalTable(4), `operator ${i} (${kind})`, file), ...wiring }
    }),
  }
}

function readTensor(tensor: Table, buffers: Uint8Array[], file: string): TfliteTensor {
  const name = tensor.string(3)
  const fail = (problem: string): never => {
    throw new TfliteError(file, `tensor "${name}": ${problem}`)
  }
  const type = TENSOR_TYPES[tensor.int8(1)] ?? fail(`type ${tensor.int8(1)} is neither float32 nor int32`)
  const shape = tensor.int32s(0)
  if (shape.length > RANK_LIMIT || shape.some((n) => n < 1)) fail(`shape [${shape}] is not a plain one`)
  const quantization = tensor.optionalTable(4)
  if (quantization?.has(2) || quantization?.has(3)) fail('is quantised')
  const index = tensor.uint32(2)
  const constant = buffers[index] ?? fail(`its buffer ${index} is not there`)
  if (constant.length === 0) return { name, shape, type, data: undefined }
  const size = shape.reduce((product, n) => product * n, 4)
  if (size !== constant.length) fail(`shape [${shape}] asks for ${size} bytes, its buffer has ${constant.length}`)
  if (constant.byteOffset % 4 !== 0) fail('its buffer is not aligned to 4 bytes')
  const { buffer, byteOffset } = constant
  const length = constant.length / 4
  const data =
    type === 'float32' ? new Float32Array(buffer, byteOffset, length) : new Int32Array(buffer, byteOffset, length)
  return { name, shape, type, data }
}

/** Options tables: Conv2DOptions, DepthwiseConv2DOptions, AddOptions, SubOptions, MulOptions; the others have none that matter. */
function readOptions(kind: TfliteOperator['kind'], options: Table | undefined, operator: string, file: string) {
  const fail = (problem: string): never => {
    throw new TfliteError(file, `${operator} ${problem}`)
  }
  if (kind === 'relu' || kind === 'abs' || kind === 'reshape') return { kind }
  if (kind === 'add' || kind === 'sub' || kind === 'mul') {
    if (options && options.int8(0) !== 0) fail('has a fused activation')
    return { kind }
  }
  if (!options) return fail('has no options')
  const [activation, dilation] = kind === 'conv2d' ? [3, 4] : [4, 5]
  if (options.int8(activation) !== 0) fail('has a fused activation')
  if (options.int32(dilation, 1) !== 1 || options.int32(dilation + 1, 1) !== 1) fail('is dilated')
  const padding = options.int8(0)
  if (padding !== 0 && padding !== 1) fail(`has padding ${padding}`)
  const strides: [number, number] = [options.int32(2), options.int32(1)]
  if (strides.some((stride) => stride < 1)) fail(`has strides [${strides}]`)
  return { kind, padding: padding === 0 ? ('same' as const) : ('valid' as const), strides }
}

/**
 * Bounds-checked access to a FlatBuffer: every read outside the file is a TfliteError. Offsets may lead anywhere, so a
 * forged file could make a few bytes stand for endless overlapping lists; `#unread` bounds the work by the file's length.
 */
class FlatBuffer {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #file: string
  #unread: number

  constructor(bytes: Uint8Array, file: string) {
    this.#bytes = bytes
    this.#unread = 2 * bytes.length
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#file = file
  }

  #inside(at: number, length: number): number {
    if (at < 0 || at + length > this.#bytes.length) {
      throw new TfliteError(
        this.#file,
        `points to byte ${at + length} of ${this.#bytes.length}: it is damaged or cut short`,
      )
    }
    return at
  }

  int8 = (at: number): number => this.#view.getInt8(this.#inside(at, 1))
  uint16 = (at: number): number => this.#view.getUint16(this.#inside(at, 2), true)
  int32 = (at: number): number => this.#view.getInt32(this.#inside(at, 4), true)
  uint32 = (at: number): number => this.#view.getUint32(this.#inside(at, 4), true)

  /** Follows the offset stored at `at`, which counts from there. */
  pointer = (at: number): number => at + this.uint32(at)

  /** Start and length of the vector that the offset at `at` leads to, whose elements take `size` bytes each. */
  vector(at: number, size: number): { start: number; count: number } {
    const vector = this.pointer(at)
    const count = this.uint32(vector)
    this.#unread -= 4 + count * size
    if (this.#unread < 0) throw new TfliteError(this.#file, 'its lists overlap: it is damaged')
    return { start: this.#inside(vector + 4, count * size), count }
  }

  slice = (start: number, length: number): Uint8Array =>
    this.#bytes.subarray(this.#inside(start, length), start + length)
  text = (start: number, length: number): string => new TextDecoder().decode(this.slice(start, length))
  table = (at: number): Table => new Table(this, at)
}

/** One table: its vtable, found by a signed offset, gives for each field number where the value lies, or 0. */
class Table {
  readonly #buffer: FlatBuffer
  readonly #at: number
  readonly #vtable: number
  readonly #fields: number

  constructor(buffer: FlatBuffer, at: number) {
    this.#buffer = buffer
    this.#at = at
    this.#vtable = at - buffer.int32(at)
    this.#fields = (buffer.uint16(this.#vtable) - 4) / 2
  }

  #field(field: number): number | undefined {
    const offset = field < this.#fields ? this.#buffer.uint16(this.#vtable + 4 + 2 * field) : 0
    return offset === 0 ? undefined : this.#at + offset
  }

  has = (field: number): boolean => this.#field(field) !== undefined

  int8(field: number): number {
    const at = this.#field(field)
    return at === undefined ? 0 : this.#buffer.int8(at)
  }

  int32(field: number, fallback = 0): number {
    const at = this.#field(field)
    return at === undefined ? fallback : this.#buffer.int32(at)
  }

  uint32(field: number): number {
    const at = this.#field(field)
    return at === undefined ? 0 : this.#buffer.uint32(at)
  }

  optionalTable(field: number): Table | undefined {
    const at = this.#field(field)
    return at === undefined ? undefined : new Table(this.#buffer, this.#buffer.pointer(at))
  }

  #vector(field: number, size: number): { start: number; count: number } {
    const at = this.#field(field)
    return at === undefined ? { start: 0, count: 0 } : this.#buffer.vector(at, size)
  }

  tables(field: number): Table[] {
    const { start, count } = this.#vector(field, 4)
    return Array.from({ length: count }, (_, i) => new Table(this.#buffer, this.#buffer.pointer(start + 4 * i)))
  }

  int32s(field: number): number[] {
    const { start, count } = this.#vector(field, 4)
    return Array.from({ length: count }, (_, i) => this.#buffer.int32(start + 4 * i))
  }

  bytes(field: number): Uint8Array {
    const { start, count } = this.#vector(field, 1)
    return this.#buffer.slice(start, count)
  }

  string(field: number): string {
    const { start, count } = this.#vector(field, 1)
    return this.#buffer.text(start, count)
  }
}
