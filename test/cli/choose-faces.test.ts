/** Which faces are protected, and what is said of those that are not; and what a second detector adds. */
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { chooseFaces, FaceChoiceError, NoFaceError, warningsOf } from '../../src/attack/choose.ts'
import { align112, inverse, referenceLandmarks112, transform } from '../../src/faces/alignment.ts'
import { findFaces } from '../../src/faces/find.ts'
import type { MtcnnNetworks } from '../../src/faces/mtcnn.ts'
import { turned } from '../../src/faces/turning.ts'
import { type YunetNetworks, yunetColumns, yunetStrides } from '../../src/faces/yunet.ts'
import { readPhoto } from '../../src/images/index.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { cutOut, type Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { testGpu } from '../support/gpu.ts'
import { beside } from '../support/turned-photos.ts'

const gpu = await testGpu()
const plain: Pixels = { width: 160, height: 160, rgb: new Uint8Array(3 * 160 * 160).fill(110) }

describe('of a photo with an upright, a sideways and no third face', () => {
  let networks: MtcnnNetworks & Disposable
  let photo: Pixels
  beforeAll(async () => {
    networks = await mtcnnNetworks(gpu, await loadWeights('mtcnn'))
    const { width, height, rgb } = await readPhoto(join(import.meta.dirname, '../../examples/astronaut.png'))
    const portrait = resize(cutOut({ width, height, rgb }, 80, 0, 399, 319), 160, 160)
    photo = beside(turned(portrait, 90), resize(portrait, 120, 120), plain)
    return () => networks[Symbol.dispose]()
  })
  const choose = (...choice: Parameters<typeof chooseFaces> extends [unknown, unknown, ...infer C] ? C : never) =>
    chooseFaces({ mtcnn: networks }, photo, ...choice)

  test('all: numbered from left to right; what lies on its side is said', async () => {
    const choice = await choose()
    expect(choice.faces.map(({ number, by }) => ({ number, by }))).toEqual([
      { number: 1, by: 'detector' },
      { number: 2, by: 'detector' },
    ])
    expect(choice.faces[0].box[2]).toBeLessThan(160)
    expect(choice.faces[1].box[0]).toBeGreaterThan(160)
    expect(choice.left).toEqual({ notChosen: [], weak: [] })
    expect(warningsOf(choice)).toEqual([
      expect.stringMatching(/^face 1 at \(\d+, \d+, \d+, \d+\) lies on its side; it was found by turning the photo$/),
    ])
  })

  test('the largest, or some by their numbers; the others are counted', async () => {
    const largest = await choose({ faces: 'largest' })
    expect(largest.faces.map(({ number }) => number)).toEqual([1])
    expect(largest.left.notChosen.map(({ number }) => number)).toEqual([2])
    const second = await choose({ faces: [2] })
    expect(second.faces.map(({ number }) => number)).toEqual([2])
    expect(warningsOf(second)).toEqual(['a face was not chosen (1), and stays unprotected'])
    expect((await choose({ faces: [2, 1] })).faces).toHaveLength(2)
    for (const faces of [[3], [0], [1.5], [1, 4]]) {
      await expect(choose({ faces })).rejects.toThrow(FaceChoiceError)
      await expect(choose({ faces })).rejects.toThrow(
        /^there is no face \S+: 2 were found \(--faces list shows them\)$/,
      )
    }
  })

  test('a box: a face of its own, guessed where none is seen; around a face that was found it means that', async () => {
    const empty = await choose({ boxes: [[300, 30, 60, 80]] })
    expect(empty.faces.map(({ number, by }) => ({ number, by }))).toEqual([
      { number: 1, by: 'detector' },
      { number: 2, by: 'detector' },
      { number: 3, by: 'guess' },
    ])
    expect(warningsOf(empty).at(-1)).toBe(
      'face 3 at (300, 30, 359, 109): no face was recognised in this box; it is protected as if a frontal, upright face filled it',
    )
    const { box } = empty.faces[1]
    const [x, y, width, height] = [box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1]
    const meant = await choose({ faces: [], boxes: [[x, y, width, height]] })
    expect(meant.faces.map(({ number, by }) => ({ number, by }))).toEqual([{ number: 2, by: 'detector' }])
    await expect(choose({ boxes: [[900, 0, 10, 10]] })).rejects.toThrow(/is no part of a photo of 440x160 pixels/)
    await expect(chooseFaces({ mtcnn: networks }, plain)).rejects.toThrow(NoFaceError)
    expect((await chooseFaces({ mtcnn: networks }, plain, { boxes: [[10, 10, 80, 100]] })).faces).toHaveLength(1)
  })
})

