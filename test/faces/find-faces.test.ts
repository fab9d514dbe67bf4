/** Faces in any orientation: where they are, and where their landmarks are. */
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Landmarks } from '../../src/faces/alignment.ts'
import { findFaces, noFaceMessage } from '../../src/faces/find.ts'
import { faceInArea } from '../../src/faces/in-box.ts'
import { detectFaces, type Face, type MtcnnNetworks } from '../../src/faces/mtcnn.ts'
import { apart, lookAgain, rollOf } from '../../src/faces/second-look.ts'
import { type Turn, turned, turnedBack, turns, turnUpright } from '../../src/faces/turning.ts'
import { readPhoto } from '../../src/images/index.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { cutOut, type Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { testGpu } from '../support/gpu.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'
import { beside, leaning } from '../support/turned-photos.ts'

const gpu = await testGpu()
let networks: MtcnnNetworks & Disposable
let portrait: Pixels
/** Of the portrait, upright. */
let face: Face

beforeAll(async () => {
  networks = await mtcnnNetworks(gpu, await loadWeights('mtcnn'))
  const { width, height, rgb } = await readPhoto(join(import.meta.dirname, '../../examples/astronaut.png'))
  portrait = resize(cutOut({ width, height, rgb }, 80, 0, 399, 319), 160, 160)
  face = (await detectFaces(networks, portrait))[0]
  return () => networks[Symbol.dispose]()
})

const find = (photo: Pixels) => findFaces({ mtcnn: networks }, photo)

/** Degrees between two directions. */
const between = (a: number, b: number) => Math.abs(((((a - b) % 360) + 540) % 360) - 180)

describe('a turned photo', () => {
  const numbered: Pixels = { width: 3, height: 2, rgb: Uint8Array.from({ length: 18 }, (_, i) => i) }
  const pixels = ({ rgb: data }: Pixels) => Array.from({ length: 6 }, (_, i) => data[3 * i] / 3)

  test('has its pixels where they belong', () => {
    expect(pixels(turned(numbered, 0))).toEqual([0, 1, 2, 3, 4, 5])
    expect(pixels(turned(numbered, 90))).toEqual([3, 0, 4, 1, 5, 2])
    expect(pixels(turned(numbered, 180))).toEqual([5, 4, 3, 2, 1, 0])
    expect(pixels(turned(numbered, 270))).toEqual([2, 5, 1, 4, 0, 3])
    expect([turned(numbered, 90).width, turned(numbered, 90).height]).toEqual([2, 3])
    expect(() => turned({ ...numbered, width: 4 }, 90)).toThrow(RangeError)
  })

  test('and faces in it are where they are in the photo', () => {
    // The pixel of the right end of the upper row, as a box and as a point in its middle.
    const there: Record<Turn, [number, number]> = { 0: [2, 0], 90: [1, 2], 180: [0, 1], 270: [0, 0] }
    for (const turn of turns) {
      const [x, y] = there[turn]
      const middle = (): [number, number] => [x + 0.5, y + 0.5]
      const landmarks: Landmarks = [middle(), middle(), middle(), middle(), middle()]
      const back = turnedBack({ box: [x, y, x, y], score: 1, landmarks }, turn, numbered)
      expect(back.box).toEqual([2, 0, 2, 0])
      expect(back.landmarks[0]).toEqual([2.5, 0.5])
    }
  })

  test('is upright again after the turn that its roll asks for', () => {
    expect([0, 44, -44, 90, 100, -90, 180, -180, 134].map(turnUpright)).toEqual([0, 0, 0, 270, 270, 90, 180, 180, 270])
  })
})

describe('a face', () => {
  test('upright: as the plain detection has it', async () => {
    const { faces, weak } = await find(portrait)
    expect(faces).toHaveLength(1)
    expect(faces[0]).toMatchObject({ ...face, sure: true, beyond: 0 })
    expect(Math.abs(faces[0].roll)).toBeLessThan(10)
    expect(weak).toEqual([])
  })

  test.each([90, 180, 270] as const)('turned by %i degrees: with the landmarks that it has upright', async (turn) => {
    const { faces } = await find(turned(portrait, turn))
    expect(faces).toHaveLength(1)
    const [{ landmarks }] = faces.map((found) => turnedBack(found, turn, portrait))
    expect(apart(landmarks, face.landmarks)).toBeLessThan(0.08)
    expect(between(faces[0].roll, turn + rollOf(face.landmarks))).toBeLessThan(8)
    expect(faces[0].sure).toBe(true)
  })

  test.each([30, 40, 50, 60, 75, 90, 105, 150, -60])('leaning by %i degrees: with its landmarks', async (degrees) => {
    const { photo, place } = leaning(portrait, degrees)
    const { faces } = await find(photo)
    expect(faces).toHaveLength(1)
    expect(apart(faces[0].landmarks, place(face.landmarks))).toBeLessThan(0.1)
    expect(between(faces[0].roll, degrees + rollOf(face.landmarks))).toBeLessThan(8)
  })

  test('on its side beside an upright one, twice the same person, upside down: all are found', async () => {
    const photo = beside(portrait, turned(portrait, 90), portrait, turned(portrait, 180))
    const { faces } = await find(photo)
    const fromLeft = faces.toSorted((a, b) => a.box[0] - b.box[0])
    expect(fromLeft.map(({ box }) => Math.floor((box[0] + box[2]) / 2 / 160))).toEqual([0, 1, 2, 3])
    const rolls = fromLeft.map(({ roll }) => roll)
    for (const [i, roll] of [0, 90, 0, 180].entries()) expect(between(rolls[i], roll)).toBeLessThan(10)
  })

  test('cut by the border: found, and said how much of it is beyond', async () => {
    const { box } = face
    const cut = cutOut(portrait, Math.round((box[0] * 2 + box[2]) / 3), 0, 159, 159)
    const { faces, weak } = await find(cut)
    expect(faces.length + weak.length).toBeGreaterThan(0)
    for (const { beyond } of faces) expect(beyond).toBeGreaterThan(0.1)
  })

  test('of 16 pixels: found like others', async () => {
    const { faces } = await find(beside(portrait, resize(portrait, 44, 44)))
    expect(faces).toHaveLength(2)
    const { box, sure } = faces.toSorted((a, b) => b.box[0] - a.box[0])[0]
    expect(Math.max(box[2] - box[0], box[3] - box[1])).toBeLessThan(20)
    expect(sure).toBe(true)
  })

  test('where there is none: none, and what was tried', async () => {
    const plain: Pixels = { width: 200, height: 150, rgb: new Uint8Array(3 * 200 * 150).fill(128) }
    const found = await find(plain)
    expect(found.faces).toEqual([])
    expect(noFaceMessage(found)).toBe(
      'no face found (frontal faces of at least 20 pixels are looked for, upright, on either side and upside down)',
    )
    const smallest = { upright: 37.9, turned: 75.2 }
    const weak = [{ box: [1, 2, 3, 4] as Face['box'], score: 0.7 }]
    expect(noFaceMessage({ smallest, weak })).toBe(
      'no face found (frontal faces of at least 38 pixels are looked for, and of 76 on either side and upside down; ' +
        'one place may be a face, but not surely)',
    )
  })
})

