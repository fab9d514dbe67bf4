/** Exit codes of the command line, and which error leads to which. */
import { FaceChoiceError, NoFaceError } from '../attack/protect.ts'
import { ShardError } from '../batch/shard.ts'
import { DeviceLostError, NoAdapterError } from '../device/node.ts'
import { codeOf, OutputError, PhotoError, shown } from '../images/index.ts'
import { WeightsError } from '../weights/errors.ts'

export const Exit = {
  done: 0,
  failed: 1,
  usage: 2,
  noFace: 3,
  noGpu: 4,
  weights: 5,
  /** Nobody can tell: of `check`, a face that was not compared; of `protect`, a place that may be a face and stays as it is. */
  uncertain: 6,
  /** Of `protect --shard` and `--resume`: EX_TEMPFAIL of sysexits(3), which queues take for "later". */
  again: 75,
  interrupted: 130,
} as const

/** What every code means, for all commands; where a command has its own meaning of 0, 1 or 3, that. */
const meanings: Readonly<Record<number, string | Readonly<Record<string, string>>>> = {
  [Exit.done]: {
    all: 'done',
    protect: 'done: every face found or chosen was protected; a photo has no face only where --on-no-face allows that',
    check: 'no recogniser matches any face',
    doctor: 'all is well',
  },
  [Exit.failed]: {
    all: 'something failed, and is named',
    protect: 'a photo failed or was left alone, so that a face may be unprotected; each is named, all others are done',
    report: 'a ledger cannot be read, or the page cannot be written',
    check: 'a face still matches, or a photo cannot be read',
    doctor: 'the self-test failed, or pictures cannot be read',
  },
  [Exit.usage]: 'wrong usage; nothing was done',
  [Exit.noFace]: { all: 'no face in any photo', check: 'no face in a photo' },
  [Exit.noGpu]: 'no GPU and no software driver, or it was lost',
  [Exit.weights]: 'weights missing or damaged',
  [Exit.uncertain]: {
    check: 'no face matches, but one was not found any more, or is another picture: nobody can tell',
    protect:
      'every face found was protected, but a place that may be a face stays as it is: each is named, --box protects one; not where --face, --faces largest or --box chose',
  },
  [Exit.again]: {
    protect: 'SIGTERM came before all photos of --shard or --resume were done: run the same command again',
  },
  [Exit.interrupted]: 'interrupted (SIGINT, SIGTERM); what was done before is kept',
}

/** The exit codes of a command, or what they mean for all, one a line. */
export function exitCodes(command = 'all'): string {
  const lines = Object.entries(meanings).flatMap(([code, text]) => {
    const meaning = typeof text === 'string' ? text : (text[command] ?? text.all)
    // What only one command says is said of it where all are.
    if (meaning === undefined && command === 'all')
      return Object.entries(text).map(([name, own]) => `  ${code.padEnd(4)} ${name}: ${own}`)
    return meaning === undefined ? [] : [`  ${code.padEnd(4)} ${meaning}`]
  })
  return `Exit codes:\n\n${lines.join('\n')}`
}

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

/** SIGTERM, for a task that is to be run again. */
export class StoppedEarly extends Error {
  override name = 'StoppedEarly'

  constructor() {
    super('stopped by SIGTERM before all photos were done: run the same command again')
  }
}

/** A photo that failed earlier and would again. */
export class RecordedError extends Error {
  override name = 'RecordedError'
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError || error instanceof FaceChoiceError || error instanceof ShardError) return Exit.usage
  if (error instanceof NoFaceError) return Exit.noFace
  if (error instanceof NoAdapterError || error instanceof DeviceLostError) return Exit.noGpu
  if (error instanceof WeightsError) return Exit.weights
  if (error instanceof StoppedEarly) return Exit.again
  if (error instanceof RecordedError) return error.code
  if (error instanceof Interrupted) return Exit.interrupted
  return Exit.failed
}

/**
 * Whether another try of a photo, later or on another machine, may do better. What is wrong with the photo itself, or with the command,
 * stays wrong; a disk may be free again, a network drive back, a GPU larger.
 */
export function mayDoBetter(error: unknown): boolean {
  if (error instanceof PhotoError) return codeOf(error.cause) !== ''
  if (error instanceof OutputError) return error.problem !== 'exists' && error.problem !== 'is-folder'
  const wrong = [NoFaceError, FaceChoiceError, UsageError, RecordedError, RangeError]
  return !wrong.some((kind) => error instanceof kind)
}

/** Of a run that an error ended early: the exit code, and whether it is worth another try; a GPU may be lost, a task told to leave. */
export function stoppedBy(error: unknown): { code: number; message: string; retry: boolean } {
  const code = exitCodeOf(error)
  const retry = code === Exit.noGpu || code === Exit.again || (code === Exit.failed && mayDoBetter(error))
  return { code, message: messageOf(error), retry }
}

/** What an error says. It may name what is in a stranger's file: control characters are written out, but for the ends of lines. */
export const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n').map(shown).join('\n')
