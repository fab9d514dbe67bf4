/**
 * What a file of this folder says of its networks: how they are computed, what they want to be fed, and how files of weights name their
 * tensors. architectures.ts lists all of them. Which tensors they have follows from recording them.
 */
import { expectShape, formatShape, type Shape, type Tensor } from '../kernels/op.ts'
import type { ManifestEntry, NetworkInput, RecogniserEntry, WeightTensor } from '../weights/registry.ts'
import type { LayerWeights } from './ensemble.ts'
import type { NetworkWeights, PixelMap } from './layers.ts'
import { recordedShapes, type TensorShapes } from './recording.ts'

/** How files name a network's tensors, where they do not call them as the network does. */
export interface Naming {
  /** The network's name of a tensor by the file's (without what stands before all of them). */
  rename?: (name: string) => string
  /** Tensors that belong to the file but not to the network, by the file's names, and why. */
  unused?: readonly (readonly [names: RegExp, why: string])[]
  /** A tensor in the network's layout; called with the network's name. */
  layout?: (name: string, tensor: WeightTensor) => WeightTensor
}

interface ArchitectureBase {
  /** What entries call it. */
  readonly id: string
  /** What people call it. */
  readonly title: string
  readonly role: ManifestEntry['role']
  /** Recorded when it is asked for the first time. */
  readonly tensors: () => TensorShapes
  /** What its published weights were trained with. */
  readonly input: NetworkInput
  /** How files name its tensors; as it does itself unless told. */
  readonly namings: readonly Naming[]
}

/** A network that makes embeddings of faces. */
export interface RecogniserArchitecture extends ArchitectureBase {
  readonly role: 'recogniser'
  readonly embedding: number
  readonly alignment: RecogniserEntry['alignment']
  /** Records the network; x is normalised as `input` says. See `Recogniser`. */
  readonly build: (x: Tensor, weights: LayerWeights) => Tensor
}

/** A network, or a part of one, that detects faces or compares images. */
export interface PartArchitecture extends ArchitectureBase {
  readonly role: 'detector' | 'perceptual'
}

export type Architecture = RecogniserArchitecture | PartArchitecture

/** Networks that are one code. */
export interface Family {
  /** Those with names of their own. */
  readonly published: readonly Architecture[]
  /** Where other sizes are computed too: the one of an id that spells them out; undefined for any other id. */
  readonly spelled?: (id: string) => Architecture | undefined
  /** The id of the network whose tensors have these names and shapes; undefined where they are of none. */
  readonly idOf?: (shapes: ReadonlyMap<string, Shape>) => string | undefined
}

/** Pixels of square crops. */
export const crops = (size: number, map: PixelMap): NetworkInput => ({
  width: size,
  height: size,
  colours: 'RGB',
  ...map,
})

/** Throws ShapeError unless x is a batch of such crops, [N,3,size,size]. `operation` is named. */
export function expectCrops(operation: string, x: Tensor, size: number): void {
  expectShape(
    x.shape.length === 4 && x.shape.slice(1).join() === `3,${size},${size}`,
    `${operation}: x must be [N,3,${size},${size}], not ${formatShape(x.shape)}`,
  )
}

/** Images of any size. */
export const anySize = (map: PixelMap): NetworkInput => ({ width: null, height: null, colours: 'RGB', ...map })

/** Black is -1 and white 1, as most recognisers were trained. */
export const symmetric: PixelMap = { range: [-1, 1], mean: [0, 0, 0], std: [1, 1, 1] }

/** RGB in 0..255, minus 127.5, over 128. */
export const over128: PixelMap = { range: [0, 255], mean: [127.5, 127.5, 127.5], std: [128, 128, 128] }

const AS_THEY_ARE: readonly Naming[] = [{}]

type Described<A extends Architecture> = Omit<A, 'role' | 'tensors' | 'namings'> & {
  namings?: readonly Naming[]
  /** The tensors in the order in which files have them, where it is not that in which they are asked for. */
  inFiles?: (shapes: TensorShapes) => TensorShapes
}

/** A recogniser by what is known of it. */
export function recogniserArchitecture(known: Described<RecogniserArchitecture>): RecogniserArchitecture {
  const { namings = AS_THEY_ARE, inFiles = (shapes) => shapes, ...described } = known
  const { height, width } = known.input
  const tensors = once(() => inFiles(recordedShapes(known.build, [1, 3, height!, width!])))
  return { ...described, role: 'recogniser', namings, tensors }
}

/** A detector, or what compares images. `record` is recorded on images of `side` pixels; `part` tells the tensors that it has of these. */
export function partArchitecture(
  role: PartArchitecture['role'],
  known: Described<PartArchitecture> & {
    record: (x: Tensor, weights: NetworkWeights) => unknown
    side: number
    part?: (name: string) => boolean
  },
): PartArchitecture {
  const { namings = AS_THEY_ARE, record, side, part = () => true, ...described } = known
  const tensors = once(() => new Map([...recordedShapes(record, [1, 3, side, side])].filter(([name]) => part(name))))
  return { ...described, role, namings, tensors }
}

function once<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}
