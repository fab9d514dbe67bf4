import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { crc32, deflateSync } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { embed } from '../../src/images/embed.ts'
import { readExif, writeExif } from '../../src/images/exif.ts'
import { drawText, textWidth } from '../../src/images/glyphs.ts'
import {
  comparePicture,
  encodePhoto,
  maxChange,
  OutputError,
  type Photo,
  PhotoError,
  pendingFiles,
  psnr,
  readPhoto,
  writeFileAtomically,
} from '../../src/images/index.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lowkey-images-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Repeatable random numbers in [0, 1): mulberry32. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function noise(length: number, seed = 1): Uint8Array {
  const next = random(seed)
  return Uint8Array.from({ length }, () => Math.floor(256 * next()))
}

/** Smooth colours, which a lossy format keeps, a different one in every corner. */
function smooth(width: number, height: number): Uint8Array {
  const rgb = new Uint8Array(3 * width * height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rgb.set(
        [(200 * x) / width + 20, (200 * y) / height + 30, 180 - (90 * (x + y)) / (width + height)],
        3 * (y * width + x),
      )
    }
  }
  return rgb
}

type Channels = 1 | 2 | 3 | 4
const raw = (data: Uint8Array | Uint16Array, width: number, height: number) =>
  sharp(data, { raw: { width, height, channels: (data.length / width / height) as Channels } })

const photo = (width: number, height: number, rgb: Uint8Array, more: Partial<Photo> = {}): Photo => ({
  width,
  height,
  rgb,
  grey: false,
  format: 'png',
  ...more,
})

const threefold = (grey: Uint8Array) => Uint8Array.from({ length: 3 * grey.length }, (_, i) => grey[Math.floor(i / 3)])

function greatestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  let greatest = 0
  for (let i = 0; i < a.length; i++) greatest = Math.max(greatest, Math.abs(a[i] - b[i]))
  return greatest
}

function pngChunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const chunk = Buffer.alloc(body.length + 8)
  chunk.writeUInt32BE(data.length)
  chunk.set(body, 4)
  chunk.writeUInt32BE(crc32(body), chunk.length - 4)
  return chunk
}

/** A PNG with the same numbers that says they are in another colour space. */
function withProfile(png: Uint8Array, icc: Uint8Array): Buffer {
  const data = Buffer.concat([Buffer.from('test\0\0', 'latin1'), deflateSync(icc)])
  return Buffer.concat([png.subarray(0, 33), pngChunk('iCCP', data), png.subarray(33)])
}

/** The smallest ICC profile (version 2.1) of a grey device with the given gamma. */
function greyProfile(gamma: number): Buffer {
  const number = (v: number) => Math.round(v * 65536)
  const words = (...values: (string | number)[]) =>
    Buffer.concat(
      values.map((v) => {
        const word = Buffer.alloc(4)
        if (typeof v === 'string') word.write(v.padEnd(4), 'latin1')
        else word.writeInt32BE(v)
        return word
      }),
    )
  const d50 = [0.9642, 1, 0.8249].map(number)
  const tags: [string, Buffer][] = [
    ['desc', Buffer.concat([words('desc', 0, 2), Buffer.alloc(80)])],
    ['cprt', words('text', 0, 'x\0')],
    ['wtpt', words('XYZ', 0, ...d50)],
    ['kTRC', words('curv', 0, 1, Math.round(gamma * 256) << 16)],
  ]
  let at = 132 + 12 * tags.length
  const table = tags.map(([name, data]) => words(name, (at += data.length) - data.length, data.length))
  const head = Buffer.alloc(128)
  head.set(words(at, '', 0x02100000, 'mntr', 'GRAY', 'XYZ'))
  head.set(words('acsp'), 36)
  head.set(words(...d50), 68)
  return Buffer.concat([head, words(tags.length), ...table, ...tags.map(([, data]) => data)])
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => new Error('no error'),
    (error: unknown) => error as Error,
  )
}

