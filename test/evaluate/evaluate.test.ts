/** The measures of an evaluation, against values computed by hand. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { strictThreshold } from '../../src/evaluate/accuracy.ts'
import { Comparison, type SeenFace } from '../../src/evaluate/comparison.ts'
import { Features } from '../../src/evaluate/features.ts'
import { enlarged, handlings } from '../../src/evaluate/handling.ts'
import { identificationOf, type KnownFace } from '../../src/evaluate/identification.ts'
import { codeOf, contentOf, keyOf } from '../../src/evaluate/identity.ts'
import { protectWith } from '../../src/evaluate/methods.ts'
import { LpipsMeter } from '../../src/evaluate/perceptual.ts'
import { picturesOf } from '../../src/evaluate/pictures.ts'
import { splitPeople } from '../../src/evaluate/protocol.ts'
import { HISTOGRAM_BINS, RANKS } from '../../src/evaluate/results.ts'
import { seeAgain, seeCentral } from '../../src/evaluate/sight.ts'
import { ssimOf } from '../../src/evaluate/ssim.ts'
import { type Measured, Store } from '../../src/evaluate/store.ts'
import { balancedAccuracy, pairsBetween, pairsWithin, verificationOf } from '../../src/evaluate/verification.ts'
import { changedOutside, visibilityOf } from '../../src/evaluate/visibility.ts'
import { referenceLandmarks112 } from '../../src/faces/alignment.ts'
import type { Face } from '../../src/faces/mtcnn.ts'
import { mostOverlapping } from '../../src/faces/overlap.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { add, ssim, sum } from '../../src/kernels/index.ts'
import { lpipsDistances, lpipsTaps } from '../../src/models/lpips.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { room } from '../support/cli.ts'
import { testGpu } from '../support/gpu.ts'
import { random } from '../support/random.ts'

const radians = (degrees: number) => (degrees * Math.PI) / 180
const cosine = (degrees: number) => Math.cos(radians(degrees))

/** A unit vector in the plane. */
const at = (degrees: number): Float32Array => Float32Array.of(cosine(degrees), Math.sin(radians(degrees)))

const known = (person: string, file: string, degrees: number): KnownFace => ({ person, file, embedding: at(degrees) })

function noisyPhoto(width: number, height: number, seed: number): Pixels {
  const next = random(seed)
  return { width, height, rgb: Uint8Array.from({ length: 3 * width * height }, () => 256 * next()) }
}

const plain = (width: number, height: number, value: number): Pixels => ({
  width,
  height,
  rgb: new Uint8Array(3 * width * height).fill(value),
})

const faceAt = (x: number, y: number, side: number, score = 1): Face => ({
  box: [x, y, x + side, y + side],
  score,
  landmarks: referenceLandmarks112.map(([u, v]) => [x + (u * side) / 112, y + (v * side) / 112]) as Face['landmarks'],
})

describe('who is protected', () => {
  const person = (name: string, photos: number) => ({
    person: name,
    files: Array.from({ length: photos }, (_, i) => `${name}${i}`),
  })

  test('the first by name with enough photos; everybody else is in the gallery', () => {
    const people = [person('d', 1), person('c', 4), person('a', 2), person('b', 3)]
    const split = splitPeople(people, [person('x', 3)], { people: 2, galleryPerPerson: 2 })
    const files = (list: { file: string }[]) => list.map(({ file }) => file)
    expect(split.people).toEqual(['b', 'c'])
    expect(files(split.gallery)).toEqual(['b0', 'b1', 'c0', 'c1'])
    expect(files(split.probes)).toEqual(['b2', 'c2', 'c3'])
    expect(files(split.others)).toEqual(['a0', 'a1', 'd0', 'x0', 'x1', 'x2'])
    expect(split.probes[0].person).toBe('b')
  })

  test('too few people are refused with their number', () => {
    const people = [person('a', 5), person('b', 4)]
    expect(() => splitPeople(people, [], { people: 2, galleryPerPerson: 4 })).toThrow(
      /^1 person has 5 photos or more .* 2 are asked for$/,
    )
  })
})

