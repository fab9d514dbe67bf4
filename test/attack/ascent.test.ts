/** What this project's presets add to the published loop: soft steps, drawn views, directions, means, less change in flat areas. */
import { describe, expect, test } from 'vitest'
import { STEP_INPUT } from '../../src/attack/ascent.ts'
import { directionDraw, directionOf, type Population } from '../../src/attack/directions.ts'
import { jitterMatrices, mirroredMatrix } from '../../src/attack/jitter.ts'
import { Attack, type AttackImages } from '../../src/attack/loop.ts'
import {
  blurredInput,
  directionInput,
  matrixInput,
  recordObjective,
  type Surrogate,
  viewInput,
} from '../../src/attack/objective.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { textureOf } from '../../src/attack/texture.ts'
import { presetOf } from '../../src/evaluate/preset-text.ts'
import type { Affine } from '../../src/faces/alignment.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { uniformNoise } from '../../src/graph/noise.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { random, uniform } from '../support/random.ts'
import { referenceFunction } from '../support/reference.ts'
import { tinyLpips, tinySurrogates } from '../support/tiny-networks.ts'

const gpu = await testGpu()

const population = (seed: number): Population => ({
  mean: uniform(seed, 8, -0.2, 0.2),
  components: uniform(seed + 1, 5 * 8, -0.5, 0.5),
})
const directed: Surrogate[] = tinySurrogates.map((surrogate, i) => ({
  ...surrogate,
  population: population(7 + 2 * i),
}))

const [height, width] = [40, 44]
const size = height * width
const full: Preset = {
  ...presets.medium,
  stepSize: 0.01,
  lpipsWeight: 3e-4,
  softness: 0.7,
  chroma: 1,
  towards: 0.8,
  awayLimit: 3.5,
}
const place: Affine = [0.33, 0.04, 1, -0.04, 0.33, 3]
const enlarged = ([a, b, x, c, d, y]: Affine, by: number): Affine => [a * by, b * by, x, c * by, d * by, y]

