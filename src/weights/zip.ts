/**
 * Zip archives as PyTorch and numpy write them: entries stored as they are, or deflated.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
import { WeightsError } from './errors.ts'

/** An archive that is damaged, or packed in a way this reader does not take. */
export class ZipError extends WeightsError {
  override name = 'ZipError'
}

const END = 0x06054b50
const CENTRAL = 0x02014b50
const LOCAL = 0x04034b50
const END_BYTES = 22
const CENTRAL_BYTES = 46
const LOCAL_BYTES = 30
/** Sizes and counts with all bits set stand for "see the zip64 record", which archives beyond 4 GiB have. */
const ZIP64 = 0xffffffff
/** All entries of an archive unpacked; more than any network's weights. */
const UNPACKED_LIMIT = 2 ** 31
/** Deflate makes at most this many bytes of one (258 of two bits); an entry that claims more is a lie. */
const DEFLATE_LIMIT = 1032

/** A file in an archive. */
interface ZipEntry {
  name: string
  deflated: boolean
  /** Its bytes in the archive. */
  packed: Uint8Array
  /** Length of what they hold, and its checksum. */
  size: number
  crc: number
  /** Where it lies in the archive, its header included. */
  start: number
  end: number
}

/**
 * The archive's entries by name, as views of its bytes.
 *
 * @param file the archive's name, for messages
 * @throws ZipError if it is damaged, compressed, encrypted or beyond 4 GiB, holds a name twice, or one piece of bytes under two names
 */
export function readZip(bytes: Uint8Array, file: string): Map<string, Uint8Array> {
  const entries = readDirectory(bytes, file)
  const compressed = entries.find(({ deflated }) => deflated)
  if (compressed) throw new ZipError(file, `${compressed.name} is compressed; PyTorch stores its entries as they are`)
  return new Map(entries.map(({ name, packed }) => [name, packed]))
}

/**
 * The archive's entries by name, decompressed and checked against their checksums.
 *
 * @param file the archive's name, for messages
 * @throws ZipError as `readZip` does, but for compression; and where an entry is not what its checksum and its length say, or all together
 *   are longer than 2 GiB, which is found out before they are unpacked
 */
export async function unpackZip(bytes: Uint8Array, file: string): Promise<Map<string, Uint8Array>> {
  const entries = readDirectory(bytes, file)
  const total = entries.reduce((sum, { size }) => sum + size, 0)
  if (total > UNPACKED_LIMIT) throw new ZipError(file, `unpacks to ${total} bytes; the limit is ${UNPACKED_LIMIT}`)
  const unpacked = new Map<string, Uint8Array>()
  for (const { name, deflated, packed, size, crc } of entries) {
    const content = deflated ? await inflate(packed, size) : packed
    if (!content || crc32(content) !== crc) throw new ZipError(file, `${name} is damaged`)
    unpacked.set(name, content)
  }
  return unpacked
}

/** Reads the directory at the archive's end and checks it against the entries. */
function readDirectory(bytes: Uint8Array, file: string): ZipEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fail = (problem: string): never => {
    throw new ZipError(file, problem)
  }
  const end = findEnd(view)
  if (end === undefined) return fail('is no whole zip archive: it has no end record')
  const count = view.getUint16(end + 10, true)
  const directory = view.getUint32(end + 16, true)
  if (directory === ZIP64 || count === 0xffff) fail('is a zip64 archive; files from 4 GiB on are not read')

  const entries = new Map<string, ZipEntry>()
  let at = directory
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_BYTES > end || view.getUint32(at, true) !== CENTRAL) fail(`its directory is damaged at byte ${at}`)
    const flags = view.getUint16(at + 8, true)
    const method = view.getUint16(at + 10, true)
    const crc = view.getUint32(at + 16, true)
    const packed = view.getUint32(at + 20, true)
    const size = view.getUint32(at + 24, true)
    const nameBytes = view.getUint16(at + 28, true)
    const rest = view.getUint16(at + 30, true) + view.getUint16(at + 32, true)
    const start = view.getUint32(at + 42, true)
    if (at + CENTRAL_BYTES + nameBytes + rest > end) fail(`its directory is damaged at byte ${at}`)
    const name = new TextDecoder().decode(bytes.subarray(at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes))
    at += CENTRAL_BYTES + nameBytes + rest
    if (flags & 1) fail(`${name} is encrypted`)
    if (method !== 0 && method !== 8) fail(`${name} is compressed in a way (${method}) that is not read`)
    if (packed === ZIP64 || size === ZIP64 || start === ZIP64)
      fail(`${name} has zip64 sizes; files from 4 GiB on are not read`)
    if (method === 0 && packed !== size) fail(`${name} is stored, but in ${packed} bytes instead of ${size}`)
    if (size > DEFLATE_LIMIT * (packed + 1)) fail(`${name} claims to unpack to ${size} bytes, out of ${packed}`)
    if (start + LOCAL_BYTES > directory || view.getUint32(start, true) !== LOCAL)
      fail(`${name} is damaged at byte ${start}`)
    const data = start + LOCAL_BYTES + view.getUint16(start + 26, true) + view.getUint16(start + 28, true)
    if (data + packed > directory) fail(`${name} reaches over the end of the archive`)
    if (entries.has(name)) fail(`holds ${name} twice`)
    const content = bytes.subarray(data, data + packed)
    entries.set(name, { name, deflated: method === 8, packed: content, size, crc, start, end: data + packed })
  }
  // Entries that share bytes are how a small archive unpacks to a huge one.
  const inOrder = [...entries.values()].sort((a, b) => a.start - b.start)
  const overlapping = inOrder.find((entry, i) => i > 0 && entry.start < inOrder[i - 1].end)
  if (overlapping) fail(`${overlapping.name} lies in the bytes of another entry`)
  return [...entries.values()]
}

/** The end record: the last thing in the file but for a comment, whose length it tells. */
function findEnd(view: DataView): number | undefined {
  const last = view.byteLength - END_BYTES
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) === END && at + END_BYTES + view.getUint16(at + 20, true) === view.byteLength)
      return at
  }
  return undefined
}

/** `size` bytes out of deflated ones; undefined where they are damaged or of another length, of which no more is unpacked. */
async function inflate(packed: Uint8Array, size: number): Promise<Uint8Array | undefined> {
  const out = new Uint8Array(size)
  const stream = new Blob([packed as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream('deflate-raw'))
  const reader = stream.getReader()
  let at = 0
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      if (at + chunk.value.length > size) {
        await reader.cancel()
        return undefined
      }
      out.set(chunk.value, at)
      at += chunk.value.length
    }
  } catch {
    return undefined
  }
  return at === size ? out : undefined
}

/** Remainders of all bytes by zip's polynomial, bits reflected. */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1
  return remainder
})

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]) & 0xff]
  return (crc ^ 0xffffffff) >>> 0
}
