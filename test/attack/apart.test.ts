/** A person's photos as a set: what later ones are kept apart from, and the term of the objective that does it. */
import { describe, expect, test } from 'vitest'
import { type EarlierFace, farthestDraw, nearest, ProtectedFaces, SLOTS } from '../../src/attack/apart.ts'
import { directionDraw, directionOf, fromMean } from '../../src/attack/directions.ts'
import type { FaceEmbeddings } from '../../src/attack/embedder.ts'
import { Attack } from '../../src/attack/loop.ts'
import {
  apartInput,
  changeShape,
  directionInput,
  matrixInput,
  recordObjective,
  type Surrogate,
  stacksOf,
} from '../../src/attack/objective.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import type { Affine } from '../../src/faces/alignment.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { elements } from '../../src/kernels/op.ts'
import { type Recogniser, similarityOf } from '../../src/models/recognisers.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { random, uniform } from '../support/random.ts'
import { referenceFunction } from '../support/reference.ts'
import { everything } from '../support/scope.ts'
import { tinyLpips, tinySurrogates } from '../support/tiny-networks.ts'

const gpu = await testGpu()

const population = (seed: number) => ({
  mean: uniform(seed, 8, -0.4, 0.4),
  components: uniform(seed + 1, 5 * 8, -0.5, 0.5),
})
const known: Surrogate[] = tinySurrogates.map((surrogate, i) => ({ ...surrogate, population: population(71 + 2 * i) }))
const ids = known.map(({ network }) => network.id)
const unit = (values: Float32Array) => values.map((v) => v / Math.hypot(...values))
const embeddings = (...rows: readonly Float32Array[]): FaceEmbeddings =>
  new Map(ids.map((id, k) => [id, unit(rows[k])]))
const anyone = (seed: number) => embeddings(uniform(seed, 8, -1, 1), uniform(seed + 500, 8, -1, 1))

const [height, width, faces, slots] = [40, 44, 2, 3]
const size = 3 * height * width
const shape = { height, width, faces, grey: false, slots }
const clean = uniform(31, size, 0, 1)
const places: Affine[] = [
  [0.33, 0.04, 1, -0.04, 0.33, 3],
  [0.24, -0.1, 22, 0.1, 0.24, -4],
]
const enlarged = (by: number) => places.map((place) => place.map((v, i) => (i % 3 === 2 ? v : by * v)) as Affine)
const matrices = new Map<Recogniser['alignment'], Affine[]>([
  ['arcface112', enlarged(1)],
  ['dlib150', enlarged(4.5)],
] as const)

