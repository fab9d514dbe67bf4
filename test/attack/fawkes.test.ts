/** Fawkes, the baseline: its objective and optimiser against float64, the state of its descent, and photos cloaked. */
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Embedder } from '../../src/attack/embedder.ts'
import { FawkesAttack, type FawkesMode, fawkesModes } from '../../src/attack/fawkes.ts'
import { modifierShape, recordFawkes } from '../../src/attack/fawkes-objective.ts'
import { AttackError } from '../../src/attack/loop.ts'
import { loadNetworks } from '../../src/attack/node.ts'
import type { Surrogate } from '../../src/attack/objective.ts'
import { resamplePlanes } from '../../src/attack/resample.ts'
import { detectFaces, type Face } from '../../src/faces/mtcnn.ts'
import { compile, grad, graph, type Plan } from '../../src/graph/index.ts'
import { uniformNoise } from '../../src/graph/noise.ts'
import { readPhoto } from '../../src/images/index.ts'
import { adadelta, averagePool2d, flatten, linear, mul, square, sub, sum } from '../../src/kernels/index.ts'
import { elements } from '../../src/kernels/op.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import { similarityOf } from '../../src/models/recognisers.ts'
import { cutOut, type Pixels } from '../../src/pixels/pixels.ts'
import { fawkesChecks } from '../operations/fawkes.ts'
import { describeOperation } from '../support/check-operation.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { random, uniform } from '../support/random.ts'
import { everything, LONG } from '../support/scope.ts'

const gpu = await testGpu()

const SIZE = 112
const PIXELS = SIZE * SIZE
const FEATURES = 8
/** Cells a side into which the recognisers here pool a crop. */
const CELLS = 8

/** Recognisers here bring their matrix along. */
const noWeights: Surrogate['weights'] = {
  tensor(name) {
    throw new Error(`no weight ${name}`)
  },
}

/** A recogniser that pools a crop to 8x8 and maps it linearly to 8 numbers. */
function tinyRecogniser(
  seed: number,
  size: number,
  matrix = uniform(seed, FEATURES * 3 * CELLS ** 2),
): Surrogate & { matrix: Float32Array } {
  return {
    matrix,
    network: {
      id: `tiny${seed}`,
      size,
      alignment: 'arcface112',
      embedding: FEATURES,
      threshold: 0.5,
      build: (x) => {
        const weights = x.recorder.constant(matrix, [FEATURES, 3 * CELLS ** 2], 'matrix')
        return linear(flatten(averagePool2d(x, { kernel: size / CELLS })), weights)
      },
    },
    weights: noWeights,
  }
}

const extractors = [tinyRecogniser(1, SIZE), tinyRecogniser(2, SIZE / 2)]

/** The same in float64, normalised. */
function featuresOf({ network: { size }, matrix }: (typeof extractors)[number], planes: Float64Array): number[] {
  const sized = resamplePlanes(Float32Array.from(planes), 3, [SIZE, SIZE], [size, size])
  const exact = size === SIZE ? planes : sized
  const cell = size / CELLS
  const pooled = new Float64Array(3 * CELLS ** 2)
  exact.forEach((value, i) => {
    const [c, y, x] = [Math.floor(i / size ** 2), Math.floor(i / size) % size, i % size]
    pooled[(c * CELLS + Math.floor(y / cell)) * CELLS + Math.floor(x / cell)] += value / cell ** 2
  })
  const raw = Array.from({ length: FEATURES }, (_, row) =>
    pooled.reduce((total, value, i) => total + value * matrix[row * pooled.length + i], 0),
  )
  const length = Math.hypot(...raw)
  return raw.map((value) => value / length)
}

