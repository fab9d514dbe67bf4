/*
 * The segments of a JPEG file (ITU-T T.81, annex B): what phones wrap around the picture, what they write wrongly though
 * every viewer opens it, how strongly it was compressed, and the file without metadata.
 */
import { qualityOf } from './jpeg-quality.ts'
import { type JpegSegment, jfifWithout, orientationSegment } from './jpeg-segments.ts'
import { MARK } from './mark.ts'
import type { Loss } from './photo.ts'
import { readProfile } from './profile.ts'

export interface JpegFile {
  /** The file as a strict decoder takes it: only the first picture, and what phones write wrongly put right. */
  bytes: Uint8Array
  /** What was put right, as the rest of a sentence that starts with the file. */
  repaired: string[]
  /** What else the file holds and a decoder of the first picture does not see. */
  lost: Loss[]
  /** Bits a sample: 8, 12, or up to 16 where lossless. */
  precision: number
  coding: 'baseline' | 'progressive' | 'lossless' | 'arithmetic' | 'hierarchical'
  components: number
  /** As stored, in pixels. */
  width: number
  height: number
  /** The quality from 1 to 100 that libjpeg would need for tables as coarse as the file's. */
  quality?: number
  /** Written by lowkey-gpu. */
  marked: boolean
  segments: JpegSegment[]
  /** Rows of a block of all components (MCU), 8 or 16. */
  blockRows: number
}

const SOS = 0xda
/** Of files whose end mark is missing; the picture before it may be whole. */
export const NO_END = 'has no end mark'

/** Reads the segments. Never throws: where the structure ends, the decoder says what is wrong. */
export function readJpeg(file: Uint8Array): JpegFile {
  const found: JpegFile = {
    bytes: file,
    repaired: [],
    lost: [],
    precision: 8,
    coding: 'baseline',
    components: 3,
    width: 0,
    height: 0,
    marked: false,
    segments: [],
    blockRows: 8,
  }
  const parts: Uint8Array[] = [file.subarray(0, 2)]
  const tables: Uint8Array[] = []
  let from = 2
  const keepUntil = (end: number) => {
    parts.push(file.subarray(from, end))
    from = end
  }
  let at = 2
  let end: number | undefined
  while (at + 2 <= file.length) {
    const start = at
    while (at < file.length && file[at] !== 0xff) at++
    if (at > start) {
      // Bytes that belong to no segment: cameras that pad. Left out.
      keepUntil(start)
      from = at
      found.repaired.push(`has ${at - start} stray bytes between its parts`)
    }
    while (file[at + 1] === 0xff) at++
    const marker = file[at + 1]
    if (marker === undefined) break
    if (marker === 0xd9) {
      end = at + 2
      break
    }
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2
      continue
    }
    if (at + 4 > file.length) break
    const length = (file[at + 2] << 8) | file[at + 3]
    const body = file.subarray(at + 4, at + 2 + length)
    if (length < 2 || at + 2 + length > file.length) break
    const segment: JpegSegment = { marker, start: at, end: at + 2 + length, body }
    found.segments.push(segment)
    describe(found, segment, tables)
    const right = corrected(found, segment)
    if (right) {
      keepUntil(at)
      parts.push(right)
      from = segment.end
    }
    at = segment.end
    if (marker === SOS) {
      at = endOfScan(file, at)
      segment.end = at
    }
  }
  end ??= at
  keepUntil(Math.min(file.length, end))
  if ((file[end - 2] !== 0xff || file[end - 1] !== 0xd9) && scansComplete(found)) {
    parts.push(Uint8Array.of(0xff, 0xd9))
    found.repaired.push(NO_END)
  }
  afterEnd(found, file.subarray(end))
  if (parts.length > 2 || end !== file.length) found.bytes = Buffer.concat(parts)
  if (tables.length > 0) found.quality = qualityOf(tables[0])
  found.repaired = [...new Set(found.repaired)]
  return found
}

/**
 * Whether the scans of a progressive picture code every bit of every coefficient of every component; a sequential picture
 * has nothing to add scan by scan.
 */
function scansComplete({ coding, components, segments }: JpegFile): boolean {
  if (coding !== 'progressive') return true
  const bits = new Map<number, Uint8Array>()
  for (const { marker, body } of segments) {
    if (marker !== SOS || body.length < 4 + 2 * body[0]) continue
    const [from, to, low] = [body[1 + 2 * body[0]], body[2 + 2 * body[0]], body[3 + 2 * body[0]] & 15]
    for (let i = 0; i < body[0]; i++) {
      const id = body[1 + 2 * i]
      if (!bits.has(id)) bits.set(id, new Uint8Array(64).fill(255))
      bits.get(id)!.fill(low, from, to + 1)
    }
  }
  return bits.size === components && [...bits.values()].every((missing) => missing.every((low) => low === 0))
}

