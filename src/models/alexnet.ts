import { maxPool2d, relu } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import { convolution, type NetworkWeights } from './layers.ts'

/**
 * The convolutions of AlexNet as torchvision has it ("One weird trick", Krizhevsky 2014), tapped after every ReLU.
 *
 * @param x [N,3,H,W], normalised; H and W from 31
 * @returns five maps with 64, 192, 384, 256 and 256 channels
 * @throws ShapeError for an image too small for the kernels and pools
 */
export function alexnetTaps(x: Tensor, weights: NetworkWeights): Tensor[] {
  const layer = (
    y: Tensor,
    index: number,
    out: number,
    kernel: number,
    options: { padding: number; stride?: number },
  ) => relu(convolution(y, weights, `features.${index}`, { out, kernel, ...options }))
  const pooled = (y: Tensor) => maxPool2d(y, { kernel: 3, stride: 2 })
  const tap1 = layer(x, 0, 64, 11, { padding: 2, stride: 4 })
  const tap2 = layer(pooled(tap1), 3, 192, 5, { padding: 2 })
  const tap3 = layer(pooled(tap2), 6, 384, 3, { padding: 1 })
  const tap4 = layer(tap3, 8, 256, 3, { padding: 1 })
  const tap5 = layer(tap4, 10, 256, 3, { padding: 1 })
  return [tap1, tap2, tap3, tap4, tap5]
}
