/** `c_*`: the blur and the crop, with their gradients. */
import { expect } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { type Affine, inverse } from '../../src/faces/alignment.ts'
import { grad } from '../../src/graph/index.ts'
import { affineWarp, gaussianBlur, mul, sum } from '../../src/kernels/index.ts'
import type { Tensor } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { evaluate, type Family, type GoldenCase } from './case.ts'

async function check(gpu: Gpu, golden: GoldenCase, transform: (x: Tensor) => Tensor): Promise<void> {
  const input = (name: string) => ({ shape: golden.shape(name), data: golden.numbers(name) })
  const got = await evaluate(gpu, { x: input('x'), v: input('v') }, ({ x, v }) => {
    const y = transform(x)
    return { y, grad: grad(sum(mul(y, v)), x) }
  })
  expect(relmax(...golden.pair('y', got.y))).toBeLessThan(1e-5)
  expect(relmax(...golden.pair('grad', got.grad))).toBeLessThan(1e-4)
}

/** The sampling matrix [1,6] of a crop whose map from image to crop is the golden `M` (a 2x3 matrix by rows). */
export function samplingMatrix(x: Tensor, map: readonly number[]): Tensor {
  return x.recorder.constant(inverse(map as Affine), [1, 6], 'sampling')
}

export const blur: Family = {
  takes: (name) => name.startsWith('c_blur_'),
  parts: (golden) => [
    {
      name: 'value and gradient',
      tensors: ['x', 'v', 'y', 'grad'],
      check: (gpu) => check(gpu, golden, (x) => gaussianBlur(x)),
    },
    {
      name: 'kernel: the blur of a single pixel',
      tensors: ['kernel'],
      async check(gpu) {
        const image = new Float32Array(19 * 19)
        image[9 * 19 + 9] = 1
        const { y } = await evaluate(gpu, { x: { shape: [1, 1, 19, 19], data: image } }, ({ x }) => ({
          y: gaussianBlur(x),
        }))
        const middle = Array.from({ length: 49 }, (_, i) => y[(6 + Math.floor(i / 7)) * 19 + 6 + (i % 7)])
        expect(relmax(middle, golden.numbers('kernel'))).toBeLessThan(1e-5)
      },
    },
  ],
}

export const warp: Family = {
  takes: (name) => name.startsWith('c_warp_'),
  parts: (golden) => [
    {
      name: 'value and gradient',
      tensors: ['x', 'v', 'y', 'grad', 'M'],
      check: (gpu) => {
        // The index holds the matrix in full precision, the file as f32.
        const map = (golden.entry.M as number[][]).flat()
        expect(relmax(golden.numbers('M'), map)).toBeLessThan(1e-6)
        const [height, width] = golden.shape('y').slice(2)
        return check(gpu, golden, (x) => affineWarp(x, samplingMatrix(x, map), { size: [height, width] }))
      },
    },
  ],
}
