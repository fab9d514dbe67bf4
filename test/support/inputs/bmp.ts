/** Windows bitmaps (BITMAPCOREHEADER to BITMAPV4HEADER) in the variants that scanners, screenshots and old programs write. */
import type { Input } from './input.ts'
import { eight, grey, HEIGHT, type Picture, pixels, WIDTH } from './picture.ts'

interface Bitmap {
  /** Of `picture.ts` unless told. */
  width?: number
  height?: number
  bits: number
  /** A row from left to right. */
  row(y: number): Uint8Array
  topDown?: boolean
  /** 0 none, 1 runs of 8 bit, 2 runs of 4 bit, 3 masks, 4 a JPEG, 5 a PNG. */
  compression?: number
  /** Blue, green, red, and a byte that means nothing (none in OS/2's). */
  palette?: Uint8Array
  masks?: readonly number[]
  /** Bytes of the header: 12 of OS/2, 40, or 108 with opacity. */
  header?: 12 | 40 | 108
  density?: number
  /** Instead of rows. */
  body?: Uint8Array
}

export function bitmap({
  width = WIDTH,
  height = HEIGHT,
  bits,
  row,
  topDown,
  compression = 0,
  palette,
  masks = [],
  header = 40,
  density = 0,
  body,
}: Bitmap): Buffer {
  const head = Buffer.alloc(14 + header)
  head.write('BM')
  head.writeUInt32LE(header, 14)
  if (header === 12) {
    head.writeUInt16LE(width, 18)
    head.writeUInt16LE(height, 20)
    head.writeUInt16LE(1, 22)
    head.writeUInt16LE(bits, 24)
  } else {
    head.writeInt32LE(width, 18)
    head.writeInt32LE(topDown ? -height : height, 22)
    head.writeUInt16LE(1, 26)
    head.writeUInt16LE(bits, 28)
    head.writeUInt32LE(compression, 30)
    const perMetre = Math.round(density / 0.0254)
    head.writeInt32LE(perMetre, 38)
    head.writeInt32LE(perMetre, 42)
    if (palette) head.writeUInt32LE(palette.length / 4, 46)
  }
  const after = Buffer.alloc(header === 40 ? 4 * masks.length : 0)
  for (const [i, mask] of masks.entries()) {
    if (header === 40) after.writeUInt32LE(mask, 4 * i)
    else head.writeUInt32LE(mask, 54 + 4 * i)
  }
  const start = Buffer.concat([head, after, palette ?? Buffer.alloc(0)])
  const order = Array.from({ length: height }, (_, i) => (topDown ? i : height - 1 - i))
  const rows = order.map((y) => {
    const line = row(y)
    return Buffer.concat([line, Buffer.alloc((4 - (line.length % 4)) % 4)])
  })
  const file = Buffer.concat([start, body ?? Buffer.concat(rows)])
  file.writeUInt32LE(file.length, 2)
  file.writeUInt32LE(start.length, 10)
  return file
}

/** Of RGB, 24 bits a pixel, rows from the bottom: what scanners and screenshots of Windows write. */
export const bitmapOf = (rgb: Uint8Array, size: { width: number; height: number }): Buffer =>
  bitmap({
    ...size,
    bits: 24,
    row: (y) => Uint8Array.from({ length: 3 * size.width }, (_, i) => rgb[3 * y * size.width + i + 2 - 2 * (i % 3)]),
  })

const at = (y: number, x: number, c: number): number => eight.samples[3 * (y * WIDTH + x) + c]
const greyAt = (y: number, x: number): number => grey.samples[3 * (y * WIDTH + x)]
const each = (of: (x: number) => readonly number[]): Uint8Array =>
  Uint8Array.from(Array.from({ length: WIDTH }, (_, x) => of(x)).flat())
const bgr = (y: number) => each((x) => [at(y, x, 2), at(y, x, 1), at(y, x, 0)])
const packed = (values: readonly number[], bits: number): Uint8Array => {
  const bytes = new Uint8Array(Math.ceil((values.length * bits) / 8))
  for (const [i, v] of values.entries()) bytes[Math.floor((i * bits) / 8)] |= v << (8 - bits - ((i * bits) % 8))
  return bytes
}
const greys = (levels: number): Uint8Array =>
  Uint8Array.from({ length: 4 * levels }, (_, i) =>
    i % 4 === 3 ? 0 : Math.round((255 * Math.floor(i / 4)) / (levels - 1)),
  )
const level = (y: number, x: number, levels: number) => Math.round((greyAt(y, x) / 255) * (levels - 1))
/** The picture in so many levels of grey. */
const inLevels = (levels: number): Picture => ({
  ...grey,
  samples: Uint8Array.from(grey.samples, (v) =>
    Math.round((255 * Math.round((v / 255) * (levels - 1))) / (levels - 1)),
  ),
})
const indices = (levels: number, bits: number) => (y: number) =>
  packed(
    Array.from({ length: WIDTH }, (_, x) => level(y, x, levels)),
    bits,
  )

