/** Buffers of a plan: shared by liveness, within the limits, and none left behind. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { compile, type GraphTensor, grad, graph, type Plan, PlanMemoryError } from '../../src/graph/index.ts'
import {
  add,
  affine,
  concat,
  conv2d,
  detach,
  flatten,
  flip,
  matmul,
  maxPool2d,
  mul,
  relu,
  reshape,
  slice,
  softmax,
  square,
  sub,
  sum,
  tanh,
  transpose,
} from '../../src/kernels/index.ts'
import { elements, type Shape, type Tensor } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { gpu, results, spies, withFacts } from '../support/graphs.ts'
import { random, uniform } from '../support/random.ts'
import { referenceValues } from '../support/reference.ts'

afterEach(() => vi.restoreAllMocks())

describe('memory', () => {
  test('is reused as soon as a value is not needed any more', async () => {
    const g = graph()
    const shape = [1, 8, 16, 16]
    const x = g.input('x', shape)
    const weights = g.constant(uniform(1, 8 * 8 * 9, -0.2, 0.2), [8, 8, 3, 3], 'weights')
    let y: Tensor = x
    const layers = 24
    for (let i = 0; i < layers; i++) y = flip(tanh(add(y, conv2d(y, weights, undefined, { padding: 1 }))), 2 + (i % 2))
    const inputs = { x: uniform(2, elements(shape)) }
    // The kernels that run everywhere come last; others take memory of their own to be faster.
    using plan = await compile(gpu, { y }, { poison: true, choose: (_, kernels) => kernels[kernels.length - 1] })
    const size = 4 * elements(shape)
    const all = g.nodes.reduce((n, node) => n + 4 * elements(node.shape), 0)
    expect(all).toBeGreaterThan(4 * layers * size)
    // Input, output, weights, and a few values that live at the same time.
    expect(plan.bytes).toBeLessThan(8 * size)
    plan.write('x', inputs.x)
    plan.run()
    expect(relmax(await plan.read('y'), referenceValues([y], inputs)[0])).toBeLessThan(1e-4)
  })

  test('of a gradient holds what the way back needs', async () => {
    const g = graph()
    const x = g.input('x', [4, 32])
    const weights = g.constant(uniform(1, 32 * 32, -0.3, 0.3), [32, 32], 'weights')
    let y: Tensor = x
    const layers = 30
    for (let i = 0; i < layers; i++) y = tanh(matmul(y, weights))
    const dx = grad(sum(square(y)), x)
    const inputs = { x: uniform(2, 128, -3, 3) }
    using plan = await compile(gpu, { dx }, { poison: true })
    const size = 4 * 128
    // tanh keeps its output: one value a layer stays until the way back has passed it, besides weights and a few others.
    expect(plan.bytes).toBeGreaterThan((layers - 1) * size)
    expect(plan.bytes).toBeLessThan((layers + 8) * size + 3 * 4 * 32 * 32)
    plan.write('x', inputs.x)
    plan.run()
    expect(relmax(await plan.read('dx'), referenceValues([dx], inputs)[0])).toBeLessThan(1e-4)
  })

  test('views take none and no kernel', async () => {
    const g = graph()
    const x = g.input('x', [2, 3, 4])
    const flat = flatten(x)
    using plan: Plan = await compile(gpu, { flat, detached: detach(flat) })
    expect(plan.summary().dispatches).toEqual({ constant: 0, fixed: 0, step: 0 })
    expect(plan.bytes).toBe(4 * 24)
    const values = uniform(1, 24)
    plan.write('x', values)
    plan.run()
    expect(await plan.read('flat')).toEqual(values)
    expect(await plan.read('detached')).toEqual(values)
    expect(plan.buffer('flat')).toBe(plan.buffer('x'))
  })

  test('views of a temporary keep it', async () => {
    const g = graph()
    const x = g.input('x', [6, 4])
    const early = reshape(tanh(x), [2, 12])
    let y: Tensor = x
    for (let i = 0; i < 6; i++) y = flip(affine(y, 0.9, 0.1), i % 2)
    const out = add(reshape(early, [4, 6]), reshape(y, [4, 6]))
    const inputs = { x: uniform(3, 24) }
    const got = await results({ out }, inputs, { poison: true })
    expect(relmax(got.out, referenceValues([out], inputs)[0])).toBeLessThan(1e-5)
  })

  const shape: Shape = [2, 4, 6, 6]

  /** A graph of random operations on values of one shape, among them weights, fixed values, states and views. */
  function randomGraph(seed: number) {
    const g = graph()
    const next = random(seed)
    const below = (n: number) => Math.floor(next() * n)
    const weights = uniform(seed + 1, 4 * 4 * 9, -0.4, 0.4)
    const tensors: Tensor[] = [
      g.input('x', shape),
      g.input('state', shape),
      g.fixed('photo', shape),
      g.constant(uniform(seed + 2, elements(shape)), shape, 'c'),
    ]
    // Recent values more often: chains grow long enough to be fused.
    const any = () => tensors[next() < 0.5 ? tensors.length - 1 : below(tensors.length)]
    const kinds: (() => Tensor)[] = [
      () => add(any(), any()),
      () => mul(any(), tanh(any())),
      () => sub(any(), any()),
      () => tanh(any()),
      () => relu(any()),
      () => affine(any(), 0.7, 0.1),
      () => flip(any(), below(4)),
      () => softmax(any(), 1 + below(3)),
      () => transpose(any(), [0, 1, 3, 2]),
      () => reshape(transpose(reshape(any(), [8, 36])), shape),
      () => conv2d(any(), g.constant(weights, [4, 4, 3, 3], 'w'), undefined, { padding: 1 }),
      () => conv2d(any(), g.constant(weights, [4, 4, 3, 3], 'w'), g.constant([0.1, -0.1, 0.2, 0], [4]), { padding: 1 }),
      () => add(any(), g.constant([0.3, -0.2, 0.1, 0.4], [4, 1, 1])),
      () => maxPool2d(any(), { kernel: 3, stride: 1, padding: 1 }),
      () => slice(concat([any(), any()], 1), 1, 2, 6),
    ]
    for (let i = 0; i < 40; i++) tensors.push(kinds[below(kinds.length)]())
    const outputs = Object.fromEntries([0, 1, 2].map((k) => [`y${k}`, tanh(tensors[4 + below(tensors.length - 4)])]))
    return { g, outputs, state: tensors[1] as GraphTensor, after: tanh(tensors.at(-1)!) }
  }

  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])('of random graph %i is right over several runs', async (seed) => {
    const { outputs, state, after } = randomGraph(seed)
    const photo = [uniform(50, elements(shape)), uniform(51, elements(shape))]
    for (const options of [{ fuse: true }, { fuse: false }]) {
      using plan = await compile(gpu, outputs, { ...options, poison: true, updates: [[state, after]] })
      let held = uniform(52, elements(shape))
      plan.write('state', held)
      for (let run = 0; run < 4; run++) {
        const inputs = { x: uniform(60 + run, elements(shape)), photo: photo[run >> 1], state: held }
        if (plan.has('x')) plan.write('x', inputs.x)
        if (run % 2 === 0) {
          if (plan.has('photo')) plan.write('photo', inputs.photo)
        }
        plan.run()
        const names = Object.keys(outputs)
        const wants = referenceValues([...Object.values(outputs), after], inputs)
        for (const [k, name] of names.entries()) {
          expect(relmax(await plan.read(name), wants[k]), `${name}, run ${run}, fuse ${options.fuse}`).toBeLessThan(
            1e-4,
          )
        }
        held = await plan.read('state')
        expect(relmax(held, wants.at(-1)!), `state, run ${run}`).toBeLessThan(1e-4)
      }
    }
  })

  test('that the caller does not allow is refused before anything is allocated, with the numbers', async () => {
    const g = graph()
    const y = tanh(g.input('x', [1024, 1024]))
    const { buffers } = spies()
    const refused = compile(gpu, { y }, { maxBytes: 5 * 2 ** 20 })
    await expect(refused).rejects.toThrow(PlanMemoryError)
    await expect(refused).rejects.toThrow('compile: the plan needs 8.0 MiB, 5.0 MiB are allowed')
    expect(buffers).not.toHaveBeenCalled()
    using plan = await compile(gpu, { y }, { maxBytes: 8 * 2 ** 20 })
    expect(plan.bytes).toBe(8 * 2 ** 20)
  })

  test('over what one binding may have is refused before anything is allocated, with the numbers', async () => {
    const { maxBindingBytes, description } = gpu.capabilities
    const count = maxBindingBytes / 4 + 4
    const g = graph()
    const y = g.scope('layer', () => tanh(g.input('x', [count])))
    const { buffers } = spies()
    const refused = compile(gpu, { y })
    await expect(refused).rejects.toThrow(PlanMemoryError)
    const mib = (maxBindingBytes / 2 ** 20).toFixed(1)
    const message = `tanh(layer.tanh): layer.x needs ${((count * 4) / 2 ** 20).toFixed(1)} MiB in one binding; ${description} allows ${mib} MiB`
    await expect(refused).rejects.toThrow(message)
    expect(buffers).not.toHaveBeenCalled()
  })

  test('too many buffers or workgroups in one dispatch are refused', async () => {
    const g = graph()
    const y = g.scope('layer', () => add(g.input('a', [4096]), g.input('b', [4096])))
    const few = compile(withFacts({ maxStorageBuffers: 2 }), { y }, { tuning: false })
    await expect(few).rejects.toThrow(PlanMemoryError)
    await expect(few).rejects.toThrow(/^add\(layer\.add\): 3 buffers in one dispatch; .* allows 2$/)
    const narrow = compile(withFacts({ maxWorkgroupsPerDimension: 3 }), { y }, { tuning: false })
    await expect(narrow).rejects.toThrow(/^add\(layer\.add\): a grid of \d+x1x1 workgroups; .* allows 3 per dimension$/)
  })

  test('does not grow over 10,000 runs', async () => {
    const g = graph()
    const x = g.input('x', [64])
    using plan: Plan = await compile(gpu, { total: sum(x) }, { updates: [[x, affine(x, 1, 1)]] })
    const start = new Float32Array(64)
    const repeat = async (runs: number) => {
      for (let run = 1; run <= runs; run++) {
        plan.run()
        if (run % 250 === 0) await gpu.wait()
      }
    }
    plan.write('x', start)
    await repeat(2000)
    const before = process.memoryUsage.rss()
    await repeat(8000)
    const grown = (process.memoryUsage.rss() - before) / 2 ** 20
    expect((await plan.read('x'))[0]).toBe(10_000)
    expect((await plan.read('total'))[0]).toBe(64 * 9999)
    // A hundred bytes a run would already be 0.8 MiB; the heap's own ups and downs need room.
    expect(grown).toBeLessThan(24)
  })
})