describe('identification', () => {
  // Of the probe at 0 degrees: its own photos at 30 and 60, others' at 10, 20, 40.
  const gallery = [
    known('a', '1', 30),
    known('a', '2', 60),
    known('b', '3', 10),
    known('b', '4', -20),
    known('c', '5', 40),
  ]

  test('gives the place of the first photo of the right person', () => {
    const found = identificationOf([known('a', 'probe', 0), known('c', 'probe', 41)], gallery)
    // c is nearest to its own at 40; a comes after both of b.
    expect(found).toMatchObject({ rank1: 0.5, rank5: 1, rank50: 1, meanRank: 2, probes: 2 })
    expect(found.curve.slice(0, 4)).toEqual([0.5, 0.5, 1, 1])
    expect(found.curve).toHaveLength(RANKS.length)
  })

  test('does not find a photo by itself, and leaves out those whose person is nowhere else', () => {
    const [first] = gallery
    expect(identificationOf([first], gallery)).toMatchObject({ meanRank: 3, probes: 1 })
    expect(identificationOf([known('nobody', '9', 0), gallery[4]], gallery)).toEqual({
      ...{ rank1: 0, rank5: 0, rank50: 0, meanRank: 0, probes: 0 },
      curve: RANKS.map(() => 0),
    })
  })

  test('takes what is found together with others for found', () => {
    expect(identificationOf([known('a', 'probe', 0)], [known('a', '1', 30), known('b', '2', 30)]).rank1).toBe(1)
  })
})

describe('verification', () => {
  test('counts what reaches each threshold, and where cosines lie', () => {
    const verification = verificationOf(Float64Array.of(-1, 0, 0.5, 0.75, 1), 0.5, 0.75)
    expect(verification).toMatchObject({ pairs: 5, meanCosine: 0.25, accepted: 0.6, acceptedStrict: 0.4 })
    const places = verification.histogram.flatMap((count, bin) => (count > 0 ? [[bin, count]] : []))
    // Bins are 2/80 wide; a cosine of 1 is in the last.
    expect(places).toEqual([
      [0, 1],
      [40, 1],
      [60, 1],
      [70, 1],
      [HISTOGRAM_BINS - 1, 1],
    ])
    expect(verificationOf(new Float64Array(), 0, 0)).toMatchObject({ pairs: 0, meanCosine: 0, accepted: 0 })
  })

  test('takes pairs of one person and of two, never a photo with itself', () => {
    const faces = [known('a', '1', 0), known('a', '2', 60), known('b', '3', 90)]
    const rounded = (values: Float64Array) => [...values].map((v) => Math.round(1e6 * v) / 1e6)
    const within = pairsWithin(faces)
    expect(rounded(within.same)).toEqual([0.5])
    expect(rounded(within.different).sort()).toEqual([0, 0.866025])
    const between = pairsBetween(faces.slice(0, 1), faces)
    expect(rounded(between.same)).toEqual([0.5])
    expect(rounded(between.different)).toEqual([0])
  })

  test('balances both kinds of pairs', () => {
    const pairs = { same: Float64Array.of(0.9, 0.1), different: Float64Array.of(0.6, 0.2, 0.1, 0) }
    expect(balancedAccuracy(pairs, 0.5)).toBe((1 / 2 + 3 / 4) / 2)
  })

  test('the strict threshold is what one in a thousand pairs of different people reaches', () => {
    const rising = Float64Array.from({ length: 2000 }, (_, i) => i / 4000)
    const threshold = strictThreshold(rising)
    expect([...rising].filter((cosine) => cosine >= threshold)).toHaveLength(2)
    expect(strictThreshold([0.1, 0.2])).toBeCloseTo(0.2, 5)
  })
})

