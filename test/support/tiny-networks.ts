/** Networks of a few channels that make the same graphs as the real ones, small enough for float64 references. */
import type { Perceptual, Surrogate } from '../../src/attack/objective.ts'
import { conv2d, flatten, linear, prelu } from '../../src/kernels/index.ts'
import { elements, type Shape, type Tensor } from '../../src/kernels/op.ts'
import type { NetworkWeights } from '../../src/models/layers.ts'
import type { Recogniser } from '../../src/models/recognisers.ts'
import { uniform } from './random.ts'

/** Seeded weights: kernels with the deviation that keeps activations the same size, LPIPS' weights not negative. */
function seededWeights(seed: number, shapes: Readonly<Record<string, Shape>>): NetworkWeights {
  const tensors = new Map(
    Object.entries(shapes).map(([name, shape], i) => {
      const bound = shape.length > 1 && !name.startsWith('slope') ? Math.sqrt(6 / elements(shape.slice(1))) : 0.3
      const data = uniform(seed + i, elements(shape), name.startsWith('lin') ? 0 : -bound, bound)
      return [name, { shape, data }] as const
    }),
  )
  return {
    tensor(name) {
      const found = tensors.get(name)
      if (!found) throw new Error(`no weight ${name}`)
      return found
    },
  }
}

/** A recogniser of two convolutions and a linear layer. */
export function tinyRecogniser(seed: number, id: string, alignment: Recogniser['alignment'], size: number): Surrogate {
  const stride = Math.ceil(size / 24)
  const first = Math.floor((size - 5) / stride) + 1
  const second = Math.floor((first - 3) / 3) + 1
  const weights = seededWeights(seed, {
    conv1: [3, 3, 5, 5],
    slope1: [3, 1, 1],
    conv2: [4, 3, 3, 3],
    slope2: [4, 1, 1],
    fc: [8, 4 * second ** 2],
  })
  const build = (x: Tensor, { tensor }: NetworkWeights): Tensor => {
    const weight = (name: string) => x.recorder.constant(tensor(name).data, tensor(name).shape, name)
    const y = prelu(conv2d(x, weight('conv1'), undefined, { stride }), weight('slope1'))
    const z = prelu(conv2d(y, weight('conv2'), undefined, { stride: 3 }), weight('slope2'))
    return linear(flatten(z), weight('fc'))
  }
  return { network: { id, size, alignment, embedding: 8, threshold: 0.5, build }, weights }
}

export const tinySurrogates = [tinyRecogniser(1, 'large', 'arcface112', 64), tinyRecogniser(11, 'small', 'dlib150', 24)]

/** LPIPS with an AlexNet of a few channels. */
const alexnet: readonly { layer: number; kernel: number; input: number; output: number }[] = [
  { layer: 0, kernel: 11, input: 3, output: 3 },
  { layer: 3, kernel: 5, input: 3, output: 4 },
  { layer: 6, kernel: 3, input: 4, output: 4 },
  { layer: 8, kernel: 3, input: 4, output: 3 },
  { layer: 10, kernel: 3, input: 3, output: 3 },
]
export const tinyLpips: Perceptual = {
  trunk: 'alex',
  weights: seededWeights(
    21,
    Object.fromEntries(
      alexnet.flatMap(({ layer, kernel, input, output }, k): [string, Shape][] => [
        [`features.${layer}.weight`, [output, input, kernel, kernel]],
        [`features.${layer}.bias`, [output]],
        [`lin${k}.model.1.weight`, [1, output, 1, 1]],
      ]),
    ),
  ),
}
