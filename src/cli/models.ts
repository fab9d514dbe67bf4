/** Options that name recognisers. */
import { named, UnknownModelError } from '../attack/node.ts'
import type { RecogniserEntry } from '../weights/registry.ts'
import { UsageError } from './exit.ts'

/** The recognisers that an option names, in the order of `all`; all where it is not given. Throws UsageError for an unknown one. */
export function chosenRecognisers(
  all: readonly RecogniserEntry[],
  option: string,
  ids: readonly string[] = all.map(({ id }) => id),
): RecogniserEntry[] {
  try {
    return named(all, ids)
  } catch (error) {
    throw error instanceof UnknownModelError ? new UsageError(`${option}: ${error.message}`) : error
  }
}
