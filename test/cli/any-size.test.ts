/** Photos and faces of any size, at any place: what changes, what keeps its bits, and what large photos are seen through. */
import { mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import sharp, { type Sharp } from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { Embedder } from '../../src/attack/embedder.ts'
import { loadNetworks } from '../../src/attack/node.ts'
import { faceRegion, type Region } from '../../src/attack/region.ts'
import { FaceGeometryError, type Landmarks, referenceLandmarks112 } from '../../src/faces/alignment.ts'
import { detectAround, detectFaces, type Face, type MtcnnNetworks } from '../../src/faces/mtcnn.ts'
import { Reductions } from '../../src/faces/reductions.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { similarityOf } from '../../src/models/recognisers.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { lowkey, room } from '../support/cli.ts'
import { testGpu } from '../support/gpu.ts'
import { largePortrait } from '../support/portrait.ts'
import { everything, LONG } from '../support/scope.ts'

/** One real face, about 92 by 117 pixels, 58 pixels below the upper edge and 96 from the left one. */
const portrait = () => largePortrait().removeAlpha()

const scaled = (width: number, height: number) => portrait().resize(width, height).png().toBuffer()

const canvas = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 110, g: 130, b: 120 } } })

async function pixelsOf(picture: Sharp): Promise<Pixels> {
  const { data, info } = await picture.removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, rgb: new Uint8Array(data) }
}

