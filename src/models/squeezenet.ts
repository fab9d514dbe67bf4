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
  const layer = (
    y: Tensor,
    key: string,
    out: number,
    options: { kernel?: number; padding?: number; stride?: number },
  ) => relu(convolution(y, weights, `features.${key}`, { out, ...options }))
  /** Squeezes to so many channels, and expands to so many of 1x1 and as many of 3x3. */
  const fire = (y: Tensor, index: number, narrow: number, wide: number) => {
    const squeezed = layer(y, `${index}.squeeze`, narrow, {})
    const expanded = layer(squeezed, `${index}.expand1x1`, wide, {})
    return concat([expanded, layer(squeezed, `${index}.expand3x3`, wide, { kernel: 3, padding: 1 })], 1)
  }
  const pooled = (y: Tensor) => maxPool2d(y, { kernel: 3, stride: 2, ceilMode: true })
  const tap1 = layer(x, '0', 64, { kernel: 3, stride: 2 })
  const tap2 = fire(fire(pooled(tap1), 3, 16, 64), 4, 16, 64)
  const tap3 = fire(fire(pooled(tap2), 6, 32, 128), 7, 32, 128)
  const tap4 = fire(pooled(tap3), 9, 48, 192)
  const tap5 = fire(tap4, 10, 48, 192)
  const tap6 = fire(tap5, 11, 64, 256)
  const tap7 = fire(tap6, 12, 64, 256)
  return [tap1, tap2, tap3, tap4, tap5, tap6, tap7]
}
