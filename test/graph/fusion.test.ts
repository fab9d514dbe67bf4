/** Pointwise operations in one kernel: how few are left, and that nothing else changes. */
import { describe, expect, test } from 'vitest'
import { adamUpdates, type CompileOptions, compile, type Graph, grad, graph } from '../../src/graph/index.ts'
import {
  abs,
  add,
  affine,
  clip,
  conv2d,
  div,
  equal,
  exp,
  flip,
  gelu,
  greater,
  greaterEqual,
  less,
  lessEqual,
  linear,
  matmul,
  max,
  maximum,
  maxPool2d,
  mean,
  minimum,
  mul,
  relu,
  relu6,
  reshape,
  sigmoid,
  sqrt,
  square,
  sub,
  sum,
  tanh,
  transpose,
  where,
} from '../../src/kernels/index.ts'
import { elements, type Shape, type Tensor } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { random, uniform } from '../support/random.ts'
import { referenceValues } from '../support/reference.ts'
import { everything } from '../support/scope.ts'

const gpu = await testGpu()

const dispatchesOf = async (
  outputs: Readonly<Record<string, Tensor>>,
  options: CompileOptions = {},
): Promise<number> => {
  using plan = await compile(gpu, outputs, options)
  return plan.summary().dispatches.step
}

describe('dispatches', () => {
  const shape: Shape = [64, 48]
  const inputs = (g: Graph): Tensor[] => ['a', 'b', 'c'].map((name) => g.input(name, shape))

  test('of a chain: one', async () => {
    const [a, b, c] = inputs(graph())
    expect(await dispatchesOf({ y: relu(add(mul(a, b), c)) })).toBe(1)
    expect(await dispatchesOf({ y: relu(add(mul(a, b), c)) }, { fuse: false })).toBe(3)
  })

  test('of a mean squared error: one, and one more where the sum is in parts', async () => {
    const [a, b] = inputs(graph())
    expect(await dispatchesOf({ y: mean(square(sub(a, b))) })).toBe(1)
    const g = graph()
    const [x, z] = ['x', 'z'].map((name) => g.input(name, [300, 200]))
    expect(await dispatchesOf({ y: mean(square(sub(x, z))) })).toBe(2)
  })

  test('of two that share what they read, and give several values: one', async () => {
    const [a, b, c] = inputs(graph())
    const s = add(a, b)
    expect(await dispatchesOf({ s, t: mul(s, c), u: sub(s, reshape(c, [...shape])) })).toBe(1)
  })

  test('of a step of Adam on two layers: as many as there are products and sums, and the count of steps', async () => {
    const g = graph()
    const x = g.constant([0, 0, 0, 1, 1, 0, 1, 1], [4, 2])
    const y = g.constant([0, 1, 1, 0], [4, 1])
    const parameters = [
      g.state('w1', [8, 2], uniform(1, 16)),
      g.state('b1', [8]),
      g.state('w2', [1, 8], uniform(2, 8)),
      g.state('b2', [1]),
    ]
    const output = sigmoid(linear(tanh(linear(x, parameters[0], parameters[1])), parameters[2], parameters[3]))
    const updates = adamUpdates(mean(square(sub(output, y))), parameters, 0.05)
    expect(await dispatchesOf({ output }, { updates })).toBeLessThanOrEqual(12)
  })
})