describe('protect', () => {
  // Faces that reach over an edge and into each other, and what has more or less than colours.
  const inShortRun = (name: string): boolean => ['edge.png', 'close.png', 'grey-alpha.png'].includes(name)
  const long = (name: string): string => (inShortRun(name) ? '' : LONG)
  const isMade = (name: string): boolean => everything || inShortRun(name)
  const cwd = room()
  const photo = (name: string): string => join(cwd, 'in', name)
  const result = (name: string): string => join(cwd, 'out', name.replace(/\.\w+$/, '.cloaked.png'))
  let faces: Map<string, Face[]>

  beforeAll(async () => {
    mkdirSync(join(cwd, 'in'))
    const [half, whole] = [await scaled(160, 200), await scaled(320, 400)]
    const save = async (name: string, picture: Sharp) => {
      if (isMade(name)) await picture.toFile(photo(name))
    }
    // The face touches the left edge and the upper one.
    await save('edge.png', sharp(whole).extract({ left: 100, top: 56, width: 200, height: 220 }).png())
    // Two faces so close that each lies in the other's region.
    const close = { left: 80, top: 30, width: 130, height: 160 }
    const head = await sharp(whole).extract(close).toBuffer()
    await save(
      'close.png',
      canvas(260, 160)
        .composite([
          { input: head, left: 0, top: 0 },
          { input: head, left: 118, top: 0 },
        ])
        .png(),
    )
    await save('112.png', sharp(whole).extract({ left: 60, top: 30, width: 160, height: 160 }).resize(112, 112).png())
    // 21 by 27 pixels of face.
    await save(
      'tiny.png',
      canvas(240, 180)
        .composite([{ input: await scaled(72, 90), left: 90, top: 40 }])
        .png(),
    )
    // 5 megapixels, above which photos are seen reduced; the face is 575 by 730.
    await save('large.png', portrait().resize(2000, 2500).png())
    await save(
      'turned.jpg',
      sharp(await sharp(half).rotate(-90).toBuffer())
        .jpeg({ quality: 95 })
        .withMetadata({ orientation: 6 }),
    )
    // Grey, half of it clear, and with colours where it is.
    const opacity = Buffer.from(Array.from({ length: 160 * 200 }, (_, i) => (i % 160 < 40 ? 0 : 55 + (i % 201))))
    const plane = { raw: { width: 160, height: 200, channels: 1 as const } }
    await save(
      'grey-alpha.png',
      sharp(await sharp(half).greyscale().toBuffer())
        .joinChannel(opacity, plane)
        .png(),
    )
    await save('alpha.png', sharp(half).joinChannel(opacity, plane).png())
    const gpu = process.env.LOWKEY_GPU
    // One recogniser: this is about places, and every size of region compiles an attack of its own.
    const args = ['protect', 'in', '-o', 'out', '-f', 'png', '--models', 'sirius', '--steps', '1', '--json']
    const { code, stdout } = await lowkey(gpu ? [...args, '--gpu', gpu] : args, { cwd })
    expect(code).toBe(0)
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter((row) => row.summary === undefined)
    faces = new Map(rows.map((row) => [basename(row.input), row.faces]))
  }, 900_000)

  const inside = ({ left, top, width, height }: Region, x: number, y: number) =>
    x >= left && y >= top && x < left + width && y < top + height

  const sizes: [name: string, count: number, width: number, height: number][] = [
    ['112.png', 1, 112, 112],
    ['tiny.png', 1, 240, 180],
    ['edge.png', 1, 200, 220],
    ['close.png', 2, 260, 160],
    ['large.png', 1, 2000, 2500],
    ['turned.jpg', 1, 160, 200],
    ['alpha.png', 1, 160, 200],
    ['grey-alpha.png', 1, 160, 200],
  ]
  for (const [name, count, width, height] of sizes) {
    test.skipIf(!isMade(name))(
      `${name}: its ${count} face(s) change, and not a pixel outside their regions${long(name)}`,
      async () => {
        const found = faces.get(name)!
        expect(found.length).toBe(count)
        const before = await pixelsOf(sharp(photo(name), { autoOrient: true }))
        const after = await pixelsOf(sharp(result(name)))
        expect([before.width, before.height, after.width, after.height]).toEqual([width, height, width, height])
        const regions = found.map(({ landmarks }) => faceRegion(width, height, landmarks))
        const changedIn = found.map(() => 0)
        let outside = 0
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++) {
            const at = 3 * (y * width + x)
            if ([0, 1, 2].every((c) => before.rgb[at + c] === after.rgb[at + c])) continue
            if (!regions.some((region) => inside(region, x, y))) outside++
            for (const [i, { box }] of found.entries()) {
              if (x >= box[0] && y >= box[1] && x <= box[2] && y <= box[3]) changedIn[i]++
            }
          }
        }
        expect(outside).toBe(0)
        for (const [i, { box }] of found.entries()) {
          const [x1, y1] = [Math.max(0, box[0]), Math.max(0, box[1])]
          const pixels = (Math.min(width, box[2]) - x1) * (Math.min(height, box[3]) - y1)
          // One step and the noise before it: in grey photos they cancel in places, in clear ones everything counts.
          expect(changedIn[i] / pixels, `face ${i + 1}`).toBeGreaterThan(0.3)
        }
      },
    )
  }

  test.skipIf(!everything)(`the faces are of the sizes and at the places that this is about${LONG}`, () => {
    const boxOf = (name: string, i = 0) => faces.get(name)![i].box
    const [left, top] = boxOf('edge.png')
    expect(Math.min(left, top)).toBeLessThan(6)
    const tiny = boxOf('tiny.png')
    expect(tiny[2] - tiny[0]).toBeLessThan(26)
    const large = boxOf('large.png')
    expect(large[2] - large[0]).toBeGreaterThan(480)
    // The two regions share a third of their width at least.
    const [a, b] = faces
      .get('close.png')!
      .map(({ landmarks }) => faceRegion(260, 160, landmarks))
      .sort((p, q) => p.left - q.left)
    expect(a.left + a.width - b.left).toBeGreaterThan(a.width / 3)
  })

  for (const name of ['alpha.png', 'grey-alpha.png']) {
    test.skipIf(!isMade(name))(`${name}: opacity is the same bit for bit${long(name)}`, async () => {
      const opacity = (file: string) => sharp(file).extractChannel('alpha').raw().toBuffer()
      expect((await opacity(photo(name))).equals(await opacity(result(name)))).toBe(true)
    })
  }

  test('a grey photo with alpha stays one grey channel and alpha', async () => {
    const { channels, space } = await sharp(result('grey-alpha.png')).metadata()
    expect({ channels, space }).toEqual({ channels: 2, space: 'b-w' })
  })
})

