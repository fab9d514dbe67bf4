import { resolve } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { Attack, AttackError, type AttackImages } from '../../src/attack/loop.ts'
import { loadNetworks, UnknownModelError } from '../../src/attack/node.ts'
import { uniformNoise } from '../../src/attack/noise.ts'
import { changeShape, matrixInput, type ObjectiveShape, recordObjective } from '../../src/attack/objective.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { NoFaceError, type Progress, Protector } from '../../src/attack/protect.ts'
import {
  faceRegion,
  type Region,
  SMALLEST_SIDE,
  samplingMatrix,
  scaleOf,
  softMask,
  wholePhoto,
} from '../../src/attack/region.ts'
import { addChange, resamplePlanes, workingPlanes } from '../../src/attack/resample.ts'
import {
  type Affine,
  align112,
  FaceGeometryError,
  inverse,
  type Landmarks,
  type Point,
  referenceLandmarks112,
  transform,
} from '../../src/faces/alignment.ts'
import type { Face } from '../../src/faces/mtcnn.ts'
import { cutOut, type Pixels } from '../../src/faces/pixels.ts'
import { resize } from '../../src/faces/resize.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { readPhoto } from '../../src/images/index.ts'
import { elements } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { random, uniform } from '../support/random.ts'
import { referenceFunction } from '../support/reference.ts'
import { dataBeside, everything, isAtHand, LONG } from '../support/scope.ts'
import { tinyLpips, tinySurrogates } from '../support/tiny-networks.ts'

const gpu = await testGpu()
const fromRoot = (path: string): string => resolve(import.meta.dirname, '../..', path)

describe('the gradient of the whole objective', () => {
  const variants = [
    { name: 'soft region, colour', masked: true, grey: false },
    { name: 'soft region, grey', masked: true, grey: true },
    { name: 'whole photo', masked: false, grey: false },
  ].flatMap((kind) => [1, 2].flatMap((faces) => [true, false].map((blur) => ({ ...kind, faces, blur }))))

  // In the short run each kind, number of faces and blur once.
  test.each(everything ? variants : [1, 6, 8].map((k) => variants[k]))(
    '$name, $faces face(s), blur $blur',
    async ({ masked, grey, faces, blur }) => {
      const [height, width] = [40, 44]
      const size = height * width
      const shape: ObjectiveShape = { height, width, faces, grey }
      // With this weight both parts of the gradient matter for these networks.
      const preset = {
        ...presets.paper,
        stepSize: 0.01,
        lpipsWeight: 3e-4,
        blur: blur ? { size: 7, sigma: 3 } : undefined,
      }
      const g = graph()
      const { total, feature, lpips, gradient } = recordObjective(g, shape, tinySurrogates, tinyLpips, preset, masked)
      const clean = uniform(31, 3 * size, 0, 1)
      const mask = uniform(33, size, -0.5, 1.5).map((v) => Math.min(1, Math.max(0, v)))
      const change = uniform(34, elements(changeShape(shape)), -0.1, 0.1)
      // Faces of other sizes and angles, the second partly outside.
      const matrices: Affine[] = [
        [0.33, 0.04, 1, -0.04, 0.33, 3],
        [0.24, -0.1, 22, 0.1, 0.24, -4],
      ]
      const flat = (enlarged: number) =>
        Float32Array.from(
          matrices
            .slice(0, faces)
            .flatMap(([a, b, x, c, d, y]) => [a, b, x, c, d, y].map((v, i) => (i % 3 === 2 ? v : enlarged * v))),
        )
      const inputs: Record<string, Float32Array> = {
        clean,
        base: clean.map((v, i) => v + 0.02 * Math.sin(i)),
        ...(masked ? { mask } : {}),
        delta: change,
        [matrixInput('arcface112')]: flat(1),
        [matrixInput('dlib150')]: flat(4.5),
      }
      using plan = await compile(gpu, { total, feature, lpips, gradient }, { poison: true })
      for (const [name, data] of Object.entries(inputs)) plan.write(name, data)
      plan.run()
      const found = await plan.read('gradient')

      const objective = referenceFunction([total, feature, lpips], inputs, ['delta'])
      const exact = Float64Array.from(change)
      const [wantTotal, wantFeature, wantLpips] = objective({ delta: exact })
      expect(relmax(await plan.read('feature'), wantFeature)).toBeLessThan(1e-4)
      expect(relmax(await plan.read('lpips'), wantLpips)).toBeLessThan(1e-4)
      expect(Math.abs((await plan.read('total'))[0] - wantTotal[0])).toBeLessThan(1e-4 * wantFeature[0])
      if (masked) {
        const still = found.filter((_, i) => mask[i % size] === 0)
        expect(still.length).toBeGreaterThan(0)
        expect(still.every((v) => v === 0)).toBe(true)
      }

      /** Slopes of the three values along a direction; undefined where a kink lies between, so that they depend on the step. */
      const slopes = (direction: Float64Array, step: number, scale: number): number[] | undefined => {
        const central = (h: number) => {
          const [high, low] = [h, -h].map((by) => objective({ delta: exact.map((v, i) => v + by * direction[i]) }))
          return high.map(([value], k) => (value - low[k][0]) / (2 * h))
        }
        const [whole, half] = [central(step), central(step / 2)]
        return Math.abs(whole[0] - half[0]) < 1e-5 * scale ? half : undefined
      }
      const pick = random(35)
      const bySize = Array.from(found.keys()).sort((i, j) => Math.abs(found[j]) - Math.abs(found[i]))
      const single = (at: number) => Float64Array.from(found, (_, i) => (i === at ? 1 : 0))
      // Single elements, of the larger ones and of all; and all together with random signs.
      const directions = [
        ...[200, 200, 200, found.length].map((count) => ({
          direction: single(bySize[Math.floor(pick() * count)]),
          scale: Math.abs(found[bySize[0]]),
          step: 1e-4,
        })),
        ...[0, 1].map(() => ({
          direction: Float64Array.from(found, () => (pick() < 0.5 ? -1 : 1)),
          scale: Math.hypot(...found),
          step: 1e-6,
        })),
      ]
      let smooth = 0
      const part = { feature: 0, lpips: 0 }
      for (const { direction, scale, step } of directions) {
        const slope = slopes(direction, step, scale)
        if (!slope) continue
        smooth++
        const along = found.reduce((s, v, i) => s + v * direction[i], 0)
        expect(Math.abs(along - slope[0]) / scale).toBeLessThan(1e-4)
        part.feature = Math.max(part.feature, Math.abs(slope[1]) / scale)
        part.lpips = Math.max(part.lpips, (preset.lpipsWeight * Math.abs(slope[2])) / scale)
      }
      expect(smooth).toBeGreaterThanOrEqual(directions.length - 1)
      // Neither would be missed in the tolerance.
      expect(Math.min(part.feature, part.lpips)).toBeGreaterThan(0.05)
    },
  )
})

