/** What decides the bytes of a result, beside the photo and, where they are kept apart, the person's photos before it: by it a ledger tells results that are made from those that are to be made anew. */
import { networkHashes, recognisersOf } from '../../attack/node.ts'
import { knownNetworks } from '../../weights/node.ts'
import { attackedRecognisers } from '../models.ts'
import { version } from '../version.ts'
import type { ProtectArguments } from './options.ts'

/** As an object that JSON can say, the same for the same results. Throws as `networkHashes` and `attackedRecognisers`. */
export async function settingsOf(options: ProtectArguments): Promise<object> {
  const { preset, steps, seed, choice, products, storage, format, suffix, keepMetadata, mark } = options
  const { onNoFace, strict, rawPreview, again, together } = options
  const attacked = attackedRecognisers(recognisersOf(await knownNetworks()), options.attacked).map(({ id }) => id)
  return {
    version,
    ...{ preset, steps: steps ?? null, seed, attacked, faces: choice.faces ?? 'all', products, storage },
    ...{ format: format ?? null, suffix, keepMetadata, mark, onNoFace, strict, rawPreview, again, together },
    networks: await networkHashes(attacked),
  }
}
