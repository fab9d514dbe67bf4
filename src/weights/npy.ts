/**
 * numpy's files: `.npy` with one array, or with a dictionary of arrays that was pickled, and `.npz`, a zip archive of them.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * Pickles are not executed: they may make arrays, dictionaries and lists, and a file that refers to anything else is refused.
 */
import { WeightsError } from './errors.ts'
import { bytesOf, decodeNumbers, inOrder, type NumberType, type StoredTensor } from './numbers.ts'
import { briefly, type PickleObject, type PickleWorld, unpickle } from './pickle.ts'
import { unpackZip } from './zip.ts'

/** A file that is none of numpy's, is damaged, or holds something else than numbers. */
export class NpyError extends WeightsError {
  override name = 'NpyError'
}

/** The bytes 0x93 N U M P Y. */
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
/** A header is a line of some hundred characters; only structured types, which are not read, need more. */
const HEADER_LIMIT = 65_536
const RANK_LIMIT = 8
/** Dictionaries inside dictionaries, and their entries. */
const DEPTH_LIMIT = 8
const TENSOR_LIMIT = 100_000

/** numpy's types of numbers, without the mark of the byte order. */
const TYPES: Readonly<Record<string, NumberType>> = {
  f8: 'F64',
  f4: 'F32',
  f2: 'F16',
  i8: 'I64',
  i4: 'I32',
  i2: 'I16',
  i1: 'I8',
  u1: 'U8',
  b1: 'BOOL',
}

/**
 * The arrays of a `.npy` file by name. A file with one array has it under the empty name; of a pickled dictionary names inside
 * dictionaries and lists are joined with dots. Arrays may be views of `bytes`, so these must not be written to afterwards.
 *
 * @param file the file's name, for messages
 * @throws NpyError or PickleError (both WeightsErrors) if the file is anything but a whole file of numbers
 */
export function readNpy(bytes: Uint8Array, file: string): ReadonlyMap<string, StoredTensor> {
  const { descr, fortran, shape, data } = readHeader(bytes, file)
  if (descr === '|O') return readPickled(data, file)
  const type = numberType(descr, file)
  const count = elementsOf(shape, file)
  if (data.length !== count * bytesOf(type)) {
    throw new NpyError(file, `an array [${shape}] of ${descr} takes ${count * bytesOf(type)} bytes, not ${data.length}`)
  }
  return new Map([['', arrayOf(type, shape, fortran, data)]])
}

/**
 * The arrays of a `.npz` file, which `numpy.savez` and `numpy.savez_compressed` write, by the names they were saved under. Arrays of
 * pickled dictionaries have the dictionary's name before theirs.
 *
 * @param file the file's name, for messages
 * @throws NpyError, ZipError or PickleError (all WeightsErrors) if the file is anything but a whole archive of numbers
 */
export async function readNpz(bytes: Uint8Array, file: string): Promise<ReadonlyMap<string, StoredTensor>> {
  const found = new Map<string, StoredTensor>()
  for (const [path, content] of await unpackZip(bytes, file)) {
    if (!path.endsWith('.npy')) throw new NpyError(file, `holds ${briefly(path)}, which is no array of numpy`)
    const entry = path.slice(0, -'.npy'.length)
    for (const [name, tensor] of readNpy(content, `${file}: ${briefly(path)}`)) {
      add(found, name === '' ? entry : `${entry}.${name}`, tensor, file)
    }
  }
  if (found.size === 0) throw new NpyError(file, 'holds no arrays')
  return found
}

interface Header {
  /** numpy's name of the type, with its byte order: `<f4`. */
  descr: string
  /** The first axis is the fastest. */
  fortran: boolean
  shape: number[]
  /** What follows the header. */
  data: Uint8Array
}

