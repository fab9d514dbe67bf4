/** Recording a graph and differentiating it. */
import { existsSync, readdirSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, grad, graph } from '../../src/graph/index.ts'
import { acquire } from '../../src/graph/node.ts'
import {
  add,
  affine,
  affineWarp,
  concat,
  conv2d,
  detach,
  exp,
  expand,
  flip,
  linear,
  matmul,
  mul,
  reshape,
  square,
  sum,
  tanh,
  transpose,
} from '../../src/kernels/index.ts'
import { ShapeError, type Tensor } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { doubled, results } from '../support/graphs.ts'
import { uniform } from '../support/random.ts'
import { referenceFunction, referenceValues } from '../support/reference.ts'
import { everything, LONG } from '../support/scope.ts'

afterEach(() => vi.restoreAllMocks())

describe('recording', () => {
  test('shape errors name the operation, the node and the shapes', () => {
    const g = graph()
    const x = g.input('x', [2, 128, 14, 14])
    const weights = g.constant(new Float32Array(256 * 256 * 9), [256, 256, 3, 3], 'weights')
    const record = () => g.scope('layer3', () => g.scope('conv1', () => conv2d(x, weights, undefined, { padding: 1 })))
    expect(record).toThrow(ShapeError)
    expect(record).toThrow(/^conv2d\(layer3\.conv1\.conv2d\): .*x \[2,128,14,14\].*weights \[256,256,3,3\]/)
    expect(() => matmul(g.input('a', [3, 4]), g.input('b', [5, 6]))).toThrow(/^matmul\(matmul\): .*\[3,4\].*\[5,6\]/)
    expect(() => add(g.input('c', [2, 3]), g.input('d', [2, 4]))).toThrow(/^add\(add\): .*a \[2,3\].*b \[2,4\]/)
    expect(() => concat([g.input('e', [2, 3]), g.input('f', [3, 3])], 1)).toThrow(/x0 \[2,3\].*x1 \[3,3\]/)
    // A scope that ended with an error is over.
    expect(g.input('after', [1]).name).toBe('after')
  })

  test('a wrong number of tensors, none at all, and tensors of another graph are refused', () => {
    const g = graph()
    const x = g.input('x', [4])
    const op = doubled()
    expect(() => g.apply(op, [], {})).toThrow(/^doubled\(doubled\): takes x, got 0 tensors/)
    expect(() => g.apply(op, [x, x], {}, 'twice')).toThrow(/^doubled\(twice\): takes x, got 2 tensors \(x \[4\]/)
    expect(() => add(x, graph().input('stranger', [4]))).toThrow(/^add\(add\): stranger belongs to another graph/)
  })

  test('extents must be positive integers, and constants have as many values as their shape', () => {
    const g = graph()
    for (const shape of [[0, 3, 4, 4], [2, -1], [1.5], [Number.NaN]]) {
      expect(() => g.input('x', shape), `${shape}`).toThrow(ShapeError)
      expect(() => g.fixed('x', shape), `${shape}`).toThrow(/^x: \[.*\] has an extent that is not a positive integer/)
    }
    expect(() => g.constant([1, 2, 3], [2], 'c')).toThrow(/^c: 3 values for shape \[2\]/)
    expect(() => g.apply(doubled({ shape: () => [3, 0] }), [g.input('x', [2])], {})).toThrow(
      /^doubled\(doubled\): the output would be \[3,0\]; every extent must be a positive integer \(x \[2\]\)/,
    )
    expect(g.nodes.map(({ name }) => name)).toEqual(['x'])
  })

  test('the same operation on the same tensors is one node', () => {
    const g = graph()
    const x = g.input('x', [2, 3])
    const y = g.input('y', [2, 3])
    expect(tanh(x)).toBe(tanh(x))
    expect(add(x, y)).toBe(add(x, y))
    expect(add(x, y)).not.toBe(add(y, x))
    expect(affine(x, 2, 1)).toBe(affine(x, 2, 1))
    expect(affine(x, 2, 1)).not.toBe(affine(x, 2, 2))
    // Numbers that JSON cannot tell apart.
    const odd = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0, -0]
    expect(new Set(odd.map((offset) => affine(x, 1, offset))).size).toBe(odd.length)
    // Of the same name, but another operation.
    const [first, second] = [doubled(), doubled()]
    expect(g.apply(first, [x], {})).toBe(g.apply(first, [x], {}))
    const known = g.apply(first, [x], {})
    expect(g.apply(second, [x], {})).not.toBe(known)
    expect(g.nodes.length).toBe(14)
  })

  test('constants are one node for the same array, and short ones for the same values', () => {
    const g = graph()
    const long = uniform(1, 5000)
    expect(g.constant(long, [5000])).toBe(g.constant(long, [5000]))
    expect(g.constant(long, [50, 100])).not.toBe(g.constant(long, [5000]))
    expect(g.constant(long.slice(), [5000])).not.toBe(g.constant(long, [5000]))
    expect(g.constant([1, 2], [2])).toBe(g.constant(Float32Array.of(1, 2), [2]))
    expect(g.constant([1, 2], [2])).not.toBe(g.constant([1, 2], [1, 2]))
    expect(g.constant([1, 2], [2])).not.toBe(g.constant([1, 3], [2]))
    // A network on two images has its weights once.
    const weights = uniform(2, 8 * 16)
    const network = (x: Tensor) => tanh(linear(x, g.constant(weights, [8, 16], 'weights')))
    const before = g.nodes.length
    network(g.input('a', [1, 16]))
    const once = g.nodes.length - before
    network(g.input('b', [1, 16]))
    expect(g.nodes.length - before - once).toBe(once - 1)
  })
})