describe('photos in', () => {
  const width = 40
  const height = 30
  const pixels = width * height

  test('reads PNG, JPEG, WebP, AVIF, TIFF and GIF by content, not by name', async () => {
    const rgb = smooth(width, height)
    const file = join(folder, 'photo.jpg')
    for (const [format, tolerance] of [
      ['png', 0],
      ['jpeg', 8],
      ['webp', 0],
      ['avif', 0],
      ['tiff', 0],
      ['gif', 24],
    ] as const) {
      const image = raw(rgb, width, height)
      const bytes = await {
        png: () => image.png(),
        jpeg: () => image.jpeg({ quality: 95, chromaSubsampling: '4:4:4' }),
        webp: () => image.webp({ lossless: true }),
        avif: () => image.avif({ lossless: true, effort: 0 }),
        tiff: () => image.tiff({ compression: 'lzw' }),
        gif: () => image.gif(),
      }
        [format]()
        .toBuffer()
      writeFileSync(file, bytes)
      for (const source of [file, new Uint8Array(bytes)]) {
        const read = await readPhoto(source)
        const quality = format === 'jpeg' ? 95 : undefined
        expect({ ...read, rgb: 0 }).toEqual({ width, height, rgb: 0, grey: false, format, metadata: {}, quality })
        expect(greatestDifference(read.rgb, rgb)).toBeLessThanOrEqual(tolerance)
      }
    }
  })

  test('keeps alpha apart, exactly, with the colours below zero opacity', async () => {
    const rgba = noise(4 * pixels)
    for (let i = 0; i < pixels; i += 3) rgba[4 * i + 3] = 0
    const read = await readPhoto(await raw(rgba, width, height).png().toBuffer())
    expect(read.alpha).toEqual(rgba.filter((_, i) => i % 4 === 3))
    expect(read.rgb).toEqual(rgba.filter((_, i) => i % 4 !== 3))
  })

  test('expands palettes, with their transparent colour', async () => {
    const rgba = Uint8Array.from(
      { length: 4 * pixels },
      (_, i) =>
        [
          [9, 80, 200, 255],
          [7, 6, 5, 0],
        ][(i >> 2) % 2][i % 4],
    )
    const png = await raw(rgba, width, height).png({ palette: true, colours: 2 }).toBuffer()
    expect((await sharp(png).metadata()).isPalette).toBe(true)
    const read = await readPhoto(png)
    expect([...read.alpha!.subarray(0, 4)]).toEqual([255, 0, 255, 0])
    expect([...read.rgb.subarray(0, 3)]).toEqual([9, 80, 200])
  })

  test('sees that a photo is grey, in one channel or three', async () => {
    const grey = noise(pixels)
    const one = await raw(grey, width, height).toColourspace('b-w').png().toBuffer()
    expect((await sharp(one).metadata()).channels).toBe(1)
    const three = await raw(threefold(grey), width, height).png().toBuffer()
    expect((await sharp(three).metadata()).channels).toBe(3)
    for (const file of [one, three]) {
      const read = await readPhoto(file)
      expect(read.grey).toBe(true)
      expect(read.rgb).toEqual(threefold(grey))
    }
    const almost = threefold(grey)
    almost[3 * pixels - 1] ^= 1
    expect((await readPhoto(await raw(almost, width, height).png().toBuffer())).grey).toBe(false)
  })

  test('rounds 16 bit to 8', async () => {
    const deep = Uint16Array.from({ length: 3 * pixels }, (_, i) => (i * 977) % 65536)
    const png = await raw(deep, width, height).toColourspace('rgb16').png().toBuffer()
    expect((await sharp(png).metadata()).depth).toBe('ushort')
    expect((await readPhoto(png)).rgb).toEqual(Uint8Array.from(deep, (v) => Math.round(v / 257)))
    const grey = deep.subarray(0, pixels)
    const one = await raw(grey, width, height).toColourspace('grey16').png().toBuffer()
    expect((await sharp(one).metadata()).space).toBe('grey16')
    const read = await readPhoto(one)
    expect(read.rgb).toEqual(threefold(Uint8Array.from(grey, (v) => Math.round(v / 257))))
    expect(read.grey).toBe(true)
  })

  /** The profile that sharp itself would attach. */
  const profile = async (name: string) =>
    (await sharp(await raw(noise(3), 1, 1).withIccProfile(name).png().toBuffer()).metadata()).icc!

  test('leads Display P3 to sRGB, in 8 and 16 bit', async () => {
    const colours = [
      [200, 150, 120],
      [90, 120, 160],
      [128, 128, 128],
      [70, 200, 90],
      [234, 51, 35],
    ]
    // Linear Display P3 to linear sRGB, CSS Color Module Level 4, section 19; both have sRGB's transfer function.
    const matrix = [
      [1.2249401762805598, -0.22494017628055996, 0],
      [-0.042056954709688163, 1.0420569547096881, 0],
      [-0.019637554590334432, -0.078636045550631889, 1.0982736001409663],
    ]
    const light = (v: number) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    const value = (v: number) => 255 * (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055)
    const expected = colours.map((colour) =>
      matrix.map((row) => {
        const sum = row.reduce((sum, m, i) => sum + m * light(colour[i] / 255), 0)
        return value(Math.min(1, Math.max(0, sum)))
      }),
    )
    const numbers = colours.flat()
    expect(greatestDifference(numbers, expected.flat())).toBeGreaterThan(20)
    const icc = await profile('p3')
    const eight = await raw(Uint8Array.from(numbers), 5, 1).png().toBuffer()
    // Beside zero, where sRGB's curve is steepest, lcms is off by 3; elsewhere by less than 1.
    expect(greatestDifference((await readPhoto(withProfile(eight, icc))).rgb, expected.flat())).toBeLessThan(3.5)
    const deep = Uint16Array.from(numbers, (v) => v * 257)
    const sixteen = await raw(deep, 5, 1).toColourspace('rgb16').png().toBuffer()
    expect((await readPhoto(withProfile(sixteen, icc))).rgb).toEqual((await readPhoto(withProfile(eight, icc))).rgb)
  })

  test('leaves pixels with an sRGB profile alone, in 8 and 16 bit', async () => {
    const rgb = noise(3 * pixels)
    const icc = await profile('srgb')
    const eight = await raw(rgb, width, height).png().toBuffer()
    expect((await readPhoto(withProfile(eight, icc))).rgb).toEqual(rgb)
    const deep = Uint16Array.from(rgb, (v) => v * 257)
    const sixteen = await raw(deep, width, height).toColourspace('rgb16').png().toBuffer()
    expect((await readPhoto(withProfile(sixteen, icc))).rgb).toEqual(rgb)
  })

  test('applies the profile of grey photos, in 8 and 16 bit', async () => {
    const grey = Uint8Array.from({ length: pixels }, (_, i) => 32 + (i % 224))
    const expected = threefold(grey.map((v) => 255 * (1.055 * (v / 255) ** (1.8 / 2.4) - 0.055) + 0.5))
    expect(greatestDifference(threefold(grey), expected)).toBeGreaterThan(10)
    const eight = await raw(grey, width, height).toColourspace('b-w').png().toBuffer()
    const deep = Uint16Array.from(grey, (v) => v * 257)
    const sixteen = await raw(deep, width, height).toColourspace('grey16').png().toBuffer()
    for (const png of [eight, sixteen]) {
      const read = await readPhoto(withProfile(png, greyProfile(1.8)))
      expect(greatestDifference(read.rgb, expected)).toBeLessThanOrEqual(1)
      expect(read.grey).toBe(true)
    }
  })

  test('leads CMYK to sRGB', async () => {
    const rgb = Uint8Array.from({ length: 3 * pixels }, (_, i) => [190, 140, 110][i % 3])
    const jpeg = await raw(rgb, width, height).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer()
    expect(await sharp(jpeg).metadata()).toMatchObject({ space: 'cmyk', channels: 4 })
    // Both ways through sharp's table for coated paper, with 8 bits between.
    expect(greatestDifference((await readPhoto(jpeg)).rgb, rgb)).toBeLessThanOrEqual(10)
  })

  test('takes the first frame or page, and says so', async () => {
    const frames = [smooth(width, height), noise(3 * pixels)].map((rgb) => ({ rgb }))
    const strip = Buffer.concat(frames.map(({ rgb }) => rgb))
    const all = sharp(strip, { raw: { width, height: 2 * height, channels: 3, pageHeight: height } })
    const read = await readPhoto(await all.webp({ lossless: true }).toBuffer(), 'party.webp')
    expect(read.height).toBe(height)
    expect(read.rgb).toEqual(frames[0].rgb)
    expect(read.warnings).toEqual(['party.webp has 2 frames or pages; only the first is read.'])
  })

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('turns a photo with EXIF orientation %i upright', async (orientation) => {
    const upright = smooth(width, height)
    // The stored picture: upright(x, y) is found at stored(place(x, y)), as Exif 2.32 defines the eight values.
    const [w, h] = orientation < 5 ? [width, height] : [height, width]
    const place = (x: number, y: number): [number, number] =>
      (
        [
          [x, y],
          [width - 1 - x, y],
          [width - 1 - x, height - 1 - y],
          [x, height - 1 - y],
          [y, x],
          [y, width - 1 - x],
          [height - 1 - y, width - 1 - x],
          [height - 1 - y, x],
        ] as [number, number][]
      )[orientation - 1]
    const stored = new Uint8Array(upright.length)
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [sx, sy] = place(x, y)
        stored.set(upright.subarray(3 * (y * width + x), 3 * (y * width + x) + 3), 3 * (sy * w + sx))
      }
    }
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const image = raw(stored, w, h).withMetadata({ orientation })
      const bytes = await (format === 'png'
        ? image.png()
        : format === 'jpeg'
          ? image.jpeg({ quality: 100, chromaSubsampling: '4:4:4' })
          : image.webp({ lossless: true })
      ).toBuffer()
      expect((await sharp(bytes).metadata()).orientation).toBe(orientation)
      const read = await readPhoto(bytes)
      expect([read.width, read.height]).toEqual([width, height])
      expect(greatestDifference(read.rgb, upright)).toBeLessThanOrEqual(format === 'jpeg' ? 4 : 0)
      // Written again it is upright for good: no orientation is left to be applied twice.
      const again = await sharp(await encodePhoto(read, { format, keepMetadata: true })).metadata()
      expect([again.orientation, again.width, again.height]).toEqual([undefined, width, height])
    }
  })
})

