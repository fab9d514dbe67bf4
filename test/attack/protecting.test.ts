/** Protecting a photo: what changes, where, and what is refused. */
import { resolve } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { loadNetworks, UnknownModelError } from '../../src/attack/node.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { NoFaceError, type Progress, Protector } from '../../src/attack/protect.ts'
import { faceRegion } from '../../src/attack/region.ts'
import { align112, type Point, transform } from '../../src/faces/alignment.ts'
import type { Face } from '../../src/faces/mtcnn.ts'
import { readPhoto } from '../../src/images/index.ts'
import { cutOut, type Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { testGpu } from '../support/gpu.ts'
import { dataBeside, everything, isAtHand, LONG } from '../support/scope.ts'

const gpu = await testGpu()

const fromRoot = (path: string): string => resolve(import.meta.dirname, '../..', path)

/** Few long steps in place of many short ones. */
const quick: Preset = { ...presets.medium, name: 'quick', softness: 1, chroma: 1, steps: 2, stepSize: 0.015 }

const pixelsOf = async (path: string): Promise<Pixels> => {
  const { width, height, rgb } = await readPhoto(fromRoot(path))
  return { width, height, rgb }
}

/** The largest change of the three channels at a pixel. */
const changeAt = (a: Pixels, b: Pixels, x: number, y: number): number => {
  const at = 3 * (y * a.width + x)
  return Math.max(...[0, 1, 2].map((c) => Math.abs(a.rgb[at + c] - b.rgb[at + c])))
}

/** Share of pixels of a rectangle that differ. */
function changedShare(a: Pixels, b: Pixels, [x1, y1, x2, y2]: readonly number[]): number {
  let changed = 0
  let all = 0
  for (let y = Math.max(0, Math.round(y1)); y < Math.min(a.height, y2); y++) {
    for (let x = Math.max(0, Math.round(x1)); x < Math.min(a.width, x2); x++) {
      all++
      if (changeAt(a, b, x, y) > 0) changed++
    }
  }
  return changed / all
}

/** `photo` with a smaller copy of itself beside it. */
function withSmaller(photo: Pixels, side: number): Pixels {
  const small = resize(photo, side, side)
  const width = photo.width + side
  const data = new Uint8Array(3 * width * photo.height).fill(90)
  for (let y = 0; y < photo.height; y++) {
    data.set(photo.rgb.subarray(3 * y * photo.width, 3 * (y + 1) * photo.width), 3 * y * width)
    if (y < side) data.set(small.rgb.subarray(3 * y * side, 3 * (y + 1) * side), 3 * (y * width + photo.width))
  }
  return { width, height: photo.height, rgb: data }
}

describe('protecting a photo', () => {
  let protector: Protector
  let portrait: Pixels
  beforeAll(async () => {
    protector = await Protector.create(gpu, await loadNetworks())
    portrait = cutOut(await pixelsOf('examples/astronaut.png'), 96, 0, 351, 255)
    return () => protector[Symbol.dispose]()
  })

  test('changes the face and nothing else, and reports what it did', async () => {
    const original = portrait.rgb.slice()
    const seen: Progress[] = []
    const { photo, faces, lpips, psnr, seconds, warnings } = await protector.protect(portrait, {
      preset: quick,
      steps: 3,
      onProgress: (progress) => seen.push(progress),
    })
    expect(portrait.rgb).toEqual(original)
    expect([photo.width, photo.height, photo.rgb.length]).toEqual([256, 256, 3 * 256 * 256])
    expect(faces.length).toBe(1)
    const [{ landmarks, recognisers }] = faces
    const region = faceRegion(256, 256, landmarks)
    expect(Math.max(region.width, region.height)).toBeLessThan(256)
    let inside = 0
    let largest = 0
    for (let y = 0; y < 256; y++) {
      for (let x = 0; x < 256; x++) {
        const change = changeAt(portrait, photo, x, y)
        const within =
          x >= region.left && x < region.left + region.width && y >= region.top && y < region.top + region.height
        if (!within && change > 0) expect.fail(`${x}, ${y} lies outside the region`)
        const [u, v] = transform(align112(landmarks), [x + 0.5, y + 0.5])
        const outside = Math.max(Math.abs(u - 56), Math.abs(v - 56)) - 56
        if (outside > 14 && change > 0) expect.fail(`${x}, ${y} lies outside the band`)
        if (outside < 0) {
          inside++
          largest = Math.max(largest, change)
        }
      }
    }
    expect(inside).toBeGreaterThan(5000)
    // Noise and three steps, rounded.
    expect(largest).toBeLessThanOrEqual(Math.round(255 * (0.005 + 3 * 0.015)))
    expect(largest).toBeGreaterThan(4)

    const [first, ...others] = recognisers
    // All that ship are attacked.
    expect(recognisers.map(({ id, heldOut }) => [id, heldOut])).toEqual([
      ['sirius', false],
      ['dlib', false],
      ['faceplugin', false],
    ])
    for (const { before, threshold } of recognisers) {
      expect(before).toBeCloseTo(1, 5)
      expect(threshold > 0 && threshold < 1).toBe(true)
    }
    // Noise that is as large on average does far less.
    const noisy = await protector.protect(portrait, { preset: { ...quick, noise: 0.05 * Math.sqrt(3) }, steps: 0 })
    expect(1 - first.after).toBeGreaterThan(3 * (1 - noisy.faces[0].recognisers[0].after))
    for (const { id, after } of others) expect(after, id).toBeLessThan(1)
    expect(lpips > 0 && lpips < 0.5).toBe(true)
    expect(psnr > 25 && psnr < 55).toBe(true)
    expect(warnings).toEqual([])
    const { total, ...phases } = seconds
    expect(Object.values(phases).every((s) => s >= 0)).toBe(true)
    expect(Object.values(phases).reduce((a, b) => a + b)).toBeLessThanOrEqual(total + 1e-3)

    const order = ['detect', 'compile', 'attack', 'measure']
    const places = seen.map(({ phase }) => order.indexOf(phase))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(new Set(places).size).toBe(4)
    const steps = seen.filter(({ phase }) => phase === 'attack')
    expect(steps.every(({ total }) => total === 3)).toBe(true)
    expect(steps.map(({ done }) => done)).toEqual(steps.map(({ done }) => done).toSorted((a, b) => a - b))
    expect(steps.at(-1)?.done).toBe(3)
  })

  test.skipIf(!everything)(`gives the same bytes for the same seed, and others for another${LONG}`, async () => {
    const run = (seed: number) => protector.protect(portrait, { preset: quick, steps: 1, seed })
    const first = await run(3)
    expect((await run(3)).photo.rgb).toEqual(first.photo.rgb)
    expect((await run(4)).photo.rgb).not.toEqual(first.photo.rgb)
    using again = await Protector.create(gpu, await loadNetworks())
    expect((await again.protect(portrait, { preset: quick, steps: 1, seed: 3 })).photo.rgb).toEqual(first.photo.rgb)
  })

  test.skipIf(!everything)(`keeps grey photos grey${LONG}`, async () => {
    const grey: Pixels = { ...portrait, rgb: portrait.rgb.slice() }
    for (let i = 0; i < grey.rgb.length; i += 3)
      grey.rgb.fill(Math.round((grey.rgb[i] + 2 * grey.rgb[i + 1]) / 3), i, i + 3)
    const isGrey = ({ rgb: data }: Pixels) => data.every((v, i) => v === data[i - (i % 3)])
    expect(isGrey(grey)).toBe(true)
    const { photo, faces } = await protector.protect(grey, { preset: quick, grey: true })
    expect(isGrey(photo)).toBe(true)
    // One plane: where noise and steps cancel nothing changes.
    expect(changedShare(grey, photo, faces[0].box)).toBeGreaterThan(0.6)
    expect(faces[0].recognisers[0].after).toBeLessThan(0.97)
    expect(isGrey((await protector.protect(grey, { preset: quick, steps: 1 })).photo)).toBe(false)
  })

  test('finds none on pictures without faces', async () => {
    const picture = (value: (x: number, y: number) => number): Pixels => ({
      width: 200,
      height: 150,
      rgb: Uint8Array.from({ length: 3 * 200 * 150 }, (_, i) => value(Math.floor(i / 3) % 200, Math.floor(i / 600))),
    })
    for (const photo of [picture(() => 128), picture((x) => x), picture((x, y) => 255 * ((x + y) % 2))]) {
      const protect = protector.protect(photo, { preset: quick })
      await expect(protect).rejects.toThrow(NoFaceError)
      await expect(protect).rejects.toThrow(
        /^no face found \(frontal faces of at least 20 pixels are looked for, upright, on either side and upside down\)/,
      )
      await expect(protector.find(photo)).rejects.toThrow(NoFaceError)
    }
    const dot: Pixels = { width: 1, height: 1, rgb: new Uint8Array(3) }
    await expect(protector.protect(dot, { preset: quick })).rejects.toThrow(NoFaceError)
  })

  test('needs 64 pixels a side', async () => {
    const small = resize(portrait, 60, 60)
    expect((await protector.find(small)).length).toBe(1)
    for (const preset of [quick, { ...presets.paper, steps: 1 }]) {
      await expect(protector.protect(small, { preset })).rejects.toThrow(
        new RangeError('a photo of 60x60 pixels is too small: both sides must be at least 64'),
      )
    }
  })

  test('ends when it is interrupted, and can be used again', async () => {
    const reason = new Error('enough')
    const aborted = AbortSignal.abort(reason)
    await expect(protector.protect(portrait, { preset: quick, signal: aborted })).rejects.toBe(reason)
    const controller = new AbortController()
    const original = portrait.rgb.slice()
    const interrupted = protector.protect(portrait, {
      preset: { ...quick, steps: 100_000 },
      signal: controller.signal,
      onProgress: ({ phase }) => {
        if (phase === 'attack') controller.abort(reason)
      },
    })
    await expect(interrupted).rejects.toBe(reason)
    expect(portrait.rgb).toEqual(original)
    expect((await protector.protect(portrait, { preset: quick, steps: 1 })).faces.length).toBe(1)
  })

  test.skipIf(!everything)(`protects all faces, or the largest alone${LONG}`, async () => {
    const two = withSmaller(portrait, 160)
    const all = await protector.protect(two, { preset: quick })
    expect(all.faces.length).toBe(2)
    const boxes = all.faces.map(({ box }) => box).sort((a, b) => a[0] - b[0])
    expect(boxes[0][2]).toBeLessThan(256)
    expect(boxes[1][0]).toBeGreaterThan(256)
    for (const { box, recognisers } of all.faces) {
      expect(changedShare(two, all.photo, box)).toBeGreaterThan(0.9)
      expect(recognisers[0].after).toBeLessThan(0.97)
    }
    const one = await protector.protect(two, { preset: quick, faces: 'largest' })
    expect(one.faces.map(({ box }) => box)).toEqual([boxes[0]])
    expect(changedShare(two, one.photo, boxes[0])).toBeGreaterThan(0.9)
    expect(changedShare(two, one.photo, boxes[1])).toBe(0)
    expect((await protector.find(two, 'largest')).length).toBe(1)
  })

  test.skipIf(!everything)(
    `to the letter of the paper changes the whole photo, both faces in one objective${LONG}`,
    async () => {
      const two = withSmaller(portrait, 160)
      const preset = { ...presets.paper, stepSize: 0.015, steps: 2 }
      const { photo, faces } = await protector.protect(two, { preset })
      expect(faces.length).toBe(2)
      for (const { recognisers } of faces) expect(recognisers[0].after).toBeLessThan(0.97)
      for (const corner of [
        [0, 0, 40, 40],
        [376, 216, 416, 256],
        [0, 216, 40, 256],
      ]) {
        expect(changedShare(two, photo, corner)).toBeGreaterThan(0.9)
      }
      // Truncation takes half a level on average.
      const mean = photo.rgb.reduce((s, v, i) => s + v - two.rgb[i], 0) / photo.rgb.length
      expect(mean).toBeLessThan(-0.2)
    },
  )

  test('names recognisers that there are not', async () => {
    await expect(loadNetworks(['nobody'])).rejects.toThrow(UnknownModelError)
    await expect(loadNetworks(['nobody'])).rejects.toThrow(/^there is no recogniser "nobody"; there are .*sirius/)
    await expect(loadNetworks(['mtcnn'])).rejects.toThrow(UnknownModelError)
    await expect(loadNetworks([])).rejects.toThrow(/^name at least one recogniser to attack: .*dlib/)
    const { surrogates, heldOut } = await loadNetworks(['dlib'])
    expect(surrogates.map(({ network }) => network.id)).toEqual(['dlib'])
    expect(heldOut.map(({ network }) => network.id)).toContain('sirius')
  })

  /**
   * Where the noses are in group photos, in shares of width and height: as seen by eye. All faces are frontal or nearly so.
   * Further detections are tolerated: in `couple` the detector takes 24x30 pixels of a letter for a face (probability 0.818).
   */
  const groups: [name: string, noses: Point[], width: number][] = [
    [
      'two_people',
      [
        [0.289, 0.195],
        [0.775, 0.25],
      ],
      700,
    ],
    [
      'couple',
      [
        [0.323, 0.628],
        [0.79, 0.475],
      ],
      570,
    ],
    [
      'multiface',
      [
        [0.225, 0.49],
        [0.391, 0.313],
        [0.498, 0.184],
        [0.547, 0.404],
        [0.632, 0.837],
        [0.749, 0.81],
      ],
      900,
    ],
  ]
  const folder = dataBeside('photos/highres')
  test.skipIf(!isAtHand(folder)).each(groups)('finds and protects every face of %s', async (name, noses, width) => {
    const photo = await pixelsOf(`${folder}/${name}.jpg`)
    const near = <F extends Pick<Face, 'landmarks' | 'box'>>(faces: readonly F[], [x, y]: Point, size: Pixels): F[] =>
      faces.filter(({ landmarks: [, , nose], box }) => {
        const side = box[2] - box[0]
        return Math.hypot(nose[0] - x * size.width, nose[1] - y * size.height) < side / 4
      })
    const found = await protector.find(photo)
    for (const nose of noses) expect(near(found, nose, photo).length, `${nose}`).toBe(1)
    expect(found.length).toBeLessThanOrEqual(noses.length + 1)

    const reduced = resize(photo, width, Math.round((photo.height * width) / photo.width))
    const { photo: result, faces } = await protector.protect(reduced, { preset: quick })
    for (const nose of noses) {
      const [face, ...more] = near(faces, nose, reduced)
      expect(more).toEqual([])
      // Flat areas change less, in two steps not by a whole level.
      expect(changedShare(reduced, result, face.box), `${nose}`).toBeGreaterThan(0.8)
      expect(face.recognisers[0].after, `${nose}`).toBeLessThan(0.985)
    }
  })
})
