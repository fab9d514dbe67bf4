/** The region of a face, resampling, and a change added to a photo. */
import { describe, expect, test } from 'vitest'
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
import type { Pixels } from '../../src/pixels/pixels.ts'
import { relmax } from '../support/compare.ts'
import { random, uniform } from '../support/random.ts'

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
    rgb: Uint8Array.from({ length: 3 * width * height }, (_, i) => value(i)),
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
      expect(planes[(c * 6 + y) * 8 + x]).toBe(Math.fround(original.rgb[3 * ((5 + y) * 20 + 3 + x) + c] / 255))
    }
    const result = { ...original, rgb: original.rgb.slice() }
    const change = new Float32Array(3 * 48)
    change[(1 * 6 + 4) * 8 + 2] = 10 / 255
    addChange(result, region, change, 'nearest')
    const changed = Array.from(result.rgb.keys()).filter((i) => result.rgb[i] !== original.rgb[i])
    expect(changed).toEqual([3 * (9 * 20 + 5) + 1])
    expect(result.rgb[changed[0]]).toBe(original.rgb[changed[0]] + 10)
  })

  test.each(['floor', 'nearest'] as const)('leaves pixels without a change as they are (%s)', (rounding) => {
    const original = photo(12, 12, (i) => i % 256)
    const result = { ...original, rgb: original.rgb.slice() }
    addChange(result, at(0, 0, 12, 12), new Float32Array(432), rounding)
    addChange(result, at(0, 0, 12, 12), new Float32Array(432).fill(-0), rounding)
    addChange(result, at(0, 0, 12, 12, 2), new Float32Array(108), rounding)
    expect(result.rgb).toEqual(original.rgb)
  })

  test('is rounded down or to the nearest, and clamped', () => {
    const added = (value: number, by: number, rounding: 'floor' | 'nearest') => {
      const pixel = photo(1, 1, () => value)
      addChange(pixel, at(0, 0, 1, 1), new Float32Array(3).fill(by / 255), rounding)
      return Array.from(pixel.rgb)
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
    const result = { ...original, rgb: original.rgb.slice() }
    addChange(result, region, change, 'nearest')
    const after = workingPlanes(result, region)
    const worst = after.reduce((m, v, i) => Math.max(m, Math.abs(v - before[i] - change[i])), 0)
    expect(worst).toBeLessThan(0.5001 / 255)
    expect(worst).toBeGreaterThan(0.4 / 255)
  })

  test('is enlarged where the region was reduced, and stays inside it', () => {
    const original = photo(40, 30, () => 128)
    const region = at(8, 4, 24, 20, 4)
    const result = { ...original, rgb: original.rgb.slice() }
    addChange(result, region, new Float32Array(3 * 6 * 5).fill(0.1), 'nearest')
    for (let y = 0; y < 30; y++) {
      for (let x = 0; x < 40; x++) {
        const inside = x >= 8 && x < 32 && y >= 4 && y < 24
        // 128 + 25.5 is rounded up.
        const want = inside ? 154 : 128
        if (Math.abs(result.rgb[3 * (40 * y + x)] - want) > (inside ? 1 : 0)) expect.fail(`${x}, ${y}`)
      }
    }
    expect(workingPlanes(result, region).every((v) => Math.abs(v - 154 / 255) < 1.01 / 255)).toBe(true)
  })
})
