import { add, flatten, maxPool2d, mean, mul, relu, sigmoid } from '../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersOf } from './ensemble.ts'
import { channelNorm, channelPrelu, convolution, convolutionNorm, fullyConnected, type PixelMap } from './layers.ts'

/** Units and channels of the four stages; every stage halves the image, 112 to 7. */
export interface IrArchitecture {
  units: readonly [number, number, number, number]
  channels: readonly [number, number, number, number]
  /** Length of the embedding. */
  embedding: number
  /** Units end with a squeeze-and-excitation block (Hu et al. 2018). */
  squeezeExcitation: boolean
}

const published = (units: IrArchitecture['units'], squeezeExcitation = false): IrArchitecture => ({
  units,
  channels: [64, 128, 256, 512],
  embedding: 512,
  squeezeExcitation,
})

/** The networks of face.evoLVe (backbone/model_irse.py), by their names there. */
export const irArchitectures = {
  IR_50: published([3, 4, 14, 3]),
  IR_101: published([3, 13, 30, 3]),
  IR_152: published([3, 8, 36, 3]),
  IR_SE_50: published([3, 4, 14, 3], true),
  IR_SE_101: published([3, 13, 30, 3], true),
  IR_SE_152: published([3, 8, 36, 3], true),
} as const satisfies Record<string, IrArchitecture>

/** What face.evoLVe's networks want to be fed: RGB in -1..1. */
export const faceEvolveInput: PixelMap = { range: [-1, 1], mean: [0, 0, 0], std: [1, 1, 1] }

/**
 * The improved residual network of ArcFace (Deng et al. 2019), in inference: batch normalisation with its running statistics,
 * no dropout.
 *
 * @param x faces aligned to ArcFace's template, RGB in -1..1, [N,3,112,112]
 * @returns embeddings [N,embedding], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size, or where the weights are those of another architecture
 */
export function ir(x: Tensor, weights: LayerWeights, architecture: IrArchitecture): Tensor {
  expectShape(
    x.shape.length === 4 && x.shape.slice(1).join() === '3,112,112',
    `ir: x must be [N,3,112,112], not ${formatShape(x.shape)}`,
  )
  const { units, channels, squeezeExcitation } = architecture
  let y = convolutionNorm(x, weights, 'input_layer.0', 'input_layer.1', { padding: 1 })
  y = channelPrelu(y, weights, 'input_layer.2')
  let index = 0
  units.forEach((count, stage) => {
    for (let i = 0; i < count; i++) {
      y = unit(y, weights, `body.${index++}`, channels[stage], i === 0 ? 2 : 1, squeezeExcitation)
    }
  })
  y = flatten(channelNorm(y, weights, 'output_layer.0'))
  y = fullyConnected(y, weights, 'output_layer.3')
  return channelNorm(y, weights, 'output_layer.4')
}

function unit(
  x: Tensor,
  weights: LayerWeights,
  key: string,
  channels: number,
  stride: number,
  squeezeExcitation: boolean,
): Tensor {
  const layer = (i: number) => `${key}.res_layer.${i}`
  // The first normalisation comes before padding, so it cannot go into the kernels as the others do.
  let y = channelNorm(x, weights, layer(0))
  y = channelPrelu(convolution(y, weights, layer(1), { padding: 1, bias: false }), weights, layer(2))
  y = convolutionNorm(y, weights, layer(3), layer(4), { stride, padding: 1 })
  if (squeezeExcitation) y = mul(y, excitation(y, weights, layer(5)))
  const kept = x.shape[1] === channels * membersOf(weights).length
  const shortcut = kept
    ? stride === 1
      ? x
      : maxPool2d(x, { kernel: 1, stride })
    : convolutionNorm(x, weights, `${key}.shortcut_layer.0`, `${key}.shortcut_layer.1`, { stride })
  return add(y, shortcut)
}

/** Weights of the channels by what all pixels say, [N,C,1,1] in 0..1. */
function excitation(x: Tensor, weights: LayerWeights, key: string): Tensor {
  const squeezed = convolution(mean(x, [2, 3]), weights, `${key}.fc1`, { bias: false })
  return sigmoid(convolution(relu(squeezed), weights, `${key}.fc2`, { bias: false }))
}
