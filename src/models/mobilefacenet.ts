import { add, flatten } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { LayerWeights } from './ensemble.ts'
import { channelPrelu, convolution, fullyConnected } from './layers.ts'
import { crops, expectCrops, type Family, over128, recogniserArchitecture } from './network.ts'

/** TensorFlow's SAME for a 3x3 kernel with stride 2 on even extents: the one missing row and column come at the end. */
const SAME_STRIDE_2 = [0, 0, 1, 1] as const

/** Inverted residual blocks: stride, channels within and after. Those with stride 1 keep their channels and add their input. */
export const mobileBlocks: readonly (readonly [stride: number, within: number, out: number])[] = [
  [2, 128, 64],
  ...Array.from({ length: 4 }, () => [1, 128, 64] as const),
  [2, 256, 128],
  ...Array.from({ length: 6 }, () => [1, 256, 128] as const),
  [2, 512, 128],
  ...Array.from({ length: 2 }, () => [1, 256, 128] as const),
]

/**
 * MobileFaceNet (Chen et al. 2018) as sirius-ai trained it, batch normalisation folded into the convolutions.
 *
 * @param x faces aligned to ArcFace's template, RGB in -127.5/128..127.5/128, [N,3,112,112]
 * @returns embeddings [N,192], not normalised (their norm is about 65); of an ensemble those of its members side by side
 * @throws ShapeError for another size
 */
export function mobilefacenet(x: Tensor, weights: LayerWeights): Tensor {
  expectCrops('mobilefacenet', x, 112)
  const depthwise = (y: Tensor, key: string, stride: number) =>
    convolution(y, weights, key, { kernel: 3, stride, depthwise: true, padding: stride === 2 ? SAME_STRIDE_2 : 1 })
  const activated = (y: Tensor, key: string) => channelPrelu(y, weights, `${key}.prelu`)

  let y = convolution(x, weights, 'conv1', { out: 64, kernel: 3, stride: 2, padding: SAME_STRIDE_2 })
  y = activated(y, 'conv1')
  y = activated(depthwise(y, 'conv2', 1), 'conv2')
  mobileBlocks.forEach(([stride, within, out], i) => {
    const block = `blocks.${i}`
    let z = activated(convolution(y, weights, `${block}.expand`, { out: within }), `${block}.expand`)
    z = activated(depthwise(z, `${block}.depthwise`, stride), `${block}.depthwise`)
    z = convolution(z, weights, `${block}.project`, { out })
    y = stride === 1 ? add(y, z) : z
  })
  y = activated(convolution(y, weights, 'conv3', { out: 512 }), 'conv3')
  // One 7x7 kernel a channel on 7x7 pixels: a weighted mean instead of a pooled one.
  y = convolution(y, weights, 'conv4', { kernel: 7, depthwise: true })
  return fullyConnected(flatten(y), weights, 'linear', { out: EMBEDDING })
}

const EMBEDDING = 192

export const siriusFamily: Family = {
  published: [
    recogniserArchitecture({
      id: 'mobilefacenet',
      title: 'MobileFaceNet of sirius-ai',
      input: crops(112, over128),
      embedding: EMBEDDING,
      alignment: 'arcface112',
      build: mobilefacenet,
    }),
  ],
}
