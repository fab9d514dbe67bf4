import { add, flatten, slice } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { LayerWeights } from './ensemble.ts'
import { type ConvolutionOptions, channelPrelu, convolutionNorm } from './layers.ts'
import { mobileBlocks } from './mobilefacenet.ts'
import { crops, expectCrops, type Family, over128, recogniserArchitecture } from './network.ts'

/** Columns of the 112x112 crop that it sees: its template of 112x96 pixels is ArcFace's, moved by 8. */
const COLUMNS = [8, 104] as const

const EMBEDDING = 128

/**
 * MobileFaceNet as Xiaoccer trained it (github.com/Xiaoccer/MobileFaceNet_Pytorch), in inference. It takes faces of 112x96 pixels: the
 * middle columns of a crop of 112x112.
 *
 * @param x faces aligned to ArcFace's template, RGB in -127.5/128..127.5/128, [N,3,112,112]
 * @returns embeddings [N,128], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size
 */
export function xiaoccerMobilefacenet(x: Tensor, weights: LayerWeights): Tensor {
  expectCrops('xiaoccer', x, 112)
  const linear = (y: Tensor, key: string, options: ConvolutionOptions) =>
    convolutionNorm(y, weights, `${key}.conv`, `${key}.bn`, { ...options, bias: undefined })
  const activated = (y: Tensor, key: string, options: ConvolutionOptions) =>
    channelPrelu(linear(y, key, options), weights, `${key}.prelu`)

  let y = slice(x, 3, ...COLUMNS)
  y = activated(y, 'conv1', { out: 64, kernel: 3, stride: 2, padding: 1 })
  y = activated(y, 'dw_conv1', { depthwise: true, kernel: 3, padding: 1 })
  mobileBlocks.forEach(([stride, within, out], i) => {
    const layer = (k: number) => `blocks.${i}.conv.${k}`
    const widened = convolutionNorm(y, weights, layer(0), layer(1), { out: within })
    let z = channelPrelu(widened, weights, layer(2))
    z = convolutionNorm(z, weights, layer(3), layer(4), { depthwise: true, kernel: 3, stride, padding: 1 })
    z = convolutionNorm(channelPrelu(z, weights, layer(5)), weights, layer(6), layer(7), { out })
    y = stride === 1 ? add(y, z) : z
  })
  y = activated(y, 'conv2', { out: 512 })
  y = linear(y, 'linear7', { depthwise: true, kernel: [7, 6] })
  return flatten(linear(y, 'linear1', { out: EMBEDDING }))
}

export const xiaoccerFamily: Family = {
  published: [
    recogniserArchitecture({
      id: 'mobilefacenet-xiaoccer',
      title: 'MobileFaceNet of Xiaoccer',
      input: crops(112, over128),
      embedding: EMBEDDING,
      alignment: 'arcface112',
      build: xiaoccerMobilefacenet,
    }),
  ],
}
