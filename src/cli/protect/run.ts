/** One run of `lowkey-gpu protect`: the photos one after another on the GPU, while the next is decoded and the last is saved. */

import { readFile } from 'node:fs/promises'
import { ProtectedFaces } from '../../attack/apart.ts'
import type { Choice } from '../../attack/choose.ts'
import { NoFaceError, type Protection, type Protector } from '../../attack/protect.ts'
import type { Gpu } from '../../device/node.ts'
import { startClock } from '../../device/stopwatch.ts'
import {
  comparePicture,
  copyWithoutMetadata,
  encodePhoto,
  lostInResult,
  numberedPicture,
  type Photo,
  PhotoError,
  shown,
} from '../../images/index.ts'
import { Exit, exitCodeOf, Interrupted } from '../exit.ts'
import { EARLIER_ADVICE, type Input, nameOf, pathOf, STREAM } from '../listing.ts'
import { writeStandardOutput } from '../outputs.ts'
import { Account, type Outcome } from './account.ts'
import { lookAgain } from './earlier.ts'
import { numberedBoxes } from './face-list.ts'
import type { DecodedPhoto } from './read-ahead.ts'
import { copyOf, resultOf, type Target } from './results.ts'
import { mayBeIn, rowOf } from './task.ts'
import { checkSize, checkTarget, isDoneMeanwhile, type Work } from './work.ts'

/** What is left to do for a photo that the GPU is done with: to save it, and to say so. Rejects where the photo fails. */
type Finish = () => Promise<Outcome>

/**
 * Photos in three stages: decoding, the GPU's work, saving. Each takes the photos in their order, and each holds one at a time, so that
 * three are in memory at most. What is printed keeps the order, too.
 */
export class ProtectRun {
  private readonly work: Work
  private readonly account: Account
  /** The number of the next photo. */
  private next = 0
  /** Of the photos so far, where later ones are kept apart from them. */
  private readonly faces: ProtectedFaces | undefined
  /** Ends, without a failure, when the last photo that the GPU is done with is saved. */
  private saving: Promise<void> = Promise.resolve()

  /** Says at once which photos fail before any work. */
  constructor(work: Work) {
    this.work = work
    this.account = new Account(work)
    if (work.options.together) this.faces = new ProtectedFaces()
  }

  /** Shows what is done before the first photo. */
  say(doing: string): void {
    this.account.progress.say(doing)
  }

  /** No photo is left to work on. */
  get isOver(): boolean {
    return this.next >= this.work.inputs.length
  }

  /** Says which of the first photos cannot be read, up to one that can: they need no GPU. Throws Interrupted. */
  async passUnreadable(): Promise<void> {
    await this.closing(async () => {
      const { inputs, leaving, photos } = this.work
      while (!this.isOver) {
        leaving.throwIfAborted()
        const error = await photos.problem()
        if (error === undefined) return
        const input = inputs[this.next]
        this.account.begin(input, this.next++)
        await photos.take().catch(() => {})
        await this.finish(input, this.failed(input, undefined, error))
      }
      this.account.expectRecorded()
    })
  }

  /**
   * Resolves with the exit code. Throws Interrupted, and errors of the GPU or the weights, which end all photos' chances; whatever it
   * ends with, photos that were done before are saved.
   */
  async all(gpu: Gpu, protector: Protector): Promise<number> {
    await this.closing(async () => {
      const { inputs, leaving, options } = this.work
      const say = (doing: string) => this.account.progress.say(doing)
      if (this.faces && !options.dryRun && !this.isOver) await lookAgain(this.work, protector, this.faces, say)
      while (!this.isOver) {
        leaving.throwIfAborted()
        const input = inputs[this.next]
        this.account.begin(input, this.next++)
        const finish = await this.workOn(input, gpu, protector)
        await this.saving
        this.saving = this.finish(input, finish)
      }
      await this.saving
      this.account.expectRecorded()
    })
    return this.close()
  }

  /** Says what was left alone, and counts; resolves with the exit code, also of a run that an error ended. */
  async close(error?: unknown): Promise<number> {
    await this.saving
    this.account.progress.clear()
    this.end()
    return this.account.close(error)
  }

