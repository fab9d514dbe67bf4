import { describe, expect, test } from 'vitest'
import { drawText, textWidth } from '../../src/images/glyphs.ts'
import { comparePicture, type Photo, readPhoto } from '../../src/images/index.ts'
import { greatestDifference, noise, photo, smooth } from '../support/made-photos.ts'

describe('the comparison', () => {
  /** Where a text stands in a picture, exactly: letters black, all else in its box and beside it white. */
  function reads(page: Photo, text: string, x: number, y: number, scale: number): boolean {
    const expected = new Set<number>()
    drawText(text, scale, (dx, dy, size) => {
      for (let i = 0; i < size * size; i++) {
        expected.add((y + dy + Math.floor(i / size)) * page.width + x + dx + (i % size))
      }
    })
    for (let row = y; row < y + 7 * scale; row++) {
      for (let column = x; column < x + textWidth(`${text} `, scale); column++) {
        const i = row * page.width + column
        if (page.rgb[3 * i] !== (expected.has(i) ? 0 : 255)) return false
      }
    }
    return true
  }
  const pixel = (page: Photo, x: number, y: number) => [
    ...page.rgb.subarray(3 * (y * page.width + x), 3 * (y * page.width + x) + 3),
  ]

  test('shows both photos as they are, the signed difference, and says how much it is multiplied', async () => {
    const [width, height] = [200, 160]
    const before = photo(width, height, smooth(width, height))
    const after = { ...before, rgb: before.rgb.map((v, i) => (i < 3000 ? v + ((i % 3) - 1) * 9 : v)) }
    const page = await readPhoto(await comparePicture(before, after))
    // letters of size 1: 3 + 7 + 3 rows above; 12 pixels around
    expect([page.width, page.height]).toEqual([3 * width + 48, 13 + height + 12])
    for (const [x, y] of [
      [0, 0],
      [17, 3],
      [199, 159],
    ]) {
      const i = 3 * (y * width + x)
      expect(pixel(page, 12 + x, 13 + y)).toEqual([...before.rgb.subarray(i, i + 3)])
      expect(pixel(page, 12 + 212 + x, 13 + y)).toEqual([...after.rgb.subarray(i, i + 3)])
    }
    expect(pixel(page, 12 + 424 + 17, 13 + 3)).toEqual([128 - 108, 128, 128 + 108])
    expect(pixel(page, 12 + 424 + 17, 13 + 100)).toEqual([128, 128, 128])
    expect(reads(page, 'before', 12, 3, 1)).toBe(true)
    expect(reads(page, 'after', 12 + 212, 3, 1)).toBe(true)
    expect(reads(page, 'difference x12', 12 + 424, 3, 1)).toBe(true)
    expect(reads(page, 'difference x10', 12 + 424, 3, 1)).toBe(false)
  })

  test('chooses the factor by the changed values, however few, and not by single outliers', async () => {
    const before = photo(300, 300, new Uint8Array(270000).fill(100))
    const changed = (values: number[]) => {
      const rgb = before.rgb.slice()
      values.forEach((v, i) => {
        rgb[i] += v
      })
      return { ...before, rgb }
    }
    const factor = async (after: Photo) => {
      const page = await readPhoto(await comparePicture(before, after))
      const x = 12 + 2 * 312
      return [0.5, 1, 3, 12, 20, 40, 100].filter((f) => reads(page, `difference x${f}`, x, 6, 2))
    }
    expect(await factor(changed([1]))).toEqual([100])
    expect(await factor(changed([3, 3, 3, -3]))).toEqual([40])
    expect(await factor(changed([40]))).toEqual([3])
    expect(await factor(changed([-100]))).toEqual([1])
    expect(await factor(changed([155]))).toEqual([0.5])
    expect(await factor(changed([...new Array(5000).fill(10), 120]))).toEqual([12])
    const same = await readPhoto(await comparePicture(before, before))
    expect(reads(same, 'no difference', 12 + 2 * 312, 6, 2)).toBe(true)
  })

  test('scales large photos down, and says that too', async () => {
    const [width, height] = [1000, 2048]
    const before = photo(width, height, smooth(width, height), { alpha: new Uint8Array(width * height).fill(255) })
    const after = { ...before, rgb: before.rgb.map((v) => v + 6) }
    const page = await readPhoto(await comparePicture(before, after))
    expect([page.width, page.height]).toEqual([3 * 500 + 48, 52 + 1024 + 12])
    expect(reads(page, 'difference x20 at 50%', 12 + 2 * 512, 12, 4)).toBe(true)
    expect(greatestDifference(pixel(page, 12 + 1024 + 250, 700), [248, 248, 248])).toBeLessThanOrEqual(1)
  })

  test('fits captions over photos that are narrower', async () => {
    const tiny = photo(8, 8, noise(192))
    const page = await readPhoto(await comparePicture(tiny, tiny))
    expect(page.width).toBe(3 * textWidth('no difference', 1) + 48)
    expect(reads(page, 'no difference', 24 + 2 * textWidth('no difference', 1) + 12, 3, 1)).toBe(true)
  })

  test('refuses photos of different sizes, and letters that are not drawn', async () => {
    const a = photo(2, 2, new Uint8Array(12))
    await expect(comparePicture(a, photo(1, 4, new Uint8Array(12)))).rejects.toThrow(/differ in size, 2 x 2 and 1 x 4/)
    expect(() => drawText('Q', 1, () => {})).toThrow('no glyph for "Q"')
  })
})
