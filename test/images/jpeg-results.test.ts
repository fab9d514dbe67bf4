/** JPEG results are compressed about as strongly as their photos were. */
import { join } from 'node:path'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { encodePhoto, jpegQuality, readPhoto } from '../../src/images/index.ts'
import { fixture } from '../support/inputs/picture.ts'

const portrait = join(import.meta.dirname, '../../examples/astronaut.png')

test.each([
  [50, 80, 2.2],
  [75, 80, 1.6],
  [85, 85, 1.5],
  [95, 95, 1.5],
  [100, 98, 1],
] as const)('a photo of quality %i: a result of %i, at most %f times as large', async (own, expected, times) => {
  const bytes = await sharp(portrait).jpeg({ quality: own, chromaSubsampling: '4:2:0' }).toBuffer()
  const photo = await readPhoto(bytes)
  // A table of ones is nearly that of 99.
  expect(photo.quality).toBe(Math.min(99, own))
  const result = await encodePhoto(photo, { format: 'jpeg', mark: true })
  expect((await readPhoto(result)).quality).toBe(expected)
  expect((await sharp(result).metadata()).chromaSubsampling).toBe('4:4:4')
  expect(result.length / bytes.length).toBeLessThan(times)
})

test('a photo in another format: what is usual of lossy ones, the best of lossless ones', async () => {
  expect(jpegQuality(await readPhoto(fixture('photo.heic')))).toBe(92)
  expect(jpegQuality(await readPhoto(portrait))).toBe(98)
  const heic = await encodePhoto(await readPhoto(fixture('photo.heic')), { format: 'jpeg' })
  expect((await readPhoto(heic)).quality).toBe(92)
})