  private async closing(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      await this.close(error)
      throw error
    }
  }

  /** Whatever came of it: no folder stays that was made for nothing. */
  end(): void {
    this.work.outputs.close()
  }

  /** Decoding and the GPU's work. What is wrong with this photo alone is not thrown here but left to what finishes it. */
  private async workOn(input: Input, gpu: Gpu, protector: Protector): Promise<Finish> {
    const { options, destination, outputs, targets, signal } = this.work
    let photo: Photo | undefined
    try {
      const decoded = await this.work.photos.take()
      signal.throwIfAborted()
      photo = decoded.photo
      if (photo.cloaked && !options.again) return async () => this.earlierResult(input)
      const target = targets.get(input) ?? resultOf(input, photo.format, destination)
      // Again: what was free when the run began may be taken now.
      checkTarget(outputs, options, target.path)
      checkSize(photo, target, options.preset, gpu)
      if (options.dryRun || options.listFaces) {
        const choice = await protector.choose(photo, options.choice)
        signal.throwIfAborted()
        return () => this.announce(input, decoded.photo, target.path, choice)
      }
      const working = startClock()
      const protection = await protector.protect(photo, {
        preset: options.preset,
        steps: options.steps,
        ...options.choice,
        grey: photo.grey,
        seed: options.seed,
        products: options.products,
        storage: options.storage,
        apartFrom: this.faces,
        name: nameOf(input),
        signal,
        onProgress: (p) => this.account.progress.update(p),
      })
      const seconds = decoded.seconds + working()
      return () => this.save(input, { photo: decoded.photo, seconds }, target, protection, gpu)
    } catch (error) {
      return this.failed(input, photo, error)
    }
  }

  /** What finishes a photo that failed. Throws what ends all others' chances, too: an interruption, or the GPU or the weights are gone. */
  private failed(input: Input, photo: Photo | undefined, error: unknown): Finish {
    const { signal } = this.work
    if (signal.aborted) throw signal.reason
    if (error instanceof Interrupted) throw error
    const code = exitCodeOf(error)
    if (code === Exit.noGpu || code === Exit.weights) throw error
    return () => this.withoutResult(input, photo, error)
  }

  /** A result that another task made meanwhile is as good. */
  private async withoutResult(input: Input, photo: Photo | undefined, error: unknown) {
    const { task } = this.work
    if (task && (await isDoneMeanwhile(task, input, error))) return 'done before' as const
    return this.withoutFace(input, photo, error)
  }

  /** Never rejects: a photo that fails here is one that failed. */
  private async finish(input: Input, finish: Finish): Promise<void> {
    try {
      this.account.end(await finish().catch((error: unknown) => this.withoutResult(input, undefined, error)))
    } catch (error) {
      this.account.fail(input, error)
    }
  }

  private async save(
    input: Input,
    { photo, seconds }: DecodedPhoto,
    { path, format }: Target,
    protection: Protection,
    gpu: Gpu,
  ): Promise<'protected'> {
    const { options, outputs, task, photos } = this.work
    const { compare, keepMetadata, mark } = options
    const saving = startClock()
    const after: Photo = { ...photo, rgb: protection.photo.rgb }
    const bytes = await encodePhoto(after, { format, keepMetadata, mark })
    const more = lostInResult(photo, format).map(({ says }) => `${nameOf(input)} ${says}.`)
    const warned = { ...photo, warnings: [...(photo.warnings ?? []), ...more] }
    const done = { photo: warned, protection, seconds, gpu }
    const content = photos.contentOf(input)
    const rest = task && content && rowOf(done, content, task.record.output(path, bytes))
    if (rest) task.record.came(input, 'protected', rest, 'saving')
    if (path === STREAM) await writeStandardOutput(bytes)
    else await outputs.write(path, bytes, input)
    if (rest) this.account.record((record) => record.came(input, 'protected', rest))
    if (compare !== undefined) await outputs.write(compare, await comparePicture(photo, after), input)
    this.account.progress.clear()
    this.account.report(input, path, { ...done, seconds: seconds + saving() })
    return 'protected'
  }

  /**
   * `--on-no-face copy` and `skip`; every other error, and `--on-no-face error`, is thrown on. A copy is written as results are: places
   * and the like are not in it.
   */
  private async withoutFace(input: Input, photo: Photo | undefined, error: unknown): Promise<'without a face'> {
    const { destination, options, outputs } = this.work
    const { onNoFace, dryRun } = options
    if (!(error instanceof NoFaceError) || onNoFace === 'error' || !photo) throw error
    const copy = onNoFace === 'copy' ? copyOf(input, photo.format, destination) : undefined
    let outcome = 'skipped'
    if (copy !== undefined) {
      outputs.check(copy.path)
      if (dryRun) outputs.note(copy.path)
      else {
        const bytes = await this.copied(input, photo, copy)
        const output = this.work.task?.record.output(copy.path, bytes)
        const rest = {
          input: this.work.photos.contentOf(input),
          output,
          ...mayBeIn(error.weak),
          warnings: [error.message],
        }
        this.work.task?.record.came(input, 'without a face', rest, 'saving')
        await outputs.write(copy.path, bytes, input)
        this.account.record((record) => record.came(input, 'without a face', rest))
      }
      outcome = `${dryRun ? 'would be copied' : 'copied'} unprotected to ${shown(copy.path)}`
    }
    if (copy === undefined) {
      const rest = { input: this.work.photos.contentOf(input), ...mayBeIn(error.weak), warnings: [error.message] }
      this.account.record((record) => record.came(input, 'without a face', rest))
    }
    this.account.reportWithoutFace(input, error, copy?.path, outcome)
    return 'without a face'
  }

  /** `--dry-run` and `--faces list`: the faces, and what would be or is written. */
  private async announce(input: Input, photo: Photo, path: string, choice: Choice): Promise<'protected'> {
    const { listFaces, dryRun } = this.work.options
    if (!listFaces || dryRun) this.work.outputs.note(path)
    else {
      const picture = await numberedPicture(photo, numberedBoxes(choice))
      if (path === STREAM) await writeStandardOutput(picture)
      else await this.work.outputs.write(path, picture, input)
    }
    this.account.list(input, photo, path, choice)
    return 'protected'
  }

  /** JPEG keeps its coded pixels; every other format, and what keeps metadata, is encoded as results are. */
  private async copied(input: Input, photo: Photo, { format }: Target): Promise<Uint8Array> {
    const { keepMetadata } = this.work.options
    if (photo.format !== 'jpeg' || format !== 'jpeg' || keepMetadata)
      return encodePhoto(photo, { format, keepMetadata })
    return (await copyWithoutMetadata(await readFile(pathOf(input)), input.name, photo)).bytes
  }

  /** A file that says that it is a result: left out of a folder, refused where it was named. */
  private earlierResult(input: Input): 'earlier result' {
    const error = new PhotoError(input.name, 'is an earlier result, by what it says of itself', EARLIER_ADVICE)
    if (input.folder === undefined) throw error
    this.account.noteEarlierResult(input, error)
    return 'earlier result'
  }
}
