/** How much a recogniser's embeddings change where its weights are stored in half precision. */
import type { Gpu } from '../device/gpu.ts'
import { compile, graph } from '../graph/index.ts'
import { uniformNoise } from '../graph/noise.ts'
import { normalize } from '../kernels/index.ts'
import type { NetworkWeights } from './layers.ts'
import { type Recogniser, similarityOf } from './recognisers.ts'

/** A recogniser with weights that are to be compared. */
export interface Version {
  network: Recogniser
  weights: NetworkWeights
}

/** Half precision is taken where it changes a cosine by less than this. */
export const HALF_PRECISION_LIMIT = 1e-3

/** Images that a network is tried on. */
const IMAGES = 6

/**
 * The largest 1 - cosine between the embeddings that two versions of a network give the same images.
 * @throws RangeError where the first version gives no finite embedding: its weights are not those of such a network
 */
export async function embeddingDeviation(gpu: Gpu, version: Version, other: Version): Promise<number> {
  // One after the other: there may not be room for two large networks.
  const before = await embedTrials(gpu, version)
  if (!before.every((embedding) => embedding.every(Number.isFinite))) {
    throw new RangeError(`${version.network.id} gives embeddings that are not finite`)
  }
  const after = other === version ? before : await embedTrials(gpu, other)
  return Math.max(...before.map((embedding, i) => 1 - similarityOf(embedding, after[i])))
}

async function embedTrials(gpu: Gpu, { network, weights }: Version): Promise<Float32Array[]> {
  const { size, embedding: length } = network
  const g = graph()
  const crops = g.input('crops', [IMAGES, 3, size, size])
  // It runs once: looking for its fastest kernels would take longer.
  using plan = await compile(gpu, { embedding: normalize(network.build(crops, weights)) }, { tuning: false })
  plan.write('crops', trialImages(size))
  plan.run()
  const embeddings = await plan.read('embedding')
  return Array.from({ length: IMAGES }, (_, i) => embeddings.slice(i * length, (i + 1) * length))
}

/**
 * Images [N,3,size,size] in 0..1 that are the same everywhere: colours that vary slowly, as on a face, with more and more noise.
 */
function trialImages(size: number): Float32Array {
  const images = new Float32Array(IMAGES * 3 * size * size)
  const noises = uniformNoise(1, images.length, 0.5)
  const coefficients = uniformNoise(2, IMAGES * 3 * 3, 0.5).map((v) => v + 0.5)
  let at = 0
  for (let image = 0; image < IMAGES; image++) {
    const noise = image / (IMAGES - 1)
    for (let channel = 0; channel < 3; channel++) {
      const first = 3 * (3 * image + channel)
      const [across, down, phase] = [3 * coefficients[first], 3 * coefficients[first + 1], coefficients[first + 2]]
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
          const wave = 0.5 + 0.45 * Math.sin(2 * Math.PI * ((across * x + down * y) / size + phase))
          images[at] = (1 - noise) * wave + noise * (noises[at] + 0.5)
          at++
        }
      }
    }
  }
  return images
}
