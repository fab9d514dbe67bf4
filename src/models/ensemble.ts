/**
 * Several networks of one architecture, each with its own weights, computed as one network: a dispatch a layer instead of one for
 * every layer of every network. On a GPU a dispatch waits for the one before it, so that small layers of a single network leave most
 * of it idle.
 *
 * The E members lie side by side on the channels: activations are [N,E C,H,W], member after member, convolutions have E groups, and
 * what there is one of a channel (slopes, statistics) is joined. Networks therefore record an ensemble as they record one network;
 * the layers (layers.ts) see to the rest. Images are [N,3,H,W], the same for all members: the first convolution is an ordinary one with
 * E times the kernels. Embeddings are [N,E D], which is [N,E,D] in memory.
 */
import { concat } from '../kernels/index.ts'
import { expectShape, formatShape, sameShape, type Tensor } from '../kernels/op.ts'
import type { NetworkWeights } from './layers.ts'
import type { LearnedWeights } from './learned.ts'

/** The weights of networks of one architecture; see `ensembleWeights`. */
export interface EnsembleWeights {
  readonly members: readonly NetworkWeights[]
}

/** What layers take their weights from: one network's, those of an ensemble, or those that a network is to learn. */
export type LayerWeights = NetworkWeights | EnsembleWeights | LearnedWeights

/**
 * Weights with which a network is recorded for all members at once. Those of one member are its own: the graph is that of the network.
 * @param members one at least, of networks that differ in their weights alone; shapes are compared when a layer asks for them
 * @throws RangeError for no members
 */
export function ensembleWeights(members: readonly NetworkWeights[]): LayerWeights {
  if (members.length === 0) throw new RangeError('ensembleWeights: an ensemble needs at least one member')
  return members.length === 1 ? members[0] : { members }
}

/** How many networks are recorded as one: the members of an ensemble; else one. */
export const membersIn = (weights: LayerWeights): number => ('members' in weights ? weights.members.length : 1)

/**
 * The tensors of a name one after another on their first axis. They are joined on the GPU, once for each plan: nothing is copied before.
 * @throws ShapeError where the members' shapes differ
 */
export function joinedWeight(x: Tensor, { members }: EnsembleWeights, name: string): Tensor {
  const tensors = members.map((member) => member.tensor(name))
  const [{ shape }] = tensors
  const other = tensors.find((tensor) => !sameShape(tensor.shape, shape))
  expectShape(
    !other,
    `ensemble: ${name} is ${formatShape(shape)} of one member and ${formatShape(other?.shape ?? [])} of another; members must be of one architecture`,
  )
  const constants = tensors.map((tensor) => x.recorder.constant(tensor.data, shape, name))
  return x.recorder.scope(name, () => concat(constants, 0))
}