describe('the term of the objective', () => {
  const preset: Preset = { ...presets.medium, drawn: undefined, decay: false, softness: 0, chroma: 1, towards: 0 }
  /** The second face has one slot empty, the first two. */
  const rowsOf = (stack: number) => {
    const rows = new Float32Array(faces * slots * 8)
    for (const at of [0, 3, 4]) rows.set(unit(uniform(90 + 7 * stack + at, 8, -1, 1)), 8 * at)
    return rows
  }
  const inputs: Record<string, Float32Array> = {
    clean,
    base: clean.map((v, i) => v + 0.02 * Math.sin(i)),
    delta: uniform(34, elements(changeShape(shape)), -0.1, 0.1),
    ...Object.fromEntries([...matrices].map(([name, rows]) => [matrixInput(name), Float32Array.from(rows.flat())])),
    ...Object.fromEntries(stacksOf(known, true).map((stack, k) => [apartInput(stack), rowsOf(k)])),
  }
  const recorded = (changed: Partial<Preset>, without = false) =>
    recordObjective(graph(), {
      shape: without ? { ...shape, slots: 0 } : shape,
      surrogates: known,
      perceptual: tinyLpips,
      preset: { ...preset, ...changed },
      masked: false,
    })
  const run = async ({ feature, gradient }: ReturnType<typeof recorded>, more: Record<string, Float32Array> = {}) => {
    using plan = await compile(gpu, { feature, gradient }, { poison: true })
    for (const [name, data] of Object.entries({ ...inputs, ...more })) if (plan.has(name)) plan.write(name, data)
    plan.run()
    return { feature: (await plan.read('feature'))[0], gradient: await plan.read('gradient') }
  }

  test.each(everything ? [2, 2.6, 0] : [2])('and its gradient are those of float64, limit %s', async (awayLimit) => {
    const objective = recorded({ awayLimit, apart: 3, lpipsWeight: 1e-9 })
    const { feature, gradient } = await run(objective)
    const value = referenceFunction([objective.feature], inputs, ['delta'])
    const exact = Float64Array.from(inputs.delta)
    expect(Math.abs(feature - value({ delta: exact })[0][0])).toBeLessThan(1e-5 * Math.abs(feature) + 1e-7)
    const pick = random(35)
    for (let k = 0; k < 3; k++) {
      const direction = gradient.map((v) => (pick() < 0.5 ? -1 : 1) * (pick() < 0.5 ? 1 : Math.sign(v)))
      const at = (h: number) => value({ delta: exact.map((v, i) => v + h * direction[i]) })[0][0]
      const slope = (at(1e-6) - at(-1e-6)) / 2e-6
      const along = gradient.reduce((sum, v, i) => sum + v * direction[i], 0)
      expect(Math.abs(along - slope) / Math.hypot(...gradient)).toBeLessThan(2e-4)
    }
    // Without the term it is another.
    expect(relmax((await run(recorded({ awayLimit, lpipsWeight: 1e-9 }, true))).gradient, gradient)).toBeGreaterThan(
      0.05,
    )
  })

  test('is the sum of cut distances to unit features, but for a constant; empty slots count nothing', async () => {
    // Where the photo is unchanged, its features are the targets.
    const still = { delta: new Float32Array(size), base: clean }
    const { targets } = recorded({})
    using plan = await compile(gpu, Object.fromEntries(targets.map((target, k) => [ids[k], target])))
    for (const name of ['clean', 'sampling.arcface112', 'sampling.dlib150']) plan.write(name, inputs[name])
    const features = await Promise.all(ids.map((id) => plan.read(id)))
    for (const awayLimit of [2, 2.6]) {
      let lacking = 0
      for (const [k, rows] of stacksOf(known, true).map((_, k) => [k, rowsOf(k)] as const)) {
        for (const at of [0, 3, 4]) {
          const face = Math.floor(at / slots)
          const own = features[k].subarray(8 * face, 8 * face + 8)
          const other = rows.subarray(8 * at, 8 * at + 8)
          const distance = own.reduce((sum, v, i) => sum + (v - other[i]) ** 2, 0)
          lacking += 2 - Math.min(distance, awayLimit)
        }
      }
      const [whole, without] = [
        await run(recorded({ awayLimit, apart: 0.5, blur: undefined }), still),
        await run(recorded({ awayLimit, blur: undefined }, true), still),
      ]
      expect(whole.feature - without.feature).toBeCloseTo((-0.5 * lacking) / (2 * 512), 6)
      const none = Object.fromEntries(
        stacksOf(known, true).map((stack) => [apartInput(stack), new Float32Array(faces * slots * 8)]),
      )
      const empty = await run(recorded({ awayLimit, apart: 0.5 }), none)
      const bare = await run(recorded({ awayLimit }, true))
      expect(empty.feature).toBeCloseTo(bare.feature, 8)
      expect(relmax(empty.gradient, bare.gradient)).toBeLessThan(1e-5)
    }
  })

  test('is of features from the mean, for each face of its own, and goes no further than it needs', async () => {
    const parts = { surrogates: known, perceptual: tinyLpips, masked: false }
    const draws = [uniform(81, 5, -1, 1), uniform(82, 5, -1, 1)]
    // One view, that of the targets: an unchanged photo has their features.
    const preset = { ...presets.medium, drawn: undefined, blur: undefined, apart: 1 }
    using attack = await Attack.compile(gpu, { ...parts, shape, preset })
    const photo = { clean, base: clean, matrices, draws }
    const others = [[anyone(1), anyone(2)], [anyone(3)]]
    attack.load({ ...photo, apartFrom: others })
    const start = new Float32Array(size)
    const value = async () => (await attack.evaluate(start)).feature
    const full = await value()
    attack.setApart([others[0], []])
    const first = await value()
    attack.setApart([[], others[1]])
    const second = await value()
    attack.setApart([[], []])
    const none = await value()
    expect(full - none).toBeCloseTo(first - none + (second - none), 6)
    using plan = await compile(
      gpu,
      Object.fromEntries(
        recordObjective(graph(), { ...parts, shape, preset: presets.medium }).targets.map((target, k) => [
          ids[k],
          target,
        ]),
      ),
    )
    for (const name of ['clean', 'sampling.arcface112', 'sampling.dlib150']) plan.write(name, inputs[name])
    let lacking = 0
    for (const [k, id] of ids.entries()) {
      const features = await plan.read(id)
      for (const [face, list] of others.entries()) {
        const own = features.subarray(8 * face, 8 * face + 8)
        for (const other of list)
          lacking += 2 * Math.max(0, similarityOf(own, fromMean(known[k].population!, other.get(id)!)))
      }
    }
    expect(lacking).toBeGreaterThan(0.1)
    expect(none - full).toBeCloseTo(lacking / (2 * 512), 6)
    expect(() => attack.setApart([[]])).toThrow(RangeError)
    expect(() => attack.setApart([Array.from({ length: slots + 1 }, () => anyone(1)), []])).toThrow(RangeError)
    expect(() => attack.load(photo)).toThrow(RangeError)
  })

  test('is not in the published loop', () => {
    for (const name of ['paper', 'small', 'no-blur'] as const) expect(presets[name].apart).toBe(0)
    expect(directionInput(known)).not.toBe(apartInput(known))
  })
})

