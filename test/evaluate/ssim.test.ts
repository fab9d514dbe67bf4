import { describe, expect, test } from 'vitest'
import { compile, grad, graph, type Plan } from '../../src/graph/index.ts'
import { ssim, sum } from '../../src/kernels/index.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'

const gpu = await testGpu()

/** The definition, window by window in two dimensions: weighted means, variances and covariance around the means. */
function definition(x: Float64Array, y: Float64Array, [channels, height, width]: number[], range = 1): number {
  const weights: number[] = []
  for (let i = -5; i <= 5; i++) for (let j = -5; j <= 5; j++) weights.push(Math.exp(-(i * i + j * j) / (2 * 1.5 ** 2)))
  const total = weights.reduce((s, w) => s + w)
  const [c1, c2] = [(0.01 * range) ** 2, (0.03 * range) ** 2]
  const values: number[] = []
  for (let c = 0; c < channels; c++) {
    for (let row = 0; row + 11 <= height; row++) {
      for (let column = 0; column + 11 <= width; column++) {
        const window = (f: (at: number) => number): number =>
          weights.reduce((s, w, k) => {
            const at = (c * height + row + Math.floor(k / 11)) * width + column + (k % 11)
            return s + (w / total) * f(at)
          }, 0)
        const mx = window((at) => x[at])
        const my = window((at) => y[at])
        const vx = window((at) => (x[at] - mx) ** 2)
        const vy = window((at) => (y[at] - my) ** 2)
        const covariance = window((at) => (x[at] - mx) * (y[at] - my))
        values.push(((2 * mx * my + c1) * (2 * covariance + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2)))
      }
    }
  }
  return values.reduce((s, v) => s + v) / values.length
}

/** Two images, the second a noisy copy of the first; values 0 to `range`. */
function images(shape: number[], range = 1): [Float32Array, Float32Array] {
  const count = shape.reduce((n, extent) => n * extent)
  const x = uniform(1, count, 0, 0.9 * range)
  const noise = uniform(2, count, 0, 0.1 * range)
  return [x, x.map((v, i) => v + noise[i])]
}

describe('ssim', () => {
  test.each([
    { shape: [2, 3, 14, 19], range: 1 },
    { shape: [1, 1, 11, 11], range: 255 },
  ])('$shape in 0..$range is that of the definition', async ({ shape, range }) => {
    const [x, y] = images(shape, range)
    const g = graph()
    using plan = await compile(gpu, { s: ssim(g.input('x', shape), g.input('y', shape), range) }, { poison: true })
    plan.write('x', x)
    plan.write('y', y)
    plan.run()
    const size = shape[1] * shape[2] * shape[3]
    const want = Array.from({ length: shape[0] }, (_, n) => {
      const part = (f: Float32Array) => Float64Array.from(f.subarray(n * size, (n + 1) * size))
      return definition(part(x), part(y), shape.slice(1), range)
    })
    expect(relmax(await plan.read('s'), want)).toBeLessThan(1e-5)
  })

  test('is 1 for equal images, and one image can stand for several', async () => {
    const g = graph()
    const x = g.input('x', [1, 3, 12, 13])
    const y = g.input('y', [2, 3, 12, 13])
    using plan = await compile(gpu, { same: ssim(x, x), two: ssim(x, y) }, { poison: true })
    const [a, b] = images([1, 3, 12, 13])
    plan.write('x', a)
    plan.write('y', Float32Array.of(...a, ...b))
    plan.run()
    expect((await plan.read('same'))[0]).toBeCloseTo(1, 5)
    const two = await plan.read('two')
    expect(two[0]).toBeCloseTo(1, 5)
    expect(two[1]).toBeLessThan(0.999)
  })

  test('its gradients are the slopes of the definition', async () => {
    const shape = [1, 2, 13, 15]
    const [x, y] = images(shape)
    const g = graph()
    const [tx, ty] = [g.input('x', shape), g.input('y', shape)]
    const [dx, dy] = grad(sum(ssim(tx, ty)), [tx, ty])
    using plan: Plan = await compile(gpu, { dx, dy }, { poison: true })
    plan.write('x', x)
    plan.write('y', y)
    plan.run()
    const at = [0, 17, 97, 194, 195, 300, 389]
    const slopes = (second: boolean) =>
      at.map((i) => {
        const [high, low] = [1e-4, -1e-4].map((by) => {
          const moved = [Float64Array.from(x), Float64Array.from(y)]
          moved[second ? 1 : 0][i] += by
          return definition(moved[0], moved[1], shape.slice(1))
        })
        return (high - low) / 2e-4
      })
    const picked = async (name: string) => {
      const all = await plan.read(name)
      return at.map((i) => all[i])
    }
    expect(relmax(await picked('dx'), slopes(false))).toBeLessThan(1e-4)
    expect(relmax(await picked('dy'), slopes(true))).toBeLessThan(1e-4)
  })

  test('refuses images smaller than a window and different sizes', () => {
    const g = graph()
    const small = g.input('small', [1, 3, 10, 20])
    expect(() => ssim(small, small)).toThrow(
      'ssim_window(ssim_window): x [1,3,10,20] is no [N,C,H,W] of at least 11x11 pixels',
    )
    expect(() => ssim(g.input('a', [1, 3, 20, 20]), g.input('b', [1, 3, 20, 21]))).toThrow(
      'ssim: x [1,3,20,20] and y [1,3,20,21] are no images [N,C,H,W] of the same size',
    )
  })
})