describe('photos out', () => {
  const width = 37
  const height = 23
  const pixels = width * height
  const decoded = async (bytes: Uint8Array) => new Uint8Array(await sharp(bytes).raw().toBuffer())

  test.each(['png', 'webp'] as const)('%s holds exactly the given pixels', async (format) => {
    const rgb = noise(3 * pixels)
    expect(await decoded(await encodePhoto(photo(width, height, rgb), { format }))).toEqual(rgb)
    const alpha = noise(pixels, 2).map((a, i) => (i % 4 === 0 ? 0 : a))
    const read = await readPhoto(await encodePhoto(photo(width, height, rgb, { alpha }), { format }))
    expect(read.rgb).toEqual(rgb)
    expect(read.alpha).toEqual(alpha)
  })

  test('jpeg keeps the resolution of colours, at quality 98', async () => {
    const rgb = noise(3 * pixels)
    const jpeg = await encodePhoto(photo(width, height, rgb), { format: 'jpeg' })
    expect(await sharp(jpeg).metadata()).toMatchObject({ format: 'jpeg', chromaSubsampling: '4:4:4' })
    // The coarsest step for noise of all frequencies at q98 is 5; 4:2:0 would change this picture by more than 100.
    const error = (await decoded(jpeg)).reduce((sum, v, i) => sum + (v - rgb[i]) ** 2, 0) / rgb.length
    expect(Math.sqrt(error)).toBeLessThan(2.5)
  })

  test('jpeg lays a photo with alpha on white', async () => {
    const rgb = Uint8Array.from({ length: 3 * 64 }, (_, i) => [40, 90, 200][i % 3])
    const at = async (opacity: number) => {
      const alpha = new Uint8Array(64).fill(opacity)
      return [...(await decoded(await encodePhoto(photo(8, 8, rgb, { alpha }), { format: 'jpeg' }))).subarray(0, 3)]
    }
    expect(greatestDifference(await at(255), [40, 90, 200])).toBeLessThanOrEqual(2)
    expect(greatestDifference(await at(0), [255, 255, 255])).toBeLessThanOrEqual(2)
    expect(greatestDifference(await at(51), [212, 222, 244])).toBeLessThanOrEqual(2)
  })

  test('grey stays grey, in one channel where the format has that', async () => {
    const grey = noise(pixels)
    const alpha = noise(pixels, 2)
    const one = photo(width, height, threefold(grey), { grey: true })
    expect(await sharp(await encodePhoto(one, { format: 'png' })).metadata()).toMatchObject({
      space: 'b-w',
      channels: 1,
    })
    expect(await sharp(await encodePhoto(one, { format: 'jpeg' })).metadata()).toMatchObject({
      space: 'b-w',
      channels: 1,
    })
    expect((await sharp(await encodePhoto({ ...one, alpha }, { format: 'png' })).metadata()).channels).toBe(2)
    for (const format of ['png', 'webp'] as const) {
      const read = await readPhoto(await encodePhoto({ ...one, alpha }, { format }))
      expect([read.grey, read.rgb, read.alpha]).toEqual([true, threefold(grey), alpha])
    }
    const unequal = photo(1, 1, new Uint8Array([255, 128, 0]), { grey: true })
    expect([...(await readPhoto(await encodePhoto(unequal, { format: 'png' }))).rgb]).toEqual([151, 151, 151])
  })

  test('is the same bytes every time', async () => {
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const given = photo(width, height, noise(3 * pixels))
      expect(await encodePhoto(given, { format })).toEqual(await encodePhoto(given, { format }))
    }
  })

  test('refuses arrays that do not fit, and sides a format cannot hold', async () => {
    await expect(encodePhoto(photo(4, 4, new Uint8Array(47)), { format: 'png' })).rejects.toThrow(
      'photo: rgb has 47 bytes, 4 x 4 pixels need 48',
    )
    const short = photo(4, 4, new Uint8Array(48), { alpha: new Uint8Array(15) })
    await expect(encodePhoto(short, { format: 'png' })).rejects.toThrow(/alpha has 15 bytes/)
    const long = photo(16384, 1, new Uint8Array(3 * 16384))
    await expect(encodePhoto(long, { format: 'webp' })).rejects.toThrow(/too large for webp.*choose png/)
    expect((await sharp(await encodePhoto(long, { format: 'jpeg' })).metadata()).width).toBe(16384)
  })
})

interface TestEntry {
  tag: number
  type: number
  bytes: Uint8Array
}
const ascii = (tag: number, text: string): TestEntry => ({ tag, type: 2, bytes: Buffer.from(`${text}\0`) })

