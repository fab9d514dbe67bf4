/** PNG files with the chunks that say what colours mean. */
import { crc32 } from 'node:zlib'
import { srgbLight } from '../../../src/images/profile.ts'
import type { Input } from './input.ts'
import { eight, grey, pixels, sixteen } from './picture.ts'

const SHARP = 'sharp (libvips, libpng)'
const like = { readBy: SHARP, shows: eight, within: 0 }

export function chunk(type: string, body: Uint8Array): Buffer {
  const whole = Buffer.alloc(12 + body.length)
  whole.writeUInt32BE(body.length)
  whole.write(type, 4, 'latin1')
  whole.set(body, 8)
  whole.writeUInt32BE(crc32(whole.subarray(4, -4)), whole.length - 4)
  return whole
}

const numbers = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [i, v] of values.entries()) bytes.writeUInt32BE(v, 4 * i)
  return bytes
}

/** Chunks right after the header, which always ends at byte 33. */
export const withChunks = (png: Buffer, ...chunks: readonly Buffer[]): Buffer =>
  Buffer.concat([png.subarray(0, 33), ...chunks, png.subarray(33)])

const png = () => pixels().png().toBuffer()
const withChunk = async (type: string, ...body: readonly number[]) =>
  withChunks(await png(), chunk(type, Uint8Array.from(body)))

/** Light in place of sRGB's samples, in 16 bit. */
const light = { ...eight, samples: Uint16Array.from(eight.samples, (v) => Math.round(65535 * srgbLight(v / 255))) }

/** A second frame of the same pixels, beside the still picture. */
async function animated(): Promise<Buffer> {
  const still = await png()
  const from = still.indexOf('IDAT', 0, 'latin1') - 4
  const data = still.subarray(from + 8, from + 8 + still.readUInt32BE(from))
  const control = (sequence: number) =>
    chunk('fcTL', Buffer.concat([numbers(sequence, eight.width, eight.height, 0, 0), Buffer.from([0, 1, 0, 10, 0, 0])]))
  const end = still.indexOf('IEND', 0, 'latin1') - 4
  return Buffer.concat([
    still.subarray(0, 33),
    chunk('acTL', numbers(2, 0)),
    control(0),
    still.subarray(33, end),
    control(1),
    chunk('fdAT', Buffer.concat([numbers(2), data])),
    still.subarray(end),
  ])
}

export const pngInputs: readonly Input[] = [
  { name: 'PNG, 8 bit', file: 'photo.png', bytes: png, ...like },
  { name: 'PNG, 16 bit', file: 'deep.png', bytes: () => pixels(sixteen).png().toBuffer(), ...like, shows: sixteen },
  {
    name: 'PNG, grey',
    file: 'grey.png',
    bytes: () => pixels(grey).toColourspace('b-w').png().toBuffer(),
    ...like,
    shows: grey,
  },
  { name: 'PNG, interlaced', file: 'web.png', bytes: () => pixels().png({ progressive: true }).toBuffer(), ...like },
  {
    name: 'PNG, palette',
    file: 'palette.png',
    bytes: () => pixels().png({ palette: true, colours: 64, dither: 0 }).toBuffer(),
    ...like,
    within: 40,
  },
  { name: 'PNG, opacity', file: 'cut-out.png', bytes: () => pixels().ensureAlpha(0.5).png().toBuffer(), ...like },
  {
    name: 'PNG, Display P3',
    file: 'p3.png',
    bytes: () => pixels().withIccProfile('p3', { attach: true }).png().toBuffer(),
    readBy: SHARP,
  },
  {
    name: 'PNG, 16 bit, Display P3',
    file: 'deep-p3.png',
    bytes: () => pixels(sixteen).withIccProfile('p3', { attach: true }).png().toBuffer(),
    readBy: SHARP,
  },
  { name: 'PNG, Display P3 by cICP', file: 'cicp.png', bytes: () => withChunk('cICP', 12, 13, 0, 1), ...like },
  {
    name: 'PNG, HDR (PQ) by cICP',
    file: 'hdr.png',
    bytes: () => withChunk('cICP', 9, 16, 0, 1),
    readBy: SHARP,
    refused: /is in HDR \(PQ\), which is not read/,
  },
  {
    name: 'PNG, linear light by gAMA, 16 bit',
    file: 'gama.png',
    bytes: async () => withChunks(await pixels(light).png().toBuffer(), chunk('gAMA', numbers(100_000))),
    ...like,
    shows: light,
  },
  {
    name: 'PNG, 300 dpi',
    file: 'dpi.png',
    bytes: async () => withChunks(await png(), chunk('pHYs', Buffer.concat([numbers(11811, 11811), Buffer.from([1])]))),
    ...like,
  },
  { name: 'APNG', file: 'anim.png', bytes: animated, ...like, says: [/has 2 frames or pages; only the first is read/] },
  {
    name: 'PNG, cut short',
    file: 'cut.png',
    bytes: async () => (await png()).subarray(0, 300),
    readBy: SHARP,
    refused: /is damaged or cut short/,
  },
]