describe('the objective of the face presets', () => {
  const shape = { height, width, faces: 1, grey: false }
  const inputs: Record<string, Float32Array> = {
    clean: uniform(31, 3 * size, 0, 1),
    base: uniform(31, 3 * size, 0, 1),
    delta: uniform(34, 3 * size, -0.1, 0.1),
    [STEP_INPUT]: new Float32Array([0.003]),
    [matrixInput('arcface112')]: Float32Array.from(place),
    [matrixInput('dlib150')]: Float32Array.from(enlarged(place, 4.5)),
  }
  for (const [i, surrogate] of directed.entries()) {
    const { alignment, size: side } = surrogate.network
    const at = alignment === 'arcface112' ? place : enlarged(place, 4.5)
    const [view] = jitterMatrices([i === 1 ? mirroredMatrix(at, side) : at], full.drawn!, 5, i, side)
    inputs[viewInput([surrogate])] = Float32Array.from(view)
    inputs[blurredInput([surrogate])] = Float32Array.of(i === 0 ? 1 : 0)
    inputs[directionInput([surrogate])] = directionOf(surrogate.population!, uniform(90, 5, -1, 1), true)
  }
  const recorded = recordObjective(graph(), {
    shape,
    surrogates: directed,
    perceptual: tinyLpips,
    preset: full,
    masked: false,
  })

  test('is what float64 says, and so is its gradient along any direction', async () => {
    const { total, feature, gradient } = recorded
    using plan = await compile(gpu, { total, feature, gradient }, { poison: true })
    for (const [name, data] of Object.entries(inputs)) if (name !== STEP_INPUT) plan.write(name, data)
    plan.run()
    const found = await plan.read('gradient')
    const objective = referenceFunction([total], inputs, ['delta'])
    const exact = Float64Array.from(inputs.delta)
    expect(relmax(await plan.read('total'), objective({ delta: exact })[0])).toBeLessThan(1e-4)
    const pick = random(35)
    const scale = Math.hypot(...found)
    let smooth = 0
    for (let trial = 0; trial < 4; trial++) {
      const direction = Float64Array.from(found, () => (pick() < 0.5 ? -1 : 1))
      const slope = (h: number) => {
        const [up, down] = [h, -h].map((by) => objective({ delta: exact.map((v, i) => v + by * direction[i]) })[0][0])
        return (up - down) / (2 * h)
      }
      const [whole, half] = [slope(1e-6), slope(5e-7)]
      // A kink between the two ends: no slope to compare with.
      if (Math.abs(whole - half) > 1e-5 * scale) continue
      smooth++
      const along = found.reduce((s, v, i) => s + v * direction[i], 0)
      expect(Math.abs(along - half) / scale).toBeLessThan(1e-4)
    }
    expect(smooth).toBeGreaterThanOrEqual(3)
  })

  test('moves by the soft step', async () => {
    const { gradient, nextDelta } = recorded
    using plan = await compile(gpu, { gradient, nextDelta })
    for (const [name, data] of Object.entries(inputs)) plan.write(name, data)
    plan.run()
    const [g, next] = await Promise.all([plan.read('gradient'), plan.read('nextDelta')])
    const mean = g.reduce((s, v) => s + Math.abs(v), 0) / g.length
    const want = g.map((v, i) => inputs.delta[i] + (0.003 * v) / (Math.abs(v) + full.softness * mean))
    expect(relmax(next, want)).toBeLessThan(1e-5)
  })

  describe('with less colour', () => {
    const chroma = 0.25
    const moved = async (grey: boolean, less: number) => {
      const { gradient, nextDelta } = recordObjective(graph(), {
        shape: { ...shape, grey },
        surrogates: directed,
        perceptual: tinyLpips,
        preset: { ...full, chroma: less },
        masked: false,
      })
      using plan = await compile(gpu, { gradient, nextDelta })
      const delta = grey ? inputs.delta.subarray(0, size) : inputs.delta
      for (const [name, data] of Object.entries({ ...inputs, delta })) plan.write(name, data)
      plan.run()
      const [found, next] = await Promise.all([plan.read('gradient'), plan.read('nextDelta')])
      const mean = found.reduce((s, v) => s + Math.abs(v), 0) / found.length
      const unit = found.map((v) => v / (Math.abs(v) + full.softness * mean))
      return { unit, step: next.map((v, i) => (v - delta[i]) / 0.003) }
    }

    test('the luminance of a step is what it was, and the rest of it smaller', async () => {
      const { unit, step } = await moved(false, chroma)
      const light = (x: Float32Array, i: number) => 0.299 * x[i] + 0.587 * x[size + i] + 0.114 * x[2 * size + i]
      const want = unit.map((v, i) => chroma * v + (1 - chroma) * light(unit, i % size))
      expect(relmax(step, want)).toBeLessThan(1e-4)
      const lights = (x: Float32Array) => x.subarray(0, size).map((_, i) => light(x, i))
      expect(relmax(lights(step), lights(unit))).toBeLessThan(1e-4)
    })

    test('a grey photo, whose change has no colour, moves as before', async () => {
      const [{ step }, { step: before }] = [await moved(true, chroma), await moved(true, 1)]
      expect(step).toEqual(before)
    })
  })

  test('LPIPS looks at the crop alone where the preset says so', async () => {
    const lpipsAt = async (lpipsOf: Preset['lpipsOf'], delta: Float32Array) => {
      const { lpips } = recordObjective(graph(), {
        shape,
        surrogates: tinySurrogates,
        perceptual: tinyLpips,
        preset: { ...full, drawn: undefined, lpipsOf },
        masked: false,
      })
      using plan = await compile(gpu, { lpips })
      plan.write(matrixInput('arcface112'), Float32Array.from([0.25, 0, 1, 0, 0.25, 3]))
      for (const [name, data] of Object.entries({ clean: inputs.clean, base: inputs.base, delta }))
        plan.write(name, data)
      plan.run()
      return (await plan.read('lpips'))[0]
    }
    // The crop ends at column 29.
    const right = inputs.delta.map((v, i) => (i % width >= 31 ? v : 0))
    expect(await lpipsAt('both', right)).toBeGreaterThan(1e-4)
    expect(Math.abs(await lpipsAt('crop', right))).toBeLessThan(1e-9)
    expect(await lpipsAt('crop', inputs.delta)).toBeGreaterThan(1e-4)
  })

  test('repels no more beyond the limit', async () => {
    const distanceAt = async (awayLimit: number) => {
      const g = graph()
      const { feature } = recordObjective(g, {
        shape,
        surrogates: tinySurrogates,
        perceptual: tinyLpips,
        preset: { ...full, drawn: undefined, awayLimit },
        masked: false,
      })
      using plan = await compile(gpu, { feature })
      for (const [name, data] of Object.entries(inputs))
        if (/^(clean|base|delta|sampling)/.test(name)) plan.write(name, data)
      plan.run()
      return (await plan.read('feature'))[0] * 512
    }
    const free = await distanceAt(0)
    expect(free).toBeGreaterThan(0.01)
    expect(await distanceAt(free / 100)).toBeCloseTo(free / 100, 5)
    expect(await distanceAt(4)).toBeCloseTo(free, 5)
  })
})

