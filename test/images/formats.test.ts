import { readFileSync } from 'node:fs'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { copyWithoutMetadata, encodePhoto, type Photo, readPhoto } from '../../src/images/index.ts'
import { jfif } from '../../src/images/jpeg-segments.ts'
import { bitmapOf } from '../support/inputs/bmp.ts'

const [width, height] = [64, 48]

function smooth(): Uint8Array {
  return Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3]
    return [30 + 3 * x, 40 + 3 * y, 200 - x - y][c]
  })
}

const raw = (data: Uint8Array | Uint16Array) => sharp(data, { raw: { width, height, channels: 3 } })

/** The photo with its upper left quarter changed by a few steps, as an attack changes the region of a face. */
function changed(photo: Photo): Photo {
  const rgb = photo.rgb.slice()
  for (let i = 0; i < rgb.length; i++) {
    if (inside(Math.floor(i / 3), photo.width)) rgb[i] = Math.min(255, Math.max(0, rgb[i] + ((i * 7) % 13) - 6))
  }
  return { ...photo, rgb }
}

const inside = (pixel: number, w: number) => pixel % w < 16 && Math.floor(pixel / w) < 16

const samplesOf = (photo: Photo) => photo.original?.samples ?? photo.rgb

/** Reads, changes, writes as PNG and reads again: outside of the region no sample differs, inside the view is as asked. */
async function proof(bytes: Uint8Array, tolerance: number): Promise<{ before: Photo; after: Photo; png: Uint8Array }> {
  const before = await readPhoto(bytes)
  const asked = changed(before)
  const png = await encodePhoto(asked, { format: 'png' })
  const after = await readPhoto(png)
  const [a, b] = [samplesOf(before), samplesOf(after)]
  expect(b.constructor).toBe(a.constructor)
  let [outside, within, moved] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    if (!inside(Math.floor(i / 3), before.width)) outside = Math.max(outside, Math.abs(a[i] - b[i]))
    else {
      within = Math.max(within, Math.abs(after.rgb[i] - asked.rgb[i]))
      moved = Math.max(moved, Math.abs(asked.rgb[i] - before.rgb[i]))
    }
  }
  expect(outside).toBe(0)
  expect(moved).toBeGreaterThan(4)
  expect(within).toBeLessThanOrEqual(tolerance)
  return { before, after, png }
}

/** The file with an ICC profile that sharp knows, its samples as they were. */
async function withProfile(name: string): Promise<Buffer> {
  return raw(smooth()).png().withIccProfile(name, { attach: true }).toBuffer()
}

test('PNG and TIFF of 8 and 16 bit keep every sample outside of the region', async () => {
  const deep = Uint16Array.from(smooth(), (v, i) => v * 257 + (i % 100))
  const eight = await proof(await raw(smooth()).png().toBuffer(), 0)
  expect(eight.before.original).toBeUndefined()
  const sixteen = await proof(await raw(deep).toColourspace('rgb16').png().toBuffer(), 1)
  expect(samplesOf(sixteen.after)).toBeInstanceOf(Uint16Array)
  expect((await sharp(sixteen.png).metadata()).depth).toBe('ushort')
  const tiff = await proof(await raw(deep).toColourspace('rgb16').tiff({ compression: 'deflate' }).toBuffer(), 1)
  expect(samplesOf(tiff.before)).toBeInstanceOf(Uint16Array)
})

test('Display P3 stays Display P3, outside of the region bit for bit, and its profile carries no names', async () => {
  const { before, after, png } = await proof(await withProfile('p3'), 2)
  expect(before.original?.profile).toBeDefined()
  expect(after.original?.profile?.toXyz.map((v) => v.toFixed(3))).toEqual(
    before.original!.profile!.toXyz.map((v) => v.toFixed(3)),
  )
  expect((await sharp(png).metadata()).icc!.length).toBeLessThan(1000)
  const jpeg = await readPhoto(await encodePhoto(changed(before), { format: 'jpeg' }))
  expect(jpeg.original?.profile).toBeDefined()
})

test('HEIC of 8 and 10 bit and JPEG XL are read, and carried like others', async () => {
  const heic = await proof(readFileSync('test/fixtures/photo.heic'), 0)
  expect(heic.before).toMatchObject({ format: 'heic', width: 96, height: 96, grey: false })
  const deep = await proof(readFileSync('test/fixtures/photo-10bit.heic'), 1)
  expect(samplesOf(deep.before)).toBeInstanceOf(Uint16Array)
  const jxl = await readPhoto(readFileSync('test/fixtures/photo.jxl'))
  expect(jxl).toMatchObject({ format: 'jxl', width: 96, height: 96 })
  const difference = heic.before.rgb.reduce((sum, v, i) => sum + Math.abs(v - jxl.rgb[i]), 0) / jxl.rgb.length
  expect(difference).toBeLessThan(6)
  await expect(readPhoto(readFileSync('test/fixtures/photo.heic').subarray(0, 2000))).rejects.toThrow(
    /damaged or cut short/,
  )
})