describe('gradients', () => {
  test('errors name the loss, the tensor or the operation', () => {
    const g = graph()
    const x = g.input('x', [2, 3])
    const loss = sum(square(x))
    expect(() => grad(square(x), x)).toThrow(/^grad: square has shape \[2,3\]; a gradient needs a scalar/)
    expect(() => grad(loss, g.input('other', [2]))).toThrow(/^grad: sum does not depend on other/)
    expect(() => grad(loss, tanh(x))).toThrow(/^grad: sum does not depend on tanh/)
    expect(() => grad(sum(detach(x)), x)).toThrow(/^grad: sum does not depend on x/)
    const rough = g.scope('layer', () => g.apply(doubled(), [x], {}))
    expect(() => grad(sum(rough), x)).toThrow(/^grad: doubled\(layer\.doubled\) has no gradient/)
    const matrices = g.input('matrices', [1, 6])
    const warped = affineWarp(g.input('image', [1, 1, 4, 4]), matrices, { size: [2, 2] })
    expect(() => grad(sum(warped), matrices)).toThrow(/^grad: affine_warp\(affine_warp\) has no gradient for matrices/)
    expect(() => grad(loss, graph().input('stranger', [2, 3]))).toThrow(
      /^grad: stranger belongs to another graph than sum/,
    )
  })

  test('where a tensor is used several times the parts add up', async () => {
    const g = graph()
    const x = g.input('x', [3, 5])
    const w = g.constant(uniform(4, 25), [5, 5], 'w')
    const hidden = tanh(matmul(x, w))
    const joined = add(mul(hidden, hidden), mul(x, transpose(reshape(hidden, [5, 3]))))
    const loss = sum(mul(joined, add(hidden, exp(affine(x, 0.5, 0)))))
    const [dx, dhidden] = grad(loss, [x, hidden])
    const inputs = { x: uniform(5, 15) }
    const got = await results({ loss, dx, dhidden }, inputs, { poison: true })
    const at = referenceFunction([loss], inputs, ['x'])
    const h = 1e-5
    const slopes = Array.from(inputs.x, (_, i) => {
      const [high, low] = [h, -h].map((by) => {
        const moved = Float64Array.from(inputs.x)
        moved[i] += by
        return at({ x: moved })[0][0]
      })
      return (high - low) / (2 * h)
    })
    expect(relmax(got.dx, slopes)).toBeLessThan(1e-5)
    // The intermediate's gradient counts its uses alone: what reaches x through it and what reaches x besides it make up dx.
    const through = grad(sum(mul(hidden, g.input('v', [3, 5]))), x)
    const besides = referenceFunction([loss], { ...inputs }, ['x'])
    expect(besides({ x: inputs.x })[0][0]).toBeCloseTo(got.loss[0], 4)
    const [passed] = referenceValues([through], { ...inputs, v: got.dhidden })
    const values = referenceValues([hidden], inputs)[0]
    const held = graph()
    const free = held.input('x', [3, 5])
    const constant = held.constant(Float32Array.from(values), [3, 5])
    const rest = add(mul(constant, constant), mul(free, transpose(reshape(constant, [5, 3]))))
    const direct = grad(sum(mul(rest, add(constant, exp(affine(free, 0.5, 0))))), free)
    const [beside] = referenceValues([direct], inputs)
    expect(
      relmax(
        passed.map((v, i) => v + beside[i]),
        slopes,
      ),
    ).toBeLessThan(1e-5)
  })

  test('repeated sharing costs a node each, not a path each', async () => {
    const g = graph()
    const x = g.input('x', [4])
    let y: Tensor = x
    // 2^40 paths lead from the end to x.
    for (let i = 0; i < 40; i++) y = affine(add(y, tanh(y)), 0.5, 0)
    const before = g.nodes.length
    const dx = grad(sum(y), x)
    expect(g.nodes.length - before).toBeLessThan(40 * 6)
    const inputs = { x: uniform(6, 4, 0.5, 1) }
    const { got } = await results({ got: dx }, inputs)
    expect(relmax(got, referenceValues([dx], inputs)[0])).toBeLessThan(1e-5)
  })

  test('of the loss itself it is one, and a tensor may be asked for alone or among others', async () => {
    const g = graph()
    const x = g.input('x', [3])
    const loss = sum(square(x))
    expect(grad(loss, [])).toEqual([])
    expect(grad(loss, [x])[0]).toBe(grad(loss, x))
    const got = await results({ one: grad(loss, loss), dx: grad(loss, x) }, { x: Float32Array.of(1, -2, 3) })
    expect(got.one).toEqual(Float32Array.of(1))
    expect(got.dx).toEqual(Float32Array.of(2, -4, 6))
  })

  test('nothing flows through a detached tensor', async () => {
    const g = graph()
    const x = g.input('x', [3])
    const fixed = detach(x)
    // The detached tensor can be asked about itself.
    const [dx, dfixed] = grad(sum(mul(affine(x, 2, 0), fixed)), [x, fixed])
    const got = await results({ dx, dfixed }, { x: Float32Array.of(1, -2, 3) })
    expect(got.dx).toEqual(Float32Array.of(2, -4, 6))
    expect(got.dfixed).toEqual(Float32Array.of(2, -4, 6))
  })
})