/** An EXIF block as cameras write it: IFD0 with Exif and GPS directories below it, IFD1 with a thumbnail. Little endian. */
function cameraExif(first: TestEntry[], exif: TestEntry[], gps: TestEntry[], thumbnail: Uint8Array): Buffer {
  const sizes: Record<number, number> = { 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 129: 1 }
  const long = (tag: number, value: number): TestEntry => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    return { tag, type: 4, bytes }
  }
  const size = (list: TestEntry[]) =>
    6 +
    12 * list.length +
    list.reduce((sum, { bytes }) => sum + (bytes.length > 4 ? bytes.length + (bytes.length % 2) : 0), 0)
  const firstAt = 8
  const withPointers = (exifAt: number, gpsAt: number) => [...first, long(0x8769, exifAt), long(0x8825, gpsAt)]
  const exifAt = firstAt + size(withPointers(0, 0))
  const gpsAt = exifAt + size(exif)
  const secondAt = gpsAt + size(gps)
  const second = (at: number) => [
    { tag: 0x0103, type: 3, bytes: Buffer.from([6, 0]) },
    long(0x0201, at),
    long(0x0202, thumbnail.length),
  ]
  const thumbnailAt = secondAt + size(second(0))
  const block = Buffer.alloc(thumbnailAt + thumbnail.length)
  block.set(Buffer.from('II*\0\x08\0\0\0', 'latin1'))
  const put = (at: number, list: TestEntry[], next: number) => {
    let valueAt = at + size([]) + 12 * list.length
    block.writeUInt16LE(list.length, at)
    list
      .toSorted((a, b) => a.tag - b.tag)
      .forEach(({ tag, type, bytes }, i) => {
        const entry = at + 2 + 12 * i
        block.writeUInt16LE(tag, entry)
        block.writeUInt16LE(type, entry + 2)
        block.writeUInt32LE(bytes.length / sizes[type], entry + 4)
        if (bytes.length <= 4) block.set(bytes, entry + 8)
        else {
          block.writeUInt32LE(valueAt, entry + 8)
          block.set(bytes, valueAt)
          valueAt += bytes.length + (bytes.length % 2)
        }
      })
    block.writeUInt32LE(next, at + 2 + 12 * list.length)
  }
  put(firstAt, withPointers(exifAt, gpsAt), secondAt)
  put(exifAt, exif, 0)
  put(gpsAt, gps, 0)
  put(secondAt, second(thumbnailAt), 0)
  block.set(thumbnail, thumbnailAt)
  return block
}

/** Every tag of a block, of all directories that anything points to, as `directory.tag`: what a nosy reader finds. */
function allTags(block: Uint8Array): Map<string, string> {
  const start = Buffer.from(block.subarray(0, 6)).toString('latin1') === 'Exif\0\0' ? 6 : 0
  const data = new DataView(block.buffer, block.byteOffset + start, block.byteLength - start)
  const little = data.getUint8(0) === 0x49
  const found = new Map<string, string>()
  const walk = (at: number, name: string) => {
    const count = data.getUint16(at, little)
    for (let i = 0; i < count; i++) {
      const entry = at + 2 + 12 * i
      const tag = data.getUint16(entry, little)
      const type = data.getUint16(entry + 2, little)
      const length = data.getUint32(entry + 4, little)
      const value = length <= 4 ? entry + 8 : data.getUint32(entry + 8, little)
      const text = type === 2 ? Buffer.from(data.buffer, data.byteOffset + value, length).toString() : ''
      found.set(`${name}.${tag.toString(16).padStart(4, '0')}`, text.replace(/\0$/, ''))
      const below = { 34665: 'exif', 34853: 'gps', 40965: 'interop', 330: 'sub' }[tag]
      if (below) walk(data.getUint32(entry + 8, little), below)
    }
    const next = data.getUint32(at + 2 + 12 * count, little)
    if (next) walk(next, `${name}+1`)
  }
  walk(data.getUint32(4, little), 'ifd0')
  return found
}

