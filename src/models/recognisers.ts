/** Recognisers by the names of the manifest. */
import type { Tensor } from '../kernels/op.ts'
import { WeightsError } from '../weights/errors.ts'
import type { ManifestEntry, RecogniserEntry } from '../weights/registry.ts'
import { dlibResnet29 } from './dlib.ts'
import { type NetworkWeights, normalised } from './layers.ts'
import { mobilefacenet } from './mobilefacenet.ts'

/** A network that makes embeddings of faces. Cosines of embeddings are compared with the threshold. */
export interface Recogniser {
  id: string
  /** Side of the square crop in pixels. */
  size: number
  /** How the crop is cut out, see `RecogniserEntry`. */
  alignment: RecogniserEntry['alignment']
  /** Length of the embedding. */
  embedding: number
  /** Cosine at and above which two faces count as the same person. */
  threshold: number
  /**
   * Records the network, its normalisation of pixels included.
   * @param x01 aligned crops [N,3,size,size], RGB in 0..1
   * @returns embeddings [N,embedding], not normalised
   * @throws ShapeError for another size
   */
  build(x01: Tensor, weights: NetworkWeights): Tensor
}

type Build = (x: Tensor, weights: NetworkWeights) => Tensor

/** Networks by the manifest's name of their architecture; x is normalised as the manifest says. */
const architectures: Record<string, Build> = {
  mobilefacenet,
  'dlib-resnet-29': dlibResnet29,
}

/** Sides of the crops of the alignments. */
const sizes: Record<RecogniserEntry['alignment'], number> = { arcface112: 112, dlib150: 150 }

/** The manifest names something as a recogniser that is none, or one of an architecture that is not known here. */
export class UnknownArchitectureError extends WeightsError {
  override name = 'UnknownArchitectureError'
}

/**
 * The recogniser that an entry of the manifest describes.
 * @throws UnknownArchitectureError naming the entry, its architecture, and those there are
 */
export function recogniser(entry: ManifestEntry): Recogniser {
  const build = architectures[entry.architecture]
  if (entry.role !== 'recogniser' || !build) {
    const known = Object.keys(architectures).join(', ')
    throw new UnknownArchitectureError(
      'weights/manifest.json',
      `${entry.id} is a ${entry.role} of architecture "${entry.architecture}"; recognisers are of one of ${known}`,
    )
  }
  const { id, alignment, embedding, threshold, input } = entry
  return {
    id,
    size: sizes[alignment],
    alignment,
    embedding,
    threshold,
    build: (x01, weights) => x01.recorder.scope(id, () => build(normalised(x01, input), weights)),
  }
}
