/** A plan cannot be held wrongly: what gave zeros, stale values or garbage without a word is right or says what is wrong. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Attack } from '../../src/attack/loop.ts'
import { compile, graph, type Numbers, type Plan, PlanOrderError } from '../../src/graph/index.ts'
import { add, affine, div, matmul, maximum, minimum, mul, pow, relu, sub, sum, tanh } from '../../src/kernels/index.ts'
import { ShapeError, type Tensor } from '../../src/kernels/op.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'

const gpu = await testGpu()
afterEach(() => vi.restoreAllMocks())

describe('numbers for an input', () => {
  const echo = async () => compile(gpu, { y: affine(graph().input('x', [4]), 1, 0) })

  test('may be of any numeric array', async () => {
    using plan = await echo()
    const kinds: Numbers[] = [
      [1, 2, 3, 200],
      Float32Array.of(1, 2, 3, 200),
      Float64Array.of(1, 2, 3, 200),
      Int32Array.of(1, 2, 3, 200),
      Uint32Array.of(1, 2, 3, 200),
      Int16Array.of(1, 2, 3, 200),
      Uint8Array.of(1, 2, 3, 200),
      Uint8ClampedArray.of(1, 2, 3, 200),
      new Float32Array(new SharedArrayBuffer(16)).map((_, i) => [1, 2, 3, 200][i]),
      // In the middle of a larger buffer.
      Float32Array.of(9, 1, 2, 3, 200, 9).subarray(1, 5),
    ]
    for (const x of kinds) expect((await plan.run({ x })).y, String(x)).toEqual(Float32Array.of(1, 2, 3, 200))
    expect((await plan.run({ x: Float64Array.of(0.1, 1 / 3, Number.NaN, -Infinity) })).y).toEqual(
      Float32Array.of(0.1, 1 / 3, Number.NaN, -Infinity),
    )
  })

  test('are refused with the reason where they are none, or no f32', async () => {
    using plan = await echo()
    const refused: [unknown, RegExp][] = [
      [BigInt64Array.of(1n, 2n, 3n, 4n), /takes an array of numbers, got an object \(BigInt64Array\)/],
      [new ArrayBuffer(16), /takes an array of numbers, got an object \(ArrayBuffer\)/],
      [new DataView(new ArrayBuffer(16)), /takes an array of numbers, got an object \(DataView\)/],
      ['1234', /takes an array of numbers, got a string/],
      [undefined, /takes an array of numbers, got undefined/],
      [[1, 2, '3', 4], /element 2 is a string, not a number/],
      [
        [
          [1, 2],
          [3, 4],
        ],
        /element 0 is an object \(Array\), not a number; give the numbers in one flat array/,
      ],
      [new Array(4), /element 0 is undefined, not a number/],
      [[1, 2, 1e39, 4], /1e\+39 \(element 2\) is beyond f32/],
      [Int32Array.of(1, 2, 3, 2 ** 24 + 1), /16777217 \(element 3\) cannot be held exactly in f32/],
    ]
    for (const [x, reason] of refused) {
      expect(() => plan.write('x', x as Numbers), String(reason)).toThrow(reason)
      await expect(plan.run({ x: x as Numbers })).rejects.toThrow(/^plan\.write: x: /)
    }
    expect(() => plan.write('x', [1, 2, 3])).toThrow(/^plan\.write: x takes 4 values \[4\], got 3/)
    expect(() => graph().constant([1, 'two'] as never, [2], 'weights')).toThrow(/^weights: element 1 is a string/)
  })

  test('may be one number where the tensor has one element', async () => {
    const g = graph()
    using plan = await compile(gpu, { y: mul(g.input('x', []), g.constant(3, [])) })
    expect((await plan.run({ x: 7 })).y).toEqual(Float32Array.of(21))
    using wide = await echo()
    expect(() => wide.write('x', 7)).toThrow(/^plan\.write: x takes 4 values \[4\], got 1/)
  })
})

describe('the order of things', () => {
  test('a run says which inputs were never written, a read that there was no run', async () => {
    const g = graph()
    const y = add(mul(g.fixed('scale', [2]), g.input('x', [2])), g.input('offset', [2]))
    using plan: Plan = await compile(gpu, { y })
    expect(() => plan.run()).toThrow(PlanOrderError)
    expect(() => plan.run()).toThrow(/^plan\.run: scale, x, offset were never written; give them to plan\.run/)
    plan.write('scale', [2, 3])
    plan.write('x', [1, 1])
    expect(() => plan.run()).toThrow(/^plan\.run: offset was never written/)
    await expect(plan.read('y')).rejects.toThrow(/^plan\.read: y is computed by plan\.run\(\), which was not called/)
    await expect(plan.read('offset')).rejects.toThrow(/^plan\.read: the input offset was never written/)
    expect(() => plan.calls()).toThrow(PlanOrderError)
    expect(await plan.run({ offset: [10, 10] })).toEqual({ y: Float32Array.of(12, 13) })
    expect(await plan.read('y')).toEqual(Float32Array.of(12, 13))
  })

  test('a fixed input that is written again counts from the next run on, and is computed once', async () => {
    const g = graph()
    const clean = g.fixed('clean', [3])
    const taps = tanh(affine(clean, 2, 0))
    using plan = await compile(gpu, { taps, y: add(mul(g.input('x', [3]), 0), affine(clean, 1, 0)) })
    await expect(plan.read('taps')).rejects.toThrow(/^plan\.run: clean, x were never written/)
    expect((await plan.run({ clean: [1, 1, 1], x: [0, 0, 0] })).y).toEqual(Float32Array.of(1, 1, 1))
    expect((await plan.run({ clean: [5, 5, 5] })).y).toEqual(Float32Array.of(5, 5, 5))
    plan.write('clean', [0, 0, 0])
    // What depends on fixed inputs alone needs no run.
    expect(await plan.read('taps')).toEqual(Float32Array.of(0, 0, 0))
    const submissions = vi.spyOn(Object.getPrototypeOf(gpu.device.queue), 'submit')
    plan.run()
    expect(submissions).toHaveBeenCalledTimes(1)
    plan.write('clean', [1, 2, 3])
    plan.run()
    expect(submissions).toHaveBeenCalledTimes(3)
  })

  test('whoever writes a fixed input through its buffer asks for it', async () => {
    const g = graph()
    using plan = await compile(gpu, { y: affine(g.fixed('clean', [4]), 3, 0) }, { inputs: { clean: g.nodes[0] } })
    gpu.device.queue.writeBuffer(plan.buffer('clean'), 0, Float32Array.of(1, 2, 3, 4))
    expect(await plan.read('y')).toEqual(Float32Array.of(3, 6, 9, 12))
    gpu.device.queue.writeBuffer(plan.buffer('clean'), 0, Float32Array.of(4, 3, 2, 1))
    expect(await plan.read('y')).toEqual(Float32Array.of(12, 9, 6, 3))
  })

  test('calls that overlap give the bits of calls one after another', async () => {
    const g = graph()
    const clean = g.fixed('clean', [64, 64])
    const count = g.state('count', [], 1)
    const y = tanh(matmul(matmul(g.input('x', [64, 64]), clean), mul(clean, count)))
    const compiled = () => compile(gpu, { y, total: sum(y) }, { updates: [[count, add(count, 1)]] })
    const photos = Array.from({ length: 6 }, (_, i) => ({ x: uniform(i, 4096), clean: uniform(i >> 1, 4096) }))
    using alone = await compiled()
    const want: { y: Float32Array; total: Float32Array }[] = []
    for (const photo of photos) want.push(await alone.run(photo))
    using both = await compiled()
    expect(await Promise.all(photos.map((photo) => both.run(photo)))).toEqual(want)
    // Reads that are not waited for, with writes and runs behind them.
    using mixed = await compiled()
    const reads = photos.map(({ x, clean: c }) => {
      mixed.write('x', x)
      mixed.write('clean', c)
      mixed.run()
      return mixed.read('y')
    })
    expect(await Promise.all(reads)).toEqual(want.map((w) => w.y))
    expect(want[0].y).not.toEqual(want[1].y)
  })

  test('a call that is refused changes nothing', async () => {
    const g = graph()
    using plan = await compile(gpu, { y: add(g.input('a', [2]), g.input('b', [2])) })
    await plan.run({ a: [1, 1], b: [2, 2] })
    await expect(plan.run({ a: [9, 9], b: [1] })).rejects.toThrow(ShapeError)
    plan.run()
    expect(await plan.read('y')).toEqual(Float32Array.of(3, 3))
  })

  test('a state begins with its start, and may be written', async () => {
    const g = graph()
    const step = g.state('step', [], 1)
    const start = Float32Array.of(1, 2)
    const p = g.state('p', [2], start)
    start.fill(77)
    using plan = await compile(
      gpu,
      {},
      {
        updates: [
          [step, add(step, 1)],
          [p, mul(p, 2)],
        ],
        inputs: { step, p },
      },
    )
    expect(await plan.run({})).toEqual({})
    expect(await plan.read('p')).toEqual(Float32Array.of(2, 4))
    await plan.run({ step: 10 })
    expect(await plan.read('step')).toEqual(Float32Array.of(11))
  })
})

describe('names', () => {
  test('of outputs, and of inputs where compile is told them, are types', async () => {
    const g = graph()
    const x = g.input('recorded under another name', [2])
    using plan = await compile(gpu, { y: affine(x, 2, 0) }, { inputs: { x } })
    const { y } = await plan.run({ x: [1, 2] })
    expect(y).toEqual(Float32Array.of(2, 4))
    // @ts-expect-error there is no output z
    const { z } = await plan.run({ x: [1, 2] })
    expect(z).toBeUndefined()
    // @ts-expect-error there is no input w
    await expect(plan.run({ w: [1, 2] })).rejects.toThrow(/no input or output is named w; there are x, y/)
    // @ts-expect-error y is no input
    expect(() => plan.write('y', [1, 2])).toThrow(/^plan\.write: y is no input/)
    // @ts-expect-error there is no output z
    await expect(plan.read('z')).rejects.toThrow(/no input or output is named z/)
    expect(await plan.read('x')).toEqual(Float32Array.of(1, 2))
  })

  test('that compile is told are all of them, and inputs', async () => {
    const g = graph()
    const [a, b] = [g.input('a', [2]), g.input('b', [2])]
    const y = tanh(a)
    await expect(compile(gpu, { y }, { inputs: {} })).rejects.toThrow(
      /^compile: the input a is read, but not among inputs/,
    )
    await expect(compile(gpu, { y }, { inputs: { a, b } })).rejects.toThrow(/^compile: nothing .* reads the input b/)
    await expect(compile(gpu, { y }, { inputs: { a: y } })).rejects.toThrow(
      /^compile: inputs\.a is no input of the graph/,
    )
    await expect(compile(gpu, { a: y }, { inputs: { a } })).rejects.toThrow(
      /^compile: two inputs or outputs are named a/,
    )
  })

  test('of inputs that nothing reads are known as such', async () => {
    const g = graph()
    const a = g.input('a', [2])
    g.input('b', [2])
    using plan = await compile(gpu, { y: tanh(a) })
    expect(plan.has('b')).toBe(false)
    expect(() => plan.write('b', [1, 2])).toThrow(
      /^plan: the graph has an input b, but nothing that this plan computes reads it; there are a, y/,
    )
    expect(() => plan.write('c', [1, 2])).toThrow(/^plan: no input or output is named c; there are a, y/)
  })
})

test('an attack of NaN steps is refused, not done in none', async () => {
  // What it is refused by comes before anything of a compiled attack is touched.
  const attack: Attack = Object.create(Attack.prototype)
  for (const steps of [Number.NaN, -1, 1.5]) {
    await expect(attack.run({ steps, start: new Float32Array(1) })).rejects.toThrow(
      `steps is a whole number, not ${steps}`,
    )
  }
})

describe('numbers among tensors', () => {
  test('are scalars', async () => {
    const g = graph()
    const x = g.input('x', [4])
    const outputs = {
      add: add(x, 1),
      addLeft: add(1, x),
      sub: sub(x, 1),
      subLeft: sub(1, x),
      mul: mul(2, x),
      mulRight: mul(x, 2),
      div: div(x, 3),
      divLeft: div(3, x),
      maximum: maximum(x, 0.5),
      minimum: minimum(0.5, x),
      pow: pow(x, 2),
      powLeft: pow(2, x),
    }
    using plan = await compile(gpu, outputs)
    const got = await plan.run({ x: [-2, 0.25, 1, 4] })
    expect(got.add).toEqual(Float32Array.of(-1, 1.25, 2, 5))
    expect(got.addLeft).toEqual(got.add)
    expect(got.sub).toEqual(Float32Array.of(-3, -0.75, 0, 3))
    expect(got.subLeft).toEqual(Float32Array.of(3, 0.75, 0, -3))
    expect(got.mul).toEqual(Float32Array.of(-4, 0.5, 2, 8))
    expect(got.mulRight).toEqual(got.mul)
    expect(got.div[3]).toBeCloseTo(4 / 3, 6)
    expect(got.divLeft[3]).toBeCloseTo(0.75, 6)
    expect(got.maximum).toEqual(Float32Array.of(0.5, 0.5, 1, 4))
    expect(got.minimum).toEqual(Float32Array.of(-2, 0.25, 0.5, 0.5))
    expect(got.pow[0]).toBeCloseTo(4, 5)
    expect(got.powLeft[3]).toBeCloseTo(16, 4)
  })

  test('need a tensor beside them, and what is neither is refused by name', () => {
    const x = graph().input('x', [2])
    expect(() => add(1, 2)).toThrow(/^add: takes at least one tensor, got the numbers 1, 2/)
    expect(() => mul(x, undefined as never)).toThrow(/^mul: takes tensors and numbers, got undefined/)
    expect(() => div(null as never, x)).toThrow(/^div: takes tensors and numbers, got null/)
    expect(() => relu(5 as unknown as Tensor)).toThrow(TypeError)
    expect(() => matmul(x, undefined as never)).toThrow(/undefined|tensors/)
  })
})

describe('the array of a constant', () => {
  test('may change where it is short: it was copied', async () => {
    const g = graph()
    const w = Float32Array.of(1, 2)
    const first = g.constant(w, [2])
    w.fill(5)
    const second = g.constant(w, [2])
    expect(second).not.toBe(first)
    using plan = await compile(gpu, { first, second })
    expect(await plan.run({})).toEqual({ first: Float32Array.of(1, 2), second: Float32Array.of(5, 5) })
  })

  test('that is long must stay as it is, and compile says so where it did not', async () => {
    const g = graph()
    const w = uniform(1, 5000)
    const y = affine(g.constant(w, [5000], 'weights'), 2, 0)
    using plan = await compile(gpu, { y })
    expect((await plan.run({})).y[4999]).toBe(2 * w[4999])
    w[4999] += 1
    await expect(compile(gpu, { y })).rejects.toThrow(/^weights: its array was changed after it was recorded/)
    w[4999] -= 1
  })
})
