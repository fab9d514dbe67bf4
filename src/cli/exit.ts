/** Exit codes of the command line, and which error leads to which. */
import { NoFaceError } from '../attack/protect.ts'
import { DeviceLostError, NoAdapterError } from '../device/node.ts'
import { WeightsError } from '../weights/errors.ts'

export const Exit = {
  done: 0,
  /** Some inputs failed; each is named, the others are done. Of `check`: a face still matches. */
  failed: 1,
  usage: 2,
  /** No face in any input. */
  noFace: 3,
  /** There is none, or it was lost on the way. */
  noGpu: 4,
  /** Weights are missing or damaged. */
  weights: 5,
  interrupted: 130,
} as const

/** The command was called wrongly. */
export class UsageError extends Error {
  override name = 'UsageError'
}

/** SIGINT or SIGTERM. */
export class Interrupted extends Error {
  override name = 'Interrupted'

  constructor() {
    super('interrupted')
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return Exit.usage
  if (error instanceof NoFaceError) return Exit.noFace
  if (error instanceof NoAdapterError || error instanceof DeviceLostError) return Exit.noGpu
  if (error instanceof WeightsError) return Exit.weights
  if (error instanceof Interrupted) return Exit.interrupted
  return Exit.failed
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