describe('a recogniser before and after', () => {
  const seen = (person: string, file: string, degrees: number): SeenFace => ({
    person,
    file,
    embeddings: new Map([['it', at(degrees)]]),
  })
  const clean = {
    probes: [seen('a', 'a3', 0), seen('b', 'b3', 100)],
    gallery: [seen('a', 'a1', 5), seen('a', 'a2', -5), seen('b', 'b1', 105), seen('b', 'b2', 95)],
    others: [seen('c', 'c1', 50)],
  }

  test('clean, protected, and protected against protected', () => {
    const comparison = new Comparison('it', cosine(20), clean)
    // The most similar strangers: b2 and c1, 45 degrees apart (10 impostor pairs allow none).
    expect(comparison.facts.strictThreshold).toBeCloseTo(cosine(45), 5)
    const protectedGallery = [seen('a', 'a1', 70), seen('a', 'a2', -40), seen('b', 'b1', 60), seen('b', 'b2', 62)]
    const result = comparison.result(protectedGallery, true)
    expect(result).toMatchObject({
      ...{ id: 'it', heldOut: true, rank1Clean: 1, rank1Protected: 0.5, rank50Clean: 1, rank50Protected: 1 },
      // a finds a2 at 40 degrees first; b finds a1 at 30 before b2 at 38.
      meanRankProtected: 1.5,
      accuracyClean: 1,
      // All four pairs of one person are missed.
      accuracyProtected: 0.5,
      verificationProtected: 3 / 4,
      handlings: {},
    })
    expect(result.clean.verification).toMatchObject({ pairs: 4, accepted: 1, acceptedStrict: 1 })
    expect(result.protected.verification.meanCosine).toBeCloseTo(
      (cosine(70) + cosine(40) + cosine(40) + cosine(38)) / 4,
      5,
    )
    // a1 and a2 are 110 degrees apart, b1 and b2 two. From a1 (70) b2, b1 and c are nearer than a2; a2 (-40) meets c, b1, b2 first.
    expect(result.bothProtected.verification).toMatchObject({ pairs: 2, accepted: 0.5, acceptedStrict: 0.5 })
    expect(result.bothProtected.identification).toMatchObject({ probes: 4, rank1: 0.5, meanRank: (4 + 4 + 1 + 1) / 4 })
    expect(result.impostors.pairs).toBe(3 * 3 + 6 * 1)
    expect(comparison.against(clean.gallery)).toEqual(comparison.clean)
  })

  test('nobody to tell apart, or to look for, is refused', () => {
    expect(() => new Comparison('it', 0, { probes: [], gallery: clean.gallery.slice(0, 2), others: [] })).toThrow(
      /photos of two people/,
    )
    expect(() => new Comparison('it', 0, { ...clean, probes: [] })).toThrow(/nobody has both a probe and a gallery/)
  })
})

