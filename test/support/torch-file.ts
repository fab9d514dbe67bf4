/** Files as PyTorch writes them, and pickles of any kind, byte by byte. */

export type Bytes = readonly number[]

export const ascii = (text: string): number[] => Array.from(new TextEncoder().encode(text))
export const u16 = (value: number): number[] => [value & 255, (value >> 8) & 255]
export const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)]

// Opcodes of pickle's protocol 2, as Python's pickletools names them.
export const PROTO: Bytes = [0x80, 2]
export const STOP: Bytes = [0x2e]
export const MARK: Bytes = [0x28]
export const TUPLE: Bytes = [0x74]
export const EMPTY_TUPLE: Bytes = [0x29]
export const EMPTY_DICT: Bytes = [0x7d]
export const SETITEM: Bytes = [0x73]
export const REDUCE: Bytes = [0x52]
export const BUILD: Bytes = [0x62]
export const PERSISTENT: Bytes = [0x51]
export const NONE: Bytes = [0x4e]
export const FALSE: Bytes = [0x89]
export const text = (value: string): Bytes => [0x58, ...u32(ascii(value).length), ...ascii(value)]
export const int = (value: number): Bytes => [0x4a, ...u32(value)]
export const global = (module: string, name: string): Bytes => [0x63, ...ascii(`${module}\n${name}\n`)]
export const tuple = (...items: Bytes[]): Bytes => [...MARK, ...items.flat(), ...TUPLE]
export const ints = (values: readonly number[]): Bytes => tuple(...values.map(int))
export const call = (module: string, name: string, args: Bytes): Bytes => [...global(module, name), ...args, ...REDUCE]
export const pickle = (...program: Bytes[]): number[] => [...PROTO, ...program.flat(), ...STOP]

/** A block of numbers that tensors lie in. */
export interface TestStorage {
  type: string
  key: string
  bytes: Uint8Array
  count: number
}

export const storage = (key: string, values: ArrayLike<number>): TestStorage => ({
  type: 'FloatStorage',
  key,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
  count: values.length,
})

export const reference = ({ type, key, count }: TestStorage): Bytes => [
  ...tuple(text('storage'), global('torch', type), text(key), text('cpu'), int(count)),
  ...PERSISTENT,
]

export const orderedDict: Bytes = call('collections', 'OrderedDict', EMPTY_TUPLE)

/** A tensor on a storage, contiguous unless strides are given. */
export function tensor(on: TestStorage, shape: readonly number[], strides?: readonly number[], offset = 0): Bytes {
  const contiguous = shape.map((_, axis) => shape.slice(axis + 1).reduce((n, extent) => n * extent, 1))
  const args = tuple(reference(on), int(offset), ints(shape), ints(strides ?? contiguous), FALSE, orderedDict)
  return call('torch._utils', '_rebuild_tensor_v2', args)
}

/** A dictionary with these items: `OrderedDict()` or `{}`. */
export const dict = (items: Readonly<Record<string, Bytes>>, start: Bytes = orderedDict): Bytes => [
  ...start,
  ...Object.entries(items).flatMap(([key, value]) => [...text(key), ...value, ...SETITEM]),
]

/** Lists each of which holds the one before so many times, around a value: a short pickle of a value without end. */
export function laughs(value: Bytes, times: number, depth: number): Bytes {
  const program = [...MARK, ...value, 0x71, 0]
  for (let i = 0; i < depth; i++) {
    const before = Array.from({ length: times }, () => [0x68, i]).flat()
    program.push(0x5d, ...MARK, ...before, 0x65, 0x71, i + 1)
  }
  return [...program, ...TUPLE]
}

const joined = (parts: readonly (Bytes | Uint8Array)[]): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((n, { length }) => n + length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** The container of PyTorch before 1.6. */
export function older(contents: Bytes, storages: readonly TestStorage[]): Uint8Array {
  const magic = pickle([0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19])
  const version = pickle([0x4d, ...u16(1001)])
  const system = pickle(dict({ little_endian: [0x88] }, EMPTY_DICT))
  const keys = pickle([0x5d], MARK, ...storages.map(({ key }) => text(key)), [0x65])
  const data = storages.flatMap(({ bytes, count }) => [u32(count), u32(0), bytes])
  return joined([magic, version, system, pickle(contents), keys, ...data])
}

/** A zip archive of stored entries without checksums, as PyTorch's writer lays them out (data at multiples of 64). */
export function zip(entries: Readonly<Record<string, Uint8Array>>, { method = 0, flags = 0 } = {}): Uint8Array {
  const file: (Bytes | Uint8Array)[] = []
  const directory: Bytes[] = []
  let at = 0
  for (const [name, data] of Object.entries(entries)) {
    const bare = at + 30 + name.length
    const padding = (64 - (bare % 64)) % 64
    const common = [...u16(flags), ...u16(method), ...u32(0), ...u32(0), ...u32(data.length), ...u32(data.length)]
    const local = [...u32(0x04034b50), ...u16(0), ...common, ...u16(name.length), ...u16(padding), ...ascii(name)]
    file.push(local, new Uint8Array(padding), data)
    const central = [...u32(0x02014b50), ...u16(0), ...u16(0), ...common, ...u16(name.length), ...u16(0), ...u16(0)]
    directory.push([...central, ...u16(0), ...u16(0), ...u32(0), ...u32(at), ...ascii(name)])
    at = bare + padding + data.length
  }
  const count = directory.length
  const length = directory.reduce((n, entry) => n + entry.length, 0)
  const end = [...u32(0x06054b50), ...u16(0), ...u16(0), ...u16(count), ...u16(count), ...u32(length)]
  return joined([...file, ...directory, end, u32(at), u16(0)])
}

/** The container of PyTorch 1.6 and later. */
export function zipped(
  contents: Bytes,
  storages: readonly TestStorage[],
  more: Readonly<Record<string, Uint8Array>> = {},
): Uint8Array {
  const data = storages.map(({ key, bytes }) => [`net/data/${key}`, bytes])
  return zip({ 'net/data.pkl': Uint8Array.from(pickle(contents)), ...Object.fromEntries(data), ...more })
}

/** What torch.save writes of a state dictionary. */
export function stateFile(
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: ArrayLike<number> }>,
  container: typeof zipped = zipped,
): Uint8Array {
  const storages = [...tensors].map(([, { data }], k) => storage(String(k), data))
  const items = [...tensors].map(([name, { shape }], k): [string, Bytes] => [name, tensor(storages[k], shape)])
  return container(dict(Object.fromEntries(items)), storages)
}
