/** Operations that are made of others: against their definitions, written down here, and their gradients against differences. */
import { describe, expect, test } from 'vitest'
import { compile, type Graph, grad, graph } from '../../src/graph/index.ts'
import {
  add,
  argmax,
  attention,
  dropout,
  einsum,
  embedding,
  gridSample,
  groupNorm,
  layerNorm,
  mul,
  oneHot,
  reshape,
  rmsNorm,
  sum,
} from '../../src/kernels/index.ts'
import { elements, type Shape, type Tensor } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'
import { referenceFunction } from '../support/reference.ts'

const gpu = await testGpu()

type Definition = (inputs: Readonly<Record<string, Float64Array>>) => ArrayLike<number>

/** Compares values with the definition, and the gradients for all inputs but those in `flat` with central differences of it. */
async function check(
  shapes: Readonly<Record<string, Shape>>,
  record: (x: Readonly<Record<string, Tensor>>, g: Graph) => Tensor,
  define: Definition,
  given: Readonly<Record<string, Float32Array>> = {},
): Promise<void> {
  const g = graph()
  const x = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, g.input(name, shape)]))
  const y = record(x, g)
  const count = elements(y.shape)
  const weights = uniform(99, count)
  const loss = sum(mul(reshape(y, [count]), g.constant(weights, [count])))
  const names = Object.keys(shapes).filter((name) => !given[name])
  const gradients = grad(
    loss,
    names.map((name) => x[name]),
  )
  const outputs = { y, ...Object.fromEntries(gradients.map((each, k) => [`d${names[k]}`, each])) }
  const values = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], k) => [name, given[name] ?? uniform(k + 1, elements(shape))]),
  )
  using plan = await compile(gpu, outputs, { poison: true })
  for (const [name, value] of Object.entries(values)) if (plan.has(name)) plan.write(name, value)
  plan.run()
  const exact = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Float64Array.from(value)]))
  expect(relmax(await plan.read('y'), Float64Array.from(define(exact)))).toBeLessThan(2e-5)
  // The recorded operations in float64 are the definition, too, so their differences are those of what was meant.
  expect(
    relmax(Float32Array.from(referenceFunction([y], values, [])({})[0]), Float64Array.from(define(exact))),
  ).toBeLessThan(1e-6)
  for (const name of names) {
    const got = await plan.read(`d${name}` as 'y')
    const at = Array.from({ length: Math.min(10, got.length) }, (_, i) => Math.floor((i * got.length) / 10))
    const slope = at.map((i) => {
      const moved = (by: number): number => {
        const inputs = { ...exact, [name]: exact[name].slice() }
        inputs[name][i] += by
        return Array.from(define(inputs)).reduce((total, value, k) => total + value * weights[k], 0)
      }
      return (moved(1e-4) - moved(-1e-4)) / 2e-4
    })
    expect(
      relmax(
        Float32Array.from(at, (i) => got[i]),
        Float64Array.from(slope),
      ),
      `d${name}`,
    ).toBeLessThan(1e-4)
  }
}

const rowsOf = (x: Float64Array, length: number): number[][] =>
  Array.from({ length: x.length / length }, (_, k) => [...x.subarray(k * length, (k + 1) * length)])
const average = (row: readonly number[]): number => row.reduce((s, v) => s + v, 0) / row.length
const standard = (row: readonly number[], epsilon: number): number[] => {
  const centre = average(row)
  const deviation = Math.sqrt(average(row.map((v) => (v - centre) ** 2)) + epsilon)
  return row.map((v) => (v - centre) / deviation)
}