describe('visibility', async () => {
  const gpu = await testGpu()
  const weights = await loadWeights('lpips-alex-scratch')

  test('SSIM of plain pictures is what their brightness makes of it', () => {
    const [u, v] = [100 / 255, 120 / 255]
    expect(ssimOf(plain(20, 30, 100), plain(20, 30, 120))).toBeCloseTo((2 * u * v + 1e-4) / (u * u + v * v + 1e-4), 12)
    const noise = noisyPhoto(16, 12, 1)
    expect(ssimOf(noise, noise)).toBe(1)
    expect(() => ssimOf(plain(10, 30, 0), plain(10, 30, 0))).toThrow(/at least 11x11/)
    expect(() => ssimOf(plain(20, 30, 0), plain(30, 20, 0))).toThrow(/20x30 and 30x20/)
  })

  test('SSIM is the GPU operation’s', async () => {
    const before = noisyPhoto(41, 27, 2)
    const after = { ...before, rgb: before.rgb.map((v, i) => Math.min(255, v + (i % 7) * 9)) }
    const g = graph()
    const [x, y] = [before, after].map(({ rgb: data }, k) => {
      const planes = new Float32Array(data.length)
      for (let i = 0; i < data.length; i++) planes[(i % 3) * 41 * 27 + Math.floor(i / 3)] = data[i] / 255
      return g.constant(planes, [1, 3, 27, 41], `photo${k}`)
    })
    using plan = await compile(gpu, { value: ssim(x, y) })
    plan.run()
    const [value] = await plan.read('value')
    expect(value).toBeLessThan(0.99)
    expect(ssimOf(before, after)).toBeCloseTo(value, 5)
  })

  test('changes outside the face are counted', () => {
    const before = plain(400, 400, 80)
    const after = { ...before, rgb: before.rgb.slice() }
    const face = faceAt(200, 200, 60).landmarks
    const change = (x: number, y: number, channel: number) => after.rgb[3 * (400 * y + x) + channel]++
    change(230, 230, 0)
    expect(changedOutside(before, after, [face])).toBe(0)
    change(5, 5, 1)
    change(5, 5, 2)
    change(399, 0, 0)
    expect(changedOutside(before, after, [face])).toBe(2)
  })

  test('LPIPS is half the face, half the photo', async () => {
    using meter = new LpipsMeter(gpu, { weights, trunk: 'alex' })
    // The crop of these landmarks is the photo's part from (20, 20) to (132, 132), pixel by pixel.
    const face = faceAt(20, 20, 112).landmarks
    const before = noisyPhoto(150, 140, 3)
    const after = { ...before, rgb: before.rgb.map((v, i) => (i % 5 === 0 ? 255 - v : v)) }
    const part = ({ rgb: data }: Pixels): Pixels => ({
      ...{ width: 112, height: 112 },
      rgb: Uint8Array.from({ length: 3 * 112 * 112 }, (_, i) => {
        const pixel = Math.floor(i / 3)
        return data[3 * (150 * (20 + Math.floor(pixel / 112)) + 20 + (pixel % 112)) + (i % 3)]
      }),
    })
    const lpips = async (a: Pixels, b: Pixels) => {
      const g = graph()
      const [x, y] = [a, b].map(({ width, height, rgb: data }, k) => {
        const planes = new Float32Array(data.length)
        for (let i = 0; i < data.length; i++) planes[(i % 3) * width * height + Math.floor(i / 3)] = data[i] / 255
        return lpipsTaps(g.constant(planes, [1, 3, height, width], `photo${k}`), weights, 'alex')
      })
      const distance = lpipsDistances(x, y, weights)
        .map((layer) => sum(layer))
        .reduce(add)
      using plan = await compile(gpu, { distance })
      plan.run()
      return (await plan.read('distance'))[0]
    }
    const expected = ((await lpips(part(before), part(after))) + (await lpips(before, after))) / 2
    expect(expected).toBeGreaterThan(0.05)
    expect(await meter.distance(before, after, [face])).toBeCloseTo(expected, 4)
    expect(await meter.distance(before, before, [face])).toBe(0)
  })

  test('all of it, without a held-out LPIPS', async () => {
    using lpips = new LpipsMeter(gpu, { weights, trunk: 'alex' })
    const before = plain(100, 100, 100)
    const after = { ...before, rgb: before.rgb.slice() }
    after.rgb[0] += 30
    const faces = [faceAt(20, 20, 60).landmarks]
    expect(await visibilityOf(before, after, faces, { lpips, heldOut: undefined })).toMatchObject({
      psnr: 10 * Math.log10((255 ** 2 * 30_000) / 900),
      largestChange: 30,
      lpipsHeldOut: null,
      changedOutside: 1,
    })
    // Infinite decibels are no number in JSON.
    expect(await visibilityOf(before, before, faces, { lpips, heldOut: lpips })).toMatchObject({
      ...{ ssim: 1, psnr: 150, largestChange: 0, lpips: 0, lpipsHeldOut: 0, changedOutside: 0 },
    })
  })
})