describe('metadata', () => {
  const secrets = [
    'SERIAL-4711',
    'OWNER-ANNA',
    'MAKER-NOTE',
    'COMMENT-HOME',
    'XMP-REGION',
    'IPTC-PLACE',
    'BUILD-99',
    '+02:00',
  ]
  const kept = {
    description: 'Anna, am Gartentor (um 1990)',
    cameraMake: 'Olympus',
    cameraModel: 'µ-II',
    artist: 'Zoë Müller',
    copyright: '© Müller; The Editor (all rights reserved)',
    taken: '1996:07:13 18:05:59',
  }
  let source: Buffer
  let block: Buffer

  beforeAll(async () => {
    const rational = Buffer.alloc(24)
    ;[52, 1, 31, 1, 12345, 1000].forEach((v, i) => {
      rational.writeUInt32LE(v, 4 * i)
    })
    const thumbnail = await raw(noise(3 * 64 * 48), 64, 48)
      .jpeg()
      .toBuffer()
    block = cameraExif(
      [
        ascii(0x010e, kept.description),
        ascii(0x010f, kept.cameraMake),
        ascii(0x0110, kept.cameraModel),
        ascii(0x0131, 'BUILD-99'),
        ascii(0x0132, '2020:01:01 00:00:00'),
        ascii(0x013b, kept.artist),
        ascii(0x8298, '© Müller\0The Editor (all rights reserved)'),
        { tag: 0x0112, type: 3, bytes: Buffer.from([1, 0]) },
      ],
      [
        ascii(0x9003, kept.taken),
        ascii(0x9011, '+02:00'),
        ascii(0xa430, 'OWNER-ANNA'),
        ascii(0xa431, 'SERIAL-4711'),
        { tag: 0x927c, type: 7, bytes: Buffer.from('MAKER-NOTE') },
        { tag: 0x9286, type: 7, bytes: Buffer.from('ASCII\0\0\0COMMENT-HOME') },
      ],
      [
        ascii(0x0001, 'N'),
        { tag: 0x0002, type: 5, bytes: rational },
        ascii(0x0003, 'E'),
        { tag: 0x0004, type: 5, bytes: rational },
      ],
      thumbnail,
    )
    const xmp = `<?xpacket?><x:xmpmeta xmlns:x="adobe:ns:meta/"><p>XMP-REGION</p></x:xmpmeta>`
    const jpeg = await raw(smooth(80, 60), 80, 60).jpeg({ quality: 100 }).withXmp(xmp).toBuffer()
    const segment = (marker: number, data: Buffer) =>
      Buffer.concat([Buffer.from([0xff, marker, (data.length + 2) >> 8, (data.length + 2) & 255]), data])
    source = Buffer.concat([
      jpeg.subarray(0, 2),
      segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), block])),
      segment(0xed, Buffer.from('Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0fIPTC-PLACE', 'latin1')),
      segment(0xfe, Buffer.from('COMMENT-HOME')),
      jpeg.subarray(2),
    ])
  })

  test('the source of these tests does carry GPS, a thumbnail and the secrets', async () => {
    const found = allTags((await sharp(source).metadata()).exif!)
    expect([...found.keys()]).toEqual(
      expect.arrayContaining(['gps.0002', 'gps.0004', 'ifd0+1.0201', 'exif.927c', 'exif.a431']),
    )
    for (const secret of secrets) expect(source.includes(secret)).toBe(true)
  })

  test('reads the allowed fields only', async () => {
    expect((await readPhoto(source)).metadata).toEqual(kept)
  })

  test.each(['png', 'jpeg', 'webp'] as const)('%s: dropped, unless it is asked for', async (format) => {
    const bytes = Buffer.from(await encodePhoto(await readPhoto(source), { format }))
    const { exif, xmp, iptc, icc } = await sharp(bytes).metadata()
    expect([exif, xmp, iptc, icc]).toEqual([undefined, undefined, undefined, undefined])
    for (const text of [...secrets, 'Olympus', 'Anna', '1996']) expect(bytes.includes(text)).toBe(false)
  })

  test.each(['png', 'jpeg', 'webp'] as const)('%s: keeps the allowed fields, never more', async (format) => {
    for (const alpha of [undefined, noise(80 * 60)]) {
      const read = { ...(await readPhoto(source)), alpha }
      const bytes = Buffer.from(await encodePhoto(read, { format, keepMetadata: true }))
      const { exif, xmp, iptc, icc, orientation } = await sharp(bytes).metadata()
      expect([xmp, iptc, icc, orientation]).toEqual([undefined, undefined, undefined, undefined])
      const text: Record<string, string> = {
        'ifd0.010e': kept.description,
        'ifd0.010f': kept.cameraMake,
        'ifd0.0110': kept.cameraModel,
        'ifd0.013b': kept.artist,
        'ifd0.8298': kept.copyright,
        'exif.9003': kept.taken,
      }
      expect(Object.fromEntries(allTags(exif!))).toEqual({ ...text, 'ifd0.8769': '', 'exif.9000': '', 'exif.a001': '' })
      for (const secret of secrets) expect(bytes.includes(secret)).toBe(false)
      // No second JPEG inside: the only start of an image is the file's own.
      expect(bytes.includes(Buffer.from([0xff, 0xd8, 0xff]), 1)).toBe(false)
      // The picture is untouched by it, and the fields come back.
      const without = await readPhoto(await encodePhoto(read, { format }))
      const again = await readPhoto(bytes)
      expect([again.rgb, again.alpha]).toEqual([without.rgb, without.alpha])
      expect(again.metadata).toEqual(kept)
    }
  })

  test('reads it from WebP, PNG and TIFF, where a file has it', async () => {
    const exif = { IFD0: { Artist: 'Zoe', Copyright: 'Z' }, IFD2: { DateTimeOriginal: '2024:02:29 01:02:03' } }
    const image = raw(noise(300), 10, 10).withExif(exif)
    for (const bytes of [await image.png().toBuffer(), await image.webp().toBuffer(), await image.avif().toBuffer()]) {
      expect((await readPhoto(bytes)).metadata).toEqual({ artist: 'Zoe', copyright: 'Z', taken: '2024:02:29 01:02:03' })
    }
    expect(readExif(block)).toEqual(kept)
  })

  test('goes into a WebP that has extended chunks already', async () => {
    const rgba = noise(4 * 12 * 10)
    const plain = await raw(rgba, 12, 10).webp({ lossless: true, exact: true }).withIccProfile('srgb').toBuffer()
    expect(plain.toString('latin1', 12, 16)).toBe('VP8X')
    const size = { width: 12, height: 10, alpha: true }
    const tagged = embed(plain, 'webp', { exif: writeExif({ artist: 'Zoe' })! }, size)
    expect(await sharp(tagged).metadata()).toMatchObject({ width: 12, height: 10, hasAlpha: true, hasProfile: true })
    const read = await readPhoto(tagged)
    expect(read.metadata).toEqual({ artist: 'Zoe' })
    expect(read.alpha).toEqual(rgba.filter((_, i) => i % 4 === 3))
  })

  test('a photo that carries nothing allowed gets no block at all', async () => {
    const read = await readPhoto(
      await raw(noise(300), 10, 10)
        .withExif({ IFD0: { Software: 'BUILD-99' } })
        .jpeg()
        .toBuffer(),
    )
    expect(read.metadata).toEqual({})
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      expect((await sharp(await encodePhoto(read, { format, keepMetadata: true })).metadata()).exif).toBeUndefined()
    }
  })

  test('what is written reads back the same, for texts of any length and script', () => {
    const next = random(5)
    const letters = [...'aZ0 .,(){}äß©漢字🙂']
    for (let n = 0; n < 300; n++) {
      const text = () =>
        Array.from({ length: Math.floor(next() ** 3 * 900) }, () => letters[Math.floor(next() * letters.length)])
          .join('')
          .trim()
      const given = { description: text(), artist: text(), cameraMake: text(), cameraModel: text(), copyright: text() }
      const expected = Object.fromEntries(Object.entries(given).filter(([, value]) => value))
      const written = writeExif(given)
      expect(written ? readExif(written) : {}).toEqual(expected)
    }
    expect(writeExif({ description: 'x'.repeat(5000), taken: 'yesterday' })).toBeUndefined()
    expect(readExif(writeExif({ artist: 'two\nlines\0\x1b[31m' })!)).toEqual({ artist: 'two lines [31m' })
  })

  test('a damaged block never throws, and yields nothing but clean text', () => {
    const next = random(9)
    let different = 0
    for (let n = 0; n < 4000; n++) {
      const damaged = Uint8Array.from(block.subarray(0, next() < 0.3 ? Math.floor(next() * block.length) : 700))
      for (let k = 0; k < 1 + 6 * next(); k++)
        damaged[Math.floor(next() * Math.min(damaged.length, 400))] = 256 * next()
      const metadata = readExif(damaged)
      if (JSON.stringify(metadata) !== JSON.stringify(kept)) different++
      for (const [field, value] of Object.entries(metadata)) {
        expect(Object.keys(kept)).toContain(field)
        expect(value).toMatch(/^[^\p{Cc}]+$/u)
        expect(value.length).toBeLessThanOrEqual(4096)
      }
    }
    expect(different).toBeGreaterThan(1000)
  })
})