describe('normalisations', () => {
  test('layerNorm', () =>
    check(
      { x: [3, 2, 7], weight: [7], bias: [7] },
      ({ x, weight, bias }) => layerNorm(x, weight, bias),
      ({ x, weight, bias }) =>
        rowsOf(x, 7).flatMap((row) => standard(row, 1e-5).map((v, k) => v * weight[k] + bias[k])),
    ))
  test('rmsNorm', () =>
    check(
      { x: [5, 6], weight: [6] },
      ({ x, weight }) => rmsNorm(x, weight),
      ({ x, weight }) =>
        rowsOf(x, 6).flatMap((row) =>
          row.map((v, k) => (v * weight[k]) / Math.sqrt(average(row.map((u) => u * u)) + 1e-6)),
        ),
    ))
  test('groupNorm', () =>
    check(
      { x: [2, 4, 3, 3], weight: [4], bias: [4] },
      ({ x, weight, bias }) => groupNorm(x, 2, weight, bias),
      ({ x, weight, bias }) =>
        rowsOf(x, 18)
          .flatMap((row) => standard(row, 1e-5))
          .map((v, i) => v * weight[Math.floor(i / 9) % 4] + bias[Math.floor(i / 9) % 4]),
    ))
})

describe('attention', () => {
  const attend =
    (causal: boolean): Definition =>
    ({ q, k, v, mask }) => {
      const [keys, values] = [rowsOf(k, 3), rowsOf(v, 5)]
      return rowsOf(q, 3).flatMap((query, at) => {
        const batch = Math.floor(at / 4)
        const scores = keys.slice(batch * 4, batch * 4 + 4).map((key, j) => {
          const product = key.reduce((s, value, d) => s + value * query[d], 0) / Math.sqrt(3)
          return causal && j > at % 4 ? Number.NEGATIVE_INFINITY : product + (mask?.[(at % 4) * 4 + j] ?? 0)
        })
        const shares = scores.map(Math.exp)
        const total = shares.reduce((s, share) => s + share, 0)
        return [0, 1, 2, 3, 4].map((d) =>
          shares.reduce((s, share, j) => s + (share / total) * values[batch * 4 + j][d], 0),
        )
      })
    }
  const shapes = { q: [2, 4, 3], k: [2, 4, 3], v: [2, 4, 5] }
  test('with a mask', () =>
    check({ ...shapes, mask: [4, 4] }, ({ q, k, v, mask }) => attention(q, k, v, { mask }), attend(false)))
  test('causal', () => check(shapes, ({ q, k, v }) => attention(q, k, v, { causal: true }), attend(true)))
})

describe('indices', () => {
  test('embedding', () =>
    check(
      { table: [5, 3], at: [2, 2] },
      ({ table, at }) => embedding(at, table),
      ({ table, at }) => [...at].flatMap((row) => [...table.subarray(3 * row, 3 * row + 3)]),
      { at: Float32Array.of(4, 0, 0, 2) },
    ))

  test('oneHot and argmax', async () => {
    const g = graph()
    const x = g.input('x', [2, 3])
    using plan = await compile(gpu, {
      last: argmax(x),
      first: argmax(x, 0),
      hot: oneHot(reshape(argmax(x), [2]), 3),
      flat: grad(sum(add(argmax(x), 0)), x),
    })
    const got = await plan.run({ x: [1, 5, 5, 7, -1, 2] })
    expect([...got.last]).toEqual([1, 0])
    expect([...got.first]).toEqual([1, 0, 0])
    expect([...got.hot]).toEqual([0, 1, 0, 1, 0, 0])
    expect([...got.flat]).toEqual([0, 0, 0, 0, 0, 0])
  })
})

describe('gridSample', () => {
  test('is bilinear, and 0 outside', () =>
    check(
      { x: [1, 2, 4, 5], grid: [1, 3, 2, 2] },
      ({ x, grid }) => gridSample(x, mul(grid, 1.3)),
      ({ x, grid }) => {
        const pixel = (c: number, row: number, column: number): number =>
          row >= 0 && row < 4 && column >= 0 && column < 5 ? x[(c * 4 + row) * 5 + column] : 0
        return [0, 1].flatMap((c) =>
          rowsOf(grid, 2).map(([u, v]) => {
            const [px, py] = [((1.3 * u + 1) * 5 - 1) / 2, ((1.3 * v + 1) * 4 - 1) / 2]
            const [left, top] = [Math.floor(px), Math.floor(py)]
            const [a, b] = [px - left, py - top]
            return (
              (1 - b) * ((1 - a) * pixel(c, top, left) + a * pixel(c, top, left + 1)) +
              b * ((1 - a) * pixel(c, top + 1, left) + a * pixel(c, top + 1, left + 1))
            )
          }),
        )
      },
    ))
})