test('bitmaps are read from the bottom up', async () => {
  const rgb = smooth()
  const file = bitmapOf(rgb, { width, height })
  const read = await readPhoto(file)
  expect(read.format).toBe('bmp')
  expect(Buffer.from(read.rgb).equals(Buffer.from(rgb))).toBe(true)
  await expect(readPhoto(file.subarray(0, 54 + 99))).rejects.toThrow(/pixels are missing/)
})

test('JPEGs as phones write them are read with the same pixels, and refused when reading strictly', async () => {
  const sound = await raw(smooth()).jpeg({ quality: 90 }).toBuffer()
  const expected = (await readPhoto(sound)).rgb
  const scan = sound.indexOf(Buffer.from([0xff, 0xda]))
  const wrongScan = Buffer.from(sound)
  wrongScan[scan + 2 + ((sound[scan + 2] << 8) | sound[scan + 3]) - 2] = 0
  const cases: [string, Uint8Array][] = [
    ['wrong scan parameters', wrongScan],
    ['3 stray bytes', Buffer.concat([sound.subarray(0, scan), Buffer.from([1, 2, 3]), sound.subarray(scan)])],
    ['no end mark', sound.subarray(0, sound.length - 2)],
    ['unknown JFIF revision', Buffer.concat([sound.subarray(0, 2), old(), afterJfif(sound)])],
  ]
  for (const [what, bytes] of cases) {
    const read = await readPhoto(bytes, 'x.jpg')
    expect(read.warnings, what).toEqual([expect.stringContaining(what)])
    expect(Buffer.from(read.rgb).equals(Buffer.from(expected)), what).toBe(true)
    await expect(readPhoto(bytes, 'x.jpg', { strict: true }), what).rejects.toThrow(/refused when reading strictly/)
  }
  await expect(readPhoto(sound.subarray(0, sound.length / 2))).rejects.toThrow(/damaged or cut short/)
})

function old(): Uint8Array {
  const segment = jfif(1, [0, 72, 0, 72])
  segment[9] = 9
  return segment
}

function afterJfif(jpeg: Buffer): Buffer {
  return jpeg[3] === 0xe0 ? jpeg.subarray(4 + jpeg.readUInt16BE(4)) : jpeg.subarray(2)
}

test('density is kept, and the mark is known and can be left out', async () => {
  const read = await readPhoto(await raw(smooth()).withMetadata({ density: 300 }).png().toBuffer())
  expect(read.density).toBe(300)
  for (const format of ['png', 'jpeg', 'webp'] as const) {
    const marked = await readPhoto(await encodePhoto(read, { format, mark: true }))
    expect(marked.cloaked, format).toBe(true)
    expect(marked.density, format).toBe(300)
    const plain = await encodePhoto(read, { format })
    expect((await readPhoto(plain)).cloaked).toBeUndefined()
    expect(Buffer.from(plain).includes('lowkey')).toBe(false)
  }
})

test('a copy of a JPEG keeps its pixels and orientation, and nothing else', async () => {
  const jpeg = await raw(smooth())
    .withExif({ IFD0: { Artist: 'OWNER-ANNA' }, IFD3: { GPSLatitude: '48/1 8/1 0/1' } })
    .withMetadata({ orientation: 6 })
    .jpeg({ quality: 90 })
    .toBuffer()
  const padded = Buffer.concat([jpeg, Buffer.from('....ftypmp42 a video of the face')])
  const { bytes, format, warnings } = await copyWithoutMetadata(padded, 'x.jpg')
  expect(format).toBe('jpeg')
  expect(warnings).toEqual([expect.stringContaining('Motion Photo')])
  const copy = await readPhoto(bytes)
  expect([copy.width, copy.height]).toEqual([height, width])
  expect(Buffer.from(copy.rgb).equals(Buffer.from((await readPhoto(jpeg)).rgb))).toBe(true)
  expect(copy.metadata).toEqual({})
  for (const secret of ['OWNER-ANNA', 'ftyp']) expect(Buffer.from(bytes).includes(secret)).toBe(false)
})