describe('files that are no photos', () => {
  const given = async (bytes: Uint8Array | string, name = 'me.jpg') =>
    failure(readPhoto(Buffer.from(bytes as string), name))

  test.each([
    ['empty', '', /^me\.jpg is empty: /],
    ['text', 'hello, this is no photo', /^me\.jpg is called a photo, but holds text .*: copy or download it again/],
    [
      'an SVG',
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
      /is an SVG drawing, which is not read: convert it first/,
    ],
    ['a PDF', '%PDF-1.4\n', /is called a photo, but holds/],
    ['HEIC', '\0\0\0\x18ftypheic\0\0\0\0mif1heic', /me\.jpg is damaged or cut short/],
    ['a bare JPEG header', '\xff\xd8\xff\xe0', /me\.jpg is not a photo|is damaged or cut short/],
  ])('%s', async (_, text, message) => {
    const error = await given(Buffer.from(text, 'latin1'))
    expect(error).toBeInstanceOf(PhotoError)
    expect(error.message).toMatch(message)
  })

  test('paths that lead nowhere', async () => {
    const missing = join(folder, 'missing.png')
    expect(await failure(readPhoto(missing))).toMatchObject({
      name: 'PhotoError',
      file: missing,
      problem: 'does not exist',
    })
    expect(await failure(readPhoto(folder))).toMatchObject({ name: 'PhotoError', problem: 'is a folder' })
    expect(await failure(readPhoto('/dev/null'))).toMatchObject({ name: 'PhotoError', problem: 'is not a file' })
  })

  test('a small file that unpacks to gigapixels', async () => {
    const bomb = (width: number, height: number) => {
      const header = Buffer.alloc(13)
      header.writeUInt32BE(width)
      header.writeUInt32BE(height, 4)
      header.set([8, 2], 8)
      const data = deflateSync(Buffer.alloc(1 << 20))
      return Buffer.concat([
        Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
        pngChunk('IHDR', header),
        pngChunk('IDAT', data),
        pngChunk('IEND', Buffer.alloc(0)),
      ])
    }
    const error = await given(bomb(30000, 30000), 'bomb.png')
    expect(error).toMatchObject({
      name: 'PhotoError',
      problem: 'has more than 300 megapixels',
      advice: 'scale it down first',
    })
    expect(await given(bomb(3_000_000, 101), 'bomb.png')).toMatchObject({ problem: 'has more than 300 megapixels' })
  })

  const encoders: Record<string, (image: Sharp) => Sharp> = {
    png: (image) => image.png(),
    jpeg: (image) => image.jpeg(),
    progressive: (image) => image.jpeg({ progressive: true }),
    webp: (image) => image.webp({ lossless: true }),
    lossy: (image) => image.webp(),
    avif: (image) => image.avif({ effort: 0 }),
    tiff: (image) => image.tiff({ compression: 'deflate' }),
    gif: (image) => image.gif(),
  }

  test.each(Object.keys(encoders))('%s, cut short anywhere: an error, or not a pixel is missing', async (format) => {
    const whole = await encoders[format](raw(noise(3 * 60 * 50), 60, 50)).toBuffer()
    const expected = await readPhoto(whole)
    const lengths = [1, 2, 3, 5, 9, 13, 24, 100].map((cut) => whole.length - cut)
    for (let k = 1; k < 40; k++) lengths.push(Math.floor((whole.length * k) / 40))
    let refused = 0
    for (const length of lengths) {
      const result = await readPhoto(whole.subarray(0, length)).catch((error: unknown) => error)
      if (result instanceof PhotoError) {
        refused++
        continue
      }
      const { rgb, warnings } = result as Photo
      // Of a JPEG the last row of blocks may be missing; then it is said.
      const rows = format === 'jpeg' && warnings ? 50 - 18 : 50
      expect(rgb.subarray(0, 3 * 60 * rows)).toEqual(expected.rgb.subarray(0, 3 * 60 * rows))
    }
    expect(refused).toBeGreaterThanOrEqual(lengths.length - (format === 'jpeg' ? 18 : 6))
  })

  test.each(Object.keys(encoders))('%s with bits turned over: a named error or a whole photo', async (format) => {
    const whole = await encoders[format](raw(noise(3 * 60 * 50), 60, 50)).toBuffer()
    const expected = await readPhoto(whole)
    const next = random(3)
    let refused = 0
    for (let n = 0; n < 60; n++) {
      const damaged = Uint8Array.from(whole)
      for (let k = 0; k < 1 + 3 * next(); k++) {
        // Half of them in the headers, where they hurt most.
        damaged[Math.floor(next() * (next() < 0.5 ? Math.min(200, whole.length) : whole.length))] ^= 1 << (8 * next())
      }
      const result = await readPhoto(damaged).catch((error: unknown) => error)
      if (result instanceof PhotoError) {
        refused++
        expect(result.message).toMatch(/^the given data .{5,300}: .+/)
      } else {
        const { width, height, rgb, alpha } = result as Photo
        expect(rgb.length).toBe(3 * width * height)
        if (alpha) expect(alpha.length).toBe(width * height)
        // PNG has a checksum over everything that matters.
        if (format === 'png') expect(rgb).toEqual(expected.rgb)
      }
    }
    expect(refused).toBeGreaterThan(0)
  })
})

