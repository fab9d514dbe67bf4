/** Resizing as Pillow does it, and cutting out. */
import { describe, expect, test } from 'vitest'
import { cutOut, type Pixels } from '../../src/pixels/pixels.ts'
import { resize } from '../../src/pixels/resize.ts'
import { goldenCases, pixels, random } from '../support/detections.ts'

function noise(width: number, height: number, seed: number): Pixels {
  const next = random(seed)
  return { width, height, rgb: Uint8Array.from({ length: 3 * width * height }, () => 256 * next()) }
}

describe('resize', () => {
  const resizeCases = goldenCases.filter(({ golden }) => golden.name.startsWith('d_pil_resize'))
  describe('agrees with Pillow', () => {
    for (const { name, golden } of resizeCases) {
      for (const tensor of golden.tensors) {
        const target = /^(.+)_(\d+)x(\d+)$/.exec(tensor)
        if (!target) continue
        test(`${name}: ${tensor}`, () => {
          const source = pixels(golden, target[1] === 'pil' ? 'src' : target[1])
          const resized = resize(source, Number(target[2]), Number(target[3]))
          expect([resized.height, resized.width, 3]).toEqual(golden.shape(tensor))
          const [got, want] = golden.pair(tensor, resized.rgb)
          let largest = 0
          let unequal = 0
          got.forEach((value, i) => {
            largest = Math.max(largest, Math.abs(value - want[i]))
            if (value !== want[i]) unequal++
          })
          expect(largest).toBeLessThanOrEqual(1)
          expect(unequal / got.length).toBeLessThan(0.001)
        })
      }
    }
  })

  test('rounds a half up, after each pass', () => {
    expect(resize({ width: 2, height: 1, rgb: Uint8Array.of(0, 10, 254, 1, 20, 255) }, 1, 1).rgb).toEqual(
      Uint8Array.of(1, 15, 255),
    )
    // Rows first: (0, 1) -> 1 and (0, 0) -> 0; then (1, 0) -> 1, where the mean of all four would give 0.
    const quad = Uint8Array.of(0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    expect(resize({ width: 2, height: 2, rgb: quad }, 1, 1).rgb).toEqual(Uint8Array.of(1, 1, 1))
  })

  test('leaves a photo of the same size as it is, in memory of its own', () => {
    const image = noise(9, 7, 1)
    const same = resize(image, 9, 7)
    expect(same).toEqual(image)
    expect(same.rgb).not.toBe(image.rgb)
  })

  test('keeps one colour one colour, shrinking by far and enlarging', () => {
    const white = { width: 301, height: 40, rgb: new Uint8Array(3 * 301 * 40).fill(255) }
    for (const [width, height] of [
      [1, 1],
      [13, 12],
      [700, 3],
      [302, 41],
    ]) {
      const { rgb: data } = resize(white, width, height)
      expect(data.length).toBe(3 * width * height)
      expect(data.every((value) => value === 255)).toBe(true)
    }
  })

  test('mirrors with the photo', () => {
    const image = noise(50, 20, 2)
    const mirrored = ({ width, height, rgb: data }: Pixels): Pixels => ({
      width,
      height,
      rgb: data.map((_, i) => {
        const x = Math.floor(i / 3) % width
        return data[i + 3 * (width - 1 - 2 * x)]
      }),
    })
    // 50 to 20 and 20 to 8 are exact in binary fractions, so both sides round alike.
    expect(mirrored(resize(image, 20, 8))).toEqual(resize(mirrored(image), 20, 8))
  })

  test('refuses wrong sizes', () => {
    const image = noise(4, 4, 3)
    for (const [width, height] of [
      [0, 4],
      [4, -1],
      [2.5, 4],
      [Number.NaN, 4],
    ]) {
      expect(() => resize(image, width, height)).toThrow(/resize: 4x4 to .* whole numbers from 1/)
    }
    expect(() => resize({ ...image, width: 5 }, 2, 2)).toThrow('resize: 5x4 RGB needs 60 bytes')
    expect(() => resize({ ...image, height: 0 }, 2, 2)).toThrow(RangeError)
  })
})

describe('cutOut', () => {
  test('a cut-out over the border is black there', () => {
    const image = { width: 2, height: 2, rgb: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) }
    expect(cutOut(image, 1, -1, 2, 1)).toEqual({
      width: 2,
      height: 3,
      rgb: Uint8Array.of(0, 0, 0, 0, 0, 0, 4, 5, 6, 0, 0, 0, 10, 11, 12, 0, 0, 0),
    })
    expect(cutOut(image, 0, 0, 1, 1)).toEqual(image)
    expect(cutOut(image, 5, 5, 6, 6).rgb).toEqual(new Uint8Array(12))
  })
})
