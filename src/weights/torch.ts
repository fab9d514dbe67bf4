/**
 * PyTorch's files (`.pth`, `.pt`, `.ckpt`) that hold weights: state dictionaries, and checkpoints that contain some. Both
 * containers are read: the zip archive of PyTorch 1.6 and later (`NAME/data.pkl`, one entry a storage) and the older one
 * (five pickles, then the storages). https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
 *
 * The pickles inside are programs. They are not executed: the few names that describe tensors are known here, so are those that PyTorch
 * Lightning's checkpoints have beside the weights, of which empty dictionaries are made, and a file that refers to any other is refused.
 */
import { WeightsError } from './errors.ts'
import {
  bytesOf,
  decodeNumbers,
  inOrder,
  isOrdered,
  type Numbers,
  type NumberType,
  type StoredTensor,
} from './numbers.ts'
import { briefly, type PickleWorld, unpickle } from './pickle.ts'
import { readZip } from './zip.ts'

/** A file that is none of PyTorch's, is damaged, or holds more than weights. The message says which. */
export class TorchFileError extends WeightsError {
  override name = 'TorchFileError'
}

/** The storages of `torch`, by the name their pickles use. */
const STORAGES: Readonly<Record<string, NumberType>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
}

/** A block of numbers that tensors are views of. The older container brings the bytes after the pickle. */
class Storage {
  readonly type: NumberType
  readonly key: string
  readonly count: number
  bytes: Uint8Array | undefined
  private decoded: Numbers | undefined

  constructor(type: string, key: string, count: number) {
    this.type = STORAGES[type]
    this.key = key
    this.count = count
  }

  get size(): number {
    return this.count * bytesOf(this.type)
  }

  get numbers(): Numbers {
    this.decoded ??= decodeNumbers(this.type, this.bytes!)
    return this.decoded
  }
}

/** What a pickle makes of `torch._utils._rebuild_tensor_v2`: a strided view of a storage. */
class StridedTensor {
  readonly storage: Storage
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]

  constructor(storage: Storage, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage
    this.offset = offset
    this.shape = shape
    this.strides = strides
  }
}

/** Names of `torch` that stand for a type of storage. */
class StorageType {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/** What checkpoints of PyTorch Lightning keep beside the weights: callbacks, arguments, schedules. Nothing is taken of it. */
const BESIDE = /^(pytorch_lightning|lightning(_fabric)?)\.|^(argparse\.Namespace|collections\.(Counter|defaultdict))$/

const MAGIC = 0x1950a86a20f9469cfc6cn
const PROTOCOL = 1001
const ZIP_START = 0x04034b50
/** More tensors, or deeper nesting, than any network's file has. */
const TENSOR_LIMIT = 100_000
const DEPTH_LIMIT = 16
const RANK_LIMIT = 8
/**
 * Bytes of the copies that tensors out of C order need, as a multiple of the file's: a file whose tensors all lie otherwise
 * (channels last) in f16 needs 2. Without a limit thousands of views of one large storage would fill the memory.
 */
const COPY_LIMIT = 4

/**
 * All tensors of a PyTorch file. Names inside nested dictionaries and lists are joined with dots, as in
 * `state_dict.conv1.weight`; whatever else a checkpoint holds (numbers, texts) is left out. Tensors may be views of `bytes`,
 * so these must not be written to afterwards.
 *
 * @param file the file's name, for messages
 * @throws TorchFileError, or PickleError or ZipError (all WeightsErrors), if the file is anything but a whole file of weights
 */
export function readTorch(bytes: Uint8Array, file: string): ReadonlyMap<string, StoredTensor> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const zipped = bytes.length >= 4 && view.getUint32(0, true) === ZIP_START
  return collect(zipped ? readZipped(bytes, file) : readOlder(bytes, file), COPY_LIMIT * bytes.length, file)
}

