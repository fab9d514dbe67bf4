/** Recognisers by the names of the manifest. */
import { alignments } from '../faces/alignment.ts'
import { flip, resize } from '../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../kernels/op.ts'
import { WeightsError } from '../weights/errors.ts'
import type { ManifestEntry, NetworkInput, RecogniserEntry, Weights } from '../weights/registry.ts'
import { architectureIds, architectureOf } from './architectures.ts'
import type { LayerWeights } from './ensemble.ts'
import { normalised } from './layers.ts'
import type { RecogniserArchitecture } from './network.ts'
import { type FaceNetwork, storedFaceNetwork } from './onnx/recogniser.ts'

/** A network that makes embeddings of faces. Cosines of embeddings are compared with the threshold. */
export interface Recogniser {
  id: string
  /** Side of the square crop in pixels. */
  size: number
  /** How the crop is cut out, see `RecogniserEntry`. */
  alignment: RecogniserEntry['alignment']
  /** Length of the embedding. */
  embedding: number
  /**
   * Recognisers that name the same differ in `id`, `threshold` and weights alone, and their `build` takes the weights of an ensemble:
   * they can be recorded as one (ensemble.ts). One that names nothing is recorded by itself.
   */
  architecture?: string
  /** Cosine at and above which two faces count as the same person. */
  threshold: number
  /**
   * Records the network, its normalisation of pixels included.
   * @param x01 aligned crops [N,3,size,size], RGB in 0..1
   * @returns embeddings [N,embedding], not normalised; [N,E embedding] with the weights of an ensemble of E, member after member
   * @throws ShapeError for another size
   */
  build(x01: Tensor, weights: LayerWeights): Tensor
}

/** Cosine similarity of two unit embeddings, -1..1. */
export function similarityOf(a: Float32Array, b: Float32Array): number {
  let total = 0
  for (let i = 0; i < a.length; i++) total += a[i] * b[i]
  return Math.min(1, Math.max(-1, total))
}

/** The manifest names something as a recogniser that is none, or one of an architecture that is not known here. */
export class UnknownArchitectureError extends WeightsError {
  override name = 'UnknownArchitectureError'
}

/**
 * The recogniser that an entry of the manifest describes.
 * @throws UnknownArchitectureError naming the entry, its architecture, and those there are
 */
export function recogniser(entry: ManifestEntry): Recogniser {
  if (entry.role === 'recogniser' && entry.architecture === ONNX) return onnxRecogniser(entry)
  const architecture = architectureOf(entry.architecture)
  if (entry.role !== 'recogniser' || architecture?.role !== 'recogniser') {
    throw new UnknownArchitectureError(
      'weights/manifest.json',
      `${entry.id} is a ${entry.role} of architecture "${entry.architecture}"; recognisers are of one of ${recogniserIds()}, ${ONNX}`,
    )
  }
  return recogniserWith(architecture, entry)
}

/** Cosine from which faces count as one person's until it was measured: no more than usual. */
const USUAL_THRESHOLD = 0.3

/**
 * A recogniser of an architecture as its authors feed it, of weights that there are not yet: to be recorded with `learnedWeights`, and
 * with what was learned.
 * @param architecture its id: what the `--as` of `weights import` takes, also one that spells out its layers (`ir-1x8-1x16-1x24-1x32-e64`)
 * @throws UnknownArchitectureError where no recogniser has that id
 */
export function recogniserOf(architecture: string): Recogniser {
  const known = architectureOf(architecture)
  if (known?.role !== 'recogniser')
    throw new UnknownArchitectureError(architecture, `is no architecture of a recogniser; known are ${recogniserIds()}`)
  const { id, alignment, embedding, input } = known
  return recogniserWith(known, { id, alignment, embedding, input, threshold: USUAL_THRESHOLD })
}

const recogniserIds = (): string => architectureIds.filter((id) => architectureOf(id)?.role === 'recogniser').join(', ')

function recogniserWith(
  { id: architecture, build }: RecogniserArchitecture,
  {
    id,
    alignment,
    embedding,
    threshold,
    input,
  }: Pick<RecogniserEntry, 'id' | 'alignment' | 'embedding' | 'threshold' | 'input'>,
): Recogniser {
  const { size } = alignments[alignment]
  return {
    id,
    size,
    alignment,
    embedding,
    threshold,
    // The crop is what `build` takes, the map of its pixels a part of what it records.
    architecture: `${architecture} ${alignment} ${JSON.stringify(input)}`,
    build: (x01, weights) => x01.recorder.scope(id, () => build(fed(x01, size, input), weights)),
  }
}

/** Networks that came as ONNX files have their layers in the file of their weights. */
const ONNX = 'onnx'

function onnxRecogniser({ id, alignment, embedding, threshold, input, file }: RecogniserEntry): Recogniser {
  const { size } = alignments[alignment]
  /** Its graph is prepared once for weights that it is recorded with again and again. */
  let prepared: { weights: LayerWeights; network: FaceNetwork } | undefined
  const networkOf = (weights: LayerWeights): FaceNetwork => {
    if (prepared?.weights === weights) return prepared.network
    if ('parameter' in weights) throw new WeightsError(file, 'came as an ONNX file: its layers cannot be learned anew')
    if (!('metadata' in weights)) throw new WeightsError(file, 'is not loaded with its metadata, which hold the graph')
    const { width, height } = input
    const network = storedFaceNetwork(weights as Weights, file, width && height ? [height, width] : undefined)
    if (network.embedding !== embedding)
      throw new WeightsError(file, `makes embeddings of ${network.embedding} numbers, not ${embedding}`)
    prepared = { weights, network }
    return network
  }
  return {
    id,
    size,
    alignment,
    embedding,
    threshold,
    build: (x01, weights) => x01.recorder.scope(id, () => networkOf(weights).build(fed(x01, size, input))),
  }
}

/**
 * Crops of an alignment, RGB in 0..1, as a network wants them: its size, its order of colours, its map of the values.
 * @param x01 [N,3,size,size]
 * @throws ShapeError for another shape
 */
export function fed(x01: Tensor, size: number, input: NetworkInput): Tensor {
  expectShape(
    x01.shape.length === 4 && x01.shape.slice(1).join() === `3,${size},${size}`,
    `crops must be [N,3,${size},${size}], not ${formatShape(x01.shape)}`,
  )
  const { width, height, colours } = input
  const sized = width && height ? resize(x01, { size: [height, width], antialias: true }) : x01
  return normalised(colours === 'BGR' ? flip(sized, 1) : sized, input)
}
