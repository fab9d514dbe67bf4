import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { embed } from '../../src/images/embed.ts'
import { readExif, writeExif } from '../../src/images/exif.ts'
import { encodePhoto, readPhoto } from '../../src/images/index.ts'
import { noise, raw, smooth } from '../support/made-photos.ts'
import { random } from '../support/random.ts'

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