describe('reductions', () => {
  const photo: Pixels = { width: 9, height: 6, rgb: Uint8Array.from({ length: 162 }, (_, i) => (i * 89) % 256) }

  test('are means of squares of 2, 4, ... pixels, as large as asked for', () => {
    const reductions = new Reductions(photo)
    expect(reductions.reduced(1)).toEqual({ image: photo, factor: 1 })
    expect(reductions.reduced(1.99).factor).toBe(1)
    const { image, factor } = reductions.reduced(3.5)
    expect([image.width, image.height, factor]).toEqual([4, 3, 2])
    for (let i = 0; i < 36; i++) {
      const [c, x, y] = [i % 3, Math.floor(i / 3) % 4, Math.floor(i / 12)]
      const at = (dx: number, dy: number) => photo.rgb[3 * ((2 * y + dy) * 9 + 2 * x + dx) + c]
      expect(image.rgb[i]).toBe(Math.floor((at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4 + 0.5))
    }
    // Never without a pixel; each is made once.
    expect(reductions.reduced(1000)).toMatchObject({ factor: 4, image: { width: 2, height: 1 } })
    expect(reductions.reduced(2).image).toBe(image)
    expect(Reductions.of(reductions)).toBe(reductions)
    expect(() => new Reductions({ ...photo, width: 8 })).toThrow(RangeError)
  })
})

describe('detection in a photo that is seen reduced', () => {
  // 2400x1600: above 3.3 megapixels. Values that vary slowly are the same at every reduction.
  const [width, height] = [2400, 1600]
  const slow = (x: number, y: number, c: number) => 128 + 100 * Math.sin(x / 300 + c) * Math.cos(y / 250)
  const photo: Pixels = {
    width,
    height,
    rgb: Uint8Array.from({ length: 3 * width * height }, (_, i) => {
      const pixel = Math.floor(i / 3)
      return slow((pixel % width) + 0.5, Math.floor(pixel / width) + 0.5, i % 3)
    }),
  }

  test('every level of the pyramid is what the whole photo resized would be, and boxes land where they belong', async () => {
    const levels: { input: Float32Array; width: number; height: number }[] = []
    const crops: Record<string, Float32Array> = {}
    const one = (name: string) => async (input: Float32Array, count: number) => {
      crops[name] = input.slice(0, input.length / count)
      const answer = { probability: new Float32Array(count), offsets: new Float32Array(4 * count) }
      answer.probability[0] = 0.99
      // Landmarks at the corners and the centre of the box that the network saw.
      const landmarks = Float32Array.from({ length: 10 * count }, (_, i) => [0, 1, 0.5, 0, 1, 0, 0, 0.5, 1, 1][i % 10])
      return { ...answer, landmarks }
    }
    const networks: MtcnnNetworks = {
      async pnet(input, h, w) {
        levels.push({ input, width: w, height: h })
        const map = { height: Math.ceil((h - 2) / 2) - 4, width: Math.ceil((w - 2) / 2) - 4 }
        const probability = new Float32Array(map.height * map.width)
        // A large face: one cell of the fifth level.
        if (levels.length === 5) probability[20 * map.width + 30] = 0.9
        return { probability, offsets: new Float32Array(4 * probability.length), ...map }
      },
      rnet: one('rnet'),
      onet: one('onet'),
    }
    const faces = await detectFaces(networks, photo)
    expect(levels.length).toBeGreaterThan(8)
    // Each halving rounds, and makes the filter a little wider.
    for (const level of levels) {
      const whole = resize(photo, level.width, level.height)
      const plane = level.width * level.height
      let worst = 0
      for (let i = 0; i < plane; i++) {
        for (let c = 0; c < 3; c++) {
          worst = Math.max(worst, Math.abs(128 * level.input[c * plane + i] + 127.5 - whole.rgb[3 * i + c]))
        }
      }
      expect(worst, `${level.width}x${level.height}`).toBeLessThanOrEqual(4)
    }
    expect(faces.length).toBe(1)
    const [{ landmarks }] = faces
    const scale = levels[4].width / width
    const expected = [61 / scale, 41 / scale, 73 / scale, 53 / scale]
    const seen = [...landmarks[0], ...landmarks[4]]
    // Within the pixels of the reduction it was cut from.
    for (const [k, side] of expected.entries()) expect(Math.abs(seen[k] - side), `side ${k}`).toBeLessThan(3)
    // The crop shows what is there.
    for (const [name, size] of [
      ['rnet', 24],
      ['onet', 48],
    ] as const) {
      for (const [column, row] of [
        [0, 0],
        [size - 1, 0],
        [size >> 1, size - 1],
      ]) {
        const x = seen[0] + ((column + 0.5) / size) * (seen[2] - seen[0])
        const y = seen[1] + ((row + 0.5) / size) * (seen[3] - seen[1])
        for (let c = 0; c < 3; c++) {
          const value = 128 * crops[name][(c * size + row) * size + column] + 127.5
          expect(Math.abs(value - slow(x, y, c)), `${name} ${column}, ${row}, ${c}`).toBeLessThan(2.5)
        }
      }
    }
  })
})

const gpu = await testGpu()

describe('faces found again', () => {
  let networks: MtcnnNetworks & Disposable
  beforeAll(async () => {
    networks = await mtcnnNetworks(gpu, (await loadNetworks()).detector)
    return () => networks[Symbol.dispose]()
  })

  const eyes = ({ landmarks: [[x1, y1], [x2, y2]] }: Face) => Math.hypot(x1 - x2, y1 - y2)
  /** Largest distance of landmarks, in distances of the eyes. */
  const apart = (a: Face, b: Face) =>
    Math.max(...a.landmarks.map(([x, y], k) => Math.hypot(x - b.landmarks[k][0], y - b.landmarks[k][1]))) / eyes(a)

  test('in the middle, at the edge, small and large: where the whole photo shows them', async () => {
    const whole = await scaled(320, 400)
    // Landmarks of a face that is cut off are guesses, which move more.
    const pictures: [Sharp, number][] = [
      [sharp(whole), 0.12],
      [sharp(whole).extract({ left: 100, top: 56, width: 200, height: 220 }), 0.3],
      [canvas(240, 180).composite([{ input: await scaled(96, 120), left: 90, top: 40 }]), 0.12],
      [sharp(await scaled(2000, 2500)), 0.12],
    ]
    for (const [picture, limit] of pictures) {
      const photo = await pixelsOf(sharp(await picture.png().toBuffer()))
      const [face, ...more] = await detectFaces(networks, photo)
      expect(more).toEqual([])
      const [[again]] = await detectAround(networks, photo, [face.box])
      expect(apart(face, again), `${photo.width}x${photo.height}`).toBeLessThan(limit)
      expect(eyes(again) / eyes(face)).toBeGreaterThan(0.8)
      expect(eyes(again) / eyes(face)).toBeLessThan(1.25)
    }
  })

  test('each about its own box; nothing where there is nothing', async () => {
    const photo = await pixelsOf(sharp(await scaled(320, 400)))
    const [{ box }] = await detectFaces(networks, photo)
    const found = await detectAround(networks, photo, [[240, 300, 300, 370], box])
    expect(found.map((faces) => faces.length)).toEqual([0, 1])
    expect(await detectAround(networks, photo, [])).toEqual([])
    const wrong: Face['box'][] = [
      [10, 10, 10, 10],
      [0, 0, Number.NaN, 5],
      [0, 0, Number.POSITIVE_INFINITY, 5],
    ]
    for (const box of wrong) await expect(detectAround(networks, photo, [box])).rejects.toThrow(/is no box$/)
    await expect(detectAround(networks, { ...photo, width: 321 }, [box])).rejects.toThrow(RangeError)
  })
})

describe('embeddings of several faces', () => {
  let embedder: Embedder
  let photo: Pixels
  beforeAll(async () => {
    const { surrogates, heldOut } = await loadNetworks()
    embedder = await Embedder.compile(gpu, [...surrogates, ...heldOut])
    photo = await pixelsOf(sharp(await scaled(320, 400)))
    return () => embedder[Symbol.dispose]()
  })

  /** Landmarks as a crop of 112x112 has them, at a place and size of the photo. */
  const at = (left: number, top: number, scale: number) =>
    referenceLandmarks112.map(([x, y]) => [left + scale * x, top + scale * y]) as Landmarks
  const places = Array.from({ length: 14 }, (_, i) => at(60 + 5 * i, 20 + 9 * (i % 4), 1 + i / 20))

  test.each([1, 4, 5, 14])('%i: the same as one by one, in their order', async (count) => {
    const all = await embedder.embedAll(photo, places.slice(0, count))
    expect(all.length).toBe(count)
    for (const [i, embeddings] of all.entries()) {
      const alone = await embedder.embed(photo, places[i])
      expect([...embeddings.keys()]).toEqual([...alone.keys()])
      for (const [id, embedding] of embeddings) {
        expect(similarityOf(embedding, embedding)).toBeCloseTo(1, 5)
        expect(similarityOf(embedding, alone.get(id)!), `${id} ${i}`).toBeGreaterThan(1 - 2e-6)
      }
    }
  })

  test('calls that overlap do not disturb each other; faces may be of several photos', async () => {
    const other = { ...photo, rgb: photo.rgb.map((v) => 255 - v) }
    const calls = await Promise.all([
      embedder.embed(photo, places[0]),
      embedder.embed(other, places[0]),
      embedder.embedFaces([
        { photo: other, landmarks: places[3] },
        { photo, landmarks: places[3] },
      ]),
    ])
    const [a, b, [c, d]] = calls
    for (const id of a.keys()) {
      expect(a.get(id)).toEqual((await embedder.embed(photo, places[0])).get(id))
      expect(b.get(id)).toEqual((await embedder.embed(other, places[0])).get(id))
      expect(c.get(id)).toEqual((await embedder.embed(other, places[3])).get(id))
      expect(d.get(id)).toEqual((await embedder.embed(photo, places[3])).get(id))
      expect(similarityOf(a.get(id)!, b.get(id)!)).toBeLessThan(0.95)
    }
  })

  test('none of none; landmarks that give no crop are an error', async () => {
    expect(await embedder.embedAll(photo, [])).toEqual([])
    const point = at(0, 0, 0)
    await expect(embedder.embed(photo, point)).rejects.toThrow(FaceGeometryError)
    await expect(embedder.embedAll(photo, [places[0], point])).rejects.toThrow(FaceGeometryError)
    expect((await embedder.embedAll(photo, [places[0]])).length).toBe(1)
  })
})