/** A face at a place, size (photo pixels per pixel of the 112x112 crop) and angle, its landmarks off by up to `jitter` crop pixels. */
function faceAt([x, y]: Point, scale: number, angle: number, jitter: () => number): Landmarks {
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)]
  return referenceLandmarks112.map(([u, v]): Point => {
    const [du, dv] = [u - 56 + jitter(), v - 56 + jitter()]
    return [x + cos * du - sin * dv, y + sin * du + cos * dv]
  }) as Landmarks
}

interface Scene {
  width: number
  height: number
  landmarks: Landmarks
  toCrop: Affine
  /** Photo pixels per crop pixel. */
  scale: number
}

/** Faces of 20 to 4000 pixels, at any angle, anywhere in photos of 64 to 8000 pixels a side. */
function scenes(count: number): Scene[] {
  const next = random(41)
  const between = (low: number, high: number) => low * (high / low) ** next()
  return Array.from({ length: count }, () => {
    const [width, height] = [Math.round(between(64, 8000)), Math.round(between(64, 8000))]
    const size = Math.min(between(0.18, 36), Math.max(width, height) / 60)
    const place: Point = [next() * width, next() * height]
    const angle = (2 * next() - 1) * Math.PI
    const landmarks = faceAt(place, size, angle, () => 4 * next() - 2)
    const toCrop = align112(landmarks)
    return { width, height, landmarks, toCrop, scale: 1 / Math.hypot(toCrop[0], toCrop[3]) }
  })
}