/** Where the coded data of a scan ends: at the next marker that is no restart and no stuffed byte. */
function endOfScan(file: Uint8Array, start: number): number {
  let at = start
  for (;;) {
    at = file.indexOf(0xff, at)
    if (at < 0 || at + 1 >= file.length) return file.length
    const next = file[at + 1]
    if (next !== 0 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at
    at += next === 0xff ? 1 : 2
  }
}

function describe(found: JpegFile, { marker, body }: JpegSegment, tables: Uint8Array[]): void {
  const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
  if (frame && body.length >= 6) {
    found.precision = body[0]
    found.components = body[5]
    found.height = (body[1] << 8) | body[2]
    found.width = (body[3] << 8) | body[4]
    found.coding =
      marker >= 0xc9
        ? 'arithmetic'
        : marker >= 0xc5
          ? 'hierarchical'
          : marker === 0xc3
            ? 'lossless'
            : marker === 0xc2
              ? 'progressive'
              : 'baseline'
    const vertical = Array.from({ length: body[5] }, (_, i) => (body[7 + 3 * i] ?? 0x11) & 15)
    found.blockRows = 8 * Math.max(1, ...vertical)
  } else if (marker === 0xdb) {
    for (let at = 0; at < body.length; at += body[at] >> 4 ? 129 : 65) {
      if (body[at] >> 4 === 0) tables.push(body.subarray(at + 1, at + 65))
    }
  } else if (marker === 0xfe && ascii(body, MARK.length) === MARK) found.marked = true
  else if (marker === 0xe1 || marker === 0xe2) describeApplication(found, marker, body)
}

/** What phones say in XMP and in the multi-picture format (CIPA DC-007) about what comes after the picture. */
function describeApplication(found: JpegFile, marker: number, body: Uint8Array): void {
  if (marker === 0xe1 && /^http:\/\/ns.adobe.com\/(xap|xmp)/.test(ascii(body, 40))) {
    const xmp = Buffer.from(body).toString('latin1')
    if (/hdrgm:Version|HDRGainMap/i.test(xmp)) add(found, gainMap)
    if (/Camera:(MotionPhoto|MicroVideo)(=|>)["']?1/.test(xmp)) add(found, video)
    if (/GDepth:|Camera:DepthMap|Item:Semantic="Depth"/.test(xmp)) add(found, depthMap)
  }
  if (marker === 0xe2 && ascii(body, 28).startsWith('urn:iso:std:iso:ts:21496')) add(found, gainMap)
  if (marker === 0xe2 && ascii(body, 4) === 'MPF\0') {
    const views = multiPictures(body.subarray(4))
    if (views > 1) add(found, { what: 'frames', says: `holds ${views} pictures; only the first is read` })
  }
}

const gainMap: Loss = {
  what: 'gain-map',
  says: 'holds an HDR gain map, which shows the face unprotected; it is left out',
}
const video: Loss = {
  what: 'video',
  says: 'is a Motion Photo; its video, which shows the face unprotected, is left out',
}
const depthMap: Loss = { what: 'depth', says: 'holds a depth map, which is left out' }

/** How many of a multi-picture file's pictures are views of their own (MPO), rather than previews or gain maps. */
function multiPictures(mpf: Uint8Array): number {
  if (mpf.length < 10) return 1
  const data = new DataView(mpf.buffer, mpf.byteOffset, mpf.byteLength)
  const little = data.getUint16(0) === 0x4949
  const at = data.getUint32(4, little)
  if (at + 2 > mpf.length) return 1
  const count = Math.min(data.getUint16(at, little), 16)
  for (let i = 0; i < count; i++) {
    const entry = at + 2 + 12 * i
    if (entry + 12 > mpf.length || data.getUint16(entry, little) !== 0xb002) continue
    const [size, list] = [data.getUint32(entry + 4, little), data.getUint32(entry + 8, little)]
    const kinds: number[] = []
    for (let p = list; p + 16 <= Math.min(mpf.length, list + size); p += 16) {
      kinds.push((data.getUint32(p, little) & 0xff0000) >> 16)
    }
    // 2: a view of a panorama, a stereo picture or several angles; 3: the main picture where it is no view itself.
    const views = kinds.filter((kind) => kind === 2).length
    return views > 0 && kinds[0] === 3 ? views + 1 : views
  }
  return 1
}

/** A segment that viewers pass over and strict decoders complain about, as it should be. */
function corrected(found: JpegFile, { marker, start, body }: JpegSegment): Uint8Array | undefined {
  const whole = new Uint8Array(body.buffer, body.byteOffset - 4, body.length + 4)
  if (marker === SOS && found.coding === 'baseline') {
    const at = body.length - 3
    if (at < 1 || (body[at] === 0 && body[at + 1] === 63 && body[at + 2] === 0)) return undefined
    found.repaired.push('has wrong scan parameters, as some phones write them')
    const right = whole.slice()
    right.set([0, 63, 0], right.length - 3)
    return right
  }
  if (marker === 0xe0 && start === 2 && ascii(body, 5) === 'JFIF\0' && (body[5] !== 1 || body[6] > 2)) {
    found.repaired.push(`states an unknown JFIF revision, ${body[5]}.${String(body[6]).padStart(2, '0')}`)
    const right = whole.slice()
    right.set([1, 2], 9)
    return right
  }
  return undefined
}

/** What stands after the end of the picture. */
function afterEnd(found: JpegFile, rest: Uint8Array): void {
  if (rest.length < 16) return
  const text = Buffer.from(rest.buffer, rest.byteOffset, rest.byteLength)
  if (text.includes('ftyp') || text.includes('MotionPhoto_Data')) add(found, video)
  if (text.includes('hdrgm:Version') || text.includes('aux:hdrgainmap') || text.includes('HDRGainMap'))
    add(found, gainMap)
  if (text.includes('DepthMap_') || text.includes('aux:disparity')) add(found, depthMap)
}

function add(found: JpegFile, loss: Loss): void {
  if (!found.lost.some(({ what }) => what === loss.what)) found.lost.push(loss)
}

/**
 * The same picture, its coded data untouched, without metadata: JFIF without its thumbnail, a colour profile of primaries
 * rewritten without names, other profiles as they are, Adobe's colour transform, and the orientation as the one field of
 * EXIF. All else between the start and the end of the picture goes, and all after it.
 *
 * @param orientation 1 to 8, from EXIF
 */
export function withoutMetadata(file: JpegFile, orientation: number): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0xff, 0xd8)]
  const profile = profileChunks(file.segments)
  let profileWritten = false
  const source = readJpeg(file.bytes)
  for (const { marker, start, end, body } of source.segments) {
    if (marker === 0xe0) {
      if (ascii(body, 5) === 'JFIF\0') parts.push(jfifWithout(body))
    } else if (marker === 0xe2 && ascii(body, 12) === 'ICC_PROFILE\0') {
      if (!profileWritten && profile) parts.push(...iccSegments(readProfile(profile)?.icc ?? profile))
      profileWritten = true
    } else if (marker === 0xee && ascii(body, 5) === 'Adobe') parts.push(source.bytes.subarray(start, end))
    else if ((marker >= 0xe0 && marker <= 0xef) || marker === 0xfe) continue
    else parts.push(source.bytes.subarray(start, end))
  }
  if (orientation !== 1) parts.splice(1, 0, orientationSegment(orientation))
  parts.push(Uint8Array.of(0xff, 0xd9))
  return Buffer.concat(parts)
}

