/** Writes the boxes of HEIF files (ISO 14496-12, ISO 23008-12) around coded pictures that are at hand. */

export interface Item {
  /** 'hvc1', 'av01', 'grid', 'Exif', ... */
  type: string
  data: Uint8Array
  properties?: readonly Buffer[]
  hidden?: boolean
}

export interface Reference {
  /** 'dimg' from a grid to its tiles, 'auxl' from a gain map or opacity to the picture, 'cdsc' from Exif, 'thmb'. */
  type: string
  /** Numbers of items, from 1. */
  from: number
  to: readonly number[]
}

export function box(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + body.length)
  head.write(type, 4, 'latin1')
  return Buffer.concat([head, body])
}

const full = (type: string, version: number, flags: number, ...parts: readonly Uint8Array[]): Buffer =>
  box(type, bytes(version, 0, 0, flags), ...parts)

export const bytes = (...values: readonly number[]): Buffer => Buffer.from(values)
export const u16 = (...values: readonly number[]): Buffer => bytes(...values.flatMap((v) => [v >> 8, v & 255]))
export const u32 = (value: number): Buffer => u16(Math.floor(value / 65536), value % 65536)
export const ascii = (text: string): Buffer => Buffer.from(text, 'latin1')

/** A file of items; the first is the main picture. */
export function heif(
  brand: string,
  items: readonly Item[],
  references: readonly Reference[] = [],
  ...after: readonly Uint8Array[]
): Buffer {
  const properties = [...new Set(items.flatMap(({ properties = [] }) => properties))]
  const entries = items.map(({ type, hidden }, i) =>
    full('infe', 2, hidden ? 1 : 0, u16(i + 1, 0), ascii(type), bytes(0)),
  )
  const links = items.flatMap(({ properties: own = [] }, i) =>
    // Transformations and the decoder's configuration are essential.
    own.length === 0
      ? []
      : [u16(i + 1), bytes(own.length, ...own.map((p) => properties.indexOf(p) + 1 + (isEssential(p) ? 128 : 0)))],
  )
  const withLinks = items.filter(({ properties: own = [] }) => own.length > 0).length
  const ftyp = box('ftyp', ascii(brand), u32(0), ascii(`mif1${brand}`))
  const meta = (data: number) => {
    let at = data
    const places = items.map(({ data: { length } }, i) => {
      const place = Buffer.concat([u16(i + 1, 0, 1), u32(at), u32(length)])
      at += length
      return place
    })
    return full(
      'meta',
      0,
      0,
      full('hdlr', 0, 0, u32(0), ascii('pict'), Buffer.alloc(13)),
      full('pitm', 0, 0, u16(1)),
      full('iloc', 0, 0, u16(0x4400, items.length), ...places),
      full('iinf', 0, 0, u16(items.length), ...entries),
      ...(references.length > 0
        ? [full('iref', 0, 0, ...references.map(({ type, from, to }) => box(type, u16(from, to.length, ...to))))]
        : []),
      box('iprp', box('ipco', ...properties), full('ipma', 0, 0, u32(withLinks), ...links)),
    )
  }
  const start = ftyp.length + meta(0).length + 8
  return Buffer.concat([ftyp, meta(start), box('mdat', ...items.map(({ data }) => data)), ...after])
}

const isEssential = (property: Buffer): boolean => ['hvcC', 'irot', 'imir'].includes(property.toString('latin1', 4, 8))

export const size = (width: number, height: number): Buffer => full('ispe', 0, 0, u32(width), u32(height))
/** Quarter turns anticlockwise. */
export const turn = (quarters: number): Buffer => box('irot', bytes(quarters))
/** 0: top and bottom exchanged, 1: left and right. */
export const mirror = (axis: 0 | 1): Buffer => box('imir', bytes(axis))
export const icc = (profile: Uint8Array): Buffer => box('colr', ascii('prof'), profile)
/** Code points of H.273; full range. */
export const codePoints = (primaries: number, transfer: number, matrix: number): Buffer =>
  box('colr', ascii('nclx'), u16(primaries, transfer, matrix), bytes(0x80))
export const auxiliary = (urn: string): Buffer => full('auxC', 0, 0, ascii(`${urn}\0`))
/** The data of a grid, which names no tiles: its reference does. */
export const grid = (rows: number, columns: number, width: number, height: number): Buffer =>
  Buffer.concat([bytes(0, 0, rows - 1, columns - 1), u16(width, height)])
