/**
 * The safetensors format: 8 bytes with the header's length (u64, little endian), a JSON header that gives each tensor
 * its dtype, shape and `data_offsets` (relative to the end of the header), then the raw numbers, without holes.
 * https://huggingface.co/docs/safetensors
 *
 * The reader is strict: whatever the format does not allow is refused, so that a file which is read is known to be whole.
 */
import { WeightsError } from './errors.ts'
import {
  bytesOf,
  decodeNumbers,
  encodeFloat16,
  isNumberType,
  type Numbers,
  type NumberType,
  numberTypes,
  type StoredTensor,
} from './numbers.ts'

export { decodeFloat16, type StoredTensor } from './numbers.ts'

/** A file that breaks the rules of safetensors. The message names the file and, where there is one, the tensor. */
export class SafetensorsError extends WeightsError {
  override name = 'SafetensorsError'
}

export interface WeightFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly metadata: Readonly<Record<string, string>>
}

/** A header of a network with ten thousand tensors is about 1 MB; a longer one is not a network's. */
const HEADER_LIMIT = 16 * 1024 * 1024
const RANK_LIMIT = 8

/**
 * Reads a whole safetensors file. Tensors are views of `bytes` where type and alignment allow it, so `bytes` must not be
 * written to afterwards; others are decoded when they are first asked for.
 *
 * @param bytes the file
 * @param file its name, for messages
 * @throws SafetensorsError if anything in the file is not as the format asks
 */
export function readSafetensors(bytes: Uint8Array, file: string): WeightFile {
  const fail = (problem: string): never => {
    throw new SafetensorsError(file, problem)
  }
  if (bytes.length < 8) fail(`is ${bytes.length} bytes long, too short for a safetensors file`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const headerLength = view.getBigUint64(0, true)
  if (headerLength > BigInt(HEADER_LIMIT)) fail(`its header claims ${headerLength} bytes; the limit is ${HEADER_LIMIT}`)
  const dataStart = 8 + Number(headerLength)
  if (dataStart > bytes.length) fail(`its header claims ${headerLength} bytes, the file has ${bytes.length - 8} left`)
  const header = parseHeader(bytes.subarray(8, dataStart), file)

  const tensors = new Map<string, StoredTensor>()
  let metadata: Record<string, string> = {}
  const ranges: { name: string; begin: number; end: number }[] = []
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      metadata = parseMetadata(value, file)
      continue
    }
    const { dtype, shape, begin, end } = parseEntry(value, name, bytes.length - dataStart, file)
    ranges.push({ name, begin, end })
    tensors.set(name, storedTensor(dtype, shape, bytes.subarray(dataStart + begin, dataStart + end)))
  }

  ranges.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let covered = 0
  for (const { name, begin, end } of ranges) {
    if (begin < covered) fail(`tensor "${name}": its bytes ${begin}..${end} overlap another tensor's`)
    if (begin > covered) fail(`tensor "${name}": bytes ${covered}..${begin} before it belong to no tensor`)
    covered = end
  }
  if (covered !== bytes.length - dataStart) {
    fail(`its tensors take ${covered} bytes, the file holds ${bytes.length - dataStart}`)
  }
  return { tensors, metadata }
}

/** A tensor to be written, in C order. `dtype` is what it is stored as, F32 unless told; F16 is rounded to nearest. */
export interface WritableTensor {
  readonly shape: readonly number[]
  readonly data: Float32Array
  readonly dtype?: 'F32' | 'F16'
}