/** The ICC profile put together out of its chunks (ICC.1:2022, B.4), or undefined where one is missing. */
function profileChunks(segments: readonly JpegSegment[]): Uint8Array | undefined {
  const chunks = segments.filter(({ marker, body }) => marker === 0xe2 && ascii(body, 12) === 'ICC_PROFILE\0')
  const sorted = chunks.map(({ body }) => body).sort((a, b) => a[12] - b[12])
  if (sorted.length === 0 || sorted.some((body, i) => body[12] !== i + 1)) return undefined
  return Buffer.concat(sorted.map((body) => body.subarray(14)))
}

/** APP2 segments that hold an ICC profile. */
export function iccSegments(icc: Uint8Array): Uint8Array[] {
  const most = 65519
  const count = Math.ceil(icc.length / most)
  return Array.from({ length: count }, (_, i) => {
    const data = icc.subarray(i * most, (i + 1) * most)
    const head = Buffer.from([0xff, 0xe2, 0, 0, ...Buffer.from('ICC_PROFILE\0', 'latin1'), i + 1, count])
    head.writeUInt16BE(head.length - 2 + data.length, 2)
    return Buffer.concat([head, data])
  })
}

function ascii(bytes: Uint8Array, length: number): string {
  return String.fromCharCode(...bytes.subarray(0, length))
}
