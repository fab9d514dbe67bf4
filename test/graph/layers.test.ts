/** Layers whose weights are larger than a device binds at once. */
import { describe, expect, test } from 'vitest'
import { compile, grad, graph, PlanMemoryError } from '../../src/graph/index.ts'
import { linear, mul, sum } from '../../src/kernels/index.ts'
import { fullyConnected } from '../../src/models/layers.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'

const gpu = await testGpu()

describe('a matrix beyond a binding', () => {
  // 160 MiB in rows of 4 MiB, all of them different but short to compute with: rows are shifted copies of one another.
  const [outputs, inputs] = [40, 2 ** 20]
  const base = uniform(1, inputs + outputs)
  const matrix = new Float32Array(outputs * inputs)
  for (let row = 0; row < outputs; row++) matrix.set(base.subarray(row, row + inputs), row * inputs)
  const bias = uniform(2, outputs)
  const weights = {
    tensor: (name: string) =>
      name === 'fc.weight' ? { shape: [outputs, inputs], data: matrix } : { shape: [outputs], data: bias },
  }

  test.skipIf(gpu.capabilities.maxBindingBytes >= 4 * outputs * inputs)('is refused as it is', async () => {
    const g = graph()
    const y = linear(g.input('x', [1, inputs]), g.constant(matrix, [outputs, inputs]))
    await expect(compile(gpu, { y })).rejects.toThrow(PlanMemoryError)
  })

  test('is computed in pieces, and so is its gradient', async () => {
    const g = graph()
    const x = g.input('x', [1, inputs])
    const y = fullyConnected(x, weights, 'fc', { out: outputs })
    // Applied twice, a matrix is held once.
    expect(fullyConnected(x, weights, 'fc', { out: outputs })).toBe(y)
    const v = uniform(3, outputs)
    const loss = sum(mul(y, g.constant(v, [1, outputs])))
    using plan = await compile(gpu, { y, gradient: grad(loss, x) })
    const values = uniform(4, inputs)
    plan.write('x', values)
    plan.run()
    const expected = Float64Array.from({ length: outputs }, (_, row) => {
      let total = bias[row]
      for (let i = 0; i < inputs; i++) total += base[row + i] * values[i]
      return total
    })
    // A million products in f32.
    expect(relmax(await plan.read('y'), expected)).toBeLessThan(1e-4)
    const gradient = Float64Array.from({ length: inputs }, (_, i) => {
      let total = 0
      for (let row = 0; row < outputs; row++) total += base[row + i] * v[row]
      return total
    })
    expect(relmax(await plan.read('gradient'), gradient)).toBeLessThan(1e-5)
  })
})
