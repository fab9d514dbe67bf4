/** The measured choice among rivals, and its file. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { keepTuning } from '../../src/attack/kept-tuning.ts'
import type { Gpu, TuningCache, TuningChoice } from '../../src/device/gpu.ts'
import { compile, graph, type Plan, PlanMemoryError } from '../../src/graph/index.ts'
import { acquire, fileTuning } from '../../src/graph/node.ts'
import { adapterSlug } from '../../src/graph/tune.ts'
import { elements, type Op } from '../../src/kernels/op.ts'
import { COUNT, gpu, kernel, type Variant, withFacts, x } from '../support/rivals.ts'

const folder = mkdtempSync(join(tmpdir(), 'lowkey-tuning-'))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

afterEach(() => vi.unstubAllEnvs())

/** An operation with these kernels; all but the first are rivals of those before, the last is plain and no rival unless told. */
const withRivals = (variants: readonly Variant[], last: 'plain' | undefined = undefined): Op<object> => ({
  name: 'doubled',
  inputs: ['x'],
  shape: (_, [x]) => x,
  cost: (_, [x]) => ({ flop: 2 * elements(x), bytes: 8 * elements(x) }),
  kernels: () => [...variants.map((v, k) => kernel(v, k > 0)), ...(last ? [kernel(last, false)] : [])],
})

/** Compiles and runs the operation; the variant that ran, and how many submissions it all took. */
async function ran(op: Op<object>, tuning: TuningCache | false | undefined, on: Gpu = gpu) {
  const g = graph()
  const y = g.apply(op, [g.input('x', [COUNT])], {})
  const submit = vi.spyOn(Object.getPrototypeOf(gpu.device.queue), 'submit')
  using plan = await compile(on, { y }, { tuning })
  const submissions = submit.mock.calls.length
  submit.mockRestore()
  plan.write('x', x)
  plan.run()
  return { variant: variantOf(plan), y: await plan.read('y'), submissions }
}

/** What the plan dispatches. Its parts are its own business otherwise. */
const variantsOf = (plan: Plan): string[] =>
  (plan as unknown as { parts: { stages: { step: { placed: { variant: string } }[] } } }).parts.stages.step.map(
    ({ placed }) => placed.variant,
  )

const variantOf = (plan: Plan): string => variantsOf(plan)[0]

const only = (cache: ReadonlyMap<string, TuningChoice>): TuningChoice => {
  expect(cache.size).toBe(1)
  return [...cache.values()][0]
}