function readZipped(bytes: Uint8Array, file: string): unknown {
  const entries = readZip(bytes, file)
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name))
  if (pickles.length !== 1)
    throw new TorchFileError(file, 'is a zip archive, but not one that torch.save wrote: it has no data.pkl')
  const folder = pickles[0].slice(0, -'data.pkl'.length)
  const order = entries.get(`${folder}byteorder`)
  if (order && new TextDecoder().decode(order) !== 'little') throw new TorchFileError(file, 'holds big-endian numbers')
  const storages = new Map<string, Storage>()
  const world = worldOf(file, (type, key, count) => {
    // One block of bytes may be shared by tensors of several types, each with its own count.
    const id = `${type} ${key}`
    const known = storages.get(id)
    if (known?.count === count) return known
    const storage = new Storage(type, key, count)
    storage.bytes = entries.get(`${folder}data/${key}`)
    const held = storage.bytes?.length ?? 0
    if (!storage.bytes || held !== storage.size) {
      throw new TorchFileError(
        file,
        `its storage ${briefly(key)} should hold ${count} numbers (${storage.type}); ${held} bytes are there`,
      )
    }
    storages.set(id, storage)
    return storage
  })
  const pickle = entries.get(pickles[0])!
  const { value, end } = unpickle(pickle, 0, world, file)
  if (end !== pickle.length) throw new TorchFileError(file, `its data.pkl goes on after byte ${end}`)
  return value
}