describe('faces that were protected', () => {
  const accepted = (one: Float32Array, other: number) => embeddings(one, uniform(other, 8, -1, 1))
  const [one, stranger] = [uniform(1, 8, -1, 1), uniform(2, 8, -1, 1).map((v, i) => (i < 4 ? v : 5 * v))]
  const face = (photo: string, clean: FaceEmbeddings, result = anyone(9)): EarlierFace => ({ photo, clean, result })
  const third: Surrogate = { ...known[0], network: { ...known[0].network, id: 'third' } }
  const three = [...known, third]
  const asThree = (a: Float32Array, b: Float32Array, c: Float32Array): FaceEmbeddings =>
    new Map([...ids, 'third'].map((id, k) => [id, unit([a, b, c][k])]))
  const near = (v: Float32Array, by = 0.01) => v.map((x, i) => x + by * Math.cos(i))

  test('are of the same person where at least half of the recognisers say so', () => {
    const faces = new ProtectedFaces()
    faces.add(
      face('all', asThree(one, one, one)),
      face('two of three', asThree(one, one, stranger)),
      face('one of three', asThree(one, stranger, stranger)),
      face('a stranger', asThree(stranger, stranger, stranger)),
    )
    const found = faces.ofPerson(asThree(near(one), near(one), near(one)), three)
    expect(found.map(({ photo }) => photo)).toEqual(['all', 'two of three'])
    expect(faces.size).toBe(4)
    const two = faces.ofPerson(asThree(near(one), near(one), near(one)), three.slice(1))
    expect(two.map(({ photo }) => photo)).toEqual(['all', 'two of three'])
  })

  test('of a copy of a photo are those before it, so that it comes to the same', () => {
    const faces = new ProtectedFaces()
    const itself = embeddings(near(one, 0.02), near(one, 0.02))
    const after = embeddings(near(one, 0.03), near(one, 0.03))
    faces.add(face('before', embeddings(one, one)), face('itself', itself), face('after', after))
    const photos = (of: FaceEmbeddings, also: EarlierFace[] = []) =>
      faces.ofPerson(of, known, also).map(({ photo }) => photo)
    expect(photos(new Map([...itself].map(([id, values]) => [id, values.slice()])))).toEqual(['before'])
    const further = [face('beside', embeddings(one, one))]
    expect(photos(embeddings(near(one), near(one)), further)).toEqual(['before', 'itself', 'after', 'beside'])
  })

  test('that is protected anew has one result, in its old place', () => {
    const faces = new ProtectedFaces()
    const again = face('again', embeddings(one, one))
    faces.add(face('first', embeddings(one, one)), face('second', embeddings(near(one), near(one))), again)
    expect(faces.size).toBe(2)
    const found = faces.ofPerson(embeddings(near(one, 0.03), near(one, 0.03)), known)
    expect(found.map(({ photo }) => photo)).toEqual(['again', 'second'])
    expect(found[0].result).toBe(again.result)
  })

  test('fill the slots by the nearest, by the way from the threshold', () => {
    const lists = Array.from({ length: SLOTS + 3 }, (_, k) =>
      face(`${k}`, anyone(40), accepted(near(one, 0.2 * k), 300 + k)),
    )
    const low: Surrogate[] = known.map((each, k) => ({
      ...each,
      network: { ...each.network, threshold: k === 0 ? 0.3 : 0.999 },
    }))
    const found = nearest(lists.toReversed(), embeddings(one, uniform(7, 8, -1, 1)), low)
    expect(found).toEqual(lists.slice(0, SLOTS).map(({ result }) => result))
  })

  test('decide of the draws of a photo: the farthest; without them it is the first', () => {
    const draw = (earlier: EarlierFace[], preset: Preset = presets.medium) =>
      farthestDraw(clean, 5, earlier, known, preset)
    const first = directionDraw(clean, 5)
    expect(draw([])).toEqual(first)
    const directions = (of: Float32Array) => known.map(({ population }) => directionOf(population!, of, true))
    // An earlier result that lies where the first draw leads.
    const there = embeddings(
      ...directions(first).map((d, k) => d.map((v, i) => v * 1.5 + known[k].population!.mean[i])),
    )
    const chosen = draw([face('there', anyone(1), there)])
    const likeness = (of: Float32Array) =>
      directions(of).reduce(
        (sum, d, k) => sum + similarityOf(d, fromMean(known[k].population!, there.get(ids[k])!)) / 2,
        0,
      )
    expect(likeness(chosen)).toBeLessThan(0)
    expect(likeness(first)).toBeGreaterThan(0.5)
    expect(draw([face('there', anyone(1), there)])).toEqual(chosen)
    expect(draw([face('there', anyone(1), there)], { ...presets.medium, towards: 0 })).toEqual(first)
  })
})
