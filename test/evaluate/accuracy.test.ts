/** How well recognisers tell people apart. */
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Embedder } from '../../src/attack/embedder.ts'
import { loadDetector } from '../../src/attack/node.ts'
import { accuracyOf, embedFaces } from '../../src/evaluate/accuracy.ts'
import type { Landmarks } from '../../src/faces/alignment.ts'
import { turned } from '../../src/faces/turning.ts'
import { readPhoto } from '../../src/images/index.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { cutOut } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { knownNetworks } from '../../src/weights/node.ts'
import { lowkey, room } from '../support/cli.ts'
import { testGpu } from '../support/gpu.ts'
import { random } from '../support/random.ts'
import { dataBeside, everything, isAtHand, LONG } from '../support/scope.ts'

/** A unit vector in the plane. */
const at = (degrees: number): Float32Array =>
  Float32Array.of(Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180))

describe('the faces of people', async () => {
  const gpu = await testGpu()

  test.skipIf(!everything)(`are found in photos that lie on their side, too${LONG}`, async () => {
    const { width, height, rgb } = await readPhoto(join(import.meta.dirname, '../../examples/astronaut.png'))
    const portrait = resize(cutOut({ width, height, rgb }, 80, 0, 399, 319), 160, 160)
    using detector = await mtcnnNetworks(gpu, await loadDetector(await knownNetworks()))
    const seen: Landmarks[] = []
    const embedder = {
      embed: async (_: unknown, landmarks: Landmarks) => {
        seen.push(landmarks)
        return new Map([['id', Float32Array.of(1)]])
      },
    } as unknown as Embedder
    async function* photos() {
      for (const turn of [0, 90] as const) yield { person: 'a', photo: turned(portrait, turn) }
      yield { person: 'b', photo: { width: 64, height: 64, rgb: new Uint8Array(3 * 64 * 64) } }
    }
    const { people, withoutFace } = await embedFaces(detector, embedder, photos())
    expect(people).toEqual(['a', 'a'])
    expect(withoutFace).toBe(1)
    // The eyes are one above the other.
    const [[left, right]] = seen.slice(1)
    expect(Math.abs(left[1] - right[1])).toBeGreaterThan(2 * Math.abs(left[0] - right[0]))
  })
})

describe('accuracy', () => {
  test('of people who lie apart is perfect', () => {
    const faces = [0, 1, 2, 90, 91, 92].map(at)
    expect(accuracyOf(faces, ['a', 'a', 'a', 'b', 'b', 'b'])).toMatchObject({
      ...{ faces: 6, people: 2, rank1: 1, equalErrorRate: 0, trueMatchRate: 1, genuinePairs: 6, impostorPairs: 9 },
      // The strangers that are most alike are 88 degrees apart.
      threshold: expect.closeTo(Math.cos((88 * Math.PI) / 180), 4),
    })
  })

  test('counts those whose nearest is someone else; one photo of a person is only there to be mistaken', () => {
    const faces = [0, 10, 11, 40].map(at)
    // The second a is nearest to c, of whom there is no other photo.
    const { rank1, people } = accuracyOf(faces, ['a', 'a', 'c', 'a'])
    expect(people).toBe(2)
    expect(rank1).toBeCloseTo(1 / 3)
  })

  test('is by error rates what counting at every threshold gives', () => {
    const next = random(5)
    const people = Array.from({ length: 40 }, (_, i) => `person ${i % 8}`)
    const faces = people.map((_, i) => {
      const vector = Float32Array.from({ length: 8 }, (_, k) => (k === i % 8 ? 1.2 : 0) + next() - 0.5)
      const length = Math.hypot(...vector)
      return vector.map((v) => v / length)
    })
    const pairs = faces.flatMap((a, i) =>
      faces.slice(0, i).map((b, j) => ({
        same: people[i] === people[j],
        cosine: a.reduce((sum, v, k) => sum + v * b[k], 0),
      })),
    )
    const errors = pairs.map(({ cosine }) => {
      const part = (list: typeof pairs, test: (c: number) => boolean) =>
        list.filter((p) => test(p.cosine)).length / list.length
      const missed = part(
        pairs.filter(({ same }) => same),
        (c) => c < cosine,
      )
      const taken = part(
        pairs.filter(({ same }) => !same),
        (c) => c >= cosine,
      )
      return [Math.abs(missed - taken), (missed + taken) / 2]
    })
    const [, expected] = errors.reduce((best, each) => (each[0] < best[0] ? each : best))
    const { equalErrorRate, threshold, trueMatchRate, genuinePairs, impostorPairs } = accuracyOf(faces, people)
    expect([genuinePairs, impostorPairs]).toEqual([80, 700])
    expect(equalErrorRate).toBeGreaterThan(0)
    expect(equalErrorRate).toBeCloseTo(expected, 2)
    // Of 700 pairs none may reach it.
    expect(pairs.filter(({ same, cosine }) => !same && cosine >= threshold)).toEqual([])
    expect(trueMatchRate).toBeCloseTo(pairs.filter(({ same, cosine }) => same && cosine >= threshold).length / 80, 5)
  })

  test('of too few faces is refused', () => {
    expect(() => accuracyOf([at(0), at(1)], ['a', 'a'])).toThrow(/2 faces are too few/)
    expect(() => accuracyOf([at(0), at(1)], ['a', 'b'])).toThrow(RangeError)
    expect(() => accuracyOf([at(0)], ['a', 'b'])).toThrow(/1 embeddings of 2 faces/)
  })
})