describe('writing a file', () => {
  const bytes = noise(5000)
  const place = (name: string) => {
    const inside = mkdtempSync(join(folder, `${name}-`))
    return { inside, path: join(inside, 'result.png') }
  }

  test('leaves the file, and nothing else', async () => {
    const { inside, path } = place('plain')
    await writeFileAtomically(path, bytes, { overwrite: false })
    expect(readdirSync(inside)).toEqual(['result.png'])
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    expect(pendingFiles.size).toBe(0)
    expect(process.listeners('exit').some((listener) => listener.name === 'removePendingFiles')).toBe(false)
  })

  test('never replaces a file unless it may', async () => {
    const { inside, path } = place('exists')
    writeFileSync(path, 'mine')
    const error = await failure(writeFileAtomically(path, bytes, { overwrite: false }))
    expect(error).toBeInstanceOf(OutputError)
    expect(error).toMatchObject({ problem: 'exists', path })
    expect(readFileSync(path, 'utf8')).toBe('mine')
    await writeFileAtomically(path, bytes, { overwrite: true })
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    expect(readdirSync(inside)).toEqual(['result.png'])
  })

  test('a dangling link is something that exists', async () => {
    const { inside, path } = place('link')
    symlinkSync(join(inside, 'elsewhere'), path)
    expect(await failure(writeFileAtomically(path, bytes))).toMatchObject({ problem: 'exists' })
    expect(existsSync(join(inside, 'elsewhere'))).toBe(false)
  })

  test('of many writers to one name exactly one wins, whole', async () => {
    const { inside, path } = place('race')
    const all = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => writeFileAtomically(path, new Uint8Array(1 << 20).fill(i))),
    )
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of all)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ problem: 'exists' })
    expect(new Set(readFileSync(path)).size).toBe(1)
    expect(readdirSync(inside)).toEqual(['result.png'])
  })

  test('folders that are missing, or no folders, or where a folder stands', async () => {
    const { inside, path } = place('folders')
    const missing = join(inside, 'none', 'result.png')
    expect(await failure(writeFileAtomically(missing, bytes))).toMatchObject({
      name: 'OutputError',
      problem: 'no-folder',
    })
    writeFileSync(path, 'mine')
    const below = join(path, 'result.png')
    expect(await failure(writeFileAtomically(below, bytes))).toMatchObject({ problem: 'no-folder' })
    for (const overwrite of [false, true]) {
      expect(await failure(writeFileAtomically(inside, bytes, { overwrite }))).toMatchObject({ problem: 'is-folder' })
    }
    expect(readdirSync(inside)).toEqual(['result.png'])
  })

  test('a folder that may not be written to', async () => {
    const { inside, path } = place('readonly')
    chmodSync(folder, 0o755)
    chmodSync(inside, 0o555)
    // To the superuser every folder is writable.
    const root = process.geteuid?.() === 0
    if (root) process.seteuid!(65534)
    const error = await failure(writeFileAtomically(path, bytes))
    if (root) process.seteuid!(0)
    expect(error).toMatchObject({ name: 'OutputError', problem: 'unwritable' })
    expect(error.message).toContain(`the folder ${inside} is not writable (EACCES)`)
    expect(readdirSync(inside)).toEqual([])
  })

  test('a name of the greatest length', async () => {
    const path = join(place('long').inside, 'n'.repeat(255))
    await writeFileAtomically(path, bytes)
    expect(existsSync(path)).toBe(true)
  })

  test('on a disk without hard links: the same, and no empty file where it fails', async () => {
    const denied = (name: string) => () => {
      throw Object.assign(new Error(name), { code: 'EPERM' })
    }
    const onSuchDisk = async (faults: Record<string, () => never>) => {
      vi.resetModules()
      vi.doMock('node:fs', async (original) => ({ ...(await original<typeof import('node:fs')>()), ...faults }))
      const { writeFileAtomically } = await import('../../src/images/write.ts')
      vi.doUnmock('node:fs')
      return writeFileAtomically
    }
    const { inside, path } = place('fat')
    const write = await onSuchDisk({ linkSync: denied('link') })
    await write(path, bytes)
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    expect(await failure(write(path, noise(9)))).toMatchObject({ problem: 'exists' })
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    const other = join(inside, 'other.png')
    const all = await Promise.allSettled([1, 2, 3, 4].map((i) => write(other, new Uint8Array(1 << 18).fill(i))))
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(new Set(readFileSync(other)).size).toBe(1)
    const neither = await onSuchDisk({ linkSync: denied('link'), renameSync: denied('rename') })
    expect(await failure(neither(join(inside, 'third.png'), bytes))).toMatchObject({ problem: 'unwritable' })
    expect(readdirSync(inside).sort()).toEqual(['other.png', 'result.png'])
  })

  test.each([
    ['SIGINT', `process.on('SIGINT', () => process.exit(130)); process.kill(process.pid, 'SIGINT')`, 130],
    ['process.exit', 'process.exit(3)', 3],
    ['an uncaught error', `queueMicrotask(() => { throw new Error('boom') })`, 1],
  ])('%s in the middle leaves nothing behind', (_, ending, status) => {
    const { inside, path } = place('interrupt')
    const script = join(folder, 'interrupt.mjs')
    const module = pathToFileURL(resolve('src/images/write.ts')).href
    writeFileSync(
      script,
      `import { readdirSync } from 'node:fs'
       import { pendingFiles, writeFileAtomically } from ${JSON.stringify(module)}
       void writeFileAtomically(${JSON.stringify(path)}, new Uint8Array(2 ** 26), { overwrite: false })
       console.log(pendingFiles.size, readdirSync(${JSON.stringify(inside)}).length)
       ${ending}`,
    )
    const child = spawnSync(process.execPath, [script], { encoding: 'utf8' })
    expect(child.stdout).toBe('1 1\n')
    expect(child.status).toBe(status)
    expect(readdirSync(inside)).toEqual([])
  })
})

describe('quality', () => {
  test('psnr and the greatest change', () => {
    const a = photo(2, 1, new Uint8Array([10, 20, 30, 40, 50, 60]))
    const b = photo(2, 1, new Uint8Array([10, 20, 30, 40, 56, 52]))
    expect(psnr(a, a)).toBe(Infinity)
    expect(maxChange(a, a)).toBe(0)
    // (36 + 64) / 6 squared
    expect(psnr(a, b)).toBeCloseTo(10 * Math.log10(65025 / (100 / 6)), 12)
    expect(maxChange(a, b)).toBe(8)
    const black = photo(1, 1, new Uint8Array(3))
    expect(psnr(black, photo(1, 1, new Uint8Array([255, 255, 255])))).toBe(0)
    expect(() => psnr(a, black)).toThrow('psnr: the photos differ in size, 2 x 1 and 1 x 1')
  })
})

