/**
 * Networks in as few bytes as they can be said in: half precision, or, where the weights were quantised to 256 levels a row (dlib's were, by
 * those who published them), the levels. High and low bytes lie apart, because only the high ones can be compressed; then all is deflated.
 *
 * The file: 4 bytes with the header's length (u32, little endian), the header in JSON, then the tensors' bytes one after another.
 */
import { WeightsDamagedError } from '../weights/errors.ts'
import { decodeFloat16, encodeFloat16 } from '../weights/numbers.ts'
import { type ManifestEntry, type Weights, weightsFrom } from '../weights/registry.ts'

/** How a tensor's numbers lie in the file. */
type Coding = 'f32' | 'f16' | 'levels'

interface PackedTensor {
  name: string
  shape: readonly number[]
  coding: Coding
}

interface Header {
  networks: { entry: ManifestEntry; metadata: Readonly<Record<string, string>>; tensors: PackedTensor[] }[]
  /** Bytes of the file of populations, which ends the pack as it is. */
  populations: number
}

/** Rows of fewer numbers are not looked at for levels: they do not tell a grid. */
const SHORTEST_ROW = 64
/** Largest error of a row of levels, against its largest number: a sixteenth of what half precision may be off by. */
const LEVEL_ERROR = 2 ** -15
/** Largest error of half precision, against a tensor's largest number; tensors of smaller numbers stay as they are. */
const HALF_ERROR = 2 ** -11

/** Packs networks, and the file of populations that belongs to them. The result is deflated. */
export async function packNetworks(networks: readonly Weights[], populations: Uint8Array): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  const header: Header = {
    networks: networks.map((weights) => ({
      entry: weights.entry,
      metadata: weights.metadata,
      tensors: weights.names().map((name) => {
        const { shape, data } = weights.tensor(name)
        const { coding, bytes } = packed(data, shape[0] ?? 1)
        parts.push(bytes)
        return { name, shape, coding }
      }),
    })),
    populations: populations.length,
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const length = new Uint8Array(new Uint32Array([json.length]).buffer)
  return deflated([length, json, ...parts, populations])
}

/** Unpacks what `packNetworks` packed. Throws WeightsDamagedError where the data is cut short or no pack. */
export async function unpackNetworks(
  pack: Uint8Array<ArrayBuffer>,
): Promise<{ networks: Map<string, Weights>; populations: Uint8Array }> {
  const damaged = (): never => {
    throw new WeightsDamagedError("the page's networks", 'are damaged: load the page again')
  }
  const bytes = await inflated(pack).catch(damaged)
  if (bytes.length < 4) damaged()
  const json = 4 + new DataView(bytes.buffer).getUint32(0, true)
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, json))) as Header
  let at = json
  const networks = new Map<string, Weights>()
  for (const { entry, metadata, tensors } of header.networks) {
    const unpacked = tensors.map(({ name, shape, coding }) => {
      const count = shape.reduce((product, n) => product * n, 1)
      const size = bytesOf(coding, count, shape[0] ?? 1)
      const own = bytes.slice(at, at + size)
      if (own.length !== size) damaged()
      at += size
      return [name, { dtype: 'F32' as const, shape, data: numbersOf(coding, own, count, shape[0] ?? 1) }] as const
    })
    networks.set(entry.id, weightsFrom(entry, { tensors: new Map(unpacked), metadata }, entry.file))
  }
  if (bytes.length !== at + header.populations) damaged()
  return { networks, populations: bytes.slice(at) }
}

function packed(data: Float32Array, rows: number): { coding: Coding; bytes: Uint8Array } {
  const levels = levelsOf(data, rows)
  if (levels) return { coding: 'levels', bytes: levels }
  const halves = encodeFloat16(data)
  const back = decodeFloat16(halves)
  let [largest, error] = [0, 0]
  for (let i = 0; i < data.length; i++) {
    largest = Math.max(largest, Math.abs(data[i]))
    error = Math.max(error, Math.abs(data[i] - back[i]))
  }
  // A comparison that a number which is none fails.
  if (!(error <= HALF_ERROR * largest)) return { coding: 'f32', bytes: bytesAt(data) }
  return { coding: 'f16', bytes: apart(bytesAt(halves)) }
}

