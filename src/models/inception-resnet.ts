/**
 * Inception-ResNet-v1 (Szegedy et al. 2016) with the tensors of facenet-pytorch (github.com/timesler/facenet-pytorch), which has FaceNet's
 * weights by David Sandberg.
 */
import { add, affine, concat, flatten, globalAveragePool, maxPool2d, relu, reshape } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersIn } from './ensemble.ts'
import { type ConvolutionOptions, channelNorm, convolution, convolutionNorm, fullyConnected } from './layers.ts'
import { crops, expectCrops, type Family, recogniserArchitecture } from './network.ts'

/** TensorFlow's epsilon of batch normalisation, with which it was trained. */
const EPSILON = 1e-3

const EMBEDDING = 512

type Kernel = ConvolutionOptions['kernel']

/**
 * The network in inference.
 *
 * @param x faces by their box, RGB in -127.5/128..127.5/128, [N,3,160,160]
 * @returns embeddings [N,512], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size
 */
export function inceptionResnet(x: Tensor, weights: LayerWeights): Tensor {
  expectCrops('inception-resnet', x, 160)
  const members = membersIn(weights)
  const layer = (y: Tensor, key: string, out: number, kernel: Kernel = 1, options: Partial<ConvolutionOptions> = {}) =>
    relu(
      convolutionNorm(y, weights, `${key}.conv`, `${key}.bn`, { ...optionsOf(options), out, kernel, epsilon: EPSILON }),
    )
  const pooled = (y: Tensor) => maxPool2d(y, { kernel: 3, stride: 2 })
  /** Branches side by side; of an ensemble those of each member. */
  const joined = (...branches: Tensor[]): Tensor => {
    if (members === 1) return concat(branches, 1)
    const [n, , height, width] = branches[0].shape
    const each = branches.map((y) => reshape(y, [n * members, y.shape[1] / members, height, width]))
    const channels = branches.reduce((sum, y) => sum + y.shape[1], 0)
    return reshape(concat(each, 1), [n, channels, height, width])
  }
  /** x with what the branches find added, at a scale. */
  const residual = (y: Tensor, key: string, scale: number, ...branches: Tensor[]): Tensor => {
    const out = y.shape[1] / members
    return add(affine(convolution(joined(...branches), weights, `${key}.conv2d`, { out }), scale, 0), y)
  }
  const block35 = (y: Tensor, key: string): Tensor => {
    const one = layer(y, `${key}.branch0`, 32)
    const two = layer(layer(y, `${key}.branch1.0`, 32), `${key}.branch1.1`, 32, 3, { padding: 1 })
    const three = layer(layer(y, `${key}.branch2.0`, 32), `${key}.branch2.1`, 32, 3, { padding: 1 })
    return relu(residual(y, key, 0.17, one, two, layer(three, `${key}.branch2.2`, 32, 3, { padding: 1 })))
  }
  /** One branch of 1x1, and one whose window is a row and then a column of `taps` pixels. */
  const crossed = (y: Tensor, key: string, width: number, taps: number, scale: number): Tensor => {
    const one = layer(y, `${key}.branch0`, width)
    let two = layer(y, `${key}.branch1.0`, width)
    two = layer(two, `${key}.branch1.1`, width, [1, taps], { padding: [0, (taps - 1) / 2] })
    two = layer(two, `${key}.branch1.2`, width, [taps, 1], { padding: [(taps - 1) / 2, 0] })
    return residual(y, key, scale, one, two)
  }
  const halved = { stride: 2 }

  let y = layer(x, 'conv2d_1a', 32, 3, halved)
  y = layer(layer(y, 'conv2d_2a', 32, 3), 'conv2d_2b', 64, 3, { padding: 1 })
  y = layer(layer(pooled(y), 'conv2d_3b', 80), 'conv2d_4a', 192, 3)
  y = layer(y, 'conv2d_4b', 256, 3, halved)
  for (let i = 0; i < 5; i++) y = block35(y, `repeat_1.${i}`)
  y = joined(
    layer(y, 'mixed_6a.branch0', 384, 3, halved),
    layer(
      layer(layer(y, 'mixed_6a.branch1.0', 192), 'mixed_6a.branch1.1', 192, 3, { padding: 1 }),
      ...(['mixed_6a.branch1.2', 256, 3, halved] as const),
    ),
    pooled(y),
  )
  for (let i = 0; i < 10; i++) y = relu(crossed(y, `repeat_2.${i}`, 128, 7, 0.1))
  y = joined(
    layer(layer(y, 'mixed_7a.branch0.0', 256), 'mixed_7a.branch0.1', 384, 3, halved),
    layer(layer(y, 'mixed_7a.branch1.0', 256), 'mixed_7a.branch1.1', 256, 3, halved),
    layer(
      layer(layer(y, 'mixed_7a.branch2.0', 256), 'mixed_7a.branch2.1', 256, 3, { padding: 1 }),
      ...(['mixed_7a.branch2.2', 256, 3, halved] as const),
    ),
    pooled(y),
  )
  for (let i = 0; i < 5; i++) y = relu(crossed(y, `repeat_3.${i}`, 192, 3, 0.2))
  y = crossed(y, 'block8', 192, 3, 1)
  y = fullyConnected(flatten(globalAveragePool(y)), weights, 'last_linear', { out: EMBEDDING, bias: false })
  return channelNorm(y, weights, 'last_bn', { epsilon: EPSILON })
}

/** Stride and padding alone. */
const optionsOf = ({ stride, padding }: Partial<ConvolutionOptions>) => ({ stride, padding })

export const inceptionResnetFamily: Family = {
  published: [
    recogniserArchitecture({
      id: 'inception-resnet-v1',
      title: 'Inception-ResNet-v1 of facenet-pytorch',
      input: crops(160, { range: [0, 255], mean: [127.5, 127.5, 127.5], std: [128, 128, 128] }),
      embedding: EMBEDDING,
      alignment: 'facenet160',
      build: inceptionResnet,
      namings: [{ unused: [[/^logits\./, 'the classifier that it was trained with']] }],
    }),
  ],
}