function readHeader(bytes: Uint8Array, file: string): Header {
  const fail = (problem: string): never => {
    throw new NpyError(file, problem)
  }
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte)) fail("is no .npy file: numpy's mark is missing")
  const version = bytes[6]
  if (version < 1 || version > 3) fail(`has version ${version} of the format; 1 to 3 are read`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = version === 1 ? 10 : 12
  if (bytes.length < start) fail('ends inside its header')
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (length > HEADER_LIMIT) fail(`claims a header of ${length} bytes; the limit is ${HEADER_LIMIT}`)
  if (start + length > bytes.length) fail('ends inside its header')
  const header = new TextDecoder().decode(bytes.subarray(start, start + length))
  // A dictionary as Python prints it, with these three keys in alphabetical order, which numpy keeps to.
  const match = /^\{'descr': *'([^']*)', *'fortran_order': *(True|False), *'shape': *\(([\dL, ]*)\),? *\}[ \n]*$/.exec(
    header,
  )
  if (!match) return fail(`its header is not one of an array of numbers: ${briefly(header.trim())}`)
  const [, descr, order, extents] = match
  // Python 2 marks long integers with an L, and a tuple of one has a comma at its end.
  const words = extents.split(',').map((word) => word.trim().replace(/L$/, ''))
  if (words.at(-1) === '') words.pop()
  if (!words.every((word) => /^\d+$/.test(word))) fail(`its shape (${extents}) is no list of whole numbers`)
  return { descr, fortran: order === 'True', shape: words.map(Number), data: bytes.subarray(start + length) }
}

function numberType(descr: string, file: string): NumberType {
  const order = descr.slice(0, 1)
  const type = descr.slice(1)
  const known = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  if (known && (order === '<' || (order === '|' && bytesOf(known) === 1))) return known
  if (known && order === '>') throw new NpyError(file, `holds big-endian numbers (${descr})`)
  throw new NpyError(file, `holds ${briefly(descr)}; arrays of ${Object.keys(TYPES).join(', ')} are read`)
}

/** Elements of a shape. @throws NpyError where there are more dimensions or elements than any tensor has */
function elementsOf(shape: readonly number[], file: string): number {
  if (shape.length > RANK_LIMIT)
    throw new NpyError(file, `an array has ${shape.length} dimensions; the limit is ${RANK_LIMIT}`)
  const count = shape.reduce((product, n) => product * n, 1)
  if (!shape.every(Number.isSafeInteger) || !Number.isSafeInteger(count))
    throw new NpyError(file, `an array of shape [${shape}] is larger than any file`)
  return count
}

function arrayOf(type: NumberType, shape: readonly number[], fortran: boolean, bytes: Uint8Array): StoredTensor {
  const numbers = decodeNumbers(type, bytes)
  const strides = shape.map((_, axis) =>
    (fortran ? shape.slice(0, axis) : shape.slice(axis + 1)).reduce((product, n) => product * n, 1),
  )
  return { dtype: type, shape, data: inOrder(numbers, 0, shape, strides) }
}

function add(found: Map<string, StoredTensor>, name: string, tensor: StoredTensor, file: string): void {
  if (found.has(name)) throw new NpyError(file, `holds two arrays named "${briefly(name)}"`)
  if (found.size >= TENSOR_LIMIT) throw new NpyError(file, 'holds more arrays than a network has')
  found.set(name, tensor)
}

/** What the name numpy.ndarray is to a pickle. */
const ARRAY = Symbol('numpy.ndarray')

/** A type of numbers while it is unpickled: `dtype('f4', ...)`, then the byte order in its state. */
class PickledType implements PickleObject {
  private readonly code: string
  private order = '|'
  private readonly file: string

  constructor(code: string, file: string) {
    this.code = code
    this.file = file
  }

  /** (version, byte order, subarray, names, fields, size, alignment, flags) */
  setState(state: unknown): void {
    const [, order, ...structure] = Array.isArray(state) ? state : []
    if (typeof order !== 'string' || structure.slice(0, 3).some((part) => part !== null)) {
      throw new NpyError(this.file, `describes the type ${briefly(this.code)} in a way that plain numbers do not need`)
    }
    this.order = order
  }

  /** As the header of a `.npy` has it. */
  get descr(): string {
    return this.order + this.code
  }
}

/** An array while it is unpickled: made empty, then its state. */
class PickledArray implements PickleObject {
  /** Numbers, or the elements of an array of objects. */
  content: StoredTensor | readonly unknown[] | undefined
  private readonly file: string
  private readonly take: (bytes: number) => void

  constructor(file: string, take: (bytes: number) => void) {
    this.file = file
    this.take = take
  }