describe('einsum', () => {
  /** By definition: a loop over every letter. */
  const define =
    (equation: string, shapes: Readonly<Record<string, Shape>>): Definition =>
    (inputs) => {
      const [left, result] = equation.split('->')
      const names = left.split(',')
      const extents = new Map<string, number>()
      Object.values(shapes).forEach((shape, k) => {
        for (const [i, axis] of [...names[k]].entries()) extents.set(axis, shape[i])
      })
      const letters = [...extents.keys()]
      const place = (axes: string, at: Readonly<Record<string, number>>): number =>
        [...axes].reduce((index, axis) => index * extents.get(axis)! + at[axis], 0)
      const y = new Float64Array(elements([...result].map((axis) => extents.get(axis)!)))
      for (let i = 0; i < elements([...extents.values()]); i++) {
        let rest = i
        const at: Record<string, number> = {}
        for (const letter of letters) {
          at[letter] = rest % extents.get(letter)!
          rest = Math.floor(rest / extents.get(letter)!)
        }
        y[place(result, at)] += Object.values(inputs).reduce((p, values, k) => p * values[place(names[k], at)], 1)
      }
      return y
    }
  for (const [equation, shapes] of Object.entries<Record<string, Shape>>({
    'ij,jk->ik': { a: [2, 3], b: [3, 4] },
    'bhid,bhjd->bhij': { a: [2, 2, 3, 4], b: [2, 2, 5, 4] },
    'ijk->kj': { a: [2, 3, 4] },
    'i,j->ij': { a: [3], b: [4] },
    'ij,kj,k->i': { a: [2, 3], b: [4, 3], c: [4] },
    'bik,bkj->jbi': { a: [2, 3, 2], b: [2, 2, 4] },
    'ab,bc->': { a: [2, 3], b: [3, 2] },
  }))
    test(equation, () => check(shapes, (x) => einsum(equation, ...Object.values(x)), define(equation, shapes)))

  test('names what does not fit', () => {
    const g = graph()
    const [a, b] = [g.input('a', [2, 3]), g.input('b', [4, 2])]
    expect(() => einsum('ij,jk->ik', a, b)).toThrow('einsum: ij,jk->ik: j is 3 and 4')
    expect(() => einsum('ii->i', a)).toThrow('does not name the axes of [2,3], each by another letter')
    expect(() => einsum('ij->k', a)).toThrow('are not among those of the tensors')
    expect(() => einsum('ij,jk->ik', a)).toThrow('names 2 tensors, got 1')
  })
})

describe('dropout', () => {
  test('leaves out as many as it is told, others in each step, and the gradient with them', async () => {
    const g = graph()
    const x = g.input('x', [4000])
    const step = g.state('step', [], 0)
    const y = dropout(x, 0.3, step)
    using plan = await compile(gpu, { y, gradient: grad(sum(y), x) }, { updates: [[step, add(step, 1)]] })
    const first = await plan.run({ x: new Float32Array(4000).fill(2) })
    const second = await plan.run({})
    for (const { y: values, gradient } of [first, second]) {
      const left = values.filter((value) => value !== 0)
      expect(left.length / 4000).toBeGreaterThan(0.67)
      expect(left.length / 4000).toBeLessThan(0.73)
      expect(Math.abs(left[0] - 2 / 0.7)).toBeLessThan(1e-6)
      expect([...gradient].every((value, i) => (value === 0) === (values[i] === 0))).toBe(true)
    }
    const both = [...first.y].filter((value, i) => value === 0 && second.y[i] === 0).length
    expect(both / 4000).toBeGreaterThan(0.06)
    expect(both / 4000).toBeLessThan(0.12)
    expect(() => dropout(x, 1, step)).toThrow(RangeError)
  })
})