/** Weighted means of planes [3,112,112] in all 11x11 Gaussian windows inside them, deviation 1.5: rows first, then columns. */
function windowed(planes: Float64Array): Float64Array {
  const taps = Array.from({ length: 11 }, (_, k) => Math.exp(-((k - 5) ** 2) / (2 * 1.5 ** 2)))
  const norm = taps.reduce((total, tap) => total + tap, 0)
  const inside = SIZE - 10
  const blend = (from: Float64Array, start: number, stride: number) =>
    taps.reduce((total, tap, k) => total + (tap / norm) * from[start + k * stride], 0)
  const across = Float64Array.from({ length: 3 * SIZE * inside }, (_, i) =>
    blend(planes, Math.floor(i / inside) * SIZE + (i % inside), 1),
  )
  return Float64Array.from({ length: 3 * inside ** 2 }, (_, i) => {
    const plane = Math.floor(i / inside ** 2)
    return blend(across, plane * SIZE * inside + (i - plane * inside ** 2), inside)
  })
}

/** (1 - SSIM) / 2 of planes [3,112,112] in 0..1, by equation 13 of Wang et al. 2004. */
function dssimOf(a: Float64Array, b: Float64Array): number {
  const times = (x: Float64Array, y: Float64Array) => windowed(x.map((value, i) => value * y[i]))
  const [ma, mb, aa, bb, ab] = [windowed(a), windowed(b), times(a, a), times(b, b), times(a, b)]
  const [c1, c2] = [0.01 ** 2, 0.03 ** 2]
  const total = ma.reduce((sumSoFar, x, i) => {
    const y = mb[i]
    const likeness = (2 * x * y + c1) * (2 * (ab[i] - x * y) + c2)
    return sumSoFar + likeness / ((x * x + y * y + c1) * (aa[i] - x * x + bb[i] - y * y + c2))
  }, 0)
  return (1 - total / ma.length) / 2
}

/** A picture with smooth and with busy parts, planes in 0..1; black and white places included. */
function picture(grey: boolean): Float32Array {
  const grain = uniform(5, PIXELS, -0.08, 0.08)
  return Float32Array.from({ length: 3 * PIXELS }, (_, i) => {
    const [c, at] = [grey ? 0 : Math.floor(i / PIXELS), i % PIXELS]
    const [y, x] = [Math.floor(at / SIZE), at % SIZE]
    const value = 0.5 + 0.55 * Math.sin(0.07 * x + c) * Math.cos(0.05 * y - c) + (x > 40 ? grain[at] : 0)
    return Math.min(1, Math.max(0, value))
  })
}

/** The objective as its paper and program have it, in float64, from numbers alone. */
function byHand(planes: Float32Array, modifier: ArrayLike<number>, weight: number, threshold: number) {
  const constant = 2 - 1e-6
  const imageOf = (t: number) => Math.tanh(t) / constant + 0.5
  const source = planes.map((value) => Math.atanh((value - 0.5) * constant))
  const clean = Float64Array.from(source, imageOf)
  const change = clean.map((value, i) => {
    const moved = imageOf(source[i] + modifier[i % modifier.length]) - value
    return Math.min(15 / 255, Math.max(-15 / 255, moved))
  })
  const cloaked = clean.map((value, i) => value + change[i])
  const dssim = dssimOf(cloaked, clean)
  const feature = extractors.reduce((total, extractor) => {
    const [to, from] = [featuresOf(extractor, cloaked), featuresOf(extractor, clean)]
    const distance = to.reduce((sumSoFar, value, i) => sumSoFar + (value - from[i]) ** 2, 0)
    return total + distance / Math.hypot(...from)
  }, 0)
  return { change, dssim, feature, loss: 1e6 * Math.max(dssim - threshold, 0) ** 2 - weight * feature }
}

/** A plan of the objective with everything it computes, its state as before the first step. */
async function steppedPlan(planes: Float32Array, mode: FawkesMode, grey: boolean, poison = false) {
  const { updates, ...outputs } = recordFawkes(graph(), extractors, mode, grey)
  const plan = await compile(gpu, outputs, { updates, poison })
  plan.write(
    'source',
    planes.map((value) => Math.atanh((value - 0.5) * (2 - 1e-6))),
  )
  for (const name of ['weight', 'side', 'first']) plan.write(name, Float32Array.of(1))
  return plan
}