describe('the comparison', () => {
  /** Where a text stands in a picture, exactly: letters black, all else in its box and beside it white. */
  function reads(page: Photo, text: string, x: number, y: number, scale: number): boolean {
    const expected = new Set<number>()
    drawText(text, scale, (dx, dy, size) => {
      for (let i = 0; i < size * size; i++) {
        expected.add((y + dy + Math.floor(i / size)) * page.width + x + dx + (i % size))
      }
    })
    for (let row = y; row < y + 7 * scale; row++) {
      for (let column = x; column < x + textWidth(`${text} `, scale); column++) {
        const i = row * page.width + column
        if (page.rgb[3 * i] !== (expected.has(i) ? 0 : 255)) return false
      }
    }
    return true
  }
  const pixel = (page: Photo, x: number, y: number) => [
    ...page.rgb.subarray(3 * (y * page.width + x), 3 * (y * page.width + x) + 3),
  ]

  test('shows both photos as they are, the signed difference, and says how much it is multiplied', async () => {
    const [width, height] = [200, 160]
    const before = photo(width, height, smooth(width, height))
    const after = { ...before, rgb: before.rgb.map((v, i) => (i < 3000 ? v + ((i % 3) - 1) * 9 : v)) }
    const page = await readPhoto(await comparePicture(before, after))
    // letters of size 1: 3 + 7 + 3 rows above; 12 pixels around
    expect([page.width, page.height]).toEqual([3 * width + 48, 13 + height + 12])
    for (const [x, y] of [
      [0, 0],
      [17, 3],
      [199, 159],
    ]) {
      const i = 3 * (y * width + x)
      expect(pixel(page, 12 + x, 13 + y)).toEqual([...before.rgb.subarray(i, i + 3)])
      expect(pixel(page, 12 + 212 + x, 13 + y)).toEqual([...after.rgb.subarray(i, i + 3)])
    }
    expect(pixel(page, 12 + 424 + 17, 13 + 3)).toEqual([128 - 108, 128, 128 + 108])
    expect(pixel(page, 12 + 424 + 17, 13 + 100)).toEqual([128, 128, 128])
    expect(reads(page, 'before', 12, 3, 1)).toBe(true)
    expect(reads(page, 'after', 12 + 212, 3, 1)).toBe(true)
    expect(reads(page, 'difference x12', 12 + 424, 3, 1)).toBe(true)
    expect(reads(page, 'difference x10', 12 + 424, 3, 1)).toBe(false)
  })

  test('chooses the factor by the changed values, however few, and not by single outliers', async () => {
    const before = photo(300, 300, new Uint8Array(270000).fill(100))
    const changed = (values: number[]) => {
      const rgb = before.rgb.slice()
      values.forEach((v, i) => {
        rgb[i] += v
      })
      return { ...before, rgb }
    }
    const factor = async (after: Photo) => {
      const page = await readPhoto(await comparePicture(before, after))
      const x = 12 + 2 * 312
      return [0.5, 1, 3, 12, 20, 40, 100].filter((f) => reads(page, `difference x${f}`, x, 6, 2))
    }
    expect(await factor(changed([1]))).toEqual([100])
    expect(await factor(changed([3, 3, 3, -3]))).toEqual([40])
    expect(await factor(changed([40]))).toEqual([3])
    expect(await factor(changed([-100]))).toEqual([1])
    expect(await factor(changed([155]))).toEqual([0.5])
    expect(await factor(changed([...new Array(5000).fill(10), 120]))).toEqual([12])
    const same = await readPhoto(await comparePicture(before, before))
    expect(reads(same, 'no difference', 12 + 2 * 312, 6, 2)).toBe(true)
  })

  test('scales large photos down, and says that too', async () => {
    const [width, height] = [1000, 2048]
    const before = photo(width, height, smooth(width, height), { alpha: new Uint8Array(width * height).fill(255) })
    const after = { ...before, rgb: before.rgb.map((v) => v + 6) }
    const page = await readPhoto(await comparePicture(before, after))
    expect([page.width, page.height]).toEqual([3 * 500 + 48, 52 + 1024 + 12])
    expect(reads(page, 'difference x20 at 50%', 12 + 2 * 512, 12, 4)).toBe(true)
    expect(greatestDifference(pixel(page, 12 + 1024 + 250, 700), [248, 248, 248])).toBeLessThanOrEqual(1)
  })

  test('fits captions over photos that are narrower', async () => {
    const tiny = photo(8, 8, noise(192))
    const page = await readPhoto(await comparePicture(tiny, tiny))
    expect(page.width).toBe(3 * textWidth('no difference', 1) + 48)
    expect(reads(page, 'no difference', 24 + 2 * textWidth('no difference', 1) + 12, 3, 1)).toBe(true)
  })

  test('refuses photos of different sizes, and letters that are not drawn', async () => {
    const a = photo(2, 2, new Uint8Array(12))
    await expect(comparePicture(a, photo(1, 4, new Uint8Array(12)))).rejects.toThrow(/differ in size, 2 x 2 and 1 x 4/)
    expect(() => drawText('Q', 1, () => {})).toThrow('no glyph for "Q"')
  })
})

describe('without sharp', () => {
  /** The same sources in a place of their own, with what stands in for the package. */
  function run(stand: string | undefined, code: string): string {
    const place = mkdtempSync(join(folder, 'without-'))
    cpSync('src/images', join(place, 'images'), { recursive: true })
    writeFileSync(join(place, 'package.json'), '{"type": "module"}')
    if (stand !== undefined) {
      mkdirSync(join(place, 'node_modules/sharp'), { recursive: true })
      writeFileSync(join(place, 'node_modules/sharp/package.json'), '{"main": "index.mjs"}')
      writeFileSync(join(place, 'node_modules/sharp/index.mjs'), stand)
    }
    writeFileSync(join(place, 'run.mjs'), `import * as images from './images/index.ts'\n${code}`)
    const child = spawnSync(process.execPath, [join(place, 'run.mjs')], { encoding: 'utf8' })
    expect(child.stderr).toBe('')
    return child.stdout
  }
  const png = 'Buffer.from("89504e470d0a1a0a00", "hex")'
  const tell = '.catch((error) => console.log(error.name, error.message))'

  test('says how to install it', () => {
    expect(run(undefined, `await images.readPhoto(${png})${tell}`)).toMatch(
      /^ImageSupportError reading and writing photos needs the package sharp, which is not installed: run `npm install sharp@0\.35`/,
    )
    const photo = '{ width: 1, height: 1, rgb: new Uint8Array(3), grey: true, format: "png" }'
    expect(run(undefined, `await images.encodePhoto(${photo}, { format: 'png' })${tell}`)).toMatch(/^ImageSupportError/)
  })

  test('says so where its native part is missing', () => {
    const stand = 'throw new Error("Could not load the sharp module\\nPossible solutions:")'
    const out = run(stand, `await images.readPhoto(${png})${tell}`)
    expect(out).toContain(`does not start on ${process.platform}-${process.arch}`)
    expect(out).toContain('(Could not load the sharp module)\n')
  })
})