describe('the region of a face', () => {
  const cases = scenes(600).map((scene) => ({
    ...scene,
    region: faceRegion(scene.width, scene.height, scene.landmarks),
  }))

  test('lies in the photo, in whole pixels', () => {
    for (const { width, height, region: r } of cases) {
      expect(Object.values(r).every(Number.isInteger)).toBe(true)
      expect(Math.min(r.left, r.top)).toBeGreaterThanOrEqual(0)
      expect(r.left + r.width).toBeLessThanOrEqual(width)
      expect(r.top + r.height).toBeLessThanOrEqual(height)
      expect(r.workWidth).toBeLessThanOrEqual(r.width)
      expect(r.workHeight).toBeLessThanOrEqual(r.height)
    }
  })

  test('covers the crop and the band around it as far as the photo does', () => {
    for (const { width, height, toCrop, region: r } of cases) {
      const back = inverse(toCrop)
      for (let k = 0; k < 4 * 7; k++) {
        // Around the band's outer edge.
        const t = -14 + 140 * ((k % 7) / 7)
        const edge: Point[] = [
          [t, -14],
          [126, t],
          [112 - t, 126],
          [-14, 112 - t],
        ]
        const [x, y] = transform(back, edge[k % 4])
        if (x < 0 || x > width || y < 0 || y > height) continue
        expect(x).toBeGreaterThan(r.left - 1e-6)
        expect(x).toBeLessThan(r.left + r.width + 1e-6)
        expect(y).toBeGreaterThan(r.top - 1e-6)
        expect(y).toBeLessThan(r.top + r.height + 1e-6)
      }
    }
  })

  test('has a working size that does not grow with photo or face, and that photos share', () => {
    const sizes = new Set<number>()
    for (const { region: r } of cases) {
      for (const [length, work, whole] of [
        [r.width, r.workWidth, 'width'],
        [r.height, r.workHeight, 'height'],
      ] as const) {
        expect(work, whole).toBeGreaterThanOrEqual(SMALLEST_SIDE)
        expect(work, whole).toBeLessThanOrEqual(320)
        if (work < length || work % 32 === 0) sizes.add(work)
      }
    }
    // Where the photo does not cut the region short.
    const free = cases.filter((c) => c.region.width < c.width && c.region.height < c.height)
    expect(free.length).toBeGreaterThan(100)
    for (const { region: r } of free) expect([r.workWidth % 32, r.workHeight % 32]).toEqual([0, 0])
    const huge = faceRegion(
      40000,
      30000,
      faceAt([20000, 15000], 100, 0.2, () => 0),
    )
    expect(Math.max(huge.workWidth, huge.workHeight)).toBeLessThanOrEqual(320)
  })

  test('is seen at the same scale in both directions, never enlarged, at 1.5 pixels a crop pixel where reduced', () => {
    let reduced = 0
    for (const { width, height, scale, region } of cases) {
      // A photo that holds less than half of the crop is enlarged in that direction to the smallest side.
      if (Math.min(width, height) < 56 * scale) continue
      const [sx, sy] = scaleOf(region)
      expect(Math.min(sx, sy)).toBeGreaterThanOrEqual(1)
      // Half a pixel of rounding on sides of 64 and more.
      expect(Math.abs(sx / sy - 1)).toBeLessThan(0.017)
      expect(Math.abs(Math.max(1, scale / 1.5) / sx - 1)).toBeLessThan(0.017)
      if (sx > 1) reduced++
    }
    expect(reduced).toBeGreaterThan(100)
  })

  test('places crops where they are in the photo', () => {
    for (const { toCrop, region } of cases.slice(0, 100)) {
      const sample = samplingMatrix(region, toCrop)
      const [sx, sy] = scaleOf(region)
      for (const pixel of [
        [0, 0],
        [56, 56],
        [112, 17],
      ] as Point[]) {
        const [x, y] = transform(inverse(toCrop), pixel)
        const [u, v] = transform(sample, pixel)
        expect(u).toBeCloseTo((x - region.left) / sx, 6)
        expect(v).toBeCloseTo((y - region.top) / sy, 6)
      }
    }
  })

  test("has a mask that is 1 in the crop and fades to 0 before the border, unless that is the photo's", () => {
    let inside = 0
    let border = 0
    for (const { width, height, toCrop, scale, region: r } of cases.slice(0, 60)) {
      const mask = softMask(r, toCrop)
      const [sx, sy] = scaleOf(r)
      expect(mask.length).toBe(r.workWidth * r.workHeight)
      // The steepest place of the fade, 1.5 / 14 a crop pixel, over the diagonal of a working pixel.
      const steepest = (1.5 / 14) * (Math.hypot(sx, sy) / scale) + 1e-6
      for (let y = 0; y < r.workHeight; y++) {
        for (let x = 0; x < r.workWidth; x++) {
          const value = mask[y * r.workWidth + x]
          if (!(value >= 0 && value <= 1)) expect.fail(`${value} at ${x}, ${y}`)
          if (x > 0 && Math.abs(value - mask[y * r.workWidth + x - 1]) > steepest) expect.fail(`an edge at ${x}, ${y}`)
          const [u, v] = transform(toCrop, [r.left + (x + 0.5) * sx, r.top + (y + 0.5) * sy])
          const outside = Math.max(Math.abs(u - 56), Math.abs(v - 56)) - 56
          if (outside <= 0) {
            inside++
            if (value !== 1) expect.fail(`${value} inside the crop`)
          }
          if (outside >= 14 && value !== 0) expect.fail(`${value} outside the band`)
          const atBorder =
            (x === 0 && r.left > 0) ||
            (y === 0 && r.top > 0) ||
            (x === r.workWidth - 1 && r.left + r.width < width) ||
            (y === r.workHeight - 1 && r.top + r.height < height)
          if (atBorder) {
            border++
            // The centre of the last pixel lies half a pixel inside the border.
            if (value > 0.02) expect.fail(`${value} at the border of ${JSON.stringify(r)}`)
          }
        }
      }
    }
    expect(Math.min(inside, border)).toBeGreaterThan(10_000)
  })

  test('needs photos of 64 pixels a side, and landmarks', () => {
    const face = faceAt([32, 32], 0.4, 0, () => 0)
    expect(faceRegion(64, 64, face)).toEqual({ left: 0, top: 0, width: 64, height: 64, workWidth: 64, workHeight: 64 })
    expect(() => faceRegion(63, 500, face)).toThrow(RangeError)
    expect(() => faceRegion(63, 500, face)).toThrow(
      'a photo of 63x500 pixels is too small: both sides must be at least 64',
    )
    expect(() => wholePhoto(500, 63)).toThrow(RangeError)
    expect(wholePhoto(640, 480)).toEqual({ left: 0, top: 0, width: 640, height: 480, workWidth: 640, workHeight: 480 })
    const point = Array.from({ length: 5 }, (): Point => [50, 50]) as Landmarks
    expect(() => faceRegion(500, 500, point)).toThrow(FaceGeometryError)
  })
})

