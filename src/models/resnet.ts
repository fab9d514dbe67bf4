import { add, flatten, maxPool2d, relu } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersIn } from './ensemble.ts'
import { faceEvolveInput } from './ir.ts'
import { channelNorm, convolutionNorm, fullyConnected } from './layers.ts'
import { crops, expectCrops, type Family, recogniserArchitecture } from './network.ts'

/** Bottlenecks of the four stages of face.evoLVe's ResNets (backbone/model_resnet.py), by their names there. */
export const resnetArchitectures = {
  ResNet_50: [3, 4, 6, 3],
  ResNet_101: [3, 4, 23, 3],
  ResNet_152: [3, 8, 36, 3],
} as const satisfies Record<string, readonly number[]>

/** Those that FRBench has beside them, under the same names of tensors; the first two are of basic blocks. */
const ofFrbench = {
  ResNet_18: [2, 2, 2, 2],
  ResNet_34: [3, 4, 6, 3],
  ResNet_100: [3, 13, 30, 3],
  ResNet_200: [3, 24, 36, 3],
} as const satisfies Record<string, readonly number[]>

const BASIC: readonly string[] = ['ResNet_18', 'ResNet_34']

const EXPANSION = 4

/** Length of the embedding. */
const EMBEDDING = 512

/**
 * The ResNet (He et al. 2016) that face.evoLVe trains for faces, in inference: batch normalisation with its running
 * statistics, no dropout. The stride of a bottleneck is in its 3x3.
 *
 * @param x faces aligned to ArcFace's template, RGB in -1..1, [N,3,112,112]
 * @param blocks blocks of the four stages, see `resnetArchitectures`
 * @param options `basic`: blocks are two convolutions of 3x3, and no bottlenecks
 * @returns embeddings [N,512], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size, or where the weights are those of another architecture
 */
export function resnet(
  x: Tensor,
  weights: LayerWeights,
  blocks: readonly number[],
  { basic = false }: { basic?: boolean } = {},
): Tensor {
  const block = basic ? basicBlock : bottleneck
  expectCrops('resnet', x, 112)
  let y = relu(convolutionNorm(x, weights, 'conv1', 'bn1', { out: 64, kernel: 7, stride: 2, padding: 3 }))
  y = maxPool2d(y, { kernel: 3, stride: 2, padding: 1 })
  blocks.forEach((count, stage) => {
    const width = 64 * 2 ** stage
    for (let i = 0; i < count; i++) {
      y = block(y, weights, `layer${stage + 1}.${i}`, width, i === 0 && stage > 0 ? 2 : 1)
    }
  })
  y = flatten(channelNorm(y, weights, 'bn_o1'))
  return channelNorm(fullyConnected(y, weights, 'fc', { out: EMBEDDING }), weights, 'bn_o2')
}

function bottleneck(x: Tensor, weights: LayerWeights, key: string, width: number, stride: number): Tensor {
  const layer = layerOf(weights, key)
  const out = EXPANSION * width
  const narrow = relu(layer(x, 1, { out: width }))
  const y = layer(relu(layer(narrow, 2, { out: width, kernel: 3, padding: 1, stride })), 3, { out })
  return relu(add(y, shortcut(x, weights, key, { out, stride })))
}

function basicBlock(x: Tensor, weights: LayerWeights, key: string, out: number, stride: number): Tensor {
  const layer = layerOf(weights, key)
  const convolved = { out, kernel: 3, padding: 1 }
  const y = layer(relu(layer(x, 1, { ...convolved, stride })), 2, convolved)
  return relu(add(y, shortcut(x, weights, key, { out, stride })))
}

const layerOf =
  (weights: LayerWeights, key: string) =>
  (y: Tensor, i: number, options: { out: number; kernel?: number; padding?: number; stride?: number }): Tensor =>
    convolutionNorm(y, weights, `${key}.conv${i}`, `${key}.bn${i}`, options)

/** x where it has the shape of the block's output, else a convolution. */
function shortcut(x: Tensor, weights: LayerWeights, key: string, options: { out: number; stride: number }): Tensor {
  if (options.stride === 1 && x.shape[1] === options.out * membersIn(weights)) return x
  return convolutionNorm(x, weights, `${key}.downsample.0`, `${key}.downsample.1`, options)
}

export const resnetFamily: Family = {
  published: Object.entries({ ...resnetArchitectures, ...ofFrbench }).map(([name, blocks]) =>
    recogniserArchitecture({
      id: name.toLowerCase().replace('_', '-'),
      title: `${name.replace('_', '-')} of ${name in ofFrbench ? 'FRBench' : 'face.evoLVe'}`,
      input: crops(112, faceEvolveInput),
      embedding: EMBEDDING,
      alignment: 'arcface112',
      build: (x, weights) => resnet(x, weights, blocks, { basic: BASIC.includes(name) }),
    }),
  ),
}