describe('a second look', () => {
  test('leaves landmarks that are right, and repairs those of a face seen the wrong way round', async () => {
    const [a, b, nose, c, d] = face.landmarks
    const wrong: Landmarks = [d, c, nose, b, a]
    const aside: Landmarks = [b, d, nose, a, c]
    const point: Landmarks = [a, a, a, a, a]
    const looks = await lookAgain(networks, portrait, [face.landmarks, wrong, aside, point])
    expect(looks[0]).toMatchObject({ landmarks: face.landmarks, moved: 0, settled: true })
    for (const look of looks.slice(1, 3)) {
      expect(apart(look!.landmarks, face.landmarks)).toBeLessThan(0.1)
      expect(look!.moved).toBeGreaterThan(0.5)
    }
    expect(looks[3]).toBeUndefined()
    expect(await lookAgain(networks, portrait, [])).toEqual([])
  })

  test('landmarks that are found again stay, where the O-Net is surer still of the face upside down', async () => {
    const onet: MtcnnNetworks['onet'] = async (crops, count) => {
      const answers = await networks.onet(crops, count)
      return { ...answers, probability: answers.probability.map((_, i) => (i % 4 === 2 ? 0.999 : 0.98)) }
    }
    const [look] = await lookAgain({ onet }, portrait, [face.landmarks])
    expect(look).toMatchObject({ landmarks: face.landmarks, moved: 0, settled: true })
  })
})

// Of photos with one upright face these were taken for upside down.
const upright = [
  'photos/lfw/Abdullah_Gul/Abdullah_Gul_0009.jpg',
  'faces-train/Chris_Cornell_0001.jpg',
  'faces-train/Dennis_Hastert_0002.jpg',
  'faces-train/Kate_Winslet_0002.jpg',
].map(dataBeside)

describe.skipIf(!upright.every(isAtHand))('upright faces of real photos', () => {
  test.each(upright)('%s', async (file) => {
    const photo = await readPhoto(file)
    const { faces } = await find(photo)
    const middle = faces.find(({ box: [x1, y1, x2, y2] }) => {
      return Math.hypot((x1 + x2 - photo.width) / 2, (y1 + y2 - photo.height) / 2) < 20
    })
    expect(Math.abs(middle!.roll)).toBeLessThan(25)
  })
})

describe('a box that somebody points at', () => {
  const around = (by: number): [number, number, number, number] => {
    const [x1, y1, x2, y2] = face.box
    const [width, height] = [x2 - x1 + 1, y2 - y1 + 1]
    return [x1 - (by - 1) * 0.5 * width, y1 - (by - 1) * 0.5 * height, by * width, by * height]
  }

  test('with a face in it: its landmarks, also of one on its side and of a generous box', async () => {
    for (const by of [1, 1.4]) {
      const found = await faceInArea(networks, portrait, around(by))
      expect(found.guessed).toBe(false)
      expect(apart(found.landmarks, face.landmarks)).toBeLessThan(0.12)
    }
    const [x, y, width, height] = around(1.2)
    const aside = await faceInArea(networks, turned(portrait, 90), [160 - y - height, x, height, width])
    expect(aside.guessed).toBe(false)
    expect(between(rollOf(aside.landmarks), 90)).toBeLessThan(12)
  })

  test('without one: a guess, which is said', async () => {
    const plain: Pixels = { width: 200, height: 150, rgb: new Uint8Array(3 * 200 * 150).fill(128) }
    const { guessed, landmarks, score } = await faceInArea(networks, plain, [50, 20, 60, 80])
    expect({ guessed, score }).toEqual({ guessed: true, score: 0 })
    expect(rollOf(landmarks)).toBeCloseTo(0, 5)
    for (const [x, y] of landmarks) expect(x > 50 && x < 110 && y > 20 && y < 100).toBe(true)
    for (const area of [
      [0, 0, 0, 10],
      [300, 0, 10, 10],
      [0, 0, Number.NaN, 10],
    ] as const)
      await expect(faceInArea(networks, plain, area)).rejects.toThrow(RangeError)
  })
})