describe('an attack with all of it', () => {
  const clean = uniform(51, 3 * size, 0.2, 0.8)
  const images: AttackImages = {
    clean,
    base: clean,
    mask: new Float32Array(size).fill(1),
    matrices: new Map([
      ['arcface112', [place]],
      ['dlib150', [enlarged(place, 4.5)]],
    ]),
    draws: [directionDraw(clean, 1)],
  }
  const start = uniformNoise(1, 3 * size, 0.001)
  const open = () =>
    Attack.compile(gpu, {
      shape: { height, width, faces: 1, grey: false },
      surrogates: directed,
      perceptual: tinyLpips,
      preset: full,
      masked: true,
    })

  test('raises the objective, moves no pixel further than its steps, and repeats itself', async () => {
    using attack = await open()
    attack.load(images)
    const steps = 12
    const before = await attack.evaluate(start)
    const delta = await attack.run({ steps, start, seed: 3 })
    expect((await attack.evaluate(delta)).total).toBeGreaterThan(before.total + 0.1 * Math.abs(before.total))
    // Steps fall linearly from the whole to a tenth.
    const most = steps * full.stepSize * 0.55
    expect(Math.max(...delta.map((v, i) => Math.abs(v - start[i])))).toBeLessThanOrEqual(most * 1.0001)
    expect(await attack.run({ steps, start, seed: 3 })).toEqual(delta)
    expect(await attack.run({ steps, start, seed: 4 })).not.toEqual(delta)
  })

  test('takes another way for another draw', async () => {
    using attack = await open()
    attack.load(images)
    const first = await attack.run({ steps: 3, start })
    attack.load({ ...images, draws: [directionDraw(clean, 2)] })
    expect(await attack.run({ steps: 3, start })).not.toEqual(first)
  })

  test('says that draws are missing', async () => {
    using attack = await open()
    expect(() => attack.load({ ...images, draws: undefined })).toThrow(/takes one draw for each face/)
  })
})

