/**
 * A file of every kind of photo, made here: what is read of it, what its result keeps, what is said. The rows are kept in
 * docs/results/formats.json, of which `npm run docs` makes the table of docs/formats.md; after a change of what is read,
 * `npx vitest run test/images/every-format.test.ts -u` writes them anew.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { FormatRow } from '../../build/docs/formats.ts'
import { encodePhoto, PhotoError, readPhoto } from '../../src/images/index.ts'
import { type Input, inputs } from '../support/inputs/index.ts'
import { facts, proofOf, rowOf } from '../support/inputs/row.ts'

const rows = new Map<string, FormatRow>()

async function refusal({ bytes, file, options, name, readBy, refused }: Input): Promise<void> {
  const error = await readPhoto(await bytes(), file, options).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(PhotoError)
  expect((error as Error).message).toMatch(refused!)
  expect((error as Error).message.startsWith(`${file} `)).toBe(true)
  rows.set(name, { input: name, readBy, says: [(error as Error).message.slice(file.length + 1)] })
}

describe('a photo', () => {
  test.each(inputs.filter(({ refused }) => refused).map((input) => [input.name, input] as const))(
    'is refused, and the reason said: %s',
    async (_, input) => refusal(input),
  )

  test.each(inputs.filter(({ refused }) => !refused).map((input) => [input.name, input] as const))(
    'is read, and outside of the face its result is the same: %s',
    async (_, input) => {
      const { file, options, shows, within = 0, says = [] } = input
      const bytes = await input.bytes()
      const photo = await readPhoto(bytes, file, options)
      expect(photo.warnings ?? []).toEqual(says.map((text) => expect.stringMatching(text)))
      const expected = typeof shows === 'function' ? await shows() : shows
      if (expected) {
        const samples = photo.original?.samples ?? photo.rgb
        expect([photo.width, photo.height]).toEqual([expected.width, expected.height])
        expect(samples.BYTES_PER_ELEMENT).toBe(expected.samples.BYTES_PER_ELEMENT)
        let off = 0
        for (let i = 0; i < samples.length; i++) off = Math.max(off, Math.abs(samples[i] - expected.samples[i]))
        expect(off).toBeLessThanOrEqual(within)
      }
      if (input.strictRefuses) {
        await expect(readPhoto(bytes, file, { strict: true })).rejects.toThrow(/which is refused when reading strictly/)
      } else if (photo.format === 'jpeg') {
        await expect(readPhoto(bytes, file, { ...options, strict: true })).resolves.toBeDefined()
      }

      const proof = await proofOf(photo)
      expect(proof.spilled).toBe(0)
      if (proof.format !== 'jpeg') expect(proof.outside).toBe(0)
      else {
        // The steps of the tables at these qualities; a picture moved by a pixel would be further off.
        expect(proof.outside).toBeLessThanOrEqual(32)
        expect(proof.average).toBeLessThan(2.5)
      }
      if (!photo.alpha) expect(proof.missing).toBeLessThanOrEqual(proof.format === 'jpeg' ? 24 : 4)
      expect(facts(proof.after)).toEqual(keptIn(proof.format, facts(photo)))
      rows.set(input.name, rowOf(input, proof))
      // Whatever the format is, the PNG that can be asked for keeps every sample.
      const lossless = proof.format === 'png' ? proof : await proofOf(photo, 'png')
      expect(lossless.outside).toBe(0)
      expect(facts(lossless.after)).toEqual(facts(photo))
    },
  )

  /** 16 bit and opacity where the format has a place for them. */
  const keptIn = (format: string, all: string[]): string[] =>
    all
      .filter((fact) => !(fact === 'opacity' && format === 'jpeg'))
      .map((fact) => (fact === '16 bit' && format !== 'png' ? '8 bit' : fact))
})

test('no name is used twice', () => {
  expect(new Set(inputs.map(({ name }) => name)).size).toBe(inputs.length)
})

test('an author is kept where that is asked for, and nowhere else', async () => {
  const photo = await readPhoto(await inputs.find(({ file }) => file === 'camera.jpg')!.bytes())
  for (const keepMetadata of [true, false]) {
    const again = await readPhoto(await encodePhoto(photo, { format: 'jpeg', keepMetadata }))
    expect(again.metadata).toEqual(keepMetadata ? { artist: 'A', cameraModel: 'B' } : {})
  }
})

test('the table of docs/formats.md has what is so', async () => {
  const all = inputs.map(({ name }) => rows.get(name)).filter((row) => row !== undefined)
  if (all.length < inputs.length) return // A part of the tests was asked for, or one has failed.
  await expect(`${JSON.stringify(all, null, 2)}\n`).toMatchFileSnapshot(
    join(import.meta.dirname, '../../docs/results/formats.json'),
  )
})