describe('resampling', () => {
  const range = (values: Float32Array) => [Math.min(...values), Math.max(...values)]

  test('to the same size changes nothing', () => {
    const planes = uniform(1, 2 * 7 * 5)
    expect(resamplePlanes(planes, 2, [7, 5], [7, 5])).toEqual(planes)
  })

  test('keeps constants, and stays between the smallest and the largest value', () => {
    for (const [from, to] of [
      [
        [64, 40],
        [23, 11],
      ],
      [
        [23, 11],
        [64, 40],
      ],
      [
        [30, 30],
        [70, 9],
      ],
      [
        [3, 5],
        [1, 1],
      ],
      [
        [1, 1],
        [4, 6],
      ],
    ] as [Point, Point][]) {
      const flat = resamplePlanes(new Float32Array(3 * from[0] * from[1]).fill(0.37), 3, from, to)
      expect(flat.length).toBe(3 * to[0] * to[1])
      expect(flat.every((v) => Math.abs(v - 0.37) < 1e-6)).toBe(true)
      const noise = uniform(2, 3 * from[0] * from[1])
      const [low, high] = range(noise)
      const [least, most] = range(resamplePlanes(noise, 3, from, to))
      expect(least).toBeGreaterThanOrEqual(low - 1e-6)
      expect(most).toBeLessThanOrEqual(high + 1e-6)
    }
  })

  test('treats planes, rows and columns alike, and both ends of them', () => {
    const [width, height] = [19, 19]
    const planes = uniform(3, 2 * width * height)
    const small = resamplePlanes(planes, 2, [width, height], [8, 8])
    const half = (p: Float32Array, k: number, n: number) => p.slice(k * n, (k + 1) * n)
    for (const k of [0, 1]) {
      expect(resamplePlanes(half(planes, k, 361), 1, [19, 19], [8, 8])).toEqual(half(small, k, 64))
    }
    const turn = (p: Float32Array, n: number) => p.map((_, i) => p[(i % n) * n + Math.floor(i / n)])
    const turned = resamplePlanes(turn(half(planes, 0, 361), 19), 1, [19, 19], [8, 8])
    expect(relmax(turned, turn(half(small, 0, 64), 8))).toBeLessThan(1e-6)
    const back = resamplePlanes(half(planes, 0, 361).reverse(), 1, [19, 19], [8, 8]).reverse()
    expect(relmax(back, half(small, 0, 64))).toBeLessThan(1e-6)
  })

  test('reducing lets every pixel count', () => {
    const [from, to] = [55, 10]
    for (let i = 6; i < from - 6; i++) {
      const impulse = new Float32Array(from)
      impulse[i] = 1
      const seen = resamplePlanes(impulse, 1, [from, 1], [to, 1]).reduce((s, v) => s + v, 0)
      expect(Math.abs((seen * from) / to - 1)).toBeLessThan(0.1)
    }
  })

  test('enlarging is linear between centres', () => {
    const ramp = Float32Array.from({ length: 10 }, (_, i) => i)
    const large = resamplePlanes(ramp, 1, [10, 1], [40, 1])
    for (let i = 2; i < 38; i++) expect(large[i]).toBeCloseTo((i + 0.5) / 4 - 0.5, 5)
    expect([large[0], large[39]]).toEqual([0, 9])
  })

  test('down and up again keeps what is smooth', () => {
    const [width, height] = [140, 100]
    const wave = Float32Array.from(
      { length: width * height },
      (_, i) => Math.sin((i % width) / 20) * Math.cos(i / width / 15),
    )
    const small = resamplePlanes(wave, 1, [width, height], [52, 37])
    const again = resamplePlanes(small, 1, [52, 37], [width, height])
    expect(relmax(again, wave)).toBeLessThan(0.08)
  })
})