describe('the modes', () => {
  test('are those of Fawkes 1.0', () => {
    expect(fawkesModes).toEqual({
      low: { name: 'fawkes-low', threshold: 0.004, steps: 40, learningRate: 25, extractors: 1 },
      mid: { name: 'fawkes-mid', threshold: 0.012, steps: 75, learningRate: 20, extractors: 2 },
      high: { name: 'fawkes-high', threshold: 0.017, steps: 150, learningRate: 15, extractors: 2 },
    })
  })
})

describe('adadelta', () => {
  test('follows the paper’s rule over many steps, with a learning rate that changes', async () => {
    const start = uniform(1, 12)
    const target = uniform(2, 12)
    const g = graph()
    const p = g.input('p', [3, 4])
    const state = { gradientSquare: g.state('gradientSquare', [3, 4]), stepSquare: g.state('stepSquare', [3, 4]) }
    const rate = g.input('rate', [])
    const gradient = grad(sum(square(sub(p, g.constant(target, [3, 4])))), p)
    const next = adadelta(p, gradient, state, rate, { decay: 0.9, epsilon: 1e-6 })
    using plan: Plan = await compile(
      gpu,
      {},
      {
        updates: [
          [p, next.parameter],
          [state.gradientSquare, next.gradientSquare],
          [state.stepSquare, next.stepSquare],
        ],
      },
    )
    plan.write('p', start)
    const want = Float64Array.from(start)
    const gradients = new Float64Array(12)
    const steps = new Float64Array(12)
    for (let t = 0; t < 25; t++) {
      const now = t < 10 ? 20 : 5
      plan.write('rate', Float32Array.of(now))
      plan.run()
      want.forEach((value, i) => {
        const slope = 2 * (value - target[i])
        gradients[i] = 0.9 * gradients[i] + 0.1 * slope ** 2
        const step = (Math.sqrt(steps[i] + 1e-6) / Math.sqrt(gradients[i] + 1e-6)) * slope
        steps[i] = 0.9 * steps[i] + 0.1 * step ** 2
        want[i] -= now * step
      })
    }
    expect(want.every((value, i) => Math.abs(value - start[i]) > 0.1)).toBe(true)
    expect(relmax(await plan.read('p'), want)).toBeLessThan(1e-5)
    expect(relmax(await plan.read('gradientSquare'), gradients)).toBeLessThan(1e-4)
    expect(relmax(await plan.read('stepSquare'), steps)).toBeLessThan(1e-4)
  })

  test('refuses what is not of the parameter’s shape', () => {
    const g = graph()
    const p = g.input('p', [3, 4])
    const averages = { gradientSquare: g.input('a', [3, 4]), stepSquare: g.input('b', [12]) }
    expect(() => adadelta(p, mul(p, p), averages, 1)).toThrow(
      'adadelta: stepSquare [12] is not of the shape of p [3,4]',
    )
    expect(() => adadelta(p, p, { gradientSquare: p, stepSquare: p }, g.input('rate', [1]))).toThrow(
      'adadelta: learningRate [1] is no scalar []',
    )
  })
})