/** An MTCNN that proposes nothing, and whose last network takes all for faces of this probability, upright and in the middle. */
function believing(probability: number): MtcnnNetworks {
  // What the O-Net is shown of a face: 106 pixels of the 112x112 crop around (54, 65).
  const seen = referenceLandmarks112.map(([x, y]) => [(x - 54) / 106 + 0.5, (y - 65) / 106 + 0.5])
  const row = [...seen.map(([x]) => x), ...seen.map(([, y]) => y)]
  return {
    async pnet(_, height, width) {
      const [rows, columns] = [height, width].map((side) => Math.ceil((side - 11) / 2))
      const cells = rows * columns
      const offsets = new Float32Array(4 * cells)
      return { probability: new Float32Array(cells), offsets, height: rows, width: columns }
    },
    rnet: async (_, count) => ({ probability: new Float32Array(count), offsets: new Float32Array(4 * count) }),
    onet: async (_, count) => ({
      probability: new Float32Array(count).fill(probability),
      offsets: new Float32Array(4 * count),
      landmarks: Float32Array.from({ length: 10 * count }, (_, i) => row[i % 10]),
    }),
  }
}

/** A YuNet that sees one upright face of this score in photos of 160 pixels, wherever it stands in them. */
const seeing = (score: number, sees: () => boolean): YunetNetworks => ({
  async heads(_, height, width) {
    const cells = yunetStrides.reduce((sum, stride) => sum + (height / stride) * (width / stride), 0)
    const rows = new Float32Array(cells * yunetColumns)
    if (!sees()) return rows
    // The cell of 8 pixels at (64, 64), and a face of 56 pixels around it.
    const cell = 8 * (width / 8) + 8
    const back = inverse(align112(referenceLandmarks112))
    const points = referenceLandmarks112.map((point) => transform(back, point).map((v) => ((v - 56) * 0.5) / 8))
    rows.set([score, score, 0.5, 0.5, Math.log(7), Math.log(7), ...points.flat()], cell * yunetColumns)
    return rows
  },
})

describe('a second detector', () => {
  /** Upright alone: four passes over the photo, the first as it is. */
  const once = () => {
    let pass = 0
    return () => pass++ === 0
  }

  test('finds what MTCNN does not propose, with landmarks that the second look confirms', async () => {
    const { faces } = await findFaces({ mtcnn: believing(0.97), yunet: seeing(0.7, once()) }, plain)
    expect(faces).toHaveLength(1)
    expect(faces[0]).toMatchObject({ sure: true, score: expect.closeTo(0.7, 5) })
  })

  test('is believed alone where it is certain, and counted where it is not', async () => {
    const certain = await findFaces({ mtcnn: believing(0.1), yunet: seeing(0.95, once()) }, plain)
    expect(certain.faces).toMatchObject([{ sure: false }])
    const doubtful = await findFaces({ mtcnn: believing(0.1), yunet: seeing(0.7, once()) }, plain)
    expect(doubtful.faces).toEqual([])
    expect(doubtful.weak).toHaveLength(1)
    expect(warningsOf({ faces: [], left: { notChosen: [], weak: doubtful.weak } })).toEqual([
      expect.stringMatching(
        /^a place may be a face, and stays unprotected: \(.*\); --box x,y,width,height protects one$/,
      ),
    ])
  })

  test('adds nothing where it sees none', async () => {
    const found = await findFaces({ mtcnn: believing(0.97), yunet: seeing(0.9, () => false) }, plain)
    expect([found.faces, found.weak]).toEqual([[], []])
  })
})
