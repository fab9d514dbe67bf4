/**
 * Something is wrong with a file of weights, or with what was asked of it. `file` is the file's path or name, and the
 * message always begins with it.
 */
export class WeightsError extends Error {
  override name = 'WeightsError'
  readonly file: string

  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(`${file}: ${problem}`, options)
    this.file = file
  }
}

/** A network's file is nowhere to be found. The message says where it was looked for and which command builds it. */
export class WeightsMissingError extends WeightsError {
  override name = 'WeightsMissingError'
}

/** A network's file is there, but it is not the file the manifest describes (other size or other SHA-256). */
export class WeightsDamagedError extends WeightsError {
  override name = 'WeightsDamagedError'
}
