/**
 * Windows bitmaps (BITMAPCOREHEADER to BITMAPV5HEADER of the Windows SDK): 1 to 32 bit, with masks, run lengths and from
 * the top or the bottom. npm's readers take only part of these or trust the header.
 */

export interface BmpPixels {
  width: number
  height: number
  channels: 3 | 4
  samples: Uint8Array
  /** Dots an inch, where the file says so. */
  density?: number
}

/** A JPEG or PNG that is only wrapped in a bitmap (for printers). */
export interface BmpWrapped {
  wrapped: Uint8Array
}

const CORE = 12
const [RGB, RLE8, RLE4, BITFIELDS, JPEG, PNG, ALPHABITFIELDS] = [0, 1, 2, 3, 4, 5, 6]

interface Header {
  width: number
  height: number
  topDown: boolean
  bits: number
  compression: number
  pixelsAt: number
  /** Masks of red, green, blue and opacity in a pixel of 16 or 32 bit. */
  masks: readonly [number, number, number, number]
  palette: Uint8Array
  /** Bytes a colour in the palette. */
  entry: 3 | 4
  density?: number
}

/** @throws {Error} naming what is wrong with the file */
export function readBmp(file: Uint8Array, maxPixels: number): BmpPixels | BmpWrapped {
  const data = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const header = readHeader(data, file)
  const { width, height, bits, compression, pixelsAt } = header
  if (compression === JPEG || compression === PNG) return { wrapped: file.subarray(pixelsAt) }
  if (width < 1 || height < 1) throw new Error(`its size is ${width} x ${height}`)
  if (width * height > maxPixels) throw new Error('exceeds pixel limit')
  const indices =
    compression === RLE8 || compression === RLE4
      ? unpackRuns(file.subarray(pixelsAt), width, height, compression === RLE4)
      : undefined
  const stride = 4 * Math.ceil((width * bits) / 32)
  if (!indices && pixelsAt + stride * (height - 1) + Math.ceil((width * bits) / 8) > file.length) {
    throw new Error('pixels are missing')
  }
  const channels = header.masks[3] !== 0 && bits > 8 && bits !== 24 ? 4 : 3
  const samples = new Uint8Array(width * height * channels)
  for (let y = 0; y < height; y++) {
    const stored = header.topDown ? y : height - 1 - y
    const row = pixelsAt + stored * stride
    for (let x = 0; x < width; x++) {
      const to = (y * width + x) * channels
      if (bits <= 8) {
        const index = indices ? indices[stored * width + x] : indexAt(file, row, x, bits)
        const from = index * header.entry
        if (from + 3 > header.palette.length) throw new Error('a colour is missing in its palette')
        for (let c = 0; c < 3; c++) samples[to + c] = header.palette[from + 2 - c]
      } else if (bits === 24) {
        for (let c = 0; c < 3; c++) samples[to + c] = file[row + 3 * x + 2 - c]
      } else {
        const pixel = bits === 16 ? data.getUint16(row + 2 * x, true) : data.getUint32(row + 4 * x, true)
        for (let c = 0; c < channels; c++) samples[to + c] = masked(pixel, header.masks[c])
      }
    }
  }
  const { density } = header
  return { width, height, samples, channels, ...(density ? { density } : {}) }
}

function readHeader(data: DataView, file: Uint8Array): Header {
  if (file.length < 26) throw new Error('the header is cut short')
  const pixelsAt = data.getUint32(10, true)
  const size = data.getUint32(14, true)
  const core = size === CORE
  if (!core && (size < 16 || file.length < 14 + Math.max(size, 40))) throw new Error('the header is cut short')
  const width = core ? data.getUint16(18, true) : data.getInt32(18, true)
  const signed = core ? data.getUint16(20, true) : data.getInt32(22, true)
  const bits = core ? data.getUint16(24, true) : data.getUint16(28, true)
  const compression = core || size < 20 ? RGB : data.getUint32(30, true)
  const isPhoto = compression === JPEG || compression === PNG
  const known = compression === RGB || compression === BITFIELDS || compression === ALPHABITFIELDS || isPhoto
  const runs = (compression === RLE8 && bits === 8) || (compression === RLE4 && bits === 4)
  if (!known && !runs) throw new Error(`unsupported compression ${compression}`)
  if (!isPhoto && ![1, 2, 4, 8, 16, 24, 32].includes(bits)) throw new Error(`unsupported depth of ${bits} bit`)
  if (pixelsAt > file.length) throw new Error('pixels are missing')
  const fields = compression === BITFIELDS || compression === ALPHABITFIELDS
  const hasAlphaMask = compression === ALPHABITFIELDS || size >= 56
  const mask = (i: number) => (14 + 44 + 4 * i <= file.length - 4 ? data.getUint32(54 + 4 * i, true) : 0)
  const masks = fields
    ? ([mask(0), mask(1), mask(2), hasAlphaMask ? mask(3) : 0] as const)
    : bits === 16
      ? ([0x7c00, 0x3e0, 0x1f, 0] as const)
      : ([0xff0000, 0xff00, 0xff, 0] as const)
  const paletteAt = 14 + size + (fields && size === 40 ? (compression === ALPHABITFIELDS ? 16 : 12) : 0)
  const perMetre = core || size < 40 ? 0 : data.getInt32(38, true)
  return {
    width,
    height: Math.abs(signed),
    topDown: signed < 0,
    bits,
    compression,
    pixelsAt,
    masks,
    palette: file.subarray(paletteAt, Math.max(paletteAt, pixelsAt)),
    entry: core ? 3 : 4,
    ...(perMetre > 0 ? { density: Math.round(perMetre * 2.54) / 100 } : {}),
  }
}

function indexAt(file: Uint8Array, row: number, x: number, bits: number): number {
  const byte = file[row + Math.floor((x * bits) / 8)]
  return (byte >> (8 - bits - ((x * bits) % 8))) & (2 ** bits - 1)
}

/** The bits under a mask, spread to 0..255. */
function masked(pixel: number, mask: number): number {
  if (mask === 0) return 0
  const low = mask & -mask
  const top = (mask >>> 0) / (low >>> 0)
  return Math.round((((pixel & mask) >>> 0) / (low >>> 0) / top) * 255)
}

/** Run lengths: pairs of count and index; 0 starts an escape (end of line, end, a step, or indices as they are). */
function unpackRuns(coded: Uint8Array, width: number, height: number, nibbles: boolean): Uint8Array {
  const indices = new Uint8Array(width * height)
  let [x, y, at] = [0, 0, 0]
  const put = (index: number) => {
    if (x < width && y < height) indices[y * width + x] = index
    x++
  }
  while (at + 1 < coded.length && y < height) {
    const [count, value] = [coded[at], coded[at + 1]]
    at += 2
    if (count > 0) {
      for (let i = 0; i < count; i++) put(nibbles ? (i % 2 ? value & 15 : value >> 4) : value)
    } else if (value === 0) {
      x = 0
      y++
    } else if (value === 1) return indices
    else if (value === 2) {
      x += coded[at]
      y += coded[at + 1]
      at += 2
    } else {
      for (let i = 0; i < value; i++) {
        const byte = coded[at + (nibbles ? i >> 1 : i)]
        put(nibbles ? (i % 2 ? byte & 15 : byte >> 4) : byte)
      }
      at += 2 * Math.ceil((nibbles ? value / 2 : value) / 2)
    }
  }
  if (y < height - 1 && at + 1 >= coded.length) throw new Error('pixels are missing')
  return indices
}
