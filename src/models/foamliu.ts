import { add, flatten, relu, relu6 } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { LayerWeights } from './ensemble.ts'
import { channelNorm, convolution, convolutionNorm, type PixelMap } from './layers.ts'
import { mobileBlocks } from './mobilefacenet.ts'
import { crops, expectCrops, type Family, recogniserArchitecture } from './network.ts'
import { ranked } from './recording.ts'

/** What foamliu's network wants to be fed: RGB in 0..1 with ImageNet's mean and deviation taken out. */
export const foamliuInput: PixelMap = { range: [0, 1], mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }

/**
 * MobileFaceNet with MobileNetV2's activations (ReLU6), as foamliu trained it (github.com/foamliu/MobileFaceNet), in inference.
 *
 * @param x faces aligned to ArcFace's template, normalised with `foamliuInput`, [N,3,112,112]
 * @returns embeddings [N,128], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size
 */
export function foamliuMobilefacenet(x: Tensor, weights: LayerWeights): Tensor {
  expectCrops('foamliu', x, 112)
  const depthwise = (y: Tensor, key: string, norm: string, stride = 1) =>
    convolutionNorm(y, weights, key, norm, { kernel: 3, stride, padding: 1, depthwise: true })

  let y = relu6(convolutionNorm(x, weights, 'conv1.0', 'conv1.1', { out: 64, kernel: 3, stride: 2, padding: 1 }))
  y = relu(depthwise(y, 'dw_conv.depthwise', 'dw_conv.bn1'))
  y = relu(convolutionNorm(y, weights, 'dw_conv.pointwise', 'dw_conv.bn2', { out: 64 }))
  mobileBlocks.forEach(([stride, within, out], i) => {
    const block = `features.${i}.conv`
    let z = relu6(convolutionNorm(y, weights, `${block}.0.0`, `${block}.0.1`, { out: within }))
    z = relu6(depthwise(z, `${block}.1.0`, `${block}.1.1`, stride))
    z = convolutionNorm(z, weights, `${block}.2`, `${block}.3`, { out })
    y = stride === 1 ? add(y, z) : z
  })
  y = relu6(convolutionNorm(y, weights, 'conv2.0', 'conv2.1', { out: 512 }))
  y = convolutionNorm(y, weights, 'gdconv.depthwise', 'gdconv.bn', { kernel: 7, depthwise: true })
  y = convolution(y, weights, 'conv3', { out: EMBEDDING })
  return flatten(channelNorm(y, weights, 'bn'))
}

const EMBEDDING = 128

/** Their class declares the second block's convolutions before its normalisations. */
const declared = ['conv1.', 'dw_conv.depthwise.', 'dw_conv.pointwise.', 'dw_conv.']

export const foamliuFamily: Family = {
  published: [
    recogniserArchitecture({
      id: 'mobilefacenet-foamliu',
      title: 'MobileFaceNet of foamliu',
      input: crops(112, foamliuInput),
      embedding: EMBEDDING,
      alignment: 'arcface112',
      build: foamliuMobilefacenet,
      inFiles: (shapes) =>
        ranked(shapes, (name) => {
          const place = declared.findIndex((start) => name.startsWith(start))
          return place < 0 ? declared.length : place
        }),
    }),
  ],
}
