/** Loads the networks of a run from this machine's weights folders. */
import { recogniser } from '../models/recognisers.ts'
import { loadManifest, loadWeights } from '../weights/node.ts'
import type { RecogniserEntry } from '../weights/registry.ts'
import type { Surrogate } from './objective.ts'
import type { ProtectorNetworks } from './protect.ts'

/** The recognisers attacked unless `--models` names others. */
export const DEFAULT_SURROGATES: readonly string[] = ['sirius']

const DETECTOR = 'mtcnn'
const LPIPS = 'lpips-alex-scratch'

/** A recogniser was asked for that the manifest does not have. */
export class UnknownModelError extends Error {
  override name = 'UnknownModelError'
}

/**
 * Detector, LPIPS, the surrogates named, and every other recogniser of the manifest as held out.
 * Throws UnknownModelError for a name that is no recogniser; WeightsMissingError and WeightsDamagedError with what to do.
 */
export async function loadNetworks(surrogates: readonly string[] = DEFAULT_SURROGATES): Promise<ProtectorNetworks> {
  const manifest = await loadManifest()
  const recognisers = manifest.networks.filter((n): n is RecogniserEntry => n.role === 'recogniser')
  const known = recognisers.map(({ id }) => id)
  const unknown = surrogates.find((id) => !known.includes(id))
  if (unknown !== undefined)
    throw new UnknownModelError(`there is no recogniser "${unknown}"; there are ${known.join(', ')}`)
  if (surrogates.length === 0)
    throw new UnknownModelError(`name at least one recogniser to attack: ${known.join(', ')}`)
  const load = async (entry: RecogniserEntry): Promise<Surrogate> => ({
    network: recogniser(entry),
    weights: await loadWeights(entry.id),
  })
  const attacked = recognisers.filter(({ id }) => surrogates.includes(id))
  const others = recognisers.filter(({ id }) => !surrogates.includes(id))
  const [detector, lpips, ...loaded] = await Promise.all([
    loadWeights(DETECTOR),
    loadWeights(LPIPS),
    ...attacked.map(load),
    ...others.map(load),
  ])
  return {
    detector,
    lpips: { weights: lpips, trunk: 'alex' },
    surrogates: loaded.slice(0, attacked.length),
    heldOut: loaded.slice(attacked.length),
  }
}
