/** Pixels to files without metadata, by encoders that are the same in every browser: no canvas, which some browsers add noise to. */
import encodeMozjpeg, { init } from '@jsquash/jpeg/encode.js'
import { MARK } from '../images/mark.ts'
import type { Rgb } from './protocol.ts'

/** Compiles the JPEG encoder, MozJPEG in WebAssembly. Once, before `encodeJpeg`. */
export async function prepareJpeg(wasm: Uint8Array<ArrayBuffer>): Promise<void> {
  await init(await WebAssembly.compile(wasm))
}

/**
 * A JPEG file with colours at full resolution, as the command line writes it; what is transparent lies on white. With `mark` it says that it
 * is a result.
 *
 * @param quality 1 to 100
 */
export async function encodeJpeg(photo: Rgb, mark: boolean, quality: number): Promise<Uint8Array<ArrayBuffer>> {
  const { width, height } = photo
  const data = rgba(photo, true)
  const grey = photo.rgb.every((value, i) => value === photo.rgb[i - (i % 3)])
  const jpeg = new Uint8Array(
    await encodeMozjpeg({ data, width, height, colorSpace: 'srgb' } as ImageData, {
      quality,
      // The tables of the standard's annex K, which the command line's encoder has.
      quant_table: 0,
      color_space: grey ? 1 : 3,
      auto_subsample: false,
      chroma_subsample: 1,
    }),
  )
  if (!mark) return jpeg
  const comment = Uint8Array.of(0xff, 0xfe, 0, 2 + MARK.length, ...latin1(MARK))
  // After the start of the image and JFIF's segment, which comes first.
  const from = jpeg[2] === 0xff && jpeg[3] === 0xe0 ? 4 + ((jpeg[4] << 8) | jpeg[5]) : 2
  return joined([jpeg.subarray(0, from), comment, jpeg.subarray(from)])
}

/** A PNG file (third edition) of exactly these samples, with opacity where the photo has some. */
export async function encodePng(photo: Rgb, mark: boolean): Promise<Uint8Array<ArrayBuffer>> {
  const { width, height, alpha } = photo
  const channels = alpha ? 4 : 3
  const samples = alpha ? rgba(photo, false) : photo.rgb
  const header = new Uint8Array(13)
  const data = new DataView(header.buffer)
  data.setUint32(0, width)
  data.setUint32(4, height)
  header.set([8, alpha ? 6 : 2], 8)
  const rows = new Blob([filtered(samples, width * channels, channels)]).stream()
  const packed = await new Response(rows.pipeThrough(new CompressionStream('deflate'))).arrayBuffer()
  return joined([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10),
    chunk('IHDR', header),
    ...(mark ? [chunk('tEXt', latin1(`Software\0${MARK}`))] : []),
    chunk('sRGB', Uint8Array.of(0)),
    chunk('IDAT', new Uint8Array(packed)),
    chunk('IEND', new Uint8Array()),
  ])
}

/** Rows with their filter before them: for each the one of None, Sub, Up and Paeth whose differences are smallest, summed. */
function filtered(samples: Uint8Array | Uint8ClampedArray, width: number, step: number): Uint8Array<ArrayBuffer> {
  const height = samples.length / width
  const out = new Uint8Array(height * (width + 1))
  const tries = [0, 1, 2, 4].map((type) => ({ type, row: new Uint8Array(width) }))
  for (let y = 0; y < height; y++) {
    let best = tries[0]
    let least = Number.POSITIVE_INFINITY
    for (const each of tries) {
      const { type, row } = each
      let sum = 0
      for (let i = 0; i < width && sum < least; i++) {
        const at = y * width + i
        const left = i >= step ? samples[at - step] : 0
        const up = y > 0 ? samples[at - width] : 0
        const corner = i >= step && y > 0 ? samples[at - width - step] : 0
        const guess = type === 0 ? 0 : type === 1 ? left : type === 2 ? up : paeth(left, up, corner)
        row[i] = samples[at] - guess
        sum += row[i] < 128 ? row[i] : 256 - row[i]
      }
      if (sum >= least) continue
      least = sum
      best = each
    }
    out[y * (width + 1)] = best.type
    out.set(best.row, y * (width + 1) + 1)
  }
  return out
}

function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)]
  return a <= b && a <= c ? left : b <= c ? up : corner
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

function chunk(type: string, body: Uint8Array): Uint8Array {
  const whole = new Uint8Array(12 + body.length)
  const data = new DataView(whole.buffer)
  data.setUint32(0, body.length)
  whole.set(latin1(type), 4)
  whole.set(body, 8)
  let crc = 0xffffffff
  for (let i = 4; i < 8 + body.length; i++) crc = CRC[(crc ^ whole[i]) & 255] ^ (crc >>> 8)
  data.setUint32(8 + body.length, ~crc >>> 0)
  return whole
}

/** Four samples a pixel; laid on white, opacity is full everywhere. */
function rgba({ width, height, rgb, alpha }: Rgb, onWhite: boolean): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray(4 * width * height)
  for (let i = 0; i < width * height; i++) {
    const a = alpha ? alpha[i] : 255
    for (let c = 0; c < 3; c++) {
      const value = rgb[3 * i + c]
      out[4 * i + c] = onWhite ? (value * a + 255 * (255 - a)) / 255 : value
    }
    out[4 * i + 3] = onWhite ? 255 : a
  }
  return out
}

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0))

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