  /** (version, shape, type, whether the first axis is the fastest, bytes or a list of objects) */
  setState(state: unknown): void {
    const [, shape, type, fortran, data] = Array.isArray(state) && state.length === 5 ? state : []
    if (!Array.isArray(shape) || !shape.every(isNatural) || !(type instanceof PickledType)) {
      throw new NpyError(this.file, 'describes an array in a way that numpy does not')
    }
    if (typeof fortran !== 'boolean') throw new NpyError(this.file, 'describes an array without the order of its axes')
    const count = elementsOf(shape, this.file)
    if (type.descr === '|O8' || type.descr === '|O') {
      if (!Array.isArray(data) || data.length !== count) throw new NpyError(this.file, 'lacks objects of an array')
      this.content = data
      return
    }
    const numbers = numberType(type.descr, this.file)
    const bytes =
      data instanceof Uint8Array ? data : typeof data === 'string' ? bytesOfText(data, this.file) : undefined
    if (bytes?.length !== count * bytesOf(numbers)) {
      const held = bytes ? `${bytes.length} bytes` : 'none'
      throw new NpyError(this.file, `an array [${shape}] of ${type.descr} has ${held} instead of its numbers`)
    }
    this.take(bytes.length)
    this.content = arrayOf(numbers, shape, fortran, bytes)
  }
}

/** Bytes that Python 2 pickled as text, or that Python 3 encoded for it: one character a byte. */
function bytesOfText(text: string, file: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 255) throw new NpyError(file, 'holds a text where the numbers of an array should be')
    bytes[i] = code
  }
  return bytes
}

/** What numpy saves of an object: an array of objects without dimensions whose one element it is. */
function readPickled(bytes: Uint8Array, file: string): ReadonlyMap<string, StoredTensor> {
  const { value, end } = unpickle(bytes, 0, numpyWorld(bytes.length, file), file)
  if (end !== bytes.length) throw new NpyError(file, `goes on after its pickle, from byte ${end}`)
  const found = new Map<string, StoredTensor>()
  let visited = 0
  const walk = (inner: unknown, name: string, depth: number): void => {
    if (depth > DEPTH_LIMIT || ++visited > TENSOR_LIMIT)
      throw new NpyError(file, 'holds more, or is nested deeper, than a network is')
    const below = (key: unknown) => (name === '' ? `${key}` : `${name}.${key}`)
    if (inner instanceof PickledArray) {
      const { content } = inner
      if (content && 'dtype' in content) add(found, name, content, file)
      else {
        // The array around the whole gives no name to what it holds.
        for (const [i, element] of (content ?? []).entries())
          walk(element, content?.length === 1 ? name : below(i), depth + 1)
      }
    } else if (inner instanceof Map || Array.isArray(inner)) {
      for (const [key, element] of inner.entries()) {
        if (typeof key === 'string' || typeof key === 'number') walk(element, below(key), depth + 1)
      }
    }
  }
  walk(value, '', 0)
  if (found.size === 0) throw new NpyError(file, 'holds no arrays')
  return found
}

/** The names a pickle of arrays may refer to, and what they make. `available` bytes are shared by all arrays. */
function numpyWorld(available: number, file: string): PickleWorld {
  const fail = (problem: string): never => {
    throw new NpyError(file, problem)
  }
  let left = available
  const take = (bytes: number): void => {
    left -= bytes
    // Only by naming the same bytes again and again could arrays be larger than the file.
    if (left < 0) fail('its arrays are larger than the file that holds them')
  }
  const reconstruct = (type: unknown): PickledArray =>
    type === ARRAY ? new PickledArray(file, take) : fail('makes an array in a way that numpy does not')
  const known: Record<string, unknown> = {
    // numpy 2 renamed the module.
    'numpy.core.multiarray._reconstruct': reconstruct,
    'numpy._core.multiarray._reconstruct': reconstruct,
    'numpy.ndarray': ARRAY,
    'numpy.dtype': (code: unknown) =>
      typeof code === 'string' ? new PickledType(code, file) : fail('names a type in a way that numpy does not'),
    '_codecs.encode': (text: unknown, encoding: unknown) =>
      typeof text === 'string' && encoding === 'latin1'
        ? bytesOfText(text, file)
        : fail('encodes a text in a way that Python does not'),
    'collections.OrderedDict': (items: unknown = []) =>
      Array.isArray(items) && items.every((item) => Array.isArray(item) && item.length === 2)
        ? new Map(items)
        : fail('makes an OrderedDict in a way that Python does not'),
  }
  return {
    global(module, name) {
      const path = `${module}.${name}`
      if (Object.hasOwn(known, path)) return known[path]
      return fail(`refers to ${briefly(path)}; only arrays, and dictionaries and lists of them, are read`)
    },
    persistent: () => fail('refers to something outside of it'),
  }
}

const isNatural = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