describe('the objective', () => {
  test.each([false, true])('and its gradient are what float64 says, grey %s', async (grey) => {
    const planes = picture(grey)
    const count = elements(modifierShape(grey))
    // Some places move by more than 15 levels, and broad stripes change the features.
    const modifier = uniform(7, count, -0.16, 0.16).map((v, i) => v + 0.06 * Math.sin(0.1 * (i % SIZE)))
    // Both parts of the loss matter with these.
    const weight = 4096
    const threshold = byHand(planes, modifier, weight, 0).dssim - 0.005
    using plan = await steppedPlan(planes, { ...fawkesModes.low, threshold }, grey, true)
    plan.write('modifier', modifier)
    plan.write('weight', Float32Array.of(weight))
    plan.run()
    const want = byHand(planes, modifier, weight, threshold)
    const parts = [1e6 * 0.005 ** 2, weight * want.feature]
    expect(Math.min(...parts)).toBeGreaterThan(0.1 * Math.max(...parts))
    expect(want.change.filter((v) => Math.abs(v) === 15 / 255).length).toBeGreaterThan(100)
    expect(relmax(await plan.read('change'), want.change)).toBeLessThan(1e-5)
    expect(Math.abs((await plan.read('dssim'))[0] - want.dssim)).toBeLessThan(1e-5 * want.dssim)
    expect(Math.abs((await plan.read('feature'))[0] - want.feature)).toBeLessThan(1e-4 * want.feature)
    expect(Math.abs((await plan.read('loss'))[0] - want.loss)).toBeLessThan(1e-3 * parts[0])

    const gradient = await plan.read('gradient')
    const pick = random(9)
    for (const h of [1e-6, 1e-6, 1e-6]) {
      const direction = Float64Array.from(gradient, (v) => Math.sign(v) * pick())
      const at = (by: number) =>
        byHand(
          planes,
          Float64Array.from(modifier, (v, i) => v + by * direction[i]),
          weight,
          threshold,
        )
      const slope = (at(h).loss - at(-h).loss) / (2 * h)
      const found = gradient.reduce((total, v, i) => total + v * direction[i], 0)
      expect(Math.abs(found - slope)).toBeLessThan(1e-3 * Math.abs(slope))
    }
  })
})

for (const each of fawkesChecks) describeOperation(gpu, each)

describe('the state of the descent', () => {
  /** The program’s rule, which has the last word on the weight and on the side that DSSIM was on. */
  const adapted = (weight: number, side: number, dssim: number, threshold: number): [number, number] => {
    if (dssim <= 0.9 * threshold && weight <= 129) return [side === -1 ? 1 : 2 * weight, 1]
    if (dssim >= 1.1 * threshold && weight >= 1 / 129) return [side === 1 ? 1 : weight / 2, -1]
    return [1, 0]
  }

  test('is carried from step to step as published', async () => {
    const mode: FawkesMode = { ...fawkesModes.mid, learningRate: 20 }
    const planes = picture(false)
    using plan = await steppedPlan(planes, mode, false)
    const first = uniformNoise(3, 3 * PIXELS, 1e-4)
    plan.write('modifier', first)
    const modifier = Float64Array.from(first)
    let gradients = new Float64Array(first.length)
    let steps = new Float64Array(first.length)
    let [weight, side, best] = [1, 1, 0]
    let kept: Float32Array = new Float32Array(first.length)
    const sides = new Set<number>()
    let worse = 0
    for (let step = 0; step < 24; step++) {
      plan.run()
      const read = (name: string) => (plan as Plan).read(name)
      const gradient = await read('gradient')
      const [[dssim], [feature]] = [await read('dssim'), await read('feature')]
      modifier.forEach((_, i) => {
        gradients[i] = 0.95 * gradients[i] + 0.05 * gradient[i] ** 2
        const by = Math.sqrt((steps[i] + 1e-7) / (gradients[i] + 1e-7)) * gradient[i]
        steps[i] = 0.95 * steps[i] + 0.05 * by ** 2
        modifier[i] -= 20 * by + (step === 0 ? 0.01 * Math.sign(gradient[i]) : 0)
      })
      expect(relmax(await read('modifier'), modifier)).toBeLessThan(1e-4)
      // So that roundings do not add up over the steps.
      modifier.set(await read('modifier'))
      if (step === 0) {
        plan.write('first', Float32Array.of(0))
        for (const name of ['gradientSquare', 'stepSquare']) plan.write(name, new Float32Array(first.length))
        gradients = new Float64Array(first.length)
        steps = new Float64Array(first.length)
      }
      ;[weight, side] = adapted(weight, side, dssim, mode.threshold)
      sides.add(side)
      expect((await read('weight'))[0]).toBe(weight)
      // The adapter may give -0.
      expect((await read('side'))[0] + 0).toBe(side)
      if (dssim <= 1.1 * mode.threshold && feature > best) {
        best = feature
        kept = await read('change')
      } else worse++
      expect((await read('best'))[0]).toBe(best)
      expect(await read('kept')).toEqual(kept)
    }
    // What this is about did happen.
    expect(sides.size).toBeGreaterThan(1)
    expect(worse).toBeGreaterThan(0)
    expect(best).toBeGreaterThan(0.01)
  })
})

