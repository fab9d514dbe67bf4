/** Writes TIFF files (TIFF 6.0) of one strip a page, in the variants that libvips cannot write. */

export interface TiffPage {
  width: number
  height: number
  /** Bits of each sample. */
  bits: readonly number[]
  /** 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 8 CIELab. */
  photometric: number
  data: Uint8Array
  /** 1 unsigned, 2 signed, 3 floating point. */
  sampleFormat?: number
  /** Kinds of samples beyond the colours: 0 anything, 1 or 2 opacity. */
  extra?: readonly number[]
  orientation?: number
  /** 1: a smaller copy of the page before. */
  subfile?: number
  /** Each channel by itself. */
  planar?: boolean
  /** Dots an inch. */
  density?: number
  /** Red, then green, then blue, 16 bit each. */
  palette?: readonly number[]
  more?: readonly (readonly [tag: number, type: number, values: readonly number[]])[]
}

const [BYTE, SHORT, LONG, RATIONAL] = [1, 3, 4, 5]
const BYTES: Readonly<Record<number, number>> = { [BYTE]: 1, 2: 1, [SHORT]: 2, [LONG]: 4, [RATIONAL]: 8 }

/** @param big big-endian, as Photoshop and Macs write; `data` of a page must be so, too */
export function tiff(pages: readonly TiffPage[], { big = false } = {}): Buffer {
  const out: Buffer[] = [Buffer.from(big ? 'MM\0*\0\0\0\x08' : 'II*\0\x08\0\0\0', 'latin1')]
  let at = 8
  const u16 = (v: number) => number(v, 2, big)
  const u32 = (v: number) => number(v, 4, big)
  for (const [i, page] of pages.entries()) {
    const { width, height, bits, photometric, data } = page
    const planes = page.planar ? bits.length : 1
    const entries: [number, number, readonly number[]][] = [
      [254, LONG, [page.subfile ?? 0]],
      [256, LONG, [width]],
      [257, LONG, [height]],
      [258, SHORT, bits],
      [259, SHORT, [1]],
      [262, SHORT, [photometric]],
      [273, LONG, Array.from({ length: planes }, (_, p) => p)],
      [274, SHORT, [page.orientation ?? 1]],
      [277, SHORT, [bits.length]],
      [278, LONG, [height]],
      [279, LONG, Array.from({ length: planes }, () => data.length / planes)],
      ...(page.density
        ? ([
            [282, RATIONAL, [page.density, 1]],
            [283, RATIONAL, [page.density, 1]],
            [296, SHORT, [2]],
          ] as [number, number, number[]][])
        : []),
      [284, SHORT, [page.planar ? 2 : 1]],
      ...(page.palette ? ([[320, SHORT, page.palette]] as [number, number, readonly number[]][]) : []),
      ...(page.extra ? ([[338, SHORT, page.extra]] as [number, number, readonly number[]][]) : []),
      [339, SHORT, bits.map(() => page.sampleFormat ?? 1)],
      ...((page.more ?? []) as [number, number, readonly number[]][]),
    ]
    entries.sort(([a], [b]) => a - b)
    const values = (type: number, list: readonly number[]) =>
      Buffer.concat(list.map((v) => (BYTES[type] === 1 ? Buffer.from([v]) : type === SHORT ? u16(v) : u32(v))))
    const directory = 2 + 12 * entries.length + 4
    let beyond = at + directory
    const outside: Buffer[] = []
    const sizes = entries.map(([, type, list]) => values(type, list).length)
    const dataAt = beyond + sizes.reduce((sum, n) => sum + (n > 4 ? n + (n % 2) : 0), 0)
    const lines = entries.map(([tag, type, list]) => {
      const real = tag === 273 ? list.map((p) => dataAt + (p * data.length) / planes) : list
      const body = values(type, real)
      const count = body.length / BYTES[type]
      if (body.length <= 4) return Buffer.concat([u16(tag), u16(type), u32(count), body, Buffer.alloc(4 - body.length)])
      const place = beyond
      outside.push(body, Buffer.alloc(body.length % 2))
      beyond += body.length + (body.length % 2)
      return Buffer.concat([u16(tag), u16(type), u32(count), u32(place)])
    })
    const end = dataAt + data.length + (data.length % 2)
    out.push(
      u16(entries.length),
      ...lines,
      u32(i + 1 < pages.length ? end : 0),
      ...outside,
      Buffer.from(data),
      Buffer.alloc(data.length % 2),
    )
    at = end
  }
  return Buffer.concat(out)
}

function number(value: number, length: number, big: boolean): Buffer {
  const bytes = Buffer.alloc(length)
  if (big) bytes.writeUIntBE(value, 0, length)
  else bytes.writeUIntLE(value, 0, length)
  return bytes
}
