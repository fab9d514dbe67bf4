/** Compiled plans: what is fused, what they take and give, and what they refuse. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  type CompileOptions,
  compile,
  Graph,
  grad,
  graph,
  type Plan,
  PlanDestroyedError,
  profile,
} from '../../src/graph/index.ts'
import {
  add,
  affine,
  conv2d,
  flatten,
  flip,
  linear,
  matmul,
  mul,
  relu,
  softmax,
  square,
  sum,
  tanh,
} from '../../src/kernels/index.ts'
import { elements, type Shape, ShapeError, type Tensor } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { doubled, gpu, readAll, results, spies, withFacts } from '../support/graphs.ts'
import { uniform } from '../support/random.ts'
import { referenceValues } from '../support/reference.ts'

afterEach(() => vi.restoreAllMocks())

describe('fusion', () => {
  const shape: Shape = [1, 4, 6, 6]
  const inputs = { x: uniform(1, 144), other: uniform(2, 144), photo: uniform(3, 144) }
  /** A kernel that lets others be fused into it, whatever is fastest here. */
  const fusing: CompileOptions['choose'] = (_, kernels) =>
    kernels.find(({ dispatches }) => dispatches.at(-1)?.stores) ?? kernels[0]

  function convolved() {
    const g = graph()
    const [x, other, photo] = [g.input('x', shape), g.input('other', shape), g.fixed('photo', shape)]
    const weights = g.constant(uniform(4, 144, -0.4, 0.4), [4, 4, 3, 3], 'weights')
    const conv = (image: Tensor) => conv2d(image, weights, g.constant([0.1, -0.2, 0.3, 0], [4]), { padding: 1 })
    return { g, x, other, photo, conv }
  }

  /** Compiles with and without fusion and compares both with the reference; what was fused. */
  async function fusionsOf(outputs: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, number>>> {
    const wants = referenceValues(Object.values(outputs), inputs)
    let fusions: Readonly<Record<string, number>> = {}
    for (const fuse of [false, true]) {
      using plan = await compile(gpu, outputs, { fuse, choose: fusing, poison: true })
      for (const [name, data] of Object.entries(inputs)) if (plan.has(name)) plan.write(name, data)
      plan.run()
      for (const [k, name] of Object.keys(outputs).entries()) {
        expect(relmax(await plan.read(name), wants[k]), `${name}, fuse ${fuse}`).toBeLessThan(1e-5)
      }
      fusions = plan.summary().fusions
      if (!fuse) expect(fusions).toEqual({})
    }
    return fusions
  }

  test('computes what follows a convolution in its kernel', async () => {
    const { g, x, other, conv } = convolved()
    const scale = g.constant([0.5, 1, 2, -1], [4, 1, 1])
    const y = affine(tanh(add(mul(relu(conv(x)), scale), other)), 2, 0.5)
    expect(await fusionsOf({ y })).toEqual({ 'conv2d+relu+mul+add+tanh+affine': 1 })
  })

  test('still gives what others need on the way', async () => {
    const { x, other, conv } = convolved()
    const c = conv(x)
    const r = relu(c)
    const y = tanh(add(r, other))
    // r is an output; c is needed after the end of the chain.
    expect(await fusionsOf({ r, y, late: flip(c, 3) })).toEqual({ 'conv2d+relu+add+tanh': 1 })
    const loss = sum(square(y))
    const [dx, dother] = grad(loss, [x, other])
    expect(Object.keys(await fusionsOf({ dx, dother, loss })).length).toBeGreaterThan(0)
  })

  test('ends before what has to wait for somebody else', async () => {
    const { x, conv } = convolved()
    const c = conv(x)
    const r = relu(c)
    // The sum needs c turned round, which needs c: it cannot be in c's kernel.
    expect(await fusionsOf({ y: add(r, flip(c, 3)) })).toEqual({ 'flip+relu+add': 1 })
    // A value of the kernel may be used in it more than once.
    const both = conv(r)
    expect(await fusionsOf({ z: add(both, mul(c, both)) })).toEqual({ 'conv2d+relu': 1, 'conv2d+mul+add': 1 })
  })

  test('leaves each value in its stage', async () => {
    const { x, photo, conv } = convolved()
    const y = add(conv(photo), x)
    expect(await fusionsOf({ y })).toEqual({})
    using plan = await compile(gpu, { y }, { choose: fusing })
    expect(plan.summary().dispatches).toMatchObject({ step: 1 })
    expect(plan.summary().dispatches.fixed).toBeGreaterThan(0)
  })
})