describe('values', () => {
  /** Grows a graph of anything that fuses and things that do not, from leaves that broadcast. */
  function grow(seed: number): { g: Graph; outputs: Record<string, Tensor>; inputs: Record<string, Float32Array> } {
    const next = random(seed)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]
    const g = graph()
    const full: Shape = pick([
      [2, 4, 6, 6],
      [1, 3, 5, 7],
      [2, 8, 2, 4],
    ])
    const [n, c, h, w] = full
    const shapes: Shape[] = [full, full, [c, 1, 1], [1], [n, 1, h, w], [w], [n, c, 1, 1]]
    const inputs: Record<string, Float32Array> = {}
    const leaves = shapes.map((shape, k) => {
      inputs[`x${k}`] = uniform(10 * seed + k, elements(shape))
      return k === 1 ? g.fixed('x1', shape) : g.input(`x${k}`, shape)
    })
    const weights = g.constant(uniform(seed, c * c * 9, -0.3, 0.3), [c, c, 3, 3], 'weights')
    const pool: Tensor[] = [leaves[0], leaves[1]]
    const unary = [
      relu,
      tanh,
      abs,
      square,
      gelu,
      (x: Tensor) => affine(x, 0.5, 0.1),
      (x: Tensor) => clip(x, -0.5, 0.5),
      (x: Tensor) => flip(x, 3),
      (x: Tensor) => conv2d(x, weights, undefined, { padding: 1 }),
      (x: Tensor) => reshape(reshape(x, [n * c, h * w]), full),
      (x: Tensor) => transpose(transpose(x, [1, 0, 3, 2]), [1, 0, 3, 2]),
      (x: Tensor) => sub(x, mean(x, [2, 3])),
      (x: Tensor) => div(x, affine(sqrt(sum(square(x), [1])), 1, 1)),
      (x: Tensor) => sub(x, max(x, [3])),
      (x: Tensor) =>
        reshape(matmul(reshape(x, [n * c * h, w]), g.constant(uniform(3, w * w, -0.4, 0.4), [w, w])), full),
    ]
    const binary = [add, sub, mul, maximum, minimum, (a: Tensor, b: Tensor) => where(greater(a, 0), a, b)]
    for (let k = 0; k < 14; k++) {
      const x = pick(pool.slice(-5))
      pool.push(next() < 0.5 ? pick(unary)(x) : pick(binary)(x, next() < 0.5 ? pick(pool) : pick(leaves)))
    }
    // A little more, as some end in nothing but rounding.
    const outputs: Record<string, Tensor> = { last: affine(pool.at(-1)!, 1, 0.01), middle: affine(pool[8], 1, 0.01) }
    outputs.loss = sum(square(outputs.last))
    return { g, outputs, inputs }
  }

  for (let seed = 1; seed <= (everything ? 40 : 10); seed++) {
    test(`of random graph ${seed} are those of the definition`, async () => {
      const { outputs, inputs } = grow(seed)
      const wants = referenceValues(Object.values(outputs), inputs)
      using plan = await compile(gpu, outputs, { poison: true })
      for (const [name, data] of Object.entries(inputs)) if (plan.has(name)) plan.write(name, data)
      plan.run()
      for (const [k, name] of Object.keys(outputs).entries())
        expect(relmax(await plan.read(name), wants[k]), name).toBeLessThan(2e-4)
    })
  }

  test('of a gradient are the same with fusion and without', async () => {
    const g = graph()
    const x = g.input('x', [1, 4, 8, 8])
    const weights = g.constant(uniform(1, 144, -0.4, 0.4), [4, 4, 3, 3], 'weights')
    const layer = (y: Tensor) =>
      maxPool2d(gelu(add(y, conv2d(relu(y), weights, undefined, { padding: 1 }))), { kernel: 2 })
    const y = layer(layer(x))
    const loss = mean(square(sub(div(exp(y), sum(exp(y), [1])), 0.25)))
    const gradient = grad(loss, x)
    const results: Float32Array[] = []
    for (const fuse of [true, false]) {
      using plan = await compile(gpu, { gradient }, { fuse, poison: true })
      const { gradient: values } = await plan.run({ x: uniform(5, 256) })
      results.push(values)
    }
    expect(relmax(results[0], Float64Array.from(results[1]))).toBeLessThan(1e-5)
  })
})

describe('NaN', () => {
  test('goes through, as in PyTorch', async () => {
    const g = graph()
    const [a, b] = [g.input('a', [4]), g.input('b', [4])]
    const outputs = {
      relu: relu(a),
      relu6: relu6(a),
      clip: clip(a, 0, 1),
      maximum: maximum(a, b),
      minimum: minimum(a, b),
      tanh: tanh(a),
      sigmoid: sigmoid(a),
      max: max(reshape(a, [2, 2]), [1]),
    }
    for (const fuse of [true, false]) {
      using plan = await compile(gpu, outputs, { fuse })
      const got = await plan.run({ a: [Number.NaN, 0.5, -1, 2], b: [1, Number.NaN, 0, 1] })
      const nan = (values: Float32Array): boolean[] => Array.from(values, Number.isNaN)
      for (const name of ['relu', 'relu6', 'clip', 'tanh', 'sigmoid'] as const)
        expect(nan(got[name]), name).toEqual([true, false, false, false])
      for (const name of ['maximum', 'minimum'] as const)
        expect(nan(got[name]), name).toEqual([true, true, false, false])
      expect(nan(got.max)).toEqual([true, false])
    }
  })

  test('is neither less nor more than a number, which is not less than itself', async () => {
    const g = graph()
    const [a, b] = [g.input('a', [3]), g.input('b', [3])]
    const compared = { lt: less(a, b), le: lessEqual(a, b), gt: greater(a, b), ge: greaterEqual(a, b), eq: equal(a, b) }
    using plan = await compile(gpu, compared)
    const got = await plan.run({ a: [1, 2, Number.NaN], b: [1, 3, 1] })
    const rows = Object.fromEntries(Object.entries(got).map(([name, values]) => [name, [...values]]))
    expect(rows).toEqual({ lt: [0, 1, 0], le: [1, 1, 0], gt: [0, 0, 0], ge: [1, 0, 0], eq: [1, 0, 0] })
  })
})
