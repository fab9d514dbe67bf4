/** A small network and its gradient on the GPU against the processor: shows a driver that computes nonsense. */

import type { Gpu } from '../../device/gpu.ts'
import { startClock } from '../../device/stopwatch.ts'
import { compile, grad, graph } from '../../graph/index.ts'
import { uniformNoise } from '../../graph/noise.ts'
import { conv2d, prelu, square, sum } from '../../kernels/index.ts'
import { elements } from '../../kernels/op.ts'

export interface SelfTest {
  ok: boolean
  /** Largest error of outputs and gradient, relative to the largest value. */
  error: number
  /** Speed of a 3x3 convolution of 64 channels at 56x56. */
  gflops: number
}

/** Rounding of sums of 72 products in f32 stays below this. */
const TOLERANCE = 1e-4

export async function selfTest(gpu: Gpu): Promise<SelfTest> {
  const error = await compareWithProcessor(gpu)
  return { ok: error < TOLERANCE, error, gflops: await measure(gpu) }
}

async function compareWithProcessor(gpu: Gpu): Promise<number> {
  const shape = [1, 8, 13, 11]
  const data = uniformNoise(1, elements(shape), 1)
  const kernel = uniformNoise(2, 8 * 8 * 9, 1)
  const slope = 0.25
  const g = graph()
  const x = g.input('x', shape)
  const layer = conv2d(x, g.constant(kernel, [8, 8, 3, 3]), undefined, { padding: 1 })
  const y = prelu(layer, g.constant([slope], [1]))
  using plan = await compile(gpu, { y, dx: grad(sum(square(y)), x) })
  plan.write('x', data)
  plan.run()
  const [gotY, gotDx] = [await plan.read('y'), await plan.read('dx')]

  const forward = (input: Float64Array, weights: Float64Array) => convolved(input, weights, shape[2], shape[3])
  const wide = Float64Array.from(kernel)
  const before = forward(Float64Array.from(data), wide)
  const wantY = before.map((v) => (v > 0 ? v : slope * v))
  // The input gradient of a 3x3 convolution with padding 1 is the convolution with the kernel turned and its channels swapped.
  const dConvolved = before.map((v, i) => 2 * wantY[i] * (v > 0 ? 1 : slope))
  const turned = wide.map((_, i) => {
    const [k, c, tap] = [Math.floor(i / 72), Math.floor(i / 9) % 8, i % 9]
    return wide[(c * 8 + k) * 9 + 8 - tap]
  })
  return Math.max(relativeError(gotY, wantY), relativeError(gotDx, forward(dConvolved, turned)))
}

/** 8 channels by 8 of 3x3 weights, padding 1, in float64. */
function convolved(x: Float64Array, weights: Float64Array, height: number, width: number): Float64Array {
  const pixels = height * width
  return Float64Array.from({ length: 8 * pixels }, (_, i) => {
    const [k, row, column] = [Math.floor(i / pixels), Math.floor(i / width) % height, i % width]
    let total = 0
    for (let tap = 0; tap < 72; tap++) {
      const [v, u] = [row + Math.floor((tap % 9) / 3) - 1, column + (tap % 3) - 1]
      if (v < 0 || v >= height || u < 0 || u >= width) continue
      total += weights[k * 72 + tap] * x[Math.floor(tap / 9) * pixels + v * width + u]
    }
    return total
  })
}

function relativeError(got: Float32Array, want: Float64Array): number {
  let error = 0
  let largest = 0
  for (let i = 0; i < want.length; i++) {
    error = Math.max(error, Number.isFinite(got[i]) ? Math.abs(got[i] - want[i]) : Number.POSITIVE_INFINITY)
    largest = Math.max(largest, Math.abs(want[i]))
  }
  return error / largest
}

async function measure(gpu: Gpu): Promise<number> {
  const g = graph()
  const x = g.input('x', [1, 64, 56, 56])
  const y = conv2d(x, g.constant(uniformNoise(3, 64 * 64 * 9, 0.1), [64, 64, 3, 3]), undefined, { padding: 1 })
  using plan = await compile(gpu, { y })
  plan.write('x', uniformNoise(4, elements(x.shape), 1))
  plan.run()
  await gpu.wait()
  const seconds = startClock()
  let runs = 0
  for (; seconds() < 0.2; runs++) {
    plan.run()
    await gpu.wait()
  }
  return (plan.summary().gflop * runs) / seconds()
}
