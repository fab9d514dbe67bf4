/** Training steps over several runs: optimisers, running statistics, and where gradients stop. */
import { describe, expect, test } from 'vitest'
import { compile, grad, graph, type Plan } from '../../src/graph/index.ts'
import {
  adam,
  affine,
  arcFace,
  batchNormTraining,
  clip,
  crossEntropy,
  detach,
  mul,
  sgd,
  square,
  sub,
  sum,
} from '../../src/kernels/index.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'

const gpu = await testGpu()
const STEPS = 25
const start = uniform(1, 12)
const target = uniform(2, 12)
const steepness = uniform(3, 12, 0.1, 2)
/** Gradient of sum(steepness * (p - target)^2). */
const slope = (p: number, i: number): number => 2 * steepness[i] * (p - target[i])

/** A parameter [3,4] and the gradient of a bowl around `target`. */
function bowl() {
  const g = graph()
  const p = g.input('p', [3, 4])
  const loss = sum(mul(g.constant(steepness, [3, 4]), square(sub(p, g.constant(target, [3, 4])))))
  return { g, p, loss, gradient: grad(loss, p) }
}

describe('sgd', () => {
  test('follows PyTorch’s rule over many steps, with a learning rate that changes', async () => {
    const { g, p, gradient } = bowl()
    const velocity = g.input('velocity', [3, 4])
    const rate = g.input('rate', [])
    const next = sgd(p, gradient, velocity, rate, { momentum: 0.8, weightDecay: 0.01 })
    using plan: Plan = await compile(
      gpu,
      {},
      {
        updates: [
          [p, next.parameter],
          [velocity, next.velocity],
        ],
      },
    )
    plan.write('p', start)
    plan.write('velocity', new Float32Array(12))
    const want = Float64Array.from(start)
    const v = new Float64Array(12)
    for (let t = 0; t < STEPS; t++) {
      const now = t < 10 ? 0.1 : 0.02
      plan.write('rate', Float32Array.of(now))
      plan.run()
      want.forEach((value, i) => {
        v[i] = 0.8 * v[i] + slope(value, i) + 0.01 * value
        want[i] = value - now * v[i]
      })
    }
    expect(relmax(await plan.read('p'), want)).toBeLessThan(1e-5)
    expect(relmax(await plan.read('velocity'), v)).toBeLessThan(1e-4)
  })

  test('refuses what is not of the parameter’s shape', () => {
    const { g, p, gradient } = bowl()
    expect(() => sgd(p, gradient, g.input('velocity', [4, 3]), 0.1)).toThrow(
      'sgd: velocity [4,3] is not of the shape of p [3,4]',
    )
    expect(() => sgd(p, gradient, g.input('velocity2', [3, 4]), g.input('rate', [1]))).toThrow(
      'sgd: learningRate [1] is no scalar []',
    )
  })
})

describe('adam', () => {
  test('follows the paper’s rule over many steps', async () => {
    const { g, p, gradient } = bowl()
    const state = { mean: g.input('mean', [3, 4]), variance: g.input('variance', [3, 4]) }
    const step = g.input('step', [])
    const next = adam(p, gradient, state, step, 0.05)
    using plan: Plan = await compile(
      gpu,
      {},
      {
        updates: [
          [p, next.parameter],
          [state.mean, next.mean],
          [state.variance, next.variance],
          [step, affine(step, 1, 1)],
        ],
      },
    )
    plan.write('p', start)
    plan.write('mean', new Float32Array(12))
    plan.write('variance', new Float32Array(12))
    plan.write('step', Float32Array.of(1))
    const want = Float64Array.from(start)
    const mean = new Float64Array(12)
    const variance = new Float64Array(12)
    for (let t = 1; t <= STEPS; t++) {
      plan.run()
      want.forEach((value, i) => {
        const slopeNow = slope(value, i)
        mean[i] = 0.9 * mean[i] + 0.1 * slopeNow
        variance[i] = 0.999 * variance[i] + 0.001 * slopeNow ** 2
        want[i] -= (0.05 * (mean[i] / (1 - 0.9 ** t))) / (Math.sqrt(variance[i] / (1 - 0.999 ** t)) + 1e-8)
      })
    }
    expect(await plan.read('step')).toEqual(Float32Array.of(STEPS + 1))
    expect(relmax(await plan.read('p'), want)).toBeLessThan(1e-5)
    expect(relmax(await plan.read('variance'), variance)).toBeLessThan(1e-5)
  })

  test('refuses what is not of the parameter’s shape', () => {
    const { g, p, gradient } = bowl()
    const mean = g.input('mean', [3, 4])
    expect(() => adam(p, gradient, { mean, variance: g.input('variance', [12]) }, g.input('step', []), 0.1)).toThrow(
      'adam: variance [12] is not of the shape of p [3,4]',
    )
    expect(() => adam(p, gradient, { mean, variance: mean }, g.input('steps', [3]), 0.1)).toThrow(
      'adam: step [3] is no scalar []',
    )
  })
})

