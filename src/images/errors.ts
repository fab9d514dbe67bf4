import { shown } from './shown.ts'

/** The optional package that decodes and encodes pictures (`sharp`) is missing or cannot run on this machine. */
export class ImageSupportError extends Error {
  override readonly name = 'ImageSupportError'
}

/** A photo that cannot be read or written as a picture. The message is `<file> <problem>: <advice>`. */
export class PhotoError extends Error {
  override readonly name = 'PhotoError'
  /** The path as given, or a name for bytes that came from elsewhere. */
  readonly file: string
  /** What is wrong, as the rest of a sentence that starts with the file: 'is cut short (...)'. */
  readonly problem: string
  /** What the user can do about it. */
  readonly advice: string

  constructor(file: string, problem: string, advice: string, options?: ErrorOptions) {
    super(`${shown(file)} ${problem}: ${advice}`, options)
    this.file = file
    this.problem = problem
    this.advice = advice
  }
}

/** Why a result could not be written. */
export type OutputProblem = 'exists' | 'no-folder' | 'unwritable' | 'is-folder' | 'full' | 'interrupted' | 'failed'

/** A result that could not be written; nothing is left behind at `path` or beside it. */
export class OutputError extends Error {
  override readonly name = 'OutputError'
  readonly path: string
  readonly problem: OutputProblem

  constructor(path: string, problem: OutputProblem, detail: string, options?: ErrorOptions) {
    super(`${shown(path)} ${detail}`, options)
    this.path = path
    this.problem = problem
  }
}