describe('a change added to a photo', () => {
  const photo = (width: number, height: number, value: (i: number) => number): Pixels => ({
    width,
    height,
    data: Uint8Array.from({ length: 3 * width * height }, (_, i) => value(i)),
  })
  const at = (left: number, top: number, width: number, height: number, reduction = 1): Region => ({
    left,
    top,
    width,
    height,
    workWidth: width / reduction,
    workHeight: height / reduction,
  })

  test('is cut out of the photo and put back at the same place', () => {
    const original = photo(20, 16, (i) => (7 * i) % 256)
    const region = at(3, 5, 8, 6)
    const planes = workingPlanes(original, region)
    for (const [c, y, x] of [
      [0, 0, 0],
      [1, 5, 7],
      [2, 3, 2],
    ]) {
      expect(planes[(c * 6 + y) * 8 + x]).toBe(Math.fround(original.data[3 * ((5 + y) * 20 + 3 + x) + c] / 255))
    }
    const result = { ...original, data: original.data.slice() }
    const change = new Float32Array(3 * 48)
    change[(1 * 6 + 4) * 8 + 2] = 10 / 255
    addChange(result, region, change, 'nearest')
    const changed = Array.from(result.data.keys()).filter((i) => result.data[i] !== original.data[i])
    expect(changed).toEqual([3 * (9 * 20 + 5) + 1])
    expect(result.data[changed[0]]).toBe(original.data[changed[0]] + 10)
  })

  test.each(['floor', 'nearest'] as const)('leaves pixels without a change as they are (%s)', (rounding) => {
    const original = photo(12, 12, (i) => i % 256)
    const result = { ...original, data: original.data.slice() }
    addChange(result, at(0, 0, 12, 12), new Float32Array(432), rounding)
    addChange(result, at(0, 0, 12, 12), new Float32Array(432).fill(-0), rounding)
    addChange(result, at(0, 0, 12, 12, 2), new Float32Array(108), rounding)
    expect(result.data).toEqual(original.data)
  })

  test('is rounded down or to the nearest, and clamped', () => {
    const added = (value: number, by: number, rounding: 'floor' | 'nearest') => {
      const pixel = photo(1, 1, () => value)
      addChange(pixel, at(0, 0, 1, 1), new Float32Array(3).fill(by / 255), rounding)
      return Array.from(pixel.data)
    }
    const three = (v: number) => [v, v, v]
    expect(added(100, 0.75, 'floor')).toEqual(three(100))
    expect(added(100, 0.75, 'nearest')).toEqual(three(101))
    expect(added(100, 0.25, 'nearest')).toEqual(three(100))
    expect(added(100, -0.25, 'floor')).toEqual(three(99))
    expect(added(100, -0.25, 'nearest')).toEqual(three(100))
    expect(added(100, -0.75, 'nearest')).toEqual(three(99))
    for (const rounding of ['floor', 'nearest'] as const) {
      expect(added(250, 40, rounding)).toEqual(three(255))
      expect(added(5, -40, rounding)).toEqual(three(0))
    }
  })

  test('is within half a level of what was asked for', () => {
    const original = photo(24, 24, (i) => 60 + ((i * 37) % 130))
    const region = at(4, 2, 16, 20)
    const before = workingPlanes(original, region)
    const change = uniform(5, before.length, -0.13, 0.13)
    const result = { ...original, data: original.data.slice() }
    addChange(result, region, change, 'nearest')
    const after = workingPlanes(result, region)
    const worst = after.reduce((m, v, i) => Math.max(m, Math.abs(v - before[i] - change[i])), 0)
    expect(worst).toBeLessThan(0.5001 / 255)
    expect(worst).toBeGreaterThan(0.4 / 255)
  })

  test('is enlarged where the region was reduced, and stays inside it', () => {
    const original = photo(40, 30, () => 128)
    const region = at(8, 4, 24, 20, 4)
    const result = { ...original, data: original.data.slice() }
    addChange(result, region, new Float32Array(3 * 6 * 5).fill(0.1), 'nearest')
    for (let y = 0; y < 30; y++) {
      for (let x = 0; x < 40; x++) {
        const inside = x >= 8 && x < 32 && y >= 4 && y < 24
        // 128 + 25.5 is rounded up.
        const want = inside ? 154 : 128
        if (Math.abs(result.data[3 * (40 * y + x)] - want) > (inside ? 1 : 0)) expect.fail(`${x}, ${y}`)
      }
    }
    expect(workingPlanes(result, region).every((v) => Math.abs(v - 154 / 255) < 1.01 / 255)).toBe(true)
  })
})

