/*
 * The small part of EXIF that a protected photo may carry: what its author says about it, when it was taken and with
 * which make of camera. It is an allow-list, read field by field and written anew, so nothing else can slip through:
 * no GPS, no time zone (a coarse place), no thumbnail (the face before protection), no serial numbers or owner's name
 * of the camera, no maker notes, no software (a phone's exact build tells devices apart), no XMP or IPTC (face
 * regions with names).
 *
 * Format: TIFF 6.0, section 2, and Exif 2.32 (CIPA DC-008), section 4.6.
 */
import { MARK } from './mark.ts'

/** What `--keep-metadata` copies into the protected photo. */
export interface PhotoMetadata {
  /** ImageDescription */
  description?: string
  cameraMake?: string
  cameraModel?: string
  artist?: string
  copyright?: string
  /** DateTimeOriginal, `YYYY:MM:DD HH:MM:SS` in the camera's local time. */
  taken?: string
}

const TEXT_TAGS = {
  description: 0x010e,
  cameraMake: 0x010f,
  cameraModel: 0x0110,
  artist: 0x013b,
  copyright: 0x8298,
} as const
const ORIENTATION = 0x0112
const X_RESOLUTION = 0x011a
const Y_RESOLUTION = 0x011b
const RESOLUTION_UNIT = 0x0128
const SOFTWARE = 0x0131
const EXIF_IFD = 0x8769
const EXIF_VERSION = 0x9000
const DATE_TIME_ORIGINAL = 0x9003
const COLOR_SPACE = 0xa001

const ASCII = 2
const SHORT = 3
const LONG = 4
const RATIONAL = 5
const UNDEFINED = 7
const UTF8 = 129

/** Longer fields are no author's words but a program's data; they are dropped, not cut. */
const MAX_TEXT_BYTES = 4096
const DATE = /^\d{4}:\d{2}:\d{2} \d{2}:\d{2}:\d{2}$/

/**
 * Reads the allowed fields out of an EXIF block or a classic TIFF file (the structure is the same). Never throws: in a
 * damaged block the fields that cannot be read are absent.
 *
 * @param block with or without the leading `Exif\0\0`
 */
export function readExif(block: Uint8Array): PhotoMetadata {
  const metadata: PhotoMetadata = {}
  const opened = open(block)
  if (!opened) return metadata
  const { data, little, first } = opened
  for (const [field, tag] of Object.entries(TEXT_TAGS) as [keyof typeof TEXT_TAGS, number][]) {
    const bytes = textBytes(data, first.get(tag), little)
    const text = bytes && (tag === TEXT_TAGS.copyright ? copyrightText(bytes) : firstText(bytes))
    if (text) metadata[field] = text
  }
  const exif = first.get(EXIF_IFD)
  if (exif !== undefined && data.getUint16(exif + 2, little) === LONG) {
    const second = entries(data, data.getUint32(exif + 8, little), little)
    const bytes = textBytes(data, second.get(DATE_TIME_ORIGINAL), little)
    const taken = bytes && firstText(bytes)
    if (taken && DATE.test(taken)) metadata.taken = taken
  }
  return metadata
}

/** Whether EXIF's Software is the mark that results of this program carry. */
export function isMarked(block: Uint8Array): boolean {
  const opened = open(block)
  if (!opened) return false
  const bytes = textBytes(opened.data, opened.first.get(SOFTWARE), opened.little)
  return bytes !== undefined && firstText(bytes) === MARK
}

/** EXIF's orientation, 1 to 8; 1 where it says nothing. */
export function orientationOf(block: Uint8Array): number {
  const opened = open(block)
  const entry = opened?.first.get(ORIENTATION)
  if (!opened || entry === undefined) return 1
  const value = opened.data.getUint16(entry + 8, opened.little)
  return value >= 1 && value <= 8 ? value : 1
}

/** Dots an inch by XResolution, where it says so; 72 is what programs write that know nothing. */
export function densityIn(block: Uint8Array): number | undefined {
  const opened = open(block)
  const entry = opened?.first.get(X_RESOLUTION)
  if (!opened || entry === undefined) return undefined
  const { data, little, first } = opened
  const at = data.getUint32(entry + 8, little)
  if (data.getUint16(entry + 2, little) !== RATIONAL || at + 8 > data.byteLength) return undefined
  const unit = first.get(RESOLUTION_UNIT)
  const inches = unit !== undefined && data.getUint16(unit + 8, little) === 3 ? 2.54 : 1
  const density = (inches * data.getUint32(at, little)) / data.getUint32(at + 4, little)
  return density > 1 && density < 100_000 && density !== 72 ? density : undefined
}

/** The first directory, or undefined where the block has none. */
function open(block: Uint8Array): { data: DataView; little: boolean; first: Map<number, number> } | undefined {
  const start = latin1(block.subarray(0, 6)) === 'Exif\0\0' ? 6 : 0
  const data = new DataView(block.buffer, block.byteOffset + start, block.byteLength - start)
  if (data.byteLength < 8) return undefined
  const order = data.getUint16(0)
  if (order !== 0x4949 && order !== 0x4d4d) return undefined
  const little = order === 0x4949
  if (data.getUint16(2, little) !== 42) return undefined
  return { data, little, first: entries(data, data.getUint32(4, little), little) }
}

/**
 * A new EXIF block (TIFF header first, without `Exif\0\0`) holding the given fields, or undefined where there is none.
 * `mark` adds the mark of a result, `density` dots an inch, and `profile` says that the colours are not sRGB. Texts longer than 4096 bytes are left out, as on reading.
 */
