/** Damaged photos of every format: each is read or refused by name, whatever is wrong with it. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { readPhoto } from '../../src/images/index.ts'
import { decodeIsolated } from '../../src/images/isolate.ts'
import { withMemoryLimit } from '../../src/images/wasm-memory.ts'
import type { FuzzReport } from '../support/fuzz.ts'
import { fixture, pixels, sixteen } from '../support/inputs/picture.ts'
import { everything, LONG } from '../support/scope.ts'

const PROCESSES = 2

/** Reads so many damaged photos in a process; a crash fails, and tells which photos were being read. */
async function fuzz(count: number, seed: number): Promise<FuzzReport> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, '../support/fuzz.ts'), String(count), String(seed)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let tail = ''
  child.stdout.on('data', (data: Buffer) => {
    tail = `${tail}${data}`.slice(-100_000)
  })
  const code = await new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)))
  const lines = tail.trimEnd().split('\n')
  if (code !== 0) throw new Error(`ended with ${code}; the last photos begun: ${lines.slice(-6).join(', ')}`)
  return JSON.parse(lines.at(-1)!)
}

function expectNothingWrong(reports: readonly FuzzReport[], count: number): void {
  expect(reports.flatMap(({ wrong }) => wrong)).toEqual([])
  expect(reports.reduce((sum, { read, refused }) => sum + read + refused, 0)).toBe(count)
  for (const { read, refused, memory } of reports) {
    // Neither is all sound nor all refused, or nothing was tried.
    expect(Math.min(read, refused)).toBeGreaterThan(count / PROCESSES / 20)
    expect(memory).toBeLessThan(2e9)
  }
}

test('200 damaged photos', { timeout: 300_000 }, async () => {
  expectNothingWrong([await fuzz(200, 1)], 200)
})

test.skipIf(!everything)(`10,000 damaged photos${LONG}`, { timeout: 1_800_000 }, async () => {
  const count = 10_000
  const each = count / PROCESSES
  const reports = await Promise.all(Array.from({ length: PROCESSES }, (_, i) => fuzz(each, 1_000_000 + i * each)))
  const [slowest] = reports.map(({ slowest }) => slowest).toSorted((a, b) => b.seconds - a.seconds)
  const memory = Math.max(...reports.map(({ memory }) => memory))
  console.log(
    `slowest ${slowest.seconds.toFixed(1)} s, ${slowest.what}; at most ${Math.round(memory / 1e6)} MB a process`,
  )
  expectNothingWrong(reports, count)
})

/** Memory that starts with a page and grows by as many as it is asked for: `grow(pages)` gives what it was, or -1. */
// biome-ignore format: one section a line.
const growing = Uint8Array.of(
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f,
  3, 2, 1, 0,
  5, 3, 1, 0, 1,
  7, 8, 1, 4, 0x67, 0x72, 0x6f, 0x77, 0, 0,
  10, 8, 1, 6, 0, 0x20, 0, 0x40, 0, 0x0b,
)

test('a decoder that takes too long is ended, and pictures that are too large are not begun', async () => {
  const heic = { decoder: 'libheif-js', bytes: fixture('photo.heic') } as const
  await expect(decodeIsolated(heic, 1e-6)).rejects.toThrow('the decoder did not end')
  const jxl = { decoder: 'jxl-oxide-wasm', bytes: fixture('photo.jxl') } as const
  await expect(decodeIsolated(jxl, 1e-6)).rejects.toThrow('the decoder did not end')
  // Its header says 30,000 pixels a side.
  const huge = Buffer.from(fixture('photo.heic'))
  const ispe = huge.indexOf('ispe', 0, 'latin1')
  for (const at of [8, 12]) huge.writeUInt32BE(30_000, ispe + at)
  await expect(readPhoto(huge, 'huge.heic')).rejects.toThrow('huge.heic has more than 300 megapixels: scale it down')
  const png = await pixels(sixteen).png().toBuffer()
  for (const at of [16, 20]) png.writeUInt32BE(12_000, at)
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29)
  await expect(readPhoto(png, 'deep.png')).rejects.toThrow('deep.png has more than 100 megapixels of 16 bit')
})

test('a decoder gets no more memory than it is allowed', () => {
  const grow = (wasm: Uint8Array) =>
    new WebAssembly.Instance(new WebAssembly.Module(wasm as BufferSource)).exports.grow as (pages: number) => number
  expect(grow(growing)(300)).toBe(1)
  const limited = grow(withMemoryLimit(growing, 200 * 65536))
  expect(limited(300)).toBe(-1)
  expect(limited(199)).toBe(1)
  expect(limited(1)).toBe(-1)
  expect(() => withMemoryLimit(growing, 1000)).toThrow(RangeError)
})