describe('the first noise', () => {
  test('is the same for the same seed, however much is asked for, and another for others', () => {
    const noise = uniformNoise(7, 1000, 0.005)
    expect(uniformNoise(7, 1000, 0.005)).toEqual(noise)
    expect(uniformNoise(7, 300, 0.005)).toEqual(noise.slice(0, 300))
    for (const seed of [0, 1, 8, -7, 2 ** 31 + 7]) {
      const other = uniformNoise(seed, 1000, 0.005)
      expect(other.filter((v, i) => v === noise[i]).length, `seed ${seed}`).toBeLessThan(5)
    }
  })

  test('is uniform in its bounds, with mean 0, and its values do not depend on each other', () => {
    const [count, bound] = [200_000, 0.005]
    for (const seed of [1, 2, 12345]) {
      const noise = uniformNoise(seed, count, bound)
      expect(noise.every((v) => Math.abs(v) <= bound)).toBe(true)
      const mean = (f: (v: number, i: number) => number) => noise.reduce((s, v, i) => s + f(v, i), 0) / count
      // Four deviations of the means.
      expect(Math.abs(mean((v) => v))).toBeLessThan((4 * bound) / Math.sqrt(3 * count))
      expect(Math.abs(mean((v) => v * v) / (bound * bound) - 1 / 3)).toBeLessThan(
        (4 * Math.sqrt(4 / 45)) / Math.sqrt(count),
      )
      for (const lag of [1, 2, 64, 4096]) {
        const product = mean((v, i) => (v * noise[(i + lag) % count]) / (bound * bound))
        expect(Math.abs(product), `lag ${lag}`).toBeLessThan(4 / 3 / Math.sqrt(count))
      }
      const tenths = new Float64Array(10)
      for (const v of noise) tenths[Math.min(9, Math.floor(((v / bound + 1) / 2) * 10))]++
      expect(tenths.every((n) => Math.abs(n / count - 0.1) < (4 * 0.3) / Math.sqrt(count))).toBe(true)
    }
  })
})

