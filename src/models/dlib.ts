import { add, averagePool2d, concat, flatten, globalAveragePool, maxPool2d, relu, reshape } from '../kernels/index.ts'
import { elements, type Tensor } from '../kernels/op.ts'
import { type LayerWeights, membersIn } from './ensemble.ts'
import { convolution, fullyConnected } from './layers.ts'
import { crops, expectCrops, type Family, recogniserArchitecture } from './network.ts'

/** Channels of the residual blocks, and those that halve the image. */
const CHANNELS = [32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256]
const DOWN = new Set([3, 7, 10, 13])

const EMBEDDING = 128

/**
 * dlib's ResNet with 29 convolutions (dlib_face_recognition_resnet_model_v1, Davis King 2017), its scale layers folded into the
 * convolutions.
 *
 * @param x faces with their eyes at dlib's places, RGB minus the mean colour, over 255, [N,3,150,150]
 * @returns embeddings [N,128], not normalised (their norm is about 1.45); of an ensemble those of its members side by side
 * @throws ShapeError for another size
 */
export function dlibResnet29(x: Tensor, weights: LayerWeights): Tensor {
  expectCrops('dlib', x, 150)
  const first = convolution(x, weights, 'conv1', { out: CHANNELS[0], kernel: 7, stride: 2 })
  let y = maxPool2d(relu(first), { kernel: 3, stride: 2 })
  for (const [i, channels] of CHANNELS.entries()) y = block(y, weights, `blocks.${i}`, channels, DOWN.has(i))
  return fullyConnected(flatten(globalAveragePool(y)), weights, 'fc', { out: EMBEDDING, bias: false })
}

/**
 * A residual block. One that halves the image convolves without padding but averages its input in whole pairs of pixels; where
 * the first comes out smaller in pixels or the second in channels, zeros follow (dlib's add_prev of unequal tensors).
 */
function block(x: Tensor, weights: LayerWeights, key: string, out: number, down: boolean): Tensor {
  const layer = { out, kernel: 3 }
  let y = relu(convolution(x, weights, `${key}.conv1`, { ...layer, ...(down ? { stride: 2 } : { padding: 1 }) }))
  y = convolution(y, weights, `${key}.conv2`, { ...layer, padding: 1 })
  if (!down) return relu(add(x, y))
  const shortcut = averagePool2d(x, { kernel: 2, stride: 2 })
  const [n, channels, height, width] = shortcut.shape
  // Members of an ensemble get their zeros each: for this they are images of the batch.
  const members = membersIn(weights)
  const each = reshape(shortcut, [n * members, channels / members, height, width])
  const filled = reshape(filledUp(each, 1, y.shape[1] / members), [n, y.shape[1], height, width])
  return relu(add(filled, filledUp(filledUp(y, 2, height), 3, width)))
}

/** x followed by zeros along an axis, up to an extent. */
function filledUp(x: Tensor, axis: number, extent: number): Tensor {
  const missing = extent - x.shape[axis]
  if (missing === 0) return x
  const shape = x.shape.map((n, i) => (i === axis ? missing : n))
  return concat([x, x.recorder.constant(new Float32Array(elements(shape)), shape, 'zeros')], axis)
}

export const dlibFamily: Family = {
  published: [
    recogniserArchitecture({
      id: 'dlib-resnet-29',
      title: "dlib's ResNet with 29 convolutions",
      input: crops(150, { range: [0, 255], mean: [122.782, 117.001, 104.298], std: [255, 255, 255] }),
      embedding: EMBEDDING,
      alignment: 'dlib150',
      build: dlibResnet29,
    }),
  ],
}