function readOlder(bytes: Uint8Array, file: string): unknown {
  const nothing: PickleWorld = {
    global: (module, name) => refuse(module, name, file),
    persistent: () => {
      throw new TorchFileError(file, 'refers to storages before it describes them')
    },
  }
  if (bytes[0] !== 0x80)
    throw new TorchFileError(file, 'is no PyTorch file: it is neither a zip archive nor begins with a pickle')
  const magic = unpickle(bytes, 0, nothing, file)
  if (magic.value !== MAGIC)
    throw new TorchFileError(file, "is a pickle, but not one of PyTorch's: its magic number is another")
  const protocol = unpickle(bytes, magic.end, nothing, file)
  if (protocol.value !== PROTOCOL)
    throw new TorchFileError(file, `has version ${briefly(protocol.value)}, not ${PROTOCOL}`)
  const system = unpickle(bytes, protocol.end, nothing, file)
  if (!(system.value instanceof Map) || system.value.get('little_endian') !== true) {
    throw new TorchFileError(file, 'does not say that its numbers are little-endian')
  }
  const storages = new Map<string, Storage>()
  const world = worldOf(file, (type, key, count) => {
    const storage = storages.get(key) ?? new Storage(type, key, count)
    if (storage.type !== STORAGES[type] || storage.count !== count) {
      throw new TorchFileError(file, `describes storage ${briefly(key)} twice, and differently`)
    }
    storages.set(key, storage)
    return storage
  })
  const contents = unpickle(bytes, system.end, world, file)
  const keys = unpickle(bytes, contents.end, nothing, file)
  if (!Array.isArray(keys.value) || keys.value.length !== storages.size) {
    throw new TorchFileError(file, `describes ${storages.size} storages and lists others`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = keys.end
  for (const key of keys.value) {
    const storage = storages.get(key)
    const named = `storage ${briefly(key)}`
    if (!storage || storage.bytes)
      throw new TorchFileError(file, `lists ${named}, which it ${storage ? 'lists twice' : 'does not describe'}`)
    const { size } = storage
    if (at + 8 + size > bytes.length) throw new TorchFileError(file, `ends inside ${named}`)
    if (view.getBigUint64(at, true) !== BigInt(storage.count)) {
      throw new TorchFileError(file, `its ${named} holds another count of numbers than ${storage.count}`)
    }
    storage.bytes = bytes.subarray(at + 8, at + 8 + size)
    at += 8 + size
  }
  if (at !== bytes.length) throw new TorchFileError(file, `goes on after its last storage, from byte ${at}`)
  return contents.value
}

/** The names a file of weights may refer to, and what they make. */
function worldOf(file: string, storageOf: (type: string, key: string, count: number) => Storage): PickleWorld {
  const fail = (problem: string): never => {
    throw new TorchFileError(file, problem)
  }
  const known: Record<string, unknown> = {
    // Python 2 wrote the items as an argument, Python 3 sets them afterwards.
    'collections.OrderedDict': (items: unknown = []) =>
      Array.isArray(items) && items.every((item) => Array.isArray(item) && item.length === 2)
        ? new Map(items)
        : fail('makes an OrderedDict in a way that PyTorch does not'),
    'torch._utils._rebuild_tensor_v2': (storage: unknown, offset: unknown, shape: unknown, strides: unknown) => {
      if (!(storage instanceof Storage) || !isNatural(offset) || !isNaturals(shape) || !isNaturals(strides)) {
        return fail('describes a tensor in a way that PyTorch does not')
      }
      return stridedTensor(storage, offset, shape, strides, file)
    },
    'torch._utils._rebuild_parameter': (tensor: unknown) =>
      tensor instanceof StridedTensor ? tensor : fail('describes a parameter in a way that PyTorch does not'),
  }
  return {
    global(module, name) {
      if (module === 'torch' && Object.hasOwn(STORAGES, name)) return new StorageType(name)
      const path = `${module}.${name}`
      if (BESIDE.test(path)) return () => new Map()
      return Object.hasOwn(known, path) ? known[path] : refuse(module, name, file)
    },
    persistent(id) {
      if (!Array.isArray(id)) return fail('refers to a storage in a way that PyTorch does not')
      const [kind, type, key, , count, part] = id
      if (kind !== 'storage' || !(type instanceof StorageType) || typeof key !== 'string' || !isNatural(count)) {
        return fail('refers to a storage in a way that PyTorch does not')
      }
      if (part !== undefined && part !== null)
        fail(`its storage ${briefly(key)} is a part of another, which PyTorch gave up in 2017`)
      return storageOf(type.name, key, count)
    },
  }
}

function refuse(module: string, name: string, file: string): never {
  throw new TorchFileError(
    file,
    `refers to ${briefly(`${module}.${name}`)}; only files of weights are read, as torch.save(model.state_dict(), file) writes them`,
  )
}

function stridedTensor(
  storage: Storage,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
  file: string,
): StridedTensor {
  const count = shape.reduce((n, extent) => n * extent, 1)
  const last = shape.reduce((at, extent, axis) => at + (extent - 1) * strides[axis], offset)
  const fits = shape.length === strides.length && shape.length <= RANK_LIMIT && count <= storage.count
  if (!fits || (count > 0 && last >= storage.count)) {
    throw new TorchFileError(
      file,
      `a tensor of shape [${shape}], strides [${strides}] from ${offset} does not fit its storage of ${storage.count} numbers`,
    )
  }
  return new StridedTensor(storage, offset, shape, strides)
}

/** Walks nested dictionaries and lists and takes their tensors. */
function collect(root: unknown, copyLimit: number, file: string): Map<string, StoredTensor> {
  const found = new Map<string, StoredTensor>()
  let visited = 0
  let copied = 0
  const take = ({ storage, offset, shape, strides }: StridedTensor): StoredTensor => {
    if (!isOrdered(shape, strides)) copied += 4 * shape.reduce((n, extent) => n * extent, 1)
    if (copied > copyLimit) throw new TorchFileError(file, 'its tensors are much larger than the file that holds them')
    return { dtype: storage.type, shape, data: inOrder(storage.numbers, offset, shape, strides) }
  }
  const walk = (value: unknown, name: string, depth: number): void => {
    if (depth > DEPTH_LIMIT || ++visited > TENSOR_LIMIT)
      throw new TorchFileError(file, 'holds more, or is nested deeper, than a network does')
    if (value instanceof StridedTensor) {
      if (found.has(name)) throw new TorchFileError(file, `holds two tensors named "${briefly(name)}"`)
      found.set(name, take(value))
    } else if (value instanceof Map || Array.isArray(value)) {
      for (const [key, inner] of value.entries()) {
        if (typeof key === 'string' || typeof key === 'number')
          walk(inner, name === '' ? `${key}` : `${name}.${key}`, depth + 1)
      }
    }
  }
  walk(root, '', 0)
  if (found.size === 0) throw new TorchFileError(file, 'holds no tensors')
  return found
}

function isNatural(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isNaturals(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isNatural)
}