describe('an attack', () => {
  const [height, width] = [64, 72]
  const shape: ObjectiveShape = { height, width, faces: 1, grey: false }
  const preset = { ...presets.paper, stepSize: 0.004, lpipsWeight: 1e-5, blur: { size: 7, sigma: 3 } }
  const clean = uniform(51, 3 * height * width, 0.2, 0.8)
  const images: AttackImages = {
    clean,
    base: clean,
    mask: new Float32Array(height * width).fill(1),
    matrices: new Map([
      ['arcface112', [[0.5, 0, 6, 0, 0.5, 4]]],
      ['dlib150', [[2.2, 0.1, 5, -0.1, 2.2, 8]]],
    ]),
  }
  const start = uniformNoise(1, 3 * height * width, 0.005)
  const open = (masked = true, surrogates = tinySurrogates, grey = false) =>
    Attack.compile(gpu, { ...shape, grey }, surrogates, tinyLpips, preset, masked)

  test('raises the objective step by step, and takes steps of one size', async () => {
    using attack = await open()
    attack.load(images)
    const before = await attack.evaluate(start)
    const one = await attack.run({ steps: 1, start })
    for (const [i, v] of one.entries()) {
      const moved = Math.abs(v - start[i])
      if (Math.abs(moved - 0.004) > 1e-6 && moved !== 0) expect.fail(`a step of ${moved}`)
    }
    const values = [before.total]
    for (const steps of [4, 8, 16]) {
      const value = await attack.evaluate(await attack.run({ steps, start }))
      expect(value.total).toBeCloseTo(value.feature - preset.lpipsWeight * value.lpips, 6)
      values.push(value.total)
    }
    expect(values).toEqual(values.toSorted((a, b) => a - b))
    expect(values[3]).toBeGreaterThan(10 * values[0])
    // Nothing changed is no distance; the features of the blurred branch are compared with those of the sharp photo.
    const none = await attack.evaluate(new Float32Array(start.length))
    expect(Math.abs(none.lpips)).toBeLessThan(1e-10)
    expect(none.feature).toBeGreaterThan(0)
  })

  test('gives the same bits again, and reports steps in order', async () => {
    using attack = await open()
    attack.load(images)
    const seen: number[] = []
    const first = await attack.run({ steps: 13, start, onProgress: (step) => seen.push(step) })
    expect(await attack.run({ steps: 13, start })).toEqual(first)
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
    expect(seen.at(-1)).toBe(13)
    expect(await attack.run({ steps: 0, start })).toEqual(start)
  })

  test('changes a grey photo by one plane', async () => {
    using attack = await open(true, tinySurrogates, true)
    attack.load(images)
    const plane = start.slice(0, height * width)
    expect((await attack.run({ steps: 2, start: plane })).length).toBe(height * width)
    await expect(attack.run({ steps: 1, start })).rejects.toThrow(/^plan\.write: delta takes 4608 values \[1,1,64,72\]/)
  })

  test('compares LPIPS on the crop of ArcFace, whatever the recognisers use', async () => {
    using attack = await open(false, tinySurrogates.slice(1))
    attack.load(images)
    const { lpips } = await attack.evaluate(start)
    const matrices = new Map(images.matrices).set('arcface112', [[0.1, 0, 30, 0, 0.1, 30]])
    attack.load({ ...images, matrices })
    expect(Math.abs((await attack.evaluate(start)).lpips / lpips - 1)).toBeGreaterThan(0.01)
  })

  test('says what is missing or too much', async () => {
    using masked = await open()
    expect(() => masked.load({ ...images, mask: undefined })).toThrow(RangeError)
    expect(() => masked.load({ ...images, mask: undefined })).toThrow(
      /^attack: this objective was compiled with a mask/,
    )
    const both = { ...images, matrices: new Map([...images.matrices].map(([a, [m]]) => [a, [m, m]])) }
    expect(() => masked.load(both)).toThrow(/^plan\.write: sampling\.arcface112 takes 6 values \[1,6\], got 12/)
    using plain = await open(false, tinySurrogates.slice(0, 1))
    expect(() => plain.load(images)).toThrow(/no input or output is named sampling\.dlib150/)
  })

  test('gives no numbers that are none', async () => {
    using attack = await open()
    attack.load(images)
    const spoilt = start.slice()
    spoilt[100] = Number.NaN
    const run = attack.run({ steps: 1, start: spoilt })
    await expect(run).rejects.toThrow(AttackError)
    await expect(run).rejects.toThrow(/not finite on .*; nothing was written/)
  })

  test('ends between steps when it is interrupted', async () => {
    using attack = await open()
    attack.load(images)
    const reason = new Error('enough')
    await expect(attack.run({ steps: 5, start, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const seen: number[] = []
    const onProgress = (step: number) => {
      seen.push(step)
      controller.abort(reason)
    }
    await expect(attack.run({ steps: 10_000, start, onProgress, signal: controller.signal })).rejects.toBe(reason)
    expect(seen.length).toBe(1)
    // In the last step as well.
    const last = new AbortController()
    const { signal } = last
    await expect(attack.run({ steps: 1, start, signal, onProgress: () => last.abort(reason) })).rejects.toBe(reason)
    expect((await attack.run({ steps: 1, start })).length).toBe(start.length)
  })
})

/** Few long steps in place of many short ones. */
const quick: Preset = { ...presets.medium, name: 'quick', steps: 2, stepSize: 0.015 }

const pixelsOf = async (path: string): Promise<Pixels> => {
  const { width, height, rgb } = await readPhoto(fromRoot(path))
  return { width, height, data: rgb }
}

/** The largest change of the three channels at a pixel. */
const changeAt = (a: Pixels, b: Pixels, x: number, y: number): number => {
  const at = 3 * (y * a.width + x)
  return Math.max(...[0, 1, 2].map((c) => Math.abs(a.data[at + c] - b.data[at + c])))
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
    data.set(photo.data.subarray(3 * y * photo.width, 3 * (y + 1) * photo.width), 3 * y * width)
    if (y < side) data.set(small.data.subarray(3 * y * side, 3 * (y + 1) * side), 3 * (y * width + photo.width))
  }
  return { width, height: photo.height, data }
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
    const original = portrait.data.slice()
    const seen: Progress[] = []
    const { photo, faces, lpips, psnr, seconds, warnings } = await protector.protect(portrait, {
      preset: quick,
      steps: 3,
      onProgress: (progress) => seen.push(progress),
    })
    expect(portrait.data).toEqual(original)
    expect([photo.width, photo.height, photo.data.length]).toEqual([256, 256, 3 * 256 * 256])
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

  test('gives the same bytes for the same seed, and others for another', async () => {
    const run = (seed: number) => protector.protect(portrait, { preset: quick, steps: 1, seed })
    const first = await run(3)
    expect((await run(3)).photo.data).toEqual(first.photo.data)
    expect((await run(4)).photo.data).not.toEqual(first.photo.data)
    using again = await Protector.create(gpu, await loadNetworks())
    expect((await again.protect(portrait, { preset: quick, steps: 1, seed: 3 })).photo.data).toEqual(first.photo.data)
  })

  test('keeps grey photos grey', async () => {
    const grey: Pixels = { ...portrait, data: portrait.data.slice() }
    for (let i = 0; i < grey.data.length; i += 3)
      grey.data.fill(Math.round((grey.data[i] + 2 * grey.data[i + 1]) / 3), i, i + 3)
    const isGrey = ({ data }: Pixels) => data.every((v, i) => v === data[i - (i % 3)])
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
      data: Uint8Array.from({ length: 3 * 200 * 150 }, (_, i) => value(Math.floor(i / 3) % 200, Math.floor(i / 600))),
    })
    for (const photo of [picture(() => 128), picture((x) => x), picture((x, y) => 255 * ((x + y) % 2))]) {
      const protect = protector.protect(photo, { preset: quick })
      await expect(protect).rejects.toThrow(NoFaceError)
      await expect(protect).rejects.toThrow(
        /^no face found \(frontal faces of at least 20 pixels are looked for, upright, on either side and upside down\)/,
      )
      await expect(protector.find(photo)).rejects.toThrow(NoFaceError)
    }
    const dot: Pixels = { width: 1, height: 1, data: new Uint8Array(3) }
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
    const original = portrait.data.slice()
    const interrupted = protector.protect(portrait, {
      preset: { ...quick, steps: 100_000 },
      signal: controller.signal,
      onProgress: ({ phase }) => {
        if (phase === 'attack') controller.abort(reason)
      },
    })
    await expect(interrupted).rejects.toBe(reason)
    expect(portrait.data).toEqual(original)
    expect((await protector.protect(portrait, { preset: quick, steps: 1 })).faces.length).toBe(1)
  })

  test('protects all faces, or the largest alone', async () => {
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
      const mean = photo.data.reduce((s, v, i) => s + v - two.data[i], 0) / photo.data.length
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