/** A photo of 160x120 of the picture’s kind; the faces below are only boxes. */
function photoOf(grey: boolean): Pixels {
  const data = new Uint8Array(3 * 160 * 120)
  for (let i = 0; i < data.length; i++) {
    const [c, at] = [grey ? 0 : i % 3, Math.floor(i / 3)]
    const [y, x] = [Math.floor(at / 160), at % 160]
    data[i] = Math.round(127 + 100 * Math.sin(0.13 * x + c) * Math.cos(0.11 * y + c) + 15 * Math.sin(1.7 * x * y))
  }
  return { width: 160, height: 120, rgb: data }
}

const faceAt = (...box: Face['box']): Face => ({
  box,
  score: 1,
  landmarks: [
    [0, 0],
    [0, 0],
    [0, 0],
    [0, 0],
    [0, 0],
  ],
})

/** One beyond a corner of the photo, one that overlaps it, one of few pixels. */
const boxes = [faceAt(-12.4, -8, 50.2, 70), faceAt(40, 30.6, 100, 110), faceAt(140, 100, 152, 115)]
const contains = ([x1, y1, x2, y2]: Face['box'], x: number, y: number): boolean =>
  x >= Math.round(x1) && x < Math.round(x2) && y >= Math.round(y1) && y < Math.round(y2)

describe('a photo', () => {
  test.each([false, true])('changes in the boxes of all faces and nowhere else, grey %s', async (grey) => {
    const photo = photoOf(grey)
    const before = photo.rgb.slice()
    using attack = await FawkesAttack.compile(gpu, extractors, { ...fawkesModes.high, steps: 8 }, { grey })
    const progress: number[][] = []
    const result = await attack.run(photo, boxes, { onProgress: (...at) => progress.push(at) })
    expect(photo.rgb).toEqual(before)
    expect(progress.at(-1)).toEqual([24, 24])
    expect(progress.map(([done]) => done)).toEqual(progress.map(([done]) => done).toSorted((a, b) => a - b))
    const changed = boxes.map(() => 0)
    for (let i = 0; i < before.length; i++) {
      const at = Math.floor(i / 3)
      const [x, y] = [at % 160, Math.floor(at / 160)]
      const inside = boxes.map(({ box }) => contains(box, x, y))
      const by = Math.abs(result.rgb[i] - before[i])
      expect(by).toBeLessThanOrEqual(15 * inside.filter(Boolean).length)
      inside.forEach((is, k) => {
        if (is && by > 0) changed[k]++
      })
      if (grey) expect(result.rgb[i]).toBe(result.rgb[3 * at])
    }
    boxes.forEach(({ box: [x1, y1, x2, y2] }, k) => {
      const pixels = (Math.round(x2) - Math.max(0, Math.round(x1))) * (Math.round(y2) - Math.max(0, Math.round(y1)))
      expect(changed[k], `face ${k}`).toBeGreaterThan(0.3 * 3 * pixels)
    })
  })

  test('is interrupted between steps, and refused where it cannot be cloaked', async () => {
    const photo = photoOf(false)
    using attack = await FawkesAttack.compile(gpu, extractors, { ...fawkesModes.low, steps: 6 })
    const controller = new AbortController()
    const stopped = new Error('stopped')
    const run = attack.run(photo, boxes, { onProgress: () => controller.abort(stopped), signal: controller.signal })
    await expect(run).rejects.toBe(stopped)
    await expect(attack.run(photo, [faceAt(200, 10, 240, 60)])).rejects.toThrow(
      'fawkes: the box (200, 10, 240, 60) of a face has no pixel in a photo of 160x120',
    )
    await expect(attack.run({ ...photo, width: 161 }, boxes)).rejects.toThrow(RangeError)
    await expect(FawkesAttack.compile(gpu, [], fawkesModes.low)).rejects.toThrow('fawkes-low: there is no recogniser')
    // The descent still works after that, the same for the same seed.
    const face = boxes.slice(1, 2)
    const [result, again, other] = [
      await attack.run(photo, face, { seed: 4 }),
      await attack.run(photo, face, { seed: 4 }),
      await attack.run(photo, face, { seed: 5 }),
    ]
    expect(result.rgb).not.toEqual(photo.rgb)
    expect(again.rgb).toEqual(result.rgb)
    expect(other.rgb).not.toEqual(result.rgb)
  })

  test('is not written from numbers that are not finite', async () => {
    const broken = tinyRecogniser(1, SIZE, new Float32Array(FEATURES * 3 * CELLS ** 2).fill(Number.NaN))
    using attack = await FawkesAttack.compile(gpu, [broken], { ...fawkesModes.low, steps: 2 })
    await expect(attack.run(photoOf(false), boxes.slice(0, 1))).rejects.toThrow(AttackError)
  })

  test('is cloaked against as many recognisers as the mode has', async () => {
    const unused: Surrogate = {
      ...extractors[1],
      network: {
        ...extractors[1].network,
        build: () => {
          throw new Error('built')
        },
      },
    }
    using attack = await FawkesAttack.compile(gpu, [extractors[0], unused], fawkesModes.low)
    expect(attack.plan.has('kept')).toBe(true)
    await expect(FawkesAttack.compile(gpu, [extractors[0], unused], fawkesModes.mid)).rejects.toThrow('built')
  })
})