/** Rows from the bottom, each as runs of equal bytes and then as bytes as they are; two rows are jumped over and come to nothing. */
function runs(): Buffer {
  const rows = Array.from({ length: HEIGHT }, (_, i) => {
    const y = HEIGHT - 1 - i
    const half = Array.from({ length: WIDTH / 2 }, (_, x) => [1, level(y, x, 256)]).flat()
    const rest = Array.from({ length: WIDTH / 2 }, (_, x) => level(y, x + WIDTH / 2, 256))
    return Buffer.from([...half, 0, rest.length, ...rest, 0, 0])
  })
  return Buffer.concat([...rows, Buffer.from([0, 1])])
}

/** Five, six and five bits, or five each. */
const in16 = (y: number, green: 5 | 6) =>
  each((x) => {
    const top = 2 ** green - 1
    const pixel =
      (Math.round((at(y, x, 0) * 31) / 255) << (5 + green)) |
      (Math.round((at(y, x, 1) * top) / 255) << 5) |
      Math.round((at(y, x, 2) * 31) / 255)
    return [pixel & 255, pixel >> 8]
  })

const like = { readBy: 'its own reader', shows: eight, within: 0 }

export const bmpInputs: readonly Input[] = [
  { name: 'BMP, 24 bit', file: 'scan.bmp', bytes: () => bitmap({ bits: 24, row: bgr }), ...like },
  { name: 'BMP, from the top', file: 'top.bmp', bytes: () => bitmap({ bits: 24, row: bgr, topDown: true }), ...like },
  { name: 'BMP, 300 dpi', file: 'dpi.bmp', bytes: () => bitmap({ bits: 24, row: bgr, density: 300 }), ...like },
  { name: 'BMP, OS/2', file: 'old.bmp', bytes: () => bitmap({ bits: 24, row: bgr, header: 12 }), ...like },
  {
    name: 'BMP, 32 bit, opacity unused',
    file: 'shot.bmp',
    bytes: () => bitmap({ bits: 32, row: (y) => each((x) => [at(y, x, 2), at(y, x, 1), at(y, x, 0), 0]) }),
    ...like,
  },
  {
    name: 'BMP, 32 bit with opacity',
    file: 'alpha.bmp',
    bytes: () =>
      bitmap({
        bits: 32,
        compression: 3,
        header: 108,
        masks: [0xff0000, 0xff00, 0xff, 0xff000000],
        row: (y) => each((x) => [at(y, x, 2), at(y, x, 1), at(y, x, 0), 128]),
      }),
    ...like,
  },
  {
    name: 'BMP, 16 bit (5, 5, 5)',
    file: '555.bmp',
    bytes: () => bitmap({ bits: 16, row: (y) => in16(y, 5) }),
    ...like,
    within: 5,
  },
  {
    name: 'BMP, 16 bit (5, 6, 5)',
    file: '565.bmp',
    bytes: () => bitmap({ bits: 16, compression: 3, masks: [0xf800, 0x7e0, 0x1f], row: (y) => in16(y, 6) }),
    ...like,
    within: 5,
  },
  {
    name: 'BMP, 8 bit',
    file: '256.bmp',
    bytes: () => bitmap({ bits: 8, palette: greys(256), row: indices(256, 8) }),
    ...like,
    shows: grey,
  },
  {
    name: 'BMP, 4 bit',
    file: '16.bmp',
    bytes: () => bitmap({ bits: 4, palette: greys(16), row: indices(16, 4) }),
    ...like,
    shows: inLevels(16),
  },
  {
    name: 'BMP, 1 bit',
    file: '2.bmp',
    bytes: () => bitmap({ bits: 1, palette: greys(2), row: indices(2, 1) }),
    ...like,
    shows: inLevels(2),
  },
  {
    name: 'BMP, runs (RLE8)',
    file: 'rle.bmp',
    bytes: () => bitmap({ bits: 8, compression: 1, palette: greys(256), row: indices(256, 8), body: runs() }),
    ...like,
    shows: grey,
  },
  {
    name: 'BMP around a PNG',
    file: 'png.bmp',
    bytes: async () => bitmap({ bits: 0, compression: 5, row: bgr, body: await pixels().png().toBuffer() }),
    ...like,
  },
  {
    name: 'BMP, cut short',
    file: 'cut.bmp',
    bytes: () => bitmap({ bits: 24, row: bgr }).subarray(0, 3000),
    readBy: 'its own reader',
    refused: /is damaged or cut short \(pixels are missing\)/,
  },
]
