/** Photos are decoded while the GPU is busy with others. */
import { addAbortSignal } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { sha256Of } from '../../batch/ledger.ts'
import type { Content } from '../../batch/rows.ts'
import { startClock } from '../../device/stopwatch.ts'
import { type Photo, type ReadOptions, readPhoto, readPhotoFile } from '../../images/index.ts'
import { type Input, nameOf, STREAM } from '../listing.ts'

/** What a run does with files beside reading them. */
export interface AheadOptions extends ReadOptions {
  /** Keep the hash of each file's bytes; see `contentOf`. */
  hash?: boolean
}

/** A decoded photo, and the seconds that reading and decoding it took. */
export interface DecodedPhoto {
  photo: Photo
  seconds: number
}

/**
 * The photos of the inputs, in their order. The first is begun at once, every other one when the one before it is taken, so that never
 * more than one waits.
 */
export class ReadAhead {
  private readonly inputs: Iterator<Input>
  private readonly signal: AbortSignal
  private readonly options: AheadOptions
  private readonly contents = new Map<Input, Content>()
  private ahead: Promise<DecodedPhoto> | undefined

  /** `signal` ends the wait for standard input. */
  constructor(inputs: readonly Input[], signal: AbortSignal, options: AheadOptions = {}) {
    this.options = options
    this.inputs = inputs.values()
    this.signal = signal
    this.begin()
  }

  /** The next photo; to be called once for each input. Rejects as `readPhoto` does where it is none. */
  async take(): Promise<DecodedPhoto> {
    try {
      return await this.ahead!
    } finally {
      this.begin()
    }
  }

  /** What is wrong with the photo that `take` gives next; undefined where it can be read. */
  async problem(): Promise<unknown> {
    try {
      await this.ahead
    } catch (error) {
      return error
    }
  }

  /** What was read of a photo, also where it could not be decoded; forgotten when it was asked for. Undefined where nothing was read. */
  contentOf(input: Input): Content | undefined {
    const content = this.contents.get(input)
    this.contents.delete(input)
    return content
  }

  private begin(): void {
    const { done, value } = this.inputs.next()
    this.ahead = done ? undefined : this.read(value)
    // What is wrong with a photo is said when its turn comes, or never where the run ends before.
    this.ahead?.catch(() => {})
  }

  private async read(input: Input): Promise<DecodedPhoto> {
    const seconds = startClock()
    const source = await this.source(input)
    if (typeof source !== 'string' && this.options.hash)
      this.contents.set(input, { sha256: sha256Of(source), bytes: source.length })
    const photo = await readPhoto(source, input.name === STREAM ? nameOf(input) : input.name, this.options)
    return { photo, seconds: seconds() }
  }

  /** A path, or the bytes where the system knows the file by bytes only. */
  private async source({ name, path }: Input): Promise<string | Uint8Array> {
    // What is waited for when nothing is piped in can be interrupted, too.
    if (name === STREAM) return buffer(addAbortSignal(this.signal, process.stdin))
    return path === undefined && !this.options.hash ? name : readPhotoFile(path ?? name, name)
  }
}
