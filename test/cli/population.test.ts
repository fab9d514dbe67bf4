/** Directions for photos: how they are drawn, what populations are made of, and their file. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  directionDraw,
  directionOf,
  MOST_COMPONENTS,
  normalNoise,
  type Population,
} from '../../src/attack/directions.ts'
import { loadNetworks, loadSurrogates, recognisersOf } from '../../src/attack/node.ts'
import {
  choosePopulations,
  openPopulations,
  type PopulationFile,
  packPopulations,
} from '../../src/attack/population-file.ts'
import { loadPopulations, POPULATIONS, readPopulations, verifyPopulations } from '../../src/attack/populations.ts'
import { averagedByPerson, populationsOf } from '../../src/evaluate/population.ts'
import { WeightsDamagedError, WeightsError } from '../../src/weights/errors.ts'
import { loadManifest, weightsFolder } from '../../src/weights/node.ts'
import { decodeFloat16, encodeFloat16 } from '../../src/weights/numbers.ts'
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts'
import { lowkey, room } from '../support/cli.ts'
import { cosine } from '../support/compare.ts'
import { random, uniform } from '../support/random.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'

afterEach(() => vi.unstubAllEnvs())

const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((s, v) => s + v, 0) / values.length

describe('normal noise', () => {
  const noise = normalNoise(3, 40_000)

  test('has the moments and the tails of the normal distribution', () => {
    // Standard errors of 40,000 numbers: .005, .007, .012 and .05.
    expect(Math.abs(mean(noise))).toBeLessThan(0.02)
    expect(Math.abs(mean(noise.map((v) => v ** 2)) - 1)).toBeLessThan(0.03)
    expect(Math.abs(mean(noise.map((v) => v ** 3)))).toBeLessThan(0.06)
    expect(Math.abs(mean(noise.map((v) => v ** 4)) - 3)).toBeLessThan(0.2)
    expect(Math.abs(mean(noise.map((v) => (Math.abs(v) > 1.959964 ? 1 : 0))) - 0.05)).toBeLessThan(0.005)
    expect(noise.every(Number.isFinite)).toBe(true)
  })

  test('depends on its seed alone, and neighbours do not depend on each other', () => {
    expect(normalNoise(3, 40_000)).toEqual(noise)
    expect(normalNoise(3, 10)).toEqual(noise.subarray(0, 10))
    expect(Math.abs(cosine(noise, normalNoise(4, 40_000)))).toBeLessThan(0.02)
    expect(Math.abs(cosine(noise.subarray(0, -1), noise.subarray(1)))).toBeLessThan(0.02)
  })
})

describe('a direction', () => {
  const population: Population = {
    mean: Float32Array.of(0, 0, 1),
    components: Float32Array.of(2, 0, 0, 0, 0.5, 0),
  }

  test('is the mean moved along the components, and a unit vector', () => {
    const direction = directionOf(population, Float32Array.of(1.5, -8))
    const norm = Math.sqrt(3 ** 2 + 4 ** 2 + 1)
    for (const [i, v] of [3, -4, 1].entries()) expect(direction[i]).toBeCloseTo(v / norm, 6)
    expect(Math.hypot(...direction)).toBeCloseTo(1, 6)
    expect(directionOf(population, Float32Array.of(1.5, -8))).toEqual(direction)
  })

  test('takes a number for each component and leaves the others of the draw', () => {
    expect(directionOf(population, Float32Array.of(1.5, -8, 3, 5))).toEqual(
      directionOf(population, Float32Array.of(1.5, -8)),
    )
    expect(directionOf(population, Float32Array.of(0.5))[1]).toBe(0)
    expect([...directionOf(population, new Float32Array(MOST_COMPONENTS))]).toEqual([0, 0, 1])
  })
})

describe('the draw of a photo', () => {
  const planes = uniform(1, 3 * 20 * 30, 0, 1).map((v) => Math.round(255 * v) / 255)

  test('stays the same', () => {
    expect(directionDraw(planes, 7)).toEqual(directionDraw(planes.slice(), 7))
    expect(directionDraw(planes, 7)).toHaveLength(MOST_COMPONENTS)
  })

  test.each<[string, Float32Array, number]>([
    ['for another seed', planes, 8],
    ['where one value of one pixel is another', planes.with(40, planes[40] > 0.5 ? planes[40] - 1 / 255 : 0.75), 7],
    ['where two pixels changed places', planes.with(0, planes[1]).with(1, planes[0]), 7],
  ])('is another one %s', (_, other, seed) => {
    // Of 128 independent numbers the cosine has a deviation of .09.
    expect(Math.abs(cosine(directionDraw(planes, 7), directionDraw(other, seed)))).toBeLessThan(0.35)
  })
})

/** Faces of known make: `factors` numbers each, of mean 0 and deviation 1 and independent of one another (a full design of +-1). */
const factors = Array.from({ length: 16 }, (_, face) => Array.from({ length: 4 }, (_, f) => (face & (1 << f) ? 1 : -1)))

