/** Options that name recognisers. */
import { DEFAULT_SURROGATES, named, UnknownModelError } from '../attack/node.ts'
import type { RecogniserEntry } from '../weights/registry.ts'
import { UsageError } from './exit.ts'
import { listOf } from './options.ts'

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

/** The options that say which recognisers are attacked, for `parse`. */
export const attackOptions = { models: { type: 'string' }, 'hold-out': { type: 'string' } } as const

/** What these options are, for the help of a command. */
export const attackHelp = {
  models: `recognisers to attack (${DEFAULT_SURROGATES.join(',')}); all others measure the result`,
  holdOut: 'recognisers not to attack: they measure the result, as a service that nobody here knows would',
} as const

/**
 * The recognisers that are attacked: those of `--models`, or all that ship, without those of `--hold-out`; in the order of `all`.
 * Throws UsageError for a name that is none, and where none is left.
 */
export function attackedRecognisers(
  all: readonly RecogniserEntry[],
  values: { models?: string; 'hold-out'?: string },
): RecogniserEntry[] {
  const models = chosenRecognisers(all, '--models', listOf(values.models) ?? DEFAULT_SURROGATES)
  const names = listOf(values['hold-out'])
  if (!names) return models
  const heldOut = chosenRecognisers(all, '--hold-out', names)
  const attacked = models.filter((entry) => !heldOut.includes(entry))
  if (attacked.length === 0) throw new UsageError('--hold-out leaves no recogniser to attack')
  return attacked
}
