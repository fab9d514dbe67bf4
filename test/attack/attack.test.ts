/** The first noise, and an attack step by step. */
import { describe, expect, test } from 'vitest'
import { Attack, AttackError, type AttackImages } from '../../src/attack/loop.ts'
import type { ObjectiveShape } from '../../src/attack/objective.ts'
import { presets } from '../../src/attack/presets.ts'
import { uniformNoise } from '../../src/graph/noise.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'
import { tinyLpips, tinySurrogates } from '../support/tiny-networks.ts'

const gpu = await testGpu()

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
    Attack.compile(gpu, { shape: { ...shape, grey }, surrogates, perceptual: tinyLpips, preset, masked })

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
