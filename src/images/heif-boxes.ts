/*
 * The boxes of HEIF and AVIF files (ISO 14496-12, ISO 23008-12) that say what the samples of the main picture mean, and
 * what else the file holds.
 */
import type { CodePoints } from './profile.ts'

export interface HeifFile {
  /** The colour signal of the main picture (colr of type nclx). */
  nclx?: CodePoints
  /** Its ICC profile (colr of type prof or rICC), which comes first. */
  icc?: Uint8Array
  gainMap: boolean
  depth: boolean
  /** A Motion Photo's. */
  video: boolean
  /** Pictures that are neither hidden nor parts of others (a burst, for example); 0 where there is no list. */
  pictures: number
  /** A sequence (video track) without a still picture. */
  sequence: boolean
}

export interface Box {
  type: string
  /** After the header. */
  start: number
  end: number
}

/** Reads the boxes. Never throws: where the structure ends, the decoder says what is wrong. */
export function readHeif(file: Uint8Array): HeifFile {
  const found: HeifFile = { gainMap: false, depth: false, video: false, pictures: 0, sequence: false }
  const data = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const top = boxes(data, 0, file.length)
  const meta = top.find(({ type }) => type === 'meta')
  found.sequence = !meta && top.some(({ type }) => type === 'moov')
  if (!meta) return found
  found.video = top.some(({ type }) => type === 'mpvd' || type === 'moov')
  const inside = boxes(data, meta.start + 4, meta.end)
  const text = new TextDecoder('latin1').decode(file.subarray(meta.start, meta.end))
  found.gainMap = text.includes('aux:hdrgainmap') || text.includes('tmap')
  found.depth = text.includes('auxid:2') || text.includes('aux:disparity') || text.includes('auxiliary:depth')
  const primary = primaryItem(data, inside)
  found.pictures = countPictures(data, inside)
  const iprp = inside.find(({ type }) => type === 'iprp')
  if (!iprp) return found
  const parts = boxes(data, iprp.start, iprp.end)
  const ipco = parts.find(({ type }) => type === 'ipco')
  if (!ipco) return found
  const properties = boxes(data, ipco.start, ipco.end)
  const own = associated(data, parts, primary)
  for (const [i, { type, start, end }] of properties.entries()) {
    if (own && !own.has(i + 1)) continue
    if (type !== 'colr' || end - start < 4) continue
    const kind = latin1(file, start, 4)
    if (kind === 'nclx' && end - start >= 10) {
      found.nclx ??= { primaries: data.getUint16(start + 4), transfer: data.getUint16(start + 6) }
    } else if (kind === 'prof' || kind === 'rICC') found.icc ??= file.subarray(start + 4, end)
  }
  return found
}

/** The boxes at the top of a file. */
export function boxesOf(file: Uint8Array): Box[] {
  return boxes(new DataView(file.buffer, file.byteOffset, file.byteLength), 0, file.length)
}

function boxes(data: DataView, from: number, to: number): Box[] {
  const list: Box[] = []
  const limit = Math.min(to, data.byteLength)
  for (let at = from; at + 8 <= limit && list.length < 10_000; ) {
    let size = data.getUint32(at)
    let start = at + 8
    const type = String.fromCharCode(...[4, 5, 6, 7].map((i) => data.getUint8(at + i)))
    if (size === 1) {
      if (at + 16 > limit) break
      size = Number(data.getBigUint64(at + 8))
      start = at + 16
    } else if (size === 0) size = limit - at
    if (size < start - at) break
    list.push({ type, start, end: Math.min(limit, at + size) })
    at += size
  }
  return list
}

function primaryItem(data: DataView, inside: readonly Box[]): number | undefined {
  const pitm = inside.find(({ type }) => type === 'pitm')
  if (!pitm || pitm.end - pitm.start < 6) return undefined
  if (data.getUint8(pitm.start) === 0) return data.getUint16(pitm.start + 4)
  return pitm.end - pitm.start >= 8 ? data.getUint32(pitm.start + 4) : undefined
}

/** Indices, from 1, of the properties of an item (ipma, 23008-12 section 9.3.1). */
function associated(data: DataView, parts: readonly Box[], item: number | undefined): Set<number> | undefined {
  const ipma = parts.find(({ type }) => type === 'ipma')
  if (!ipma || item === undefined || ipma.end - ipma.start < 8) return undefined
  const [version, wide] = [data.getUint8(ipma.start), data.getUint8(ipma.start + 3) & 1]
  const count = data.getUint32(ipma.start + 4)
  let at = ipma.start + 8
  for (let i = 0; i < count; i++) {
    const idBytes = version < 1 ? 2 : 4
    if (at + idBytes + 1 > ipma.end) return undefined
    const id = version < 1 ? data.getUint16(at) : data.getUint32(at)
    const links = data.getUint8(at + idBytes)
    at += idBytes + 1
    const bytes = links * (wide ? 2 : 1)
    if (at + bytes > ipma.end) return undefined
    if (id === item) {
      return new Set(
        Array.from({ length: links }, (_, k) =>
          wide ? data.getUint16(at + 2 * k) & 0x7fff : data.getUint8(at + k) & 0x7f,
        ),
      )
    }
    at += bytes
  }
  return undefined
}

/** Items that are coded pictures, grids or overlays, less those that a reference (iref) makes part of another. */
function countPictures(data: DataView, inside: readonly Box[]): number {
  const iinf = inside.find(({ type }) => type === 'iinf')
  if (!iinf) return 0
  const pictures = new Set<number>()
  const skip = data.getUint8(iinf.start) === 0 ? 6 : 8
  for (const { type, start, end } of boxes(data, iinf.start + skip, iinf.end)) {
    if (type !== 'infe' || end - start < 12) continue
    const version = data.getUint8(start)
    const hidden = data.getUint8(start + 3) & 1
    const id = version >= 3 ? data.getUint32(start + 4) : data.getUint16(start + 4)
    const at = start + (version >= 3 ? 10 : 8)
    if (at + 4 > end) continue
    const kind = String.fromCharCode(...[0, 1, 2, 3].map((i) => data.getUint8(at + i)))
    if (!hidden && ['hvc1', 'av01', 'grid', 'iovl', 'iden', 'jpeg', 'avc1', 'unci'].includes(kind)) pictures.add(id)
  }
  const iref = inside.find(({ type }) => type === 'iref')
  if (iref) {
    const wide = data.getUint8(iref.start) > 0 ? 4 : 2
    const read = (at: number) => (wide === 4 ? data.getUint32(at) : data.getUint16(at))
    for (const { type, start, end } of boxes(data, iref.start + 4, iref.end)) {
      if (start + wide + 2 > end) continue
      // dimg: from a grid to its tiles; thmb and auxl: from the lesser picture to the main one.
      if (type === 'thmb' || type === 'auxl') pictures.delete(read(start))
      if (type !== 'dimg') continue
      const count = data.getUint16(start + wide)
      for (let i = 0; i < count && start + wide + 2 + (i + 1) * wide <= end; i++)
        pictures.delete(read(start + wide + 2 + i * wide))
    }
  }
  return pictures.size
}

function latin1(bytes: Uint8Array, start: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(start, start + length))
}