/** A recogniser that sees factor f as a step of `strengths[f]` along axis (f + shift) mod 6, beside a constant mean. */
const space = (strengths: readonly number[], shift: number) => {
  const axis = (f: number) => (f + shift) % 6
  return {
    axis,
    faces: factors.map((face) => {
      const embedding = new Float32Array(6).fill(0.25)
      for (const [f, strength] of strengths.entries()) embedding[axis(f)] += strength * face[f]
      return embedding
    }),
  }
}

/** What the components add to the mean for a draw. */
function moved({ mean, components }: Population, draw: readonly number[]): number[] {
  return Array.from(mean, (_, i) => draw.reduce((sum, z, k) => sum + z * components[k * mean.length + i], 0))
}

describe('populations', () => {
  const strengths = [0.8, 0.4, 0.2, 0.1]
  const a = space(strengths, 0)
  const b = space(strengths, 3)

  test('have the mean and the spread of the embeddings', () => {
    const { mean, components } = populationsOf(new Map([['a', a.faces]]), 4).get('a')!
    for (const v of mean) expect(v).toBeCloseTo(0.25, 6)
    // The sum over components of their products is the covariance, whatever way they are turned.
    for (let i = 0; i < 6; i++) {
      for (let j = 0; j < 6; j++) {
        const covariance = [0, 1, 2, 3].reduce((sum, k) => sum + components[6 * k + i] * components[6 * k + j], 0)
        expect(covariance, `${i} ${j}`).toBeCloseTo(i === j && i < 4 ? strengths[i] ** 2 : 0, 5)
      }
    }
  })

  test('keep the main components first', () => {
    const { components } = populationsOf(new Map([['a', a.faces]]), 2).get('a')!
    expect(Array.from(components, Math.abs).map((v) => Math.round(1e4 * v) / 1e4)).toEqual([
      ...[0.8, 0, 0, 0, 0, 0],
      ...[0, 0.4, 0, 0, 0, 0],
    ])
  })

  test('of several recognisers belong together: a draw is one face for all', () => {
    const found = populationsOf(
      new Map([
        ['a', a.faces],
        ['b', b.faces],
      ]),
      3,
    )
    for (const draw of [
      [1, 0, 0],
      [0, 1, 0],
      [-0.7, 1.9, 0.3],
    ]) {
      const [inA, inB] = [moved(found.get('a')!, draw), moved(found.get('b')!, draw)]
      const face = strengths.map((strength, f) => inA[a.axis(f)] / strength)
      expect(Math.hypot(...face)).toBeCloseTo(Math.hypot(...draw), 4)
      for (const [f, strength] of strengths.entries()) expect(inB[b.axis(f)] / strength).toBeCloseTo(face[f], 4)
    }
  })

  test('do not depend on how closely a recogniser packs its embeddings', () => {
    // Each is led by another factor.
    const other = space([0.1, 0.2, 0.4, 0.8], 0).faces
    const packed = other.map((face) => face.map((v) => 1 + (v - 0.25) / 50))
    const [wide, close] = [other, packed].map((faces) =>
      populationsOf(
        new Map([
          ['a', a.faces],
          ['other', faces],
        ]),
        4,
      ),
    )
    for (const [i, v] of wide.get('a')!.components.entries()) {
      expect(close.get('a')!.components[i]).toBeCloseTo(v, 4)
    }
    for (const [i, v] of wide.get('other')!.components.entries()) {
      expect(50 * close.get('other')!.components[i]).toBeCloseTo(v, 3)
    }
  })

  test('of faces that say less than there are components have short ones, and no NaN', () => {
    const { components } = populationsOf(new Map([['a', a.faces]]), 8).get('a')!
    expect(components.every(Number.isFinite)).toBe(true)
    for (let k = 4; k < 8; k++) expect(Math.hypot(...components.subarray(6 * k, 6 * k + 6))).toBeLessThan(1e-5)
    const alike = populationsOf(new Map([['a', Array.from({ length: 3 }, () => Float32Array.of(0, 1))]]), 2).get('a')!
    expect([...alike.mean, ...alike.components]).toEqual([0, 1, 0, 0, 0, 0])
  })

  test('need more faces than components, and the same faces of each recogniser', () => {
    expect(() => populationsOf(new Map([['a', a.faces.slice(0, 3)]]), 3)).toThrow(
      /3 faces are too few for 3 components/,
    )
    expect(() => populationsOf(new Map(), 1)).toThrow(RangeError)
    const uneven = new Map([
      ['a', a.faces],
      ['b', b.faces.slice(1)],
    ])
    expect(() => populationsOf(uneven, 3)).toThrow(/must have seen the same faces/)
  })

  test('count a person once, by the mean of their photos', () => {
    const photos = [Float32Array.of(1, 0), Float32Array.of(0, 1), Float32Array.of(0, 1)]
    const averaged = averagedByPerson({ people: ['one', 'two', 'one'], embeddings: new Map([['a', photos]]) })
    const half = Math.fround(Math.SQRT1_2)
    expect(averaged).toEqual(new Map([['a', [Float32Array.of(half, half), Float32Array.of(0, 1)]]]))
  })
})