describe('a photo as a service sees it', () => {
  const folder = room('features')
  const photo = noisyPhoto(40, 30, 5)
  const calls = { detect: 0, embed: 0 }
  let faces: Face[] = []
  const detector = {
    key: 'detector',
    value: async () => {
      calls.detect++
      return faces
    },
  }
  const embedder = {
    async embed() {
      calls.embed++
      return new Map([
        ['one', Float32Array.of(0.6, -0.8)],
        ['two', Float32Array.of(1, 0, 0)],
      ])
    },
  }
  const recognisers = [
    { id: 'one', key: 'k1' },
    { id: 'two', key: 'k2' },
  ]

  test('is looked at once', async () => {
    faces = [faceAt(0, 0, 10, 0.99), faceAt(14, 9, 12, 0.9)]
    for (const expected of [1, 1]) {
      // Another instance: what it knows it has from the folder.
      const features = new Features(folder, embedder, recognisers)
      const sight = await seeCentral(features, detector, photo)
      expect(sight?.face).toEqual(faces[1])
      expect(sight?.embeddings.get('one')).toEqual(Float32Array.of(0.6, -0.8))
      expect(sight?.embeddings.get('two')).toEqual(Float32Array.of(1, 0, 0))
      expect(calls).toEqual({ detect: expected, embed: expected })
    }
  })

  test('is looked at again by other networks, for another face, and where its file is damaged', async () => {
    const before = { ...calls }
    const others = new Features(folder, embedder, [recognisers[0], { id: 'two', key: 'k3' }])
    await others.embeddings(photo, faces[1].landmarks)
    await others.embeddings(photo, faces[0].landmarks)
    await others.faces(photo, { ...detector, key: 'another' })
    expect(calls).toEqual({ detect: before.detect + 1, embed: before.embed + 2 })
    for (const file of readdirSync(folder)) writeFileSync(join(folder, file), 'nothing')
    await others.embeddings(photo, faces[1].landmarks)
    expect(calls.embed).toBe(before.embed + 3)
  })

  test('shows the face that was there before, else it is taken where it was', async () => {
    const features = new Features(room('again'), embedder, recognisers)
    const [first, second] = faces
    faces = [first, faceAt(15, 9, 12)]
    expect(await seeAgain(features, detector, photo, second)).toMatchObject({ found: true })
    expect(await seeAgain(features, detector, photo, faceAt(28, 0, 11))).toMatchObject({ found: false })
    faces = []
    const empty = new Features(room('nobody'), embedder, recognisers)
    expect(await seeCentral(empty, detector, photo)).toBeUndefined()
  })

  test('of boxes the one that overlaps most, by a third of the union', () => {
    const boxes = [faceAt(5, 0, 10), faceAt(2, 0, 10), faceAt(0, 8, 10)]
    expect(mostOverlapping(faceAt(0, 0, 10), boxes)).toBe(boxes[1])
    // 5 of 15.
    expect(mostOverlapping(faceAt(0, 0, 10), [boxes[0], boxes[2]])).toBeUndefined()
  })
})

describe('handling', () => {
  const photo = noisyPhoto(21, 17, 6)

  test('keeps the size; PNG keeps the pixels, JPEG at lower quality keeps less', async () => {
    const errors = new Map<string, number>()
    for (const [name, change] of Object.entries(handlings)) {
      const after = await change(photo)
      expect([after.width, after.height, after.rgb.length], name).toEqual([21, 17, 3 * 21 * 17])
      errors.set(
        name,
        after.rgb.reduce((sum, v, i) => sum + (v - photo.rgb[i]) ** 2, 0),
      )
    }
    expect(errors.get('png')).toBe(0)
    expect(errors.get('jpeg95')).toBeGreaterThan(0)
    expect(errors.get('jpeg85')).toBeGreaterThan(errors.get('jpeg95')!)
    expect(errors.get('jpeg75')).toBeGreaterThan(errors.get('jpeg85')!)
  })

  test('halves away what is finer than two pixels, and blurs a dot', async () => {
    const stripes = { ...photo, rgb: photo.rgb.map((_, i) => ((Math.floor(i / 3) % 21) % 2 === 0 ? 200 : 100)) }
    const halved = await handlings['half-size'](stripes)
    const middle = halved.rgb[3 * (21 * 8 + 10)]
    expect(middle).toBeGreaterThan(130)
    expect(middle).toBeLessThan(170)
    const dot = plain(21, 17, 0)
    dot.rgb.fill(255, 3 * (21 * 8 + 10), 3 * (21 * 8 + 10) + 3)
    const blurred = await handlings.blur(dot)
    const value = (x: number, y: number) => blurred.rgb[3 * (21 * y + x)]
    // A Gaussian of one pixel: its height at the middle and one pixel beside.
    expect(value(10, 8) / 255).toBeCloseTo(0.159, 1)
    expect(value(11, 8) / value(10, 8)).toBeCloseTo(Math.exp(-0.5), 1)
  })

  test('enlarges by a factor', async () => {
    const large = await enlarged(plain(21, 17, 77), 3)
    expect([large.width, large.height]).toEqual([63, 51])
    expect(new Set(large.rgb)).toEqual(new Set([77]))
    // A copy by slice() is one: what protects a photo leaves the given one as it is.
    large.rgb.slice().fill(0)
    expect(large.rgb[0]).toBe(77)
  })
})