describe('rivals', () => {
  test('that are slow lose, wherever they stand', async () => {
    for (const variants of [
      ['slow', 'plain'],
      ['plain', 'slow'],
    ] as const) {
      const cache = new Map<string, TuningChoice>()
      const { variant, y } = await ran(withRivals(variants), cache)
      expect(variant).toBe('plain')
      expect(y[9]).toBeCloseTo(2 * x[9] + 1, 5)
      const choice = only(cache)
      expect(choice.variant).toBe('plain')
      expect(choice.excluded).toEqual({})
      expect(choice.microseconds.slow).toBeGreaterThan(2 * choice.microseconds.plain)
    }
  })

  test.each([
    ['wrong', /^it differs from the operation's last kernel by .*e-3 of the largest value$/],
    ['nan', /^it differs from the operation's last kernel in what is finite$/],
    ['partial', /in what is finite$/],
    ['broken', /^broken: the shader does not compile.*unresolved value 'j'/],
    ['drifting', /^it gives other bits when it is run again$/],
  ] as const)('that are %s are excluded, and it is remembered why', async (bad, reason) => {
    const cache = new Map<string, TuningChoice>()
    const op = withRivals([bad, 'slow'], 'plain')
    const { variant, y } = await ran(op, cache)
    // The slow one is right: it is used, as plain is no rival.
    expect(variant).toBe('slow')
    expect(y[77]).toBeCloseTo(2 * x[77] + 1, 5)
    const choice = only(cache)
    expect(choice.excluded).toEqual({ [bad]: expect.stringMatching(reason) })
    expect(Object.keys(choice.microseconds)).toEqual(['slow'])
    expect((await ran(op, cache)).variant).toBe('slow')
    // Nothing of it is left for others to stumble over.
    await gpu.wait()
  })

  test('that round to f16 may be so far off, where the caller allows them', async () => {
    const plain = withRivals(['slow', 'rounded'], 'plain')
    const cache = new Map<string, TuningChoice>()
    expect((await ran(plain, cache)).variant).toBe('slow')
    expect(Object.keys(only(cache).excluded)).toEqual(['rounded'])
    const half: Op<object> = {
      ...plain,
      kernels: (_args, _shapes, { products }) => [
        kernel('slow', false),
        ...(products === 'f16' ? [{ ...kernel('rounded', true), precision: products }] : []),
        kernel('plain', false),
      ],
    }
    const g = graph()
    const y = g.apply(half, [g.input('x', [COUNT])], {})
    const tuning = new Map<string, TuningChoice>()
    using exact = await compile(gpu, { y }, { tuning })
    expect([variantOf(exact), tuning.size]).toEqual(['slow', 0])
    using rough = await compile(gpu, { y }, { tuning, products: 'f16' })
    expect(variantOf(rough)).toBe('rounded')
    expect(only(tuning).excluded).toEqual({})
  })

  test('that are all excluded leave the last kernel', async () => {
    const cache = new Map<string, TuningChoice>()
    const { variant } = await ran(withRivals(['wrong', 'broken'], 'plain'), cache)
    expect(variant).toBe('plain')
    expect(Object.keys(only(cache).excluded)).toEqual(['wrong', 'broken'])
  })

  test('are not tried where there is no kernel to compare with: the first is taken', async () => {
    const cache = new Map<string, TuningChoice>()
    expect((await ran(withRivals(['plain', 'broken']), cache)).variant).toBe('plain')
    expect(cache.size).toBe(0)
  })

  test('are tried once: then the cache decides', async () => {
    const cache = new Map<string, TuningChoice>()
    const op = withRivals(['slow', 'plain'])
    const first = await ran(op, cache)
    const second = await ran(op, cache)
    expect(second.variant).toBe('plain')
    expect(second.y).toEqual(first.y)
    expect(second.submissions).toBeLessThan(first.submissions / 3)
    // Whatever it says.
    const [key, choice] = [...cache][0]
    cache.set(key, { ...choice, variant: 'slow' })
    expect((await ran(op, cache)).variant).toBe('slow')
    // A kernel that there is not any more is tried again.
    cache.set(key, { ...choice, variant: 'gone' })
    expect((await ran(op, cache)).variant).toBe('plain')
    expect(only(cache).variant).toBe('plain')
  })

  test('are tried once a compile for nodes alike, and for other shapes, arguments, kernels and adapters again', async () => {
    const cache = new Map<string, TuningChoice>()
    const set = vi.spyOn(cache, 'set')
    const op = withRivals(['plain', 'slow'])
    const g = graph()
    let y = g.input('x', [COUNT])
    for (let i = 0; i < 4; i++) y = g.apply(op, [y], {})
    using plan = await compile(gpu, { y }, { tuning: cache })
    plan.write('x', x)
    plan.run()
    expect((await plan.read('y'))[1]).toBeCloseTo(16 * x[1] + 15, 4)
    expect(set).toHaveBeenCalledTimes(1)
    const shaped = g.apply(op, [g.input('other', [2, COUNT / 2])], {})
    const argued = g.apply(op, [g.input('other', [COUNT])], { half: 0.5 })
    using _1 = await compile(gpu, { shaped }, { tuning: cache })
    expect(set).toHaveBeenCalledTimes(2)
    using _2 = await compile(gpu, { argued }, { tuning: cache })
    expect(set).toHaveBeenCalledTimes(3)
    await ran(withRivals(['slow', 'plain']), cache)
    expect(set).toHaveBeenCalledTimes(4)
    await ran(op, cache, withFacts({ description: 'a newer driver' }))
    expect(set).toHaveBeenCalledTimes(5)
    await Promise.all([ran(op, cache), ran(op, cache)])
    expect(set).toHaveBeenCalledTimes(5)
  })

  test('are tried once by plans compiled at the same time', async () => {
    const cache = new Map<string, TuningChoice>()
    const set = vi.spyOn(cache, 'set')
    const g = graph()
    const y = g.apply(withRivals(['plain', 'slow']), [g.input('x', [COUNT])], {})
    const plans = await Promise.all([1, 2, 3].map(() => compile(gpu, { y }, { tuning: cache })))
    expect(plans.map(variantOf)).toEqual(['plain', 'plain', 'plain'])
    expect(set).toHaveBeenCalledTimes(1)
    for (const plan of plans) plan.destroy()
  })

  test('that are left when time is up take the first kernel, and are tried by the next compile', async () => {
    const real = performance.now.bind(performance)
    let later = 0
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => real() + later)
    const choices = new Map<string, TuningChoice>()
    const cache: TuningCache = {
      get: (key) => choices.get(key),
      set(key, choice) {
        choices.set(key, choice)
        later += 60_000
      },
    }
    const op = withRivals(['slow', 'plain'])
    const g = graph()
    const first = g.apply(op, [g.input('a', [COUNT])], {})
    const second = g.apply(op, [g.input('b', [COUNT / 4, 4])], {})
    using hurried = await compile(gpu, { first, second }, { tuning: cache })
    expect(variantsOf(hurried)).toEqual(['plain', 'slow'])
    expect(choices.size).toBe(1)
    using next = await compile(gpu, { first, second }, { tuning: cache })
    expect(variantsOf(next)).toEqual(['plain', 'plain'])
    expect(choices.size).toBe(2)
    clock.mockRestore()
  })

  test('on very large tensors are not tried', async () => {
    const cache = new Map<string, TuningChoice>()
    const op = { ...withRivals(['slow', 'plain']), inputs: ['a', 'b', 'c', 'd'] }
    const g = graph()
    const inputs = ['a', 'b', 'c', 'd'].map((name) => g.input(name, [2 ** 24]))
    // Not allocated for the plan either, which is only to come as far as that.
    const plan = compile(gpu, { y: g.apply(op, inputs, {}) }, { tuning: cache, maxBytes: 2 ** 20 })
    await expect(plan).rejects.toThrow(PlanMemoryError)
    expect(cache.size).toBe(0)
  })

  test('of what is computed once are not tried, and without rivals nothing is', async () => {
    const cache = new Map<string, TuningChoice>()
    const g = graph()
    const y = g.apply(withRivals(['slow', 'plain']), [g.constant(x, [COUNT])], {})
    using plan = await compile(gpu, { y }, { tuning: cache })
    expect((await plan.read('y'))[2]).toBeCloseTo(2 * x[2] + 1, 5)
    // The second is no rival of the first: facts have ranked them.
    const op = withRivals(['slow'], 'plain')
    expect((await ran(op, cache)).variant).toBe('slow')
    expect(cache.size).toBe(0)
  })

  test('have names of their own', async () => {
    await expect(ran(withRivals(['plain', 'plain']), new Map())).rejects.toThrow(
      /^doubled\(doubled\): kernels share a name: plain, plain$/,
    )
  })

  test('are tried by default on a GPU only, unless the device or the call says otherwise', async () => {
    const op = withRivals(['slow', 'plain'])
    const real = withFacts({ software: false })
    const software = withFacts({ software: true })
    expect((await ran(op, undefined, real)).variant).toBe('plain')
    expect((await ran(op, false, real)).variant).toBe('slow')
    expect((await ran(op, undefined, software)).variant).toBe('slow')
    const cache = new Map<string, TuningChoice>()
    software.tuning = cache
    expect((await ran(op, undefined, software)).variant).toBe('plain')
    expect(cache.size).toBe(1)
    real.tuning = false
    expect((await ran(op, undefined, real)).variant).toBe('slow')
  })

  test('do not hide that the device is gone', async () => {
    const own = await acquire({ gpu: process.env.LOWKEY_GPU })
    const g = graph()
    const y = g.apply(withRivals(['plain', 'slow']), [g.input('x', [COUNT])], {})
    own.destroy()
    const cache = new Map<string, TuningChoice>()
    await expect(compile(own, { y }, { tuning: cache })).rejects.toThrow(/was destroyed/)
    expect(cache.size).toBe(0)
  })
})

describe('choices in a file', () => {
  const choice: TuningChoice = { variant: 'b', microseconds: { b: 12.5 }, excluded: { a: 'it is wrong' } }
  let path: string
  let count = 0
  beforeEach(() => {
    path = join(folder, `${count++}`, 'deep', 'adapter.json')
  })

  test('are there for the next process', async () => {
    const warn = vi.fn()
    expect(fileTuning(path, { warn }).get('key')).toBeUndefined()
    fileTuning(path, { warn }).set('key', choice)
    expect(fileTuning(path, { warn }).get('key')).toEqual(choice)
    expect(readdirSync(join(path, '..'))).toEqual(['adapter.json'])
    const op = withRivals(['slow', 'plain'])
    const first = await ran(op, fileTuning(path, { warn }))
    const second = await ran(op, fileTuning(path, { warn }))
    expect([first.variant, second.variant]).toEqual(['plain', 'plain'])
    expect(second.submissions).toBeLessThan(first.submissions / 3)
    expect(warn).not.toHaveBeenCalled()
  })

  test('of several processes at once are all kept', () => {
    const [one, other] = [fileTuning(path), fileTuning(path)]
    one.set('one', choice)
    other.set('other', choice)
    one.set('third', choice)
    const now = fileTuning(path)
    expect(['one', 'other', 'third'].map((key) => now.get(key)?.variant)).toEqual(['b', 'b', 'b'])
  })

  test('that are many lose the oldest', () => {
    const choices = Object.fromEntries(Array.from({ length: 4096 }, (_, i) => [`key${i}`, choice]))
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, JSON.stringify({ format: 'lowkey-gpu tuning 1', choices }))
    fileTuning(path).set('new', choice)
    const now = fileTuning(path)
    expect(['key0', 'key1', 'new'].map((key) => now.get(key) !== undefined)).toEqual([false, true, true])
  })

  test.each([
    ['', 'JSON'],
    ['{"format":"lowkey-gpu tuning 1","choi', 'JSON'],
    ['null', 'no file of choices'],
    ['{"format":"something else","choices":{}}', 'no file of choices'],
    ['{"format":"lowkey-gpu tuning 1","choices":{"k":{"variant":7}}}', 'no choice'],
    ['{"format":"lowkey-gpu tuning 1","choices":{"k":null}}', 'no choice'],
  ])('that are damaged (%j) are ignored with a warning and replaced', async (text, problem) => {
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, text)
    const warn = vi.fn()
    const cache = fileTuning(path, { warn })
    expect(cache.get('k')).toBeUndefined()
    expect((await ran(withRivals(['slow', 'plain']), cache)).variant).toBe('plain')
    expect(warn).toHaveBeenCalledTimes(1)
    expect(warn.mock.calls[0][0]).toContain(`${path} is damaged (`)
    expect(warn.mock.calls[0][0]).toContain(problem)
    expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')).choices)).toHaveLength(1)
    const again = vi.fn()
    fileTuning(path, { warn: again })
    expect(again).not.toHaveBeenCalled()
  })

  test('that cannot be written hold for this process', () => {
    mkdirSync(join(path, '..'), { recursive: true })
    mkdirSync(path)
    const warn = vi.fn()
    const cache = fileTuning(path, { warn })
    cache.set('key', choice)
    cache.set('other', choice)
    expect(cache.get('key')).toEqual(choice)
    expect(warn).toHaveBeenCalledTimes(1)
    expect(warn.mock.calls[0][0]).toMatch(/adapter\.json cannot be (read|written) \(/)
    expect(readdirSync(join(path, '..'))).toEqual(['adapter.json'])
  })

  test('lie in the cache folder for a GPU, and are not made for software adapters', async () => {
    const home = join(folder, 'home')
    vi.stubEnv('LOWKEY_HOME', home)
    const facts = { vendor: 'Ny/vidia', architecture: 'hopper', device: 'H100 (80 GB)', description: 'driver: 1.2' }
    expect(adapterSlug({ ...gpu.capabilities, ...facts })).toBe('ny-vidia-hopper-h100-80-gb-driver-1-2')
    const nameless = { vendor: '', architecture: '', device: '', description: '' }
    expect(adapterSlug({ ...gpu.capabilities, ...nameless })).toBe('adapter')
    const op = withRivals(['slow', 'plain'])
    const software = withFacts({ ...facts, software: true })
    keepTuning(software)
    expect((await ran(op, undefined, software)).variant).toBe('slow')
    const real = withFacts({ ...facts, software: false })
    keepTuning(real)
    expect((await ran(op, undefined, real)).variant).toBe('plain')
    expect(readdirSync(join(home, 'tuning'))).toEqual(['ny-vidia-hopper-h100-80-gb-driver-1-2.json'])
  })
})