const HASHES = { a: 'a'.repeat(64), b: 'b'.repeat(64) }

/** A file's contents, with numbers that half precision has. */
function contents(recognisers: Readonly<Record<string, string>>, path = 'p.safetensors'): PopulationFile {
  const rounded = (numbers: Float32Array) => decodeFloat16(encodeFloat16(numbers))
  const spaces = Object.entries(recognisers).map(([id, hash], i) => {
    const population = { mean: rounded(uniform(i, 5)), components: rounded(uniform(9 + i, 15)) }
    return [id, { sha256: hash, population }] as const
  })
  return { path, sha256: '', faces: 20, components: 3, recognisers: new Map(spaces) }
}

describe('the file of populations', async () => {
  const file = contents(HASHES)
  const bytes = await packPopulations(file)

  test('gives back what was written, the same bytes for the same populations', async () => {
    const { sha256, ...rest } = await openPopulations(bytes, 'p.safetensors')
    expect({ ...rest, sha256: '' }).toEqual(file)
    expect(sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(await packPopulations(file)).toEqual(bytes)
    const { tensors, metadata } = readSafetensors(bytes, 'p.safetensors')
    expect(Array.from(tensors, ([name, { dtype, shape }]) => [name, dtype, shape])).toEqual([
      ['a.mean', 'F16', [5]],
      ['a.components', 'F16', [3, 5]],
      ['b.mean', 'F16', [5]],
      ['b.components', 'F16', [3, 5]],
    ])
    expect(metadata).toMatchObject({ faces: '20', components: '3', 'sha256.a': HASHES.a, 'sha256.b': HASHES.b })
  })

  /** Whether a file is refused by an error that names it. */
  const isRefused = (changed: Uint8Array): Promise<boolean> =>
    openPopulations(changed, 'p.safetensors').then(
      () => false,
      (error: unknown) => error instanceof WeightsError && error.message.startsWith('p.safetensors: '),
    )

  test('is refused where a bit of any of its bytes is another', async () => {
    const next = random(1)
    const refused = await Promise.all(
      Array.from(bytes, (byte, at) => isRefused(bytes.with(at, byte ^ (1 << Math.floor(8 * next()))))),
    )
    expect(refused.indexOf(false)).toBe(-1)
  })

  test('is refused where it ends early, goes on, or has parts of another file in it', async () => {
    const next = random(2)
    const other = await packPopulations(contents({ a: HASHES.b, b: HASHES.a }))
    for (let i = 0; i < 200; i++) {
      const at = Math.floor(next() * bytes.length)
      const pieces = [bytes.subarray(0, at), new Uint8Array([...bytes, ...bytes.subarray(at)])]
      const spliced = new Uint8Array([...bytes.subarray(0, at), ...other.subarray(at)])
      if (!isSame(spliced, bytes) && !isSame(spliced, other)) pieces.push(spliced)
      for (const piece of pieces) expect(await isRefused(piece), `${at}`).toBe(true)
    }
  })

  /** A file that is whole by its checksum, with these tensors. */
  const forged = async (shapes: Record<string, [number[], number?]>, metadata: Record<string, string>) => {
    const tensors = Object.entries(shapes).map(([name, [shape, value = 0.5]]) => {
      return [name, { shape, data: new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(value) }] as const
    })
    const zeros = '0'.repeat(64)
    const blank = writeSafetensors(new Map(tensors), { checksum: zeros, faces: '9', ...metadata }, 'f')
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', blank)).toString('hex')
    return new Uint8Array(Buffer.from(Buffer.from(blank).toString('latin1').replace(zeros, digest), 'latin1'))
  }

  test.each<[string, Record<string, [number[], number?]>, Record<string, string>, RegExp]>([
    ['no population', {}, { components: '2' }, /has no population/],
    ['no count', {}, {}, /does not say how many components/],
    ['a count of nothing', {}, { components: '0' }, /does not say how many components/],
    ['a population that is missing', {}, { components: '2', 'sha256.a': HASHES.a }, /has no tensor "a\.mean"/],
    [
      'fewer components than it says',
      { 'a.mean': [[3]], 'a.components': [[1, 3]] },
      { components: '2', 'sha256.a': HASHES.a },
      /tensor "a\.components" has shape \[1,3\]/,
    ],
    [
      'components of another length',
      { 'a.mean': [[3]], 'a.components': [[2, 4]] },
      { components: '2', 'sha256.a': HASHES.a },
      /tensor "a\.components" has shape \[2,4\]/,
    ],
    [
      'numbers that are none',
      { 'a.mean': [[3]], 'a.components': [[2, 3], Number.NaN] },
      { components: '2', 'sha256.a': HASHES.a },
      /has no tensor "a\.components" of finite floats/,
    ],
  ])('is refused with %s', async (_, shapes, metadata, message) => {
    await expect(openPopulations(await forged(shapes, metadata), 'f')).rejects.toThrow(message)
  })

  test('is refused where it is another safetensors file', async () => {
    const network = writeSafetensors(new Map([['w', { shape: [1], data: Float32Array.of(1) }]]), {}, 'w')
    await expect(openPopulations(network, 'w')).rejects.toThrow('w: is no file of populations')
  })
})

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

describe('which populations are taken', () => {
  const mine = contents({ a: HASHES.a, c: HASHES.b }, 'mine')
  const packaged = contents(HASHES, 'packaged')
  const [a, b, c] = ['a', 'b', 'c'].map((id) => ({ id, sha256: id === 'a' ? HASHES.a : HASHES.b }))
  const from = (file: PopulationFile, id: string) => file.recognisers.get(id)!.population

  test('of the first file that has all', () => {
    const taken = (...recognisers: { id: string; sha256: string }[]) => choosePopulations([mine, packaged], recognisers)
    expect(taken(a)).toEqual({
      ...{ known: new Map([['a', from(mine, 'a')]]), lacking: new Map() },
      sha256: mine.sha256,
    })
    expect(taken(a, c).known.get('c')).toBe(from(mine, 'c'))
    expect(taken(a, b).known).toEqual(
      new Map([
        ['a', from(packaged, 'a')],
        ['b', from(packaged, 'b')],
      ]),
    )
    expect(taken()).toEqual({ known: new Map(), lacking: new Map(), sha256: mine.sha256 })
  })

  test('else of the first that has any, never of two', () => {
    const { known, lacking } = choosePopulations([mine, packaged], [b, c])
    expect([...known]).toEqual([['c', from(mine, 'c')]])
    expect(lacking.get('b')).toMatch(/"b" in packaged does not fit to those in mine; .*weights population FOLDER/)
  })

  test('none that was found with other weights', () => {
    const renewed = { id: 'a', sha256: 'd'.repeat(64) }
    const { known, lacking } = choosePopulations([mine, packaged], [renewed, { id: 'e', sha256: HASHES.a }])
    expect(known.size).toBe(0)
    expect(lacking.get('a')).toMatch(/"a" in mine was found with other weights; .*weights population FOLDER/)
    expect(lacking.get('e')).toMatch(/there is no population of "e"; .*weights population FOLDER/)
    // The package's own still serves where the user's is of other weights.
    const old = contents({ a: HASHES.b }, 'old')
    expect(choosePopulations([old, packaged], [a]).known.get('a')).toBe(from(packaged, 'a'))
  })
})

describe('populations on the disk', () => {
  test('are looked for in each folder; where there is none, it says so', async () => {
    const [empty, full] = [room('none'), room('some')]
    writeFileSync(join(full, POPULATIONS), await packPopulations(contents(HASHES)))
    const a = { id: 'a', sha256: HASHES.a }
    const { known } = await loadPopulations([a], [empty, join(full, POPULATIONS), full])
    expect(known.get('a')).toEqual(contents(HASHES).recognisers.get('a')!.population)
    expect((await loadPopulations([a], [empty])).lacking.get('a')).toMatch(/there is no population of "a"/)
    expect(await readPopulations(empty)).toBeUndefined()
  })

  test('are named where they are damaged or cannot be read, with what helps', async () => {
    const folder = room('damaged')
    const path = join(folder, POPULATIONS)
    const bytes = await packPopulations(contents(HASHES))
    writeFileSync(path, bytes.with(bytes.length - 1, bytes[bytes.length - 1] ^ 1))
    const outcome = loadPopulations([], [folder])
    await expect(outcome).rejects.toThrow(WeightsDamagedError)
    await expect(outcome).rejects.toThrow(
      `${path}: has another SHA-256 than it says: run \`lowkey-gpu weights population`,
    )
    expect(await verifyPopulations([folder])).toEqual([
      { id: 'populations', path, ok: false, problem: expect.stringMatching(/^has another .* or delete this file$/) },
    ])
    const blocked = room('blocked')
    mkdirSync(join(blocked, POPULATIONS))
    await expect(readPopulations(blocked)).rejects.toThrow(/populations\.safetensors: cannot be read \(/)
  })

  test('of the package are of its recognisers, and small', async () => {
    const file = (await readPopulations(weightsFolder()))!
    const recognisers = recognisersOf((await loadManifest()).networks)
    expect(file).toMatchObject({ faces: 300, components: 48 })
    expect(new Map(Array.from(file.recognisers, ([id, { sha256 }]) => [id, sha256]))).toEqual(
      new Map(recognisers.map(({ id, sha256 }) => [id, sha256])),
    )
    for (const { id, embedding } of recognisers) {
      const { population } = file.recognisers.get(id)!
      expect(population.mean).toHaveLength(embedding)
      const draws = Array.from({ length: 50 }, (_, seed) => directionOf(population, normalNoise(seed, MOST_COMPONENTS)))
      for (const draw of draws) expect(Math.hypot(...draw)).toBeCloseTo(1, 5)
      // Draws are as unlike each other as strangers are, within dlib's narrow cone too.
      const pairs = draws.slice(1).map((draw, i) => cosine(draw, draws[i]))
      expect(mean(pairs)).toBeLessThan(id === 'dlib' ? 0.88 : 0.1)
    }
    expect(readFileSync(file.path).length).toBeLessThan(100_000)
  })

  test('come with recognisers that are attacked, and only with these', async () => {
    vi.stubEnv('LOWKEY_HOME', room('home'))
    const { surrogates, heldOut } = await loadNetworks(['sirius', 'dlib'])
    expect(surrogates.map(({ population }) => population?.mean.length)).toEqual([192, 128])
    expect(heldOut.map(({ population }) => population)).toEqual([undefined])
    const [sirius] = recognisersOf((await loadManifest()).networks)
    expect(await loadSurrogates([sirius])).toMatchObject([{ population: surrogates[0].population }])
  })
})

/** A PNG of one pixel. */
const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==',
  'base64',
)

describe('weights population', () => {
  const cwd = room('population')
  const env = { LOWKEY_HOME: join(cwd, 'home') }

  test('of nothing, or of too few people: exit code 2', async () => {
    mkdirSync(join(cwd, 'empty'))
    mkdirSync(join(cwd, 'few'))
    for (const name of ['a.png', 'b.png']) writeFileSync(join(cwd, 'few', name), PIXEL)
    writeFileSync(join(cwd, 'few/c.cloaked.png'), PIXEL)
    for (const [args, message] of [
      [[], /name one folder of photos/],
      [['few', 'empty'], /name one folder of photos/],
      [['absent'], /absent is no folder/],
      [['empty'], /empty: the folder has no photos/],
      [['few'], /few: 48 components take photos of 49 people at least; there are 2 people \(see --components\)/],
      [['few', '--components', '129'], /--components takes a whole number from 1 to 128/],
      [['few', '--components', '1', '--models', 'nobody'], /--models: there is no recogniser "nobody"/],
      [['few', '--components', '1', '--out', 'few'], /--out few is a folder; name a file/],
    ] as const) {
      const outcome = await lowkey(['weights', 'population', ...args], { cwd, env })
      expect(outcome).toMatchObject({ code: 2, stdout: '', created: [] })
      expect(outcome.stderr).toMatch(message)
    }
  })

  const lfw = dataBeside('photos/lfw')

  test.skipIf(!isAtHand(lfw))('writes the spread of the faces of a folder', async () => {
    const folder = join(cwd, 'people')
    const [first, ...others] = readdirSync(lfw).sort().slice(0, 4)
    const photosOf = (person: string) => readdirSync(join(lfw, person)).sort()
    mkdirSync(join(folder, first), { recursive: true })
    for (const photo of photosOf(first).slice(0, 3)) copyFileSync(join(lfw, first, photo), join(folder, first, photo))
    for (const person of others) {
      const [photo] = photosOf(person)
      copyFileSync(join(lfw, person, photo), join(folder, photo))
    }
    const [photo] = photosOf(first)
    writeFileSync(join(folder, 'broken.jpg'), readFileSync(join(lfw, first, photo)).subarray(0, 900))
    const path = join(cwd, 'home/weights', POPULATIONS)
    mkdirSync(join(cwd, 'home/weights'), { recursive: true })
    writeFileSync(path, 'damaged')
    const damaged = await lowkey(['weights', 'verify'], { cwd, env })
    expect(damaged.code).toBe(5)
    expect(damaged.stdout).toMatch(
      /^problem .*home\/weights\/populations\.safetensors: .*`lowkey-gpu weights population/m,
    )

    // What helps is not kept from running by the file that it replaces.
    const args = ['weights', 'population', 'people', '--models', 'sirius', '--most', '2', '--json', '--components']
    const replaces = [`home/weights/${POPULATIONS}`]
    const tooFew = await lowkey([...args, '4'], { cwd, env })
    expect(tooFew).toMatchObject({ code: 2, created: [] })
    expect(tooFew.stderr).toMatch(/broken\.jpg/)
    expect(tooFew.stderr).toMatch(/5 people at least; there are 4 people with a face that was found/)
    const run = await lowkey([...args, '2'], { cwd, env, replaces })
    expect(run).toMatchObject({ code: 0, created: [] })
    expect(run.stderr).toMatch(/^2 components of 4 faces for sirius; 0 photos without a face$/m)
    expect(JSON.parse(run.stdout)).toEqual({
      ...{ path, faces: 4, components: 2, recognisers: ['sirius'], withoutFace: 0 },
    })
    vi.stubEnv('LOWKEY_HOME', env.LOWKEY_HOME)
    const file = (await readPopulations(join(cwd, 'home/weights')))!
    const { networks } = await loadManifest()
    const [sirius, dlib] = recognisersOf(networks)
    expect(file.recognisers.get('sirius')?.sha256).toBe(sirius.sha256)
    // The user's own is taken where it has all that is asked for, else the package's.
    const [own] = await loadSurrogates([sirius])
    expect(own.population).toEqual(file.recognisers.get('sirius')!.population)
    expect((await loadSurrogates([sirius, dlib])).map(({ population }) => population?.components.length)).toEqual([
      48 * 192,
      48 * 128,
    ])
    const verify = await lowkey(['weights', 'verify'], { cwd, env })
    expect(verify).toMatchObject({ code: 0, stdout: expect.stringContaining(`ok       ${path}  ${file.sha256}\n`) })
  })
})