describe('a portrait', () => {
  test.skipIf(!everything)(`is less like itself at most 15 levels and 1.1 thresholds away${LONG}`, async () => {
    const { width, height, rgb } = await readPhoto(
      fileURLToPath(new URL('../../examples/astronaut.png', import.meta.url)),
    )
    const portrait = cutOut({ width, height, rgb }, 120, 0, 330, 220)
    const { detector, surrogates } = await loadNetworks(['sirius'])
    using networks = await mtcnnNetworks(gpu, detector)
    const [face] = await detectFaces(networks, portrait)
    using embedder = await Embedder.compile(gpu, surrogates)
    const mode: FawkesMode = { ...fawkesModes.mid, steps: 17 }
    using attack = await FawkesAttack.compile(gpu, surrogates, mode)
    const result = await attack.run(portrait, [face])

    // Squared distance of unit features, which is 0 at first; 4 are opposite.
    const [best] = await attack.plan.read('best')
    expect(best).toBeGreaterThan(1)
    const source = await attack.plan.read('source')
    const kept = await attack.plan.read('kept')
    const clean = Float64Array.from(source, (t) => Math.tanh(t) / (2 - 1e-6) + 0.5)
    const dssim = dssimOf(
      clean,
      clean.map((value, i) => value + kept[i]),
    )
    expect(dssim).toBeGreaterThan(0.1 * mode.threshold)
    expect(dssim).toBeLessThanOrEqual(1.1001 * mode.threshold)
    let largest = 0
    for (let i = 0; i < result.rgb.length; i++) {
      largest = Math.max(largest, Math.abs(result.rgb[i] - portrait.rgb[i]))
    }
    expect(largest).toBeGreaterThan(2)
    expect(largest).toBeLessThanOrEqual(15)
    const [before, after] = await Promise.all(
      [portrait, result].map(async (photo) => (await embedder.embed(photo, face.landmarks)).get('sirius')!),
    )
    expect(similarityOf(before, after)).toBeLessThan(0.95)
  })
})
