/**
 * Networks with weights out of a generator, for measurements: how fast they are does not depend on what they learned. The numbers are
 * the same in bench/torch/networks.py, so that another engine can be shown to compute the same objective.
 */
import type { Surrogate } from '../../src/attack/objective.ts'
import { textHash } from '../../src/graph/hash.ts'
import { mix } from '../../src/graph/noise.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import { architectureOf } from '../../src/models/architectures.ts'
import { fed } from '../../src/models/recognisers.ts'

/**
 * Bounds between which a weight lies, by its name and shape, so that the activations of 152 layers neither vanish nor overflow: as He et al.
 * (2015) scale weights, with the normalisation that ends a residual unit well below 1.
 */
function boundsOf(name: string, shape: Shape): readonly [low: number, high: number] {
  if (name.endsWith('running_mean') || name.endsWith('bias')) return [-0.1, 0.1]
  if (name.endsWith('running_var')) return [0.5, 1.5]
  if (shape.length >= 2) {
    const bound = Math.sqrt(3 / elements(shape.slice(1)))
    return [-bound, bound]
  }
  if (name === 'input_layer.2.weight' || name.endsWith('res_layer.2.weight')) return [0.1, 0.4]
  if (name.endsWith('res_layer.4.weight') || name.endsWith('bn3.weight')) return [0.1, 0.3]
  return [0.5, 1.5]
}

/** The tensor of a name in the network of a seed. */
function drawn(seed: number, name: string, shape: Shape): Float32Array {
  const key = mix(Math.imul(seed, 0x9e3779b9) ^ textHash(name))
  const [low, high] = boundsOf(name, shape)
  const values = new Float32Array(elements(shape))
  for (let i = 0; i < values.length; i++) values[i] = low + ((high - low) * (mix(key ^ i) >>> 8)) / 0x1000000
  return values
}

/**
 * A recogniser of an architecture (`ir-152`, `resnet-152`; see models/architectures.ts) with the weights of a seed. Those of one
 * architecture are recorded as one.
 * @throws RangeError where there is no such recogniser
 */
export function seededRecogniser(id: string, seed: number): Surrogate {
  const architecture = architectureOf(id)
  if (architecture?.role !== 'recogniser') throw new RangeError(`there is no recogniser of architecture ${id}`)
  const { alignment, embedding, input, build } = architecture
  const size = 112
  const tensors = new Map(
    [...architecture.tensors()].map(([name, shape]) => [name, { shape, data: drawn(seed, name, shape) }]),
  )
  return {
    network: {
      id: `${id}-${seed}`,
      size,
      alignment,
      embedding,
      architecture: id,
      threshold: 1,
      build: (x01, weights) => x01.recorder.scope(id, () => build(fed(x01, size, input), weights)),
    },
    weights: {
      tensor(name) {
        const tensor = tensors.get(name)
        if (!tensor) throw new RangeError(`${id} has no tensor ${name}`)
        return tensor
      },
    },
  }
}