describe('what is kept', () => {
  const photo = noisyPhoto(30, 20, 7)
  const measured: Measured = {
    content: 'what it was',
    meters: 'lpips',
    faces: [referenceLandmarks112],
    seconds: 1.5,
    visibility: { ssim: 0.9, psnr: 38, largestChange: 12, lpips: 0.1, lpipsHeldOut: null, changedOutside: 0 },
  }

  test('is found again for the same photo alone', async () => {
    const folder = room('store')
    const store = new Store(folder, 'medium')
    await store.keep('Ann', 'somewhere/Ann 1.jpg', photo, measured, false)
    expect(readdirSync(join(folder, 'medium/Ann')).sort()).toEqual(['Ann 1.json', 'Ann 1.png'])
    expect(await store.find('Ann', 'elsewhere/Ann 1.jpg', 'what it was')).toEqual({ ...measured, photo })
    expect(await store.find('Ann', 'somewhere/Ann 1.jpg', 'another')).toBeUndefined()
    expect(await store.find('Bob', 'somewhere/Ann 1.jpg', 'what it was')).toBeUndefined()
    const picture = join(folder, 'medium/Ann/Ann 1.png')
    writeFileSync(picture, readFileSync(picture).subarray(0, 200))
    expect(await store.find('Ann', 'somewhere/Ann 1.jpg', 'what it was')).toBeUndefined()
  })

  test('has keys of photos, values and code', () => {
    expect(contentOf(photo)).toBe(contentOf({ ...photo, rgb: photo.rgb.slice() }))
    expect(contentOf(photo)).not.toBe(contentOf({ ...photo, width: 20, height: 30 }))
    expect(keyOf({ a: 1 }, [2])).not.toBe(keyOf({ a: 1 }, [3]))
    const code = (pattern: RegExp) => codeOf('faces', (file) => pattern.test(file), '1.0.0')
    expect(code(/./)).toBe(code(/ts$/))
    expect(code(/./)).not.toBe(code(/crop/))
  })

  test('methods have names, and constants that decide the result', () => {
    expect(protectWith('paper').constants).toMatchObject({ steps: 50, stepSize: 0.0025 })
    expect(protectWith('medium:steps=7')).toMatchObject({ name: 'medium:steps=7', constants: { steps: 7 } })
    expect(protectWith('fawkes-high')).toMatchObject({ name: 'fawkes-high', constants: { threshold: 0.017 } })
    expect(() => protectWith('fawkes-highest')).toThrow(RangeError)
    // Fawkes takes as many extractors as its mode says: whoever else was named was not attacked.
    const attacked = ['medium', 'fawkes-low', 'fawkes-high'].map((name) => protectWith(name).attacks(['a', 'b', 'c']))
    expect(attacked).toEqual([['a', 'b', 'c'], ['a'], ['a', 'b']])
    expect([protectWith('paper'), protectWith('fawkes-low')].map((m) => m.isCode('fawkes.ts'))).toEqual([false, true])
  })
})

test('pictures show the face and what changed', async () => {
  const before = plain(200, 100, 100)
  const after = { ...before, rgb: before.rgb.slice() }
  // One pixel of the face, by 10: twelve times that is the largest factor below 127.
  after.rgb[3 * (200 * 50 + 150)] += 10
  const picture = await picturesOf('Ann', before, after, faceAt(130, 30, 40))
  expect(picture).toMatchObject({ person: 'Ann', amplified: 12 })
  const { readPhoto } = await import('../../src/images/index.ts')
  const decoded = async (url: string) => {
    expect(url).toMatch(/^data:image\/png;base64,/)
    return readPhoto(Buffer.from(url.slice(url.indexOf(',') + 1), 'base64'), 'picture')
  }
  const difference = await decoded(picture.difference)
  expect([difference.width, difference.height]).toEqual([72, 72])
  expect(difference.rgb.indexOf(128 + 120)).toBe(3 * (72 * (50 - 14) + (150 - 114)))
  expect(new Set((await decoded(picture.before)).rgb)).toEqual(new Set([100]))
})
