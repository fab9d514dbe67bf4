import { add, flatten, maxPool2d, relu } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersOf } from './ensemble.ts'
import { faceEvolveInput } from './ir.ts'
import { channelNorm, convolutionNorm, fullyConnected } from './layers.ts'
import { crops, expectCrops, type Family, recogniserArchitecture } from './network.ts'

/** Bottlenecks of the four stages of face.evoLVe's ResNets (backbone/model_resnet.py), by their names there. */
export const resnetArchitectures = {
  ResNet_50: [3, 4, 6, 3],
  ResNet_101: [3, 4, 23, 3],
  ResNet_152: [3, 8, 36, 3],
} as const satisfies Record<string, readonly number[]>

const EXPANSION = 4

/** Length of the embedding. */
const EMBEDDING = 512

/**
 * The ResNet (He et al. 2016) that face.evoLVe trains for faces, in inference: batch normalisation with its running
 * statistics, no dropout. The stride of a bottleneck is in its 3x3.
 *
 * @param x faces aligned to ArcFace's template, RGB in -1..1, [N,3,112,112]
 * @param blocks bottlenecks of the four stages, see `resnetArchitectures`
 * @returns embeddings [N,512], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size, or where the weights are those of another architecture
 */
export function resnet(x: Tensor, weights: LayerWeights, blocks: readonly number[]): Tensor {
  expectCrops('resnet', x, 112)
  let y = relu(convolutionNorm(x, weights, 'conv1', 'bn1', { out: 64, kernel: 7, stride: 2, padding: 3 }))
  y = maxPool2d(y, { kernel: 3, stride: 2, padding: 1 })
  blocks.forEach((count, stage) => {
    const width = 64 * 2 ** stage
    for (let i = 0; i < count; i++) {
      y = bottleneck(y, weights, `layer${stage + 1}.${i}`, width, i === 0 && stage > 0 ? 2 : 1)
    }
  })
  y = flatten(channelNorm(y, weights, 'bn_o1'))
  return channelNorm(fullyConnected(y, weights, 'fc', { out: EMBEDDING }), weights, 'bn_o2')
}

function bottleneck(x: Tensor, weights: LayerWeights, key: string, width: number, stride: number): Tensor {
  const layer = (y: Tensor, i: number, options: { out: number; kernel?: number; padding?: number; stride?: number }) =>
    convolutionNorm(y, weights, `${key}.conv${i}`, `${key}.bn${i}`, options)
  const out = EXPANSION * width
  const narrow = relu(layer(x, 1, { out: width }))
  const y = layer(relu(layer(narrow, 2, { out: width, kernel: 3, padding: 1, stride })), 3, { out })
  const kept = stride === 1 && x.shape[1] === out * membersOf(weights).length
  const shortcut = kept ? x : convolutionNorm(x, weights, `${key}.downsample.0`, `${key}.downsample.1`, { out, stride })
  return relu(add(y, shortcut))
}

export const resnetFamily: Family = {
  published: Object.entries(resnetArchitectures).map(([name, blocks]) =>
    recogniserArchitecture({
      id: name.toLowerCase().replace('_', '-'),
      title: `${name.replace('_', '-')} of face.evoLVe`,
      input: crops(112, faceEvolveInput),
      embedding: EMBEDDING,
      alignment: 'arcface112',
      build: (x, weights) => resnet(x, weights, blocks),
    }),
  ),
}
