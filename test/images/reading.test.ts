/** Photos in: formats, colours, sizes, and files that are no photos. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import { describe, expect, test } from 'vitest'
import { encodePhoto, type Photo, PhotoError, readPhoto } from '../../src/images/index.ts'
import { failure, folder, greatestDifference, noise, raw, smooth, threefold } from '../support/made-photos.ts'
import { random } from '../support/random.ts'

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