describe('plans', () => {
  test('know their inputs and outputs by name and refuse others', async () => {
    const g = graph()
    const x = g.input('x', [2, 3])
    const unused = g.input('unused', [2])
    const c = g.constant(uniform(1, 3), [3], 'weights')
    const y = add(x, c)
    expect(unused.name).toBe('unused')
    using plan: Plan = await compile(gpu, { y })
    expect(['x', 'y', 'unused', 'weights', 'add'].map((name) => plan.has(name))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
    const six = new Float32Array(6)
    expect(() => plan.write('unused', six)).toThrow(ShapeError)
    expect(() => plan.write('unused', six)).toThrow(
      /^plan: the graph has an input unused, but nothing that this plan computes reads it; there are x, y$/,
    )
    expect(() => plan.write('weights', six)).toThrow(/no input or output is named weights/)
    expect(() => plan.write('y', six)).toThrow(/^plan\.write: y is no input/)
    expect(() => plan.write('x', new Float32Array(5))).toThrow(/^plan\.write: x takes 6 values \[2,3\], got 5/)
    expect(() => plan.buffer('z')).toThrow(/no input or output is named z/)
    await expect(plan.read('z')).rejects.toThrow(/no input or output is named z/)
  })

  test('take no two values of one name, and no values of two graphs', async () => {
    const g = graph()
    const twice = add(g.input('x', [2]), tanh(g.input('x', [2])))
    await expect(compile(gpu, { twice })).rejects.toThrow(/^compile: two inputs or outputs are named x/)
    const y = tanh(g.input('y', [2]))
    await expect(compile(gpu, { y })).rejects.toThrow(/^compile: two inputs or outputs are named y/)
    const other = tanh(graph().input('z', [2]))
    await expect(compile(gpu, { a: y, other })).rejects.toThrow(/^compile: tanh belongs to another graph than tanh/)
  })

  test('that were destroyed say so, and free their memory once', async () => {
    const g = graph()
    const plan: Plan = await compile(gpu, { y: tanh(g.input('x', [4])) })
    const buffer = plan.buffer('y')
    const destroyed = vi.spyOn(buffer, 'destroy')
    plan.destroy()
    plan.destroy()
    expect(destroyed).toHaveBeenCalledTimes(1)
    const uses: (() => void)[] = [() => plan.run(), () => plan.write('x', new Float32Array(4)), () => plan.buffer('x')]
    for (const use of uses) {
      expect(use).toThrow(PlanDestroyedError)
      expect(use).toThrow(/^the plan was destroyed/)
    }
    await expect(plan.read('y')).rejects.toThrow(PlanDestroyedError)
    await expect(profile(plan)).rejects.toThrow(PlanDestroyedError)
    // Nothing of it reached the device.
    await gpu.wait()
  })

  test('of one graph do not know of each other', async () => {
    const g = graph()
    const x = g.input('x', [3])
    const next = affine(x, 2, 1)
    const updates = [[x, next]] as const
    using first: Plan = await compile(gpu, { squares: square(next) }, { updates })
    using second = await compile(gpu, { next }, { updates })
    first.write('x', Float32Array.of(1, 2, 3))
    second.write('x', Float32Array.of(0, 0, 1))
    first.run()
    for (let run = 0; run < 3; run++) second.run()
    first.run()
    expect(await first.read('x')).toEqual(Float32Array.of(7, 11, 15))
    expect(await first.read('squares')).toEqual(Float32Array.of(49, 121, 225))
    expect(await second.read('next')).toEqual(Float32Array.of(7, 7, 15))
    first.destroy()
    second.run()
    expect(await second.read('next')).toEqual(Float32Array.of(15, 15, 31))
  })

  test('may come later than others from a graph that has grown', async () => {
    const g = new Graph()
    const x = g.input('x', [2])
    const y = tanh(x)
    using before = await compile(gpu, { y })
    const z = square(y)
    using after = await compile(gpu, { y, z })
    for (const plan of [before, after]) {
      plan.write('x', Float32Array.of(0.5, -1))
      plan.run()
    }
    expect(await after.read('y')).toEqual(await before.read('y'))
    expect(relmax(await after.read('z'), [Math.tanh(0.5) ** 2, Math.tanh(1) ** 2])).toBeLessThan(1e-6)
  })

  test('give the same bits every time', async () => {
    const g = graph()
    const x = g.input('x', [2, 8, 19, 17])
    const weights = uniform(1, 16 * 8 * 9)
    const y = tanh(conv2d(x, g.constant(weights, [16, 8, 3, 3], 'w'), undefined, { padding: 1, stride: 2 }))
    const embedding = linear(flatten(y), g.constant(uniform(2, 10 * 16 * 10 * 9), [10, 16 * 10 * 9], 'fc'))
    const loss = sum(square(softmax(embedding)))
    const outputs = { embedding, loss, dx: grad(loss, x) }
    const inputs = { x: uniform(3, 2 * 8 * 19 * 17) }
    const names = Object.keys(outputs)
    using plan = await compile(gpu, outputs)
    plan.write('x', inputs.x)
    plan.run()
    const first = await readAll(plan, names)
    expect(first.dx.some((v) => v !== 0)).toBe(true)
    for (let run = 0; run < 5; run++) plan.run()
    expect(await readAll(plan, names)).toEqual(first)
    expect(await results(outputs, inputs, { poison: true })).toEqual(first)
  })

  test('with much arithmetic are submitted in parts, which give the same', async () => {
    const build = (flop: number) => {
      const g = graph()
      const op = doubled({ cost: () => ({ flop, bytes: 0 }) })
      const x = g.input('x', [33])
      let y: Tensor = x
      for (let i = 0; i < 7; i++) y = flip(g.apply(op, [y], {}), 0)
      // x is read in the first part and in the last one.
      return { y, updates: [[x, affine(add(x, y), 0.01, 0)]] as const }
    }
    const { submissions } = spies()
    const start = uniform(1, 33)
    const run = async (flop: number) => {
      const { y, updates } = build(flop)
      using plan: Plan = await compile(gpu, { y }, { updates })
      plan.write('x', start)
      submissions.mockClear()
      plan.run()
      const parts = submissions.mock.calls.length
      plan.run()
      return { parts, gflop: plan.summary().gflop, y: await plan.read('y'), x: await plan.read('x') }
    }
    const little = await run(1)
    const much = await run(3e10)
    expect(little.parts).toBe(1)
    expect(much.parts).toBe(4)
    expect(much.gflop).toBeCloseTo(210, 3)
    expect([much.y, much.x]).toEqual([little.y, little.x])
    let state = Array.from(start)
    let want = state
    for (let k = 0; k < 2; k++) {
      if (k > 0) state = state.map((v, i) => 0.01 * (v + want[i]))
      want = state
      for (let i = 0; i < 7; i++) want = want.map((v) => 2 * v + 1).reverse()
    }
    expect(relmax(much.y, want)).toBeLessThan(1e-5)
  })

  test.skipIf(!gpu.capabilities.timestamps)('tell the time of every operation', async () => {
    const g = graph()
    const [a, b] = [g.input('a', [96, 128]), g.input('b', [128, 64])]
    const product = g.scope('layer', () => matmul(a, b))
    const y = softmax(product)
    const state = g.state('state', [1])
    using plan: Plan = await compile(gpu, { y }, { updates: [[state, affine(state, 1, 1)]] })
    plan.write('a', uniform(1, 96 * 128))
    plan.write('b', uniform(2, 128 * 64))
    plan.run()
    const before = await plan.read('y')
    const rows = await profile(plan)
    expect(rows.map((row) => row.node).sort()).toEqual(['affine', 'layer.matmul', 'softmax'])
    const times = rows.map((row) => row.microseconds)
    expect(times.every((t) => t >= 0 && t < 1e6)).toBe(true)
    expect(times.some((t) => t > 0)).toBe(true)
    expect(times).toEqual(times.toSorted((p, q) => q - p))
    const row = rows.find(({ op }) => op === 'matmul')!
    expect(row.shape).toBe('[96,64]')
    expect(row.variant).not.toBe('')
    if (row.microseconds > 0) {
      // Multiply and add count as two.
      expect(row.gflops * row.microseconds * 1000).toBeCloseTo(2 * 96 * 128 * 64, -2)
    }
    // The state stays where it was.
    expect(await plan.read('y')).toEqual(before)
    expect(await plan.read('state')).toEqual(Float32Array.of(1))
    Object.defineProperty(plan, 'gpu', { value: withFacts({ timestamps: false }) })
    await expect(profile(plan)).rejects.toThrow(/^profile: .* has no timestamp-query/)
  })

  test('of one network find offered what the first one was offered, on this device and at this precision', async () => {
    const asked = vi.fn(doubled().kernels)
    const op = doubled({ kernels: asked })
    const compiled = async (shape: Shape, options: CompileOptions = {}) => {
      const g = graph()
      const x = g.input('x', shape)
      using plan = await compile(gpu, { y: g.apply(op, [g.apply(op, [x], {})], {}) }, options)
      plan.write('x', uniform(1, elements(shape)))
      plan.run()
      return await plan.read('y')
    }
    const first = await compiled([2, 3])
    expect(asked).toHaveBeenCalledTimes(1)
    expect(await compiled([2, 3])).toEqual(first)
    expect(asked).toHaveBeenCalledTimes(1)
    await compiled([4, 3])
    expect(asked).toHaveBeenCalledTimes(2)
    await compiled([2, 3], { products: 'f16' })
    expect(asked).toHaveBeenCalledTimes(3)
    await compiled([4, 3])
    expect(asked).toHaveBeenCalledTimes(3)
  })

  test('say what they are', async () => {
    const g = graph()
    const x = g.input('x', [16, 32])
    const y = matmul(x, g.constant(uniform(1, 32 * 8), [32, 8], 'w'))
    using plan = await compile(gpu, { y: tanh(y) })
    const { nodes, dispatches, mib, gflop } = plan.summary()
    expect(nodes).toBe(2 - (dispatches.step === 1 ? 1 : 0))
    expect(dispatches.step).toBeGreaterThan(0)
    expect(mib).toBe(plan.bytes / 2 ** 20)
    expect(gflop * 1e9).toBeGreaterThanOrEqual(2 * 16 * 32 * 8)
    expect(gflop * 1e9).toBeLessThan(2 * 16 * 32 * 8 + 16 * 8 * 16)
  })
})