export function writeExif(
  metadata: PhotoMetadata,
  { mark = false, profile = false, density }: { mark?: boolean; profile?: boolean; density?: number } = {},
): Uint8Array | undefined {
  const first: Entry[] = []
  for (const [field, tag] of Object.entries(TEXT_TAGS) as [keyof typeof TEXT_TAGS, number][]) {
    const text = plain(metadata[field] ?? '')
    const bytes = new TextEncoder().encode(`${text}\0`)
    if (text && bytes.length <= MAX_TEXT_BYTES) first.push({ tag, type: ASCII, count: bytes.length, bytes })
  }
  if (mark) {
    const bytes = new TextEncoder().encode(`${MARK}\0`)
    first.push({ tag: SOFTWARE, type: ASCII, count: bytes.length, bytes })
  }
  if (density) {
    const bytes = new Uint8Array(8)
    const rational = new DataView(bytes.buffer)
    rational.setUint32(0, Math.round(1000 * density))
    rational.setUint32(4, 1000)
    for (const tag of [X_RESOLUTION, Y_RESOLUTION]) first.push({ tag, type: RATIONAL, count: 1, bytes })
    // 2: an inch.
    first.push({ tag: RESOLUTION_UNIT, type: SHORT, count: 1, bytes: new Uint8Array([0, 2]) })
  }
  const taken =
    metadata.taken && DATE.test(metadata.taken) ? new TextEncoder().encode(`${metadata.taken}\0`) : undefined
  if (first.length === 0 && !taken) return undefined

  // The Exif directory must state its version; ColorSpace 1 is sRGB, 65535 whatever the profile says.
  const second: Entry[] = [
    { tag: EXIF_VERSION, type: UNDEFINED, count: 4, bytes: new TextEncoder().encode('0232') },
    ...(taken ? [{ tag: DATE_TIME_ORIGINAL, type: ASCII, count: taken.length, bytes: taken }] : []),
    { tag: COLOR_SPACE, type: SHORT, count: 1, bytes: new Uint8Array(profile ? [0xff, 0xff] : [0, 1]) },
  ]
  const pointer = new Uint8Array(4)
  first.push({ tag: EXIF_IFD, type: LONG, count: 1, bytes: pointer })
  first.sort((a, b) => a.tag - b.tag)

  const secondAt = 8 + directoryBytes(first)
  const block = new Uint8Array(secondAt + directoryBytes(second))
  block.set([0x4d, 0x4d, 0, 42, 0, 0, 0, 8])
  new DataView(pointer.buffer).setUint32(0, secondAt)
  writeDirectory(block, 8, first)
  writeDirectory(block, secondAt, second)
  return block
}

interface Entry {
  tag: number
  type: number
  count: number
  bytes: Uint8Array
}

/** A directory with the values that do not fit into its entries; values start at even offsets (TIFF 6.0). */
function directoryBytes(list: Entry[]): number {
  return list.reduce((sum, { bytes }) => sum + (bytes.length > 4 ? even(bytes.length) : 0), 2 + 12 * list.length + 4)
}

function writeDirectory(block: Uint8Array, at: number, list: Entry[]): void {
  const data = new DataView(block.buffer)
  data.setUint16(at, list.length)
  let valueAt = at + 2 + 12 * list.length + 4
  list.forEach(({ tag, type, count, bytes }, i) => {
    const entry = at + 2 + 12 * i
    data.setUint16(entry, tag)
    data.setUint16(entry + 2, type)
    data.setUint32(entry + 4, count)
    if (bytes.length <= 4) block.set(bytes, entry + 8)
    else {
      data.setUint32(entry + 8, valueAt)
      block.set(bytes, valueAt)
      valueAt += even(bytes.length)
    }
  })
}

/** Offsets of a directory's entries by tag; the first of equal tags counts. The next directory (thumbnail) is not read. */
function entries(data: DataView, at: number, little: boolean): Map<number, number> {
  const found = new Map<number, number>()
  if (at < 8 || at + 2 > data.byteLength) return found
  const count = data.getUint16(at, little)
  for (let i = 0; i < count; i++) {
    const entry = at + 2 + 12 * i
    if (entry + 12 > data.byteLength) break
    const tag = data.getUint16(entry, little)
    if (!found.has(tag)) found.set(tag, entry)
  }
  return found
}

function textBytes(data: DataView, entry: number | undefined, little: boolean): Uint8Array | undefined {
  if (entry === undefined) return undefined
  const type = data.getUint16(entry + 2, little)
  const count = data.getUint32(entry + 4, little)
  if ((type !== ASCII && type !== UTF8) || count > MAX_TEXT_BYTES) return undefined
  const at = count <= 4 ? entry + 8 : data.getUint32(entry + 8, little)
  if (at + count > data.byteLength) return undefined
  return new Uint8Array(data.buffer, data.byteOffset + at, count)
}

/** Up to the first NUL: what follows it may be whatever lay in the writer's memory. */
function firstText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/** Copyright alone has two parts by the standard, the photographer's and the editor's, each ended by a NUL. */
function copyrightText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  const parts = end < 0 ? [firstText(bytes)] : [firstText(bytes), firstText(bytes.subarray(end + 1))]
  return parts.filter(Boolean).join('; ')
}

/** The standard says ASCII; in practice it is UTF-8, or Latin-1 from old software. */
function decode(bytes: Uint8Array): string {
  try {
    return plain(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return plain(new TextDecoder('windows-1252').decode(bytes))
  }
}

function plain(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').trim()
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}

function even(length: number): number {
  return length + (length % 2)
}