describe('weights accuracy', () => {
  const cwd = room('accuracy')

  test('of a folder without people, or that is none: exit code 2', async () => {
    mkdirSync(join(cwd, 'empty'))
    mkdirSync(join(cwd, 'people/nobody'), { recursive: true })
    for (const [args, message] of [
      [[], /name one folder/],
      [['absent'], /absent is no folder/],
      [['empty'], /there is no folder in it/],
      [['people'], /no folder in it has photos \(nobody\)/],
      [['empty', '--most', '1'], /--most takes a whole number from 2/],
    ] as const) {
      const outcome = await lowkey(['weights', 'accuracy', ...args], { cwd })
      expect(outcome).toMatchObject({ code: 2, stdout: '' })
      expect(outcome.stderr).toMatch(message)
    }
  })

  const lfw = dataBeside('photos/lfw')

  test.skipIf(!isAtHand(lfw))('measures the recognisers on photos of people', async () => {
    const folder = join(cwd, 'lfw')
    for (const person of readdirSync(lfw).sort().slice(0, 3)) {
      mkdirSync(join(folder, person), { recursive: true })
      for (const photo of readdirSync(join(lfw, person)).sort().slice(0, 3)) {
        cpSync(join(lfw, person, photo), join(folder, person, photo))
      }
    }
    writeFileSync(join(folder, readdirSync(folder)[0], 'broken.jpg'), 'nothing')
    const run = await lowkey(['weights', 'accuracy', 'lfw', '--models', 'sirius', '--json'], { cwd })
    expect(run.code, run.stderr).toBe(0)
    expect(run.stderr).toMatch(/lowkey-gpu: .*broken\.jpg/)
    expect(JSON.parse(run.stdout)).toMatchObject({
      ...{
        id: 'sirius',
        faces: 9,
        people: 3,
        rank1: 1,
        equalErrorRate: 0,
        genuinePairs: 9,
        impostorPairs: 27,
        withoutFace: 0,
      },
    })
    const table = await lowkey(['weights', 'accuracy', 'lfw', '--models', 'sirius', '--most', '2'], { cwd })
    expect(table.stdout).toMatch(
      /^recogniser +rank-1 +EER +threshold +true matches\nsirius +1\.000 +0\.00% +0\.\d{3} +100\.00%\n/,
    )
    expect(table.stdout).toMatch(/^6 faces of 3 people \(3 pairs of one person, 12 of two\); 0 photos without a face$/m)
    const unknown = await lowkey(['weights', 'accuracy', 'lfw', '--models', 'nobody'], { cwd })
    expect(unknown).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--models: there is no recogniser "nobody"/),
    })
  })
})
