/** Gradients of gradients: against central differences of the first derivative in float64. */
import { describe, expect, test } from 'vitest'
import { compile, type Graph, grad, graph } from '../../src/graph/index.ts'
import { add, mul, reshape, sum } from '../../src/kernels/index.ts'
import { elements, formatShape, ShapeError, type Tensor } from '../../src/kernels/op.ts'
import type { Check } from '../operations/check.ts'
import { checks } from '../operations/index.ts'
import { inputsOf, largestError, tolerance } from '../support/check-operation.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'
import { referenceFunction } from '../support/reference.ts'

const gpu = await testGpu()

/** Their gradients are kernels of their own that have none. */
const FIRST_ONLY = new Set([
  'affine_warp',
  'average_pool2d',
  'batch_norm_training',
  'batch_norm',
  'cross_entropy',
  'gaussian_blur',
  'lpips_distance',
  'max_pool2d',
  'normalize',
  'pad',
  'resize',
  'arc_face',
  'batch_statistics',
])

/** The sum of a tensor's elements, each with a weight of its own. */
const weighed = (g: Graph, x: Tensor, seed: number): Tensor => {
  const count = elements(x.shape)
  return sum(mul(reshape(x, [count]), g.constant(uniform(seed, count), [count], `weights${seed}`)))
}

const smallest = ({ cases }: Check<unknown>) =>
  cases.filter(({ shapes }) => shapes.every((shape) => elements(shape) <= 1000)).slice(0, 2)

describe('second derivatives', () => {
  for (const held of checks) {
    const { op } = held
    if (!op.backward || FIRST_ONLY.has(op.name)) continue
    for (const c of smallest(held)) {
      test(`${op.name} ${c.shapes.map(formatShape).join(' ')} ${JSON.stringify(c.args)}`, async () => {
        const g = graph()
        const x = c.shapes.map((shape, k) => g.input(`x${k}`, shape))
        const loss = weighed(g, g.apply(op, x, c.args), 99)
        const slopes: Tensor[] = []
        for (const each of x) {
          try {
            slopes.push(weighed(g, grad(loss, each), 7))
          } catch (error) {
            if (!(error instanceof ShapeError)) throw error // no gradient for an index
          }
        }
        expect(slopes.length).toBeGreaterThan(0)
        const first = slopes.reduce(add)
        const second: Record<string, Tensor> = {}
        for (const each of x) {
          try {
            second[`d${each.name}`] = grad(first, each)
          } catch (error) {
            // The first derivative does not change with an input that the operation is linear in.
            if (!/does not depend|no gradient for (e|labels)/.test((error as Error).message)) throw error
          }
        }
        if (Object.keys(second).length === 0) return
        const values = Object.fromEntries(inputsOf(c).map((v, k) => [`x${k}`, v]))
        using plan = await compile(gpu, second, { poison: true })
        for (const [name, value] of Object.entries(values)) if (plan.has(name)) plan.write(name, value)
        plan.run()
        const h = 1e-4
        for (const output of Object.keys(second)) {
          const got = await plan.read(output)
          const name = output.slice(1)
          const of = referenceFunction([first], values, [name])
          const at = Array.from({ length: Math.min(8, got.length) }, (_, i) => Math.floor((i * got.length) / 8))
          const wants = at.map((i) => {
            const [high, low] = [h, -h].map((by) => {
              const moved = Float64Array.from(values[name])
              moved[i] += by
              return of({ ...values, [name]: moved })[0][0]
            })
            return (high - low) / (2 * h)
          })
          const found = at.map((i) => got[i])
          expect(largestError(found, wants), name).toBeLessThan(16 * tolerance(op, c) + 1e-5)
        }
      })
    }
  }
})