describe('jitter', () => {
  const bounds = { degrees: 6, scale: 0.06, shift: 3 }
  const views = Array.from({ length: 300 }, (_, draw) => jitterMatrices([place, [1, 0, 0, 0, 1, 0]], bounds, 9, draw))

  test('turns, enlarges and moves within its bounds, and uses them', () => {
    const found = views.map(([, [a, b, x, c, d, y]]) => {
      expect([d, -b]).toEqual([expect.closeTo(a, 12), expect.closeTo(c, 12)])
      return {
        degrees: (Math.atan2(c, a) * 180) / Math.PI,
        scale: Math.hypot(a, c) - 1,
        right: a * 56 + b * 56 + x - 56,
        down: c * 56 + d * 56 + y - 56,
      }
    })
    const most = { degrees: 6, scale: 0.06, right: 3, down: 3 }
    for (const [key, bound] of Object.entries(most)) {
      const values = found.map((view) => view[key as keyof typeof most])
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(bound + 1e-9)
      expect(Math.max(...values)).toBeGreaterThan(0.9 * bound)
      expect(Math.min(...values)).toBeLessThan(-0.9 * bound)
      expect(Math.abs(values.reduce((s, v) => s + v, 0) / values.length)).toBeLessThan(0.15 * bound)
    }
  })

  test('acts in the crop, before the map to the photo', () => {
    for (const [[a, b, x, c, d, y], [ja, jb, jx, jc, jd, jy]] of views
      .slice(0, 5)
      .map((view, draw) => [view[0], jitterMatrices([[1, 0, 0, 0, 1, 0]], bounds, 9, draw)[0]])) {
      const [p, q, s, u, v, w] = place
      const want = [
        p * ja + q * jc,
        p * jb + q * jd,
        p * jx + q * jy + s,
        u * ja + v * jc,
        u * jb + v * jd,
        u * jx + v * jy + w,
      ]
      for (const [i, value] of [a, b, x, c, d, y].entries()) expect(value).toBeCloseTo(want[i], 10)
    }
  })

  test('shows crops of other sizes the same part of the face', () => {
    const [[a, , x]] = jitterMatrices([[1, 0, 0, 0, 1, 0]], bounds, 9, 4)
    const [[la, , lx]] = jitterMatrices([[1, 0, 0, 0, 1, 0]], bounds, 9, 4, 224)
    expect([la, lx / 2]).toEqual([expect.closeTo(a, 10), expect.closeTo(x, 10)])
  })
})

describe('texture', () => {
  const plane = (value: (x: number, y: number) => number) =>
    Float32Array.from({ length: 3 * size }, (_, i) => value(i % width, Math.floor((i % size) / width)))

  test('is none in flat areas, whole in strong texture, and in between at a soft edge', () => {
    expect(
      Math.max(
        ...textureOf(
          plane(() => 0.7),
          width,
          height,
        ),
      ),
    ).toBeLessThan(0.01)
    const board = textureOf(
      plane((x, y) => ((x + y) % 2 ? 0.2 : 0.8)),
      width,
      height,
    )
    expect(Math.min(...board)).toBe(1)
    const step = textureOf(
      plane((x) => (x < 22 ? 0.5 : 0.56)),
      width,
      height,
    )
    expect(step[20 * width + 2]).toBeLessThan(0.01)
    expect(step[20 * width + 22]).toBeGreaterThan(0.2)
    expect(step[20 * width + 22]).toBeLessThan(0.6)
  })
})

describe('the text of a preset', () => {
  test('names one, or one with other constants', () => {
    expect(presetOf('paper')).toEqual(presets.paper)
    expect(presetOf('default')).toEqual({ ...presets.auto, name: 'default' })
    const text = 'paper:steps=7:blur=none:drawn=1/0.5/2:area=face:decay=true'
    const drawn = { degrees: 1, scale: 0.5, shift: 2 }
    expect(presetOf(text)).toEqual({
      ...presets.paper,
      name: text,
      steps: 7,
      blur: undefined,
      drawn,
      area: 'face',
      decay: true,
    })
  })

  test.each([
    ['bold', /no preset "bold"; there are auto, low, medium, high, paper/],
    ['__proto__', /no preset/],
    ['paper:name=x', /no "name" to set/],
    ['paper:constructor=1', /no "constructor" to set/],
    ['paper:steps=', /no value of steps/],
    ['paper:steps=many', /no value of steps/],
    ['paper:decay=1', /no value of decay/],
    ['paper:blur=7', /blur takes size\/sigma or none/],
    ['paper:area=sea', /no value of area/],
  ])('%s is none', (text, message) => {
    expect(() => presetOf(text)).toThrow(RangeError)
    expect(() => presetOf(text)).toThrow(message)
  })
})