/**
 * Writes a safetensors file of floats, in the order of the map. The same tensors and metadata give the same bytes.
 *
 * @throws SafetensorsError if a tensor's data is not as long as its shape says
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, WritableTensor>,
  metadata: Readonly<Record<string, string>>,
  file: string,
): Uint8Array<ArrayBuffer> {
  const header: [string, unknown][] = [['__metadata__', metadata]]
  let end = 0
  for (const [name, { shape, data, dtype = 'F32' }] of tensors) {
    const length = shape.reduce((product, n) => product * n, 1)
    if (length !== data.length) {
      throw new SafetensorsError(
        file,
        `tensor "${name}": shape [${shape}] asks for ${length} numbers, not ${data.length}`,
      )
    }
    const size = length * bytesOf(dtype)
    header.push([name, { dtype, shape, data_offsets: [end, end + size] }])
    end += size
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)))
  // The data starts at a multiple of 8, so that readers can take views of it; the format pads with spaces.
  const headerLength = Math.ceil(json.length / 8) * 8
  const bytes = new Uint8Array(8 + headerLength + end)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true)
  bytes.fill(0x20, 8, 8 + headerLength)
  bytes.set(json, 8)
  let at = 8 + headerLength
  for (const { data, dtype } of tensors.values()) {
    const { buffer, byteOffset, byteLength } = dtype === 'F16' ? encodeFloat16(data) : data
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at)
    at += byteLength
  }
  return bytes
}

function parseHeader(bytes: Uint8Array, file: string): Record<string, unknown> {
  let text: string
  let header: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    header = JSON.parse(text)
  } catch (cause) {
    throw new SafetensorsError(file, 'its header is not JSON', { cause })
  }
  if (!isRecord(header)) throw new SafetensorsError(file, 'its header is not a JSON object')
  const repeated = repeatedKey(text)
  if (repeated !== undefined) throw new SafetensorsError(file, `the name "${repeated}" occurs twice in its header`)
  return header
}

/** The first key that one object of a (valid) JSON text holds twice; JSON.parse would silently keep the last. */
function repeatedKey(json: string): string | undefined {
  const open: Set<string>[] = []
  for (let i = 0; i < json.length; i++) {
    if (json[i] === '{') open.push(new Set())
    else if (json[i] === '}') open.pop()
    else if (json[i] === '"') {
      const start = i++
      while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1
      let next = i + 1
      while (' \t\r\n'.includes(json[next])) next++
      if (json[next] !== ':') continue
      const name: string = JSON.parse(json.slice(start, i + 1))
      if (open.at(-1)?.has(name)) return name
      open.at(-1)?.add(name)
    }
  }
  return undefined
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (!isRecord(value) || Object.values(value).some((text) => typeof text !== 'string')) {
    throw new SafetensorsError(file, '__metadata__ is not an object of strings')
  }
  return value as Record<string, string>
}

function parseEntry(value: unknown, name: string, available: number, file: string) {
  const fail = (problem: string): never => {
    throw new SafetensorsError(file, `tensor "${name}": ${problem}`)
  }
  if (!isRecord(value)) return fail('its entry is not an object')
  const { dtype, shape, data_offsets: offsets, ...rest } = value
  if (Object.keys(rest).length > 0) fail(`its entry has an unknown field "${Object.keys(rest)[0]}"`)
  if (!isNumberType(dtype)) return fail(`dtype ${JSON.stringify(dtype)} is not one of ${numberTypes.join(', ')}`)
  if (!isNaturals(shape)) return fail(`shape ${JSON.stringify(shape)} is not a list of whole numbers >= 0`)
  if (shape.length > RANK_LIMIT) fail(`it has ${shape.length} dimensions; the limit is ${RANK_LIMIT}`)
  if (!isNaturals(offsets) || offsets.length !== 2) {
    return fail(`data_offsets ${JSON.stringify(offsets)} is not a pair of whole numbers`)
  }
  const [begin, end] = offsets
  if (begin > end || end > available)
    fail(`data_offsets [${offsets}] lie outside the file's ${available} bytes of data`)
  const size = shape.reduce((product, n) => product * n, bytesOf(dtype))
  if (size !== end - begin) fail(`${dtype} of shape [${shape}] takes ${size} bytes, data_offsets give ${end - begin}`)
  return { dtype, shape, begin, end }
}

function storedTensor(dtype: NumberType, shape: readonly number[], bytes: Uint8Array): StoredTensor {
  let decoded: Numbers | undefined
  return {
    dtype,
    shape,
    get data() {
      decoded ??= decodeNumbers(dtype, bytes)
      return decoded
    },
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isNaturals(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}
