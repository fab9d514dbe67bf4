import { concat, maxPool2d, relu } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import { convolution, type NetworkWeights } from './layers.ts'

/**
 * The convolutions of SqueezeNet 1.1 (Iandola et al. 2016) as torchvision has it, tapped where LPIPS does.
 *
 * @param x [N,3,H,W], normalised; H and W from 17
 * @returns seven maps with 64, 128, 256, 384, 384, 512 and 512 channels
 * @throws ShapeError for an image too small for the kernels and pools
 */
export function squeezenetTaps(x: Tensor, weights: NetworkWeights): Tensor[] {
  const layer = (y: Tensor, key: string, padding = 0, stride = 1) =>
    relu(convolution(y, weights, `features.${key}`, { stride, padding }))
  const fire = (y: Tensor, index: number) => {
    const squeezed = layer(y, `${index}.squeeze`)
    return concat([layer(squeezed, `${index}.expand1x1`), layer(squeezed, `${index}.expand3x3`, 1)], 1)
  }
  const pooled = (y: Tensor) => maxPool2d(y, { kernel: 3, stride: 2, ceilMode: true })
  const tap1 = layer(x, '0', 0, 2)
  const tap2 = fire(fire(pooled(tap1), 3), 4)
  const tap3 = fire(fire(pooled(tap2), 6), 7)
  const tap4 = fire(pooled(tap3), 9)
  const tap5 = fire(tap4, 10)
  const tap6 = fire(tap5, 11)
  const tap7 = fire(tap6, 12)
  return [tap1, tap2, tap3, tap4, tap5, tap6, tap7]
}