test.skipIf(!everything)(`a hundred devices that come and go leave nothing behind${LONG}`, async () => {
  // Open files and threads, where the system tells.
  const folders = ['/proc/self/fd', '/proc/self/task'].filter((folder) => existsSync(folder))
  const counts = () => folders.map((folder) => readdirSync(folder).length)
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const opened: WeakRef<Gpu>[] = []
  const cycle = async () => {
    const own = await acquire({ gpu: process.env.LOWKEY_GPU })
    opened.push(new WeakRef(own))
    const g = graph()
    const x = g.input('x', [1])
    const many = flip(affine(expand(x, [1 << 20]), 2, 1), 0)
    const plan = await compile(own, { many, total: sum(many) })
    expect(plan.bytes).toBeGreaterThan(8 * 2 ** 20)
    plan.write('x', Float32Array.of(3))
    plan.run()
    expect(await plan.read('total')).toEqual(Float32Array.of(7 * 2 ** 20))
    own.destroy()
    // Not `expect(...).rejects`, which would keep the promise and the device to the end of the test.
    expect(await own.wait().catch((error: unknown) => (error as Error).name)).toBe('DeviceLostError')
  }
  /** Memory in MiB after every fifth cycle: drivers give theirs back in their own time, so it goes up and down. */
  const cycles = async (count: number): Promise<number[]> => {
    const samples: number[] = []
    for (let i = 1; i <= count; i++) {
      await cycle()
      if (i % 5 !== 0) continue
      // What was awaited last is let go of in a later turn.
      await setTimeout(5)
      collect()
      samples.push(process.memoryUsage.rss() / 2 ** 20)
    }
    return samples
  }
  await cycles(20)
  const openBefore = counts()
  const before = Math.min(...(await cycles(40)))
  const after = Math.min(...(await cycles(40)))
  // Nothing holds a device that was destroyed (the last one may still be in a register).
  expect(opened.filter((reference) => reference.deref()).length).toBeLessThan(3)
  // The plans alone had 320 MiB. (What devices that are held cost, some 60 MiB, is seen by the line above.)
  expect(after - before).toBeLessThan(40)
  const openAfter = counts()
  for (const [k, folder] of folders.entries()) expect(openAfter[k] - openBefore[k], folder).toBeLessThan(10)
})
