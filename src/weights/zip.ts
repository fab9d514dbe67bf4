/**
 * Reads zip archives whose entries are stored as they are, without compression, as PyTorch writes them.
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

/**
 * The archive's entries by name, as views of its bytes.
 *
 * @param file the archive's name, for messages
 * @throws ZipError if it is damaged, compressed, encrypted or beyond 4 GiB, or holds a name twice
 */
export function readZip(bytes: Uint8Array, file: string): Map<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fail = (problem: string): never => {
    throw new ZipError(file, problem)
  }
  const end = findEnd(view)
  if (end === undefined) return fail('is no whole zip archive: it has no end record')
  const count = view.getUint16(end + 10, true)
  let at = view.getUint32(end + 16, true)
  if (at === ZIP64 || count === 0xffff) fail('is a zip64 archive; files from 4 GiB on are not read')

  const entries = new Map<string, Uint8Array>()
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_BYTES > end || view.getUint32(at, true) !== CENTRAL) fail(`its directory is damaged at byte ${at}`)
    const flags = view.getUint16(at + 8, true)
    const method = view.getUint16(at + 10, true)
    const packed = view.getUint32(at + 20, true)
    const size = view.getUint32(at + 24, true)
    const nameBytes = view.getUint16(at + 28, true)
    const rest = view.getUint16(at + 30, true) + view.getUint16(at + 32, true)
    const local = view.getUint32(at + 42, true)
    if (at + CENTRAL_BYTES + nameBytes + rest > end) fail(`its directory is damaged at byte ${at}`)
    const name = new TextDecoder().decode(bytes.subarray(at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes))
    at += CENTRAL_BYTES + nameBytes + rest
    if (flags & 1) fail(`${name} is encrypted`)
    if (method !== 0 || packed !== size) fail(`${name} is compressed; PyTorch stores its entries as they are`)
    if (size === ZIP64 || local === ZIP64) fail(`${name} has zip64 sizes; files from 4 GiB on are not read`)
    if (local + LOCAL_BYTES > end || view.getUint32(local, true) !== LOCAL) fail(`${name} is damaged at byte ${local}`)
    const data = local + LOCAL_BYTES + view.getUint16(local + 26, true) + view.getUint16(local + 28, true)
    if (data + size > end) fail(`${name} reaches over the end of the archive`)
    if (entries.has(name)) fail(`holds ${name} twice`)
    entries.set(name, bytes.subarray(data, data + size))
  }
  return entries
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
