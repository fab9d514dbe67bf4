import { add, flatten, relu, relu6 } from '../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../kernels/op.ts'
import type { LayerWeights } from './ensemble.ts'
import { channelNorm, convolution, convolutionNorm, type PixelMap } from './layers.ts'

/** What foamliu's network wants to be fed: RGB in 0..1 with ImageNet's mean and deviation taken out. */
export const foamliuInput: PixelMap = { range: [0, 1], mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }

/** Strides of the inverted residual blocks; those with stride 1 keep their channels and add their input. */
const STRIDES = [2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1]

/**
 * MobileFaceNet with MobileNetV2's activations (ReLU6), as foamliu trained it (github.com/foamliu/MobileFaceNet), in inference.
 *
 * @param x faces aligned to ArcFace's template, normalised with `foamliuInput`, [N,3,112,112]
 * @returns embeddings [N,128], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size
 */
export function foamliuMobilefacenet(x: Tensor, weights: LayerWeights): Tensor {
  expectShape(
    x.shape.length === 4 && x.shape.slice(1).join() === '3,112,112',
    `foamliu: x must be [N,3,112,112], not ${formatShape(x.shape)}`,
  )
  const depthwise = (y: Tensor, key: string, norm: string, stride = 1, padding = 1) =>
    convolutionNorm(y, weights, key, norm, { stride, padding, depthwise: true })

  let y = relu6(convolutionNorm(x, weights, 'conv1.0', 'conv1.1', { stride: 2, padding: 1 }))
  y = relu(depthwise(y, 'dw_conv.depthwise', 'dw_conv.bn1'))
  y = relu(convolutionNorm(y, weights, 'dw_conv.pointwise', 'dw_conv.bn2'))
  STRIDES.forEach((stride, i) => {
    const block = `features.${i}.conv`
    let z = relu6(convolutionNorm(y, weights, `${block}.0.0`, `${block}.0.1`))
    z = relu6(depthwise(z, `${block}.1.0`, `${block}.1.1`, stride))
    z = convolutionNorm(z, weights, `${block}.2`, `${block}.3`)
    y = stride === 1 ? add(y, z) : z
  })
  y = relu6(convolutionNorm(y, weights, 'conv2.0', 'conv2.1'))
  y = depthwise(y, 'gdconv.depthwise', 'gdconv.bn', 1, 0)
  y = convolution(y, weights, 'conv3')
  return flatten(channelNorm(y, weights, 'bn'))
}