describe('batchNormTraining', () => {
  test('carries running statistics from run to run', async () => {
    const shape = [4, 3, 5, 7]
    const g = graph()
    const x = g.input('x', shape)
    const one = g.constant([1, 1, 1], [3])
    const zero = g.constant([0, 0, 0], [3])
    const [m, v] = [g.input('m', [3]), g.input('v', [3])]
    const normed = batchNormTraining(x, one, zero, m, v)
    const options = {
      updates: [
        [m, normed.runningMean],
        [v, normed.runningVariance],
      ] as const,
    }
    using plan: Plan = await compile(gpu, { y: normed.output }, options)
    plan.write('m', new Float32Array(3))
    plan.write('v', Float32Array.of(1, 1, 1))
    const mean = [0, 0, 0]
    const variance = [1, 1, 1]
    for (let t = 0; t < 3; t++) {
      const batch = uniform(10 + t, 4 * 3 * 35).map((value) => 3 + value * (t + 1))
      plan.write('x', batch)
      plan.run()
      for (let c = 0; c < 3; c++) {
        const own = Float64Array.from(batch).filter((_, i) => Math.floor(i / 35) % 3 === c)
        const average = own.reduce((s, value) => s + value) / own.length
        const unbiased = own.reduce((s, value) => s + (value - average) ** 2, 0) / (own.length - 1)
        mean[c] += 0.1 * (average - mean[c])
        variance[c] += 0.1 * (unbiased - variance[c])
      }
    }
    expect(relmax(await plan.read('m'), mean)).toBeLessThan(1e-5)
    expect(relmax(await plan.read('v'), variance)).toBeLessThan(1e-5)
  })

  test('needs more than one value per channel', () => {
    const g = graph()
    const values = g.input('values', [3])
    expect(() => batchNormTraining(g.input('x', [1, 3]), values, values, values, values)).toThrow(
      /x \[1,3\] has one value per channel; a variance needs more/,
    )
  })
})

describe('detach', () => {
  test('lets values through and gradients not', async () => {
    const g = graph()
    const x = g.input('x', [2])
    // d/dx of x * (x as a constant) is x, not 2x.
    using plan = await compile(gpu, { dx: grad(sum(mul(x, detach(x))), x) })
    plan.write('x', Float32Array.of(3, -5))
    plan.run()
    expect(await plan.read('dx')).toEqual(Float32Array.of(3, -5))
  })

  test('a loss of detached values alone depends on nothing', () => {
    const g = graph()
    const x = g.input('x', [2])
    expect(() => grad(sum(detach(x)), x)).toThrow('does not depend on x')
  })
})

describe('bad arguments', () => {
  test('a margin that is no angle, an empty range, labels of another batch', () => {
    const g = graph()
    const cosines = g.input('cosines', [3, 5])
    expect(() => arcFace(cosines, g.input('labels', [3]), { margin: 4 })).toThrow(RangeError)
    expect(() => clip(cosines, 1, 0)).toThrow('clip: 1 to 0 is no range')
    expect(() => clip(cosines, 0, Number.POSITIVE_INFINITY)).toThrow(RangeError)
    expect(() => crossEntropy(cosines, g.input('few', [2]))).toThrow(
      'labels [2] has not one class for each row of logits [3,5]',
    )
  })
})
