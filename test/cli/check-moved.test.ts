/** `check` where the photo was changed otherwise between: no clean photo passes, whatever was done to it. */
import { join } from 'node:path'
import sharp, { type Sharp } from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { Embedder } from '../../src/attack/embedder.ts'
import { loadDetector, loadRecogniser, recognisersOf } from '../../src/attack/node.ts'
import { type CheckNetworks, checkPair, type PairCheck } from '../../src/evaluate/check.ts'
import { changesOf } from '../../src/evaluate/face-change.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { knownNetworks } from '../../src/weights/node.ts'
import { lowkey, room } from '../support/cli.ts'
import { testGpu } from '../support/gpu.ts'
import { portrait } from '../support/portrait.ts'
import { leaning } from '../support/turned-photos.ts'

const gpu = await testGpu()
const [WIDTH, HEIGHT] = [160, 200]
const cwd = room()
let networks: CheckNetworks
let png: Buffer
let clean: Pixels

const pixels = async (image: Sharp): Promise<Pixels> => {
  const { data, info } = await image.removeAlpha().raw().toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, rgb: new Uint8Array(data) }
}

beforeAll(async () => {
  png = await portrait().png().toBuffer()
  clean = await pixels(sharp(png))
  const known = await knownNetworks()
  const recognisers = await Promise.all(recognisersOf(known).map(loadRecogniser))
  const judges = recognisers.map(({ network: { id, threshold } }) => ({ id, heldOut: false, threshold }))
  const mtcnn = await mtcnnNetworks(gpu, await loadDetector(known))
  const embedder = await Embedder.compile(gpu, recognisers)
  networks = { detector: { mtcnn }, embedder, judges }
  return () => {
    mtcnn[Symbol.dispose]()
    embedder[Symbol.dispose]()
  }
})

const changes = ({ faces }: PairCheck, after: Pixels): string[] =>
  changesOf(
    faces.flatMap(({ change }) => change ?? []),
    clean,
    after,
  )

/** The photo moved by so many pixels, on grey. */
const shifted = (left: number, top: number): Promise<Sharp> =>
  sharp(png)
    .extract({ left: 0, top: 0, width: WIDTH - left, height: HEIGHT - top })
    .toBuffer()
    .then((part) =>
      sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#557799' } }).composite([
        { input: part, left, top },
      ]),
    )
    .then(async (image) => sharp(await image.png().toBuffer()))

describe('the clean photo', () => {
  test.each<[string, () => Promise<Sharp> | Sharp, string[]]>([
    ['as it is', () => sharp(png), []],
    ['saved as JPEG', async () => sharp(await sharp(png).jpeg({ quality: 80 }).toBuffer()), []],
    ['shifted', () => shifted(30, 20), ['cropped or shifted']],
    ['mirrored', () => sharp(png).flop(), ['mirrored']],
    ['turned by 90 degrees', () => sharp(png).rotate(90), ['turned by 90 degrees clockwise']],
    ['turned by 270 degrees', () => sharp(png).rotate(270), ['turned by 90 degrees counter-clockwise']],
    ['upside down', () => sharp(png).rotate(180), ['turned by 180 degrees']],
    ['at half its size', () => sharp(png).resize(WIDTH / 2, HEIGHT / 2), ['resized to 50%']],
    [
      'zoomed into',
      () => sharp(png).extract({ left: 20, top: 10, width: 120, height: 150 }).resize(WIDTH, HEIGHT),
      [expect.stringMatching(/^resized to 13\d%$/), 'cropped'],
    ],
  ])('%s still matches, and what was done is said', async (_, make, said) => {
    const after = await pixels(await make())
    const check = await checkPair(networks, clean, after)
    expect(check.faces).toHaveLength(1)
    const [face] = check.faces
    expect(face.matches).toBe(true)
    for (const { id, similarity, threshold } of face.verdicts) expect(similarity, id).toBeGreaterThan(threshold)
    expect(['overlap', 'similarity']).toContain(face.matchedBy)
    expect(changes(check, after)).toEqual(said)
  })

  test('leaning still matches', async () => {
    const { photo } = leaning(clean, 50)
    const check = await checkPair(networks, clean, photo)
    expect(check.faces).toMatchObject([{ matches: true, matchedBy: 'similarity' }])
    expect(changes(check, photo)[0]).toMatch(/^turned by (45|50|55) degrees clockwise$/)
  })
})

describe('what is no face', () => {
  test('is not compared: noise, a plain area', async () => {
    const noise: Pixels = { ...clean, rgb: clean.rgb.map((_, i) => (i * 2_654_435_761) % 253) }
    const plain: Pixels = { ...clean, rgb: new Uint8Array(clean.rgb.length).fill(120) }
    for (const after of [noise, plain]) {
      const { faces } = await checkPair(networks, clean, after)
      expect(faces).toMatchObject([{ matchedBy: null, boxAfter: null, verdicts: [], matches: false }])
    }
  })

  test('where another face is, the one that is lost is not measured at its old place', async () => {
    const grey = { r: 110, g: 110, b: 110 }
    const both = await pixels(sharp(png).extend({ right: WIDTH, background: grey }))
    const elsewhere = await pixels(sharp(png).extend({ left: WIDTH, background: grey }))
    const check = await checkPair(networks, both, elsewhere)
    expect(check.faces).toMatchObject([{ matchedBy: 'similarity', matches: true }])
    expect(check.unmatchedAfter).toBe(0)
  })
})

describe('the command', () => {
  const check = (...args: string[]) => {
    const adapter = process.env.LOWKEY_GPU
    return lowkey(['check', ...(adapter ? ['--gpu', adapter] : []), ...args], { cwd })
  }

  test('says what was done, and never passes', async () => {
    await sharp(png).toFile(join(cwd, 'clean.png'))
    await sharp(png).flop().rotate(90).toFile(join(cwd, 'moved.png'))
    const { code, stdout } = await check('clean.png', 'moved.png')
    expect(code).toBe(1)
    expect(stdout).toMatch(
      /^moved\.png was mirrored, turned by 90 degrees .*; its faces were compared all the same\.$/m,
    )
    expect(stdout).toMatch(/^The face still matches\.$/m)
  })

  test('another picture of a face that does not match is no pass', async () => {
    // A face of which nothing is left but that it is one: flattened, and its colours turned round.
    await sharp(png).toFile(join(cwd, 'clean.png'))
    await sharp(png)
      .blur(2)
      .resize(WIDTH, HEIGHT * 1.4, { fit: 'fill' })
      .flop()
      .linear(0.4, 60)
      .toFile(join(cwd, 'other.png'))
    const { code, stdout } = await check('clean.png', 'other.png')
    expect(code).not.toBe(0)
    expect(stdout).not.toMatch(/^The face does not match\.$/m)
  })
})
