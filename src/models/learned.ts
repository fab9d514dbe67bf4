/**
 * Networks as they are trained. They are recorded by the functions that record them for use; only where these take a weight, the caller's
 * tensor stands instead of a constant, and batch normalisation takes the statistics of the batch.
 */
import type { Shape, Tensor } from '../kernels/op.ts'

/** Something that a network learns, or averages over its batches. */
export interface Parameter {
  /** As files of the network call it. */
  name: string
  shape: Shape
  /** The value that all its elements begin with; 'xavier' for kernels and matrices, whose beginning is random (see `xavierBound`). */
  initial: number | 'xavier'
  /** Whether gradients change it. Running statistics are not learned but averaged. */
  learned: boolean
}

/** Gives the tensor that holds a parameter, of the parameter's shape. It is asked once for each use. */
export type ParameterSource = (parameter: Parameter) => Tensor

/** What a network is recorded with that is to be trained, in the place of its weights: `recogniser(entry).build(x01, learnedWeights(of))`. */
export interface LearnedWeights {
  readonly parameter: ParameterSource
  /**
   * Running statistics after the step, by name: `updates` of the tensors that hold them. They are those of the network that was recorded
   * last with these weights.
   */
  readonly running: Map<string, Tensor>
}

/** Weights that a network learns. Batches need two images at least where it normalises over them. */
export const learnedWeights = (parameter: ParameterSource): LearnedWeights => ({ parameter, running: new Map() })

/**
 * Kernels and matrices of this shape begin uniform in ± this bound (Glorot and Bengio 2010), as face.evoLVe's do.
 * @param shape [out,in] or [out,in,h,w]
 */
export function xavierBound([outputs, inputs, ...window]: Shape): number {
  const area = window.reduce((product, extent) => product * extent, 1)
  return Math.sqrt(6 / ((outputs + inputs) * area))
}
