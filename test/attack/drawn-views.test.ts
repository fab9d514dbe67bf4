/** One drawn view a step in the place of all four, and features relative to the mean of many people's. */
import { describe, expect, test } from 'vitest'
import { type DrawnView, drawnView, mirroredMatrix } from '../../src/attack/jitter.ts'
import { Attack } from '../../src/attack/loop.ts'
import { matrixInput, recordObjective, type Surrogate } from '../../src/attack/objective.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { type Affine, transform } from '../../src/faces/alignment.ts'
import { compile, graph } from '../../src/graph/index.ts'
import type { Recogniser } from '../../src/models/recognisers.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'
import { tinyLpips, tinySurrogates } from '../support/tiny-networks.ts'

const gpu = await testGpu()

const population = (seed: number) => ({
  mean: uniform(seed, 8, -0.4, 0.4),
  components: uniform(seed + 1, 5 * 8, -0.5, 0.5),
})
const known: Surrogate[] = tinySurrogates.map((surrogate, i) => ({ ...surrogate, population: population(61 + 2 * i) }))
const [height, width] = [40, 44]
const shape = { height, width, faces: 1, grey: false }
const clean = uniform(62, 3 * height * width, 0.2, 0.8)
const place: Affine = [0.33, 0.04, 1, -0.04, 0.33, 3]
const alignments = new Map<Recogniser['alignment'], Affine[]>([
  ['arcface112', [place]],
  ['dlib150', [place.map((v) => 4.5 * v) as Affine]],
] as const)

describe('the view of a step', () => {
  const textOf = ({ blurred, mirrored }: DrawnView) => `${blurred} ${mirrored}`

  test('is each of the four once in every four steps', () => {
    for (const surrogate of [0, 1, 2]) {
      for (let first = 0; first < 48; first += 4) {
        const views = [0, 1, 2, 3].map((k) => textOf(drawnView(5, first + k, surrogate)))
        expect(new Set(views).size).toBe(4)
      }
    }
  })

  test('comes in an order that differs between surrogates, blocks and seeds, and is the same again', () => {
    const course = (seed: number, surrogate: number, first = 0) =>
      Array.from({ length: 24 }, (_, k) => textOf(drawnView(seed, first + k, surrogate))).join()
    expect(course(5, 1)).toBe(course(5, 1))
    expect(new Set([course(5, 0), course(5, 1), course(5, 2), course(6, 0), course(5, 0, 24)]).size).toBe(5)
  })

  test('mirrored shows the left where the right was', () => {
    const mirrored = mirroredMatrix(place, 112)
    for (const [u, v] of [
      [0, 0],
      [30, 71.5],
      [112, 5],
    ] as const) {
      const [x, y] = transform(mirrored, [u, v])
      const [wantX, wantY] = transform(place, [112 - u, v])
      expect([x, y]).toEqual([expect.closeTo(wantX, 10), expect.closeTo(wantY, 10)])
    }
  })
})

describe('features from the mean', () => {
  const targetsOf = async (surrogates: readonly Surrogate[], centred: boolean) => {
    const preset = { ...presets.medium, centred, towards: 0 }
    const { targets } = recordObjective(graph(), { shape, surrogates, perceptual: tinyLpips, preset, masked: false })
    using plan = await compile(gpu, Object.fromEntries(targets.map((target, k) => [`${k}`, target])))
    plan.write('clean', clean)
    for (const { alignment } of new Set(surrogates.map(({ network }) => network)))
      plan.write(matrixInput(alignment), Float32Array.from(alignments.get(alignment)![0]))
    return Promise.all(targets.map((_, k) => plan.read(`${k}`)))
  }
  const fromMean = (features: Float32Array, mean: Float32Array) => {
    const moved = features.map((v, i) => v - mean[i])
    const norm = Math.hypot(...moved)
    return moved.map((v) => v / norm)
  }

  test('are unit vectors of what is left without the mean; without a population they stay', async () => {
    const [first, unknown] = [known[0], tinySurrogates[1]]
    const [raw, other] = await targetsOf([first, unknown], false)
    const [moved, same] = await targetsOf([first, unknown], true)
    expect(relmax(moved, fromMean(raw, first.population!.mean))).toBeLessThan(1e-5)
    expect(same).toEqual(other)
  })
})

test('a step of another view is another step; the published loop takes no draw', async () => {
  const start = new Float32Array(3 * height * width)
  const after = async (preset: Preset, seed: number) => {
    using attack = await Attack.compile(gpu, { shape, surrogates: known, perceptual: tinyLpips, preset, masked: false })
    attack.load({ clean, base: clean, matrices: alignments, draws: [uniform(63, 5, -1, 1)] })
    return await attack.run({ steps: 1, start, seed })
  }
  const still = { degrees: 0, scale: 0, shift: 0 }
  const drawn = { ...presets.medium, drawn: still }
  const steps = await Promise.all([1, 2, 3, 4, 5, 6].map((seed) => after(drawn, seed)))
  expect(new Set(steps.map(String)).size).toBeGreaterThan(1)
  expect(await after({ ...presets.paper, blur: { size: 7, sigma: 3 } }, 1)).toEqual(
    await after({ ...presets.paper, blur: { size: 7, sigma: 3 } }, 2),
  )
})