const bytesOf = (coding: Coding, count: number, rows: number): number =>
  coding === 'f32' ? 4 * count : coding === 'f16' ? 2 * count : 8 * rows + count

function numbersOf(coding: Coding, bytes: Uint8Array<ArrayBuffer>, count: number, rows: number): Float32Array {
  if (coding === 'f32') return new Float32Array(bytes.buffer)
  if (coding === 'f16') return decodeFloat16(together(bytes))
  const scales = new Float32Array(bytes.slice(0, 8 * rows).buffer)
  const numbers = new Float32Array(count)
  const width = count / rows
  for (let row = 0, at = 0; row < rows; row++) {
    const [low, step] = [scales[2 * row], scales[2 * row + 1]]
    for (const end = at + width; at < end; at++) numbers[at] = low + step * bytes[8 * rows + at]
  }
  return numbers
}

/** For each row its lowest number and the distance of two levels (f32 each), then a level a number; undefined where rows have no levels. */
function levelsOf(data: Float32Array, rows: number): Uint8Array | undefined {
  const width = data.length / rows
  if (width < SHORTEST_ROW) return undefined
  const scales = new Float32Array(2 * rows)
  const levels = new Uint8Array(data.length)
  for (let row = 0; row < rows; row++) {
    const numbers = data.subarray(row * width, (row + 1) * width)
    const sorted = numbers.toSorted()
    const [low, high] = [sorted[0], sorted[width - 1]]
    const largest = Math.max(Math.abs(low), Math.abs(high))
    let gap = Number.POSITIVE_INFINITY
    for (let i = 1; i < width; i++) {
      const difference = sorted[i] - sorted[i - 1]
      if (difference > LEVEL_ERROR * largest) gap = Math.min(gap, difference)
    }
    const count = Math.round((high - low) / gap)
    if (high > low && !(count <= 255)) return undefined
    const step = high > low ? Math.fround((high - low) / count) : 0
    scales.set([low, step], 2 * row)
    for (let i = 0; i < width; i++) {
      const level = step === 0 ? 0 : Math.round((numbers[i] - low) / step)
      if (!(Math.abs(low + step * level - numbers[i]) <= LEVEL_ERROR * largest)) return undefined
      levels[row * width + i] = level
    }
  }
  const bytes = new Uint8Array(8 * rows + data.length)
  bytes.set(bytesAt(scales))
  bytes.set(levels, 8 * rows)
  return bytes
}

const bytesAt = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** The high bytes of all halves, then the low ones; halves are little endian. */
function apart(bytes: Uint8Array): Uint8Array {
  const count = bytes.length / 2
  const out = new Uint8Array(bytes.length)
  for (let i = 0; i < count; i++) {
    out[i] = bytes[2 * i + 1]
    out[count + i] = bytes[2 * i]
  }
  return out
}

function together(bytes: Uint8Array): Uint16Array {
  const halves = new Uint16Array(bytes.length / 2)
  for (let i = 0; i < halves.length; i++) halves[i] = (bytes[i] << 8) | bytes[halves.length + i]
  return halves
}

/** Bytes, deflated (RFC 1951). */
export function deflated(parts: readonly Uint8Array[]): Promise<Uint8Array<ArrayBuffer>> {
  return through(new CompressionStream('deflate-raw'), parts)
}

/** What `deflated` took. Rejects for data that is damaged. */
export function inflated(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return through(new DecompressionStream('deflate-raw'), [bytes])
}

async function through(
  stream: CompressionStream | DecompressionStream,
  parts: readonly Uint8Array[],
): Promise<Uint8Array<ArrayBuffer>> {
  const source = new Blob(parts as Uint8Array<ArrayBuffer>[]).stream()
  return new Uint8Array(await new Response(source.pipeThrough(stream)).arrayBuffer())
}
