/** What holds for every operation, checked on its cases. */
import { describe, expect, test } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, type Graph, grad, graph } from '../../src/graph/index.ts'
import { mul, reshape, sum } from '../../src/kernels/index.ts'
import { elements, formatShape, type Op, type Shape } from '../../src/kernels/op.ts'
import type { Case, Check, Fill } from '../operations/check.ts'
import { random, uniform } from './random.ts'

/**
 * f32 sums of n products lose about sqrt(n) roundings of 2^-24 each; 16 of those leave room for the order of addition and
 * for functions (exp, division) that WGSL lets be a few units off. At least 2e-6 of the largest value.
 */
export const tolerance = (op: Op<unknown>, c: Case<unknown>): number => {
  const { flop } = op.cost(c.args, c.shapes)
  const perElement = flop / elements(op.shape(c.args, c.shapes))
  return c.tolerance ?? Math.max(2e-6, 16 * Math.sqrt(perElement) * 2 ** -24)
}

function draw(fill: Fill, shape: Shape, seed: number): Float32Array {
  const count = elements(shape)
  if (fill instanceof Float32Array) return fill
  if (fill === 'symmetric') return uniform(seed, count)
  if (fill === 'positive') return uniform(seed, count, 0.2, 1.2)
  // A shuffled ladder of steps of 1/64 around zero that stays clear of zero itself.
  const next = random(seed)
  const ladder = Float32Array.from({ length: count }, (_, i) => (i - count / 2 + 0.25) / 64)
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1))
    ;[ladder[i], ladder[j]] = [ladder[j], ladder[i]]
  }
  return ladder
}

export const inputsOf = (c: Case<unknown>): Float32Array[] =>
  c.shapes.map((s, k) => draw(c.fill?.[k] ?? 'symmetric', s, 17 + k))

const record = (g: Graph, op: Op<unknown>, c: Case<unknown>) => {
  const x = c.shapes.map((s, k) => g.input(`x${k}`, s))
  return { x, y: g.apply(op, x, c.args) }
}

export function largestError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  const scale = Array.from(want).reduce((m, v) => Math.max(m, Math.abs(v)), 1e-3)
  let worst = 0
  for (let i = 0; i < want.length; i++) {
    const error = Math.abs(got[i] - want[i]) / scale
    if (!(error <= worst)) worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error
  }
  return worst
}

/**
 * Tests of one operation: every case by every kernel that the adapter can run against the float64 reference, and every gradient
 * against central differences of that reference. Outputs and temporaries are poisoned with NaN beforehand.
 */
export function describeOperation<A>(gpu: Gpu, held: Check<A>): void {
  const { op, reference, cases } = held as unknown as Check<unknown>
  describe(op.name, () => {
    test('has cases', () => expect(cases.length).toBeGreaterThan(0))
    cases.forEach((c) => {
      const title = `${c.shapes.map(formatShape).join(' ')} ${JSON.stringify(c.args)}`
      const values = inputsOf(c)
      const exact = values.map((v) => Float64Array.from(v))

      test(`${title}: output`, async () => {
        const want = reference(c.args, exact, c.shapes)
        const kernels = op.view ? [] : await op.kernels(c.args, c.shapes, gpu.capabilities)
        const variants = op.view ? [undefined] : kernels.map((k) => k.variant)
        for (const variant of variants) {
          const g = graph()
          const { y } = record(g, op, c)
          const choose = (node: { op: unknown }, kernels: readonly { variant: string }[]) =>
            (node.op === op && kernels.find((k) => k.variant === variant)) || kernels[0]
          using plan = await compile(gpu, { y }, { poison: true, choose: choose as never })
          for (const [k, v] of values.entries()) plan.write(`x${k}`, v)
          plan.run()
          const got = await plan.read('y')
          expect(got.length).toBe(want.length)
          expect(largestError(got, want), `variant ${variant}`).toBeLessThan(tolerance(op, c))
        }
      })

      const { backward } = op
      if (!backward) return
      test(`${title}: gradients`, async () => {
        const g = graph()
        const { x, y } = record(g, op, c)
        const weights = uniform(99, elements(y.shape))
        const v = g.constant(weights, [elements(y.shape)], 'v')
        const loss = sum(mul(reshape(y, [elements(y.shape)]), v))
        const differentiable = x.filter((_, k) => {
          const wanted = x.map((_, j) => j === k)
          const seed = g.input('seed', y.shape)
          return backward({ args: c.args, inputs: x, output: y, gradient: seed, wanted })[k] !== undefined
        })
        expect(differentiable.length).toBeGreaterThan(0)
        const gradients = grad(loss, differentiable)
        const names = differentiable.map((t) => t.name)
        const outputs = Object.fromEntries(gradients.map((t, i) => [`d${names[i]}`, t]))
        using plan = await compile(gpu, outputs, { poison: true })
        values.forEach((value, k) => {
          if (plan.has(`x${k}`)) plan.write(`x${k}`, value)
        })
        plan.run()
        const pick = random(5)
        for (const name of names) {
          const k = Number(name.slice(1))
          const got = await plan.read(`d${name}`)
          const at = Array.from({ length: Math.min(12, got.length) }, () => Math.floor(pick() * got.length))
          const h = 1e-4
          const slopes = at.map((i) => {
            const shifted = (by: number) => {
              const inputs = exact.map((e, j) => (j === k ? e.slice() : e))
              inputs[k][i] += by
              return reference(c.args, inputs, c.shapes)
            }
            const [high, low] = [shifted(h), shifted(-h)]
            let slope = 0
            for (let j = 0; j < high.length; j++) slope += ((high[j] - low[j]) / (2 * h)) * weights[j]
            return slope
          })
          // Central differences of smooth float64 functions are good to h^2; a product of that with the third derivative
          // stays below 1e-6 here, so the f32 kernel's own rounding decides.
          expect(
            largestError(
              Float64Array.from(at, (i) => got[i]),
              slopes,
            ),
            name,
          ).toBeLessThan(4 * tolerance(op, c) + 1e-6)
        }
      })
    })
  })
}
