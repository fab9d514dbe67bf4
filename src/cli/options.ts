/** Parsing of options by `node:util`, with errors that name the option and what it takes. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { UsageError } from './exit.ts'

/** `parseArgs`, whose complaints become UsageError. */
export function parse<const T extends NonNullable<ParseArgsConfig['options']>>(
  args: string[],
  options: T,
  command: string,
) {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true })
  } catch (error) {
    // Node appends advice about `--` that fits only some cases; its first sentence says what is wrong.
    const [message] = (error as Error).message.split('. ')
    throw new UsageError(`${command}: ${message}`, { cause: error })
  }
}

/** One of the words allowed; undefined stays undefined. */
export function oneOf<const T extends string>(
  option: string,
  value: string | undefined,
  allowed: readonly T[],
): T | undefined {
  if (value === undefined) return undefined
  if (!allowed.includes(value as T)) throw new UsageError(`${option} takes ${allowed.join(', ')}; got "${value}"`)
  return value as T
}

/** A whole number of at least `least` and at most `most`. */
export function integer(option: string, value: string | undefined, least: number, most: number): number | undefined {
  if (value === undefined) return undefined
  const number = Number(value)
  if (!/^\d+$/.test(value) || number < least || number > most) {
    throw new UsageError(`${option} takes a whole number from ${least} to ${most}; got "${value}"`)
  }
  return number
}

/** Names with commas between them; undefined stays undefined. */
export const listOf = (value: string | undefined): string[] | undefined => value?.split(',').map((name) => name.trim())
