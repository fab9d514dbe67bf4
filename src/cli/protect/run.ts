/** One run of `lowkey-gpu protect`: the photos one after another on the GPU, while the next is decoded and the last is saved. */

import { readFile } from 'node:fs/promises'
import type { Choice } from '../../attack/choose.ts'
import { NoFaceError, type Protection, type Protector } from '../../attack/protect.ts'
import { adapterName, describeAdapter, type Gpu } from '../../device/node.ts'
import {
  comparePicture,
  copyWithoutMetadata,
  encodePhoto,
  lostInResult,
  numberedPicture,
  OutputError,
  type Photo,
  PhotoError,
  shown,
} from '../../images/index.ts'
import { Exit, exitCodeOf, Interrupted, mayDoBetter, messageOf, RecordedError, stoppedBy } from '../exit.ts'
import { EARLIER_ADVICE, type Input, nameOf, pathOf, STREAM } from '../listing.ts'
import { writeStandardOutput } from '../outputs.ts'
import { ProgressLine } from '../progress.ts'
import { countFaces, type FaceCounts, faceNote, noFaces } from './face-counts.ts'
import { faceLines, numberedBoxes } from './face-list.ts'
import type { DecodedPhoto } from './read-ahead.ts'
import { closingLine, closingRow, type Outcomes, photoLines, rateLine, withName } from './report.ts'
import { copyOf, resultOf, type Target } from './results.ts'
import { type ProtectTask, rowOf } from './task.ts'
import { checkSize, checkTarget, isDoneMeanwhile, type TaskWork, type Work } from './work.ts'

/** What is left to do for a photo that the GPU is done with: to save it, and to say so. Rejects where the photo fails. */
type Finish = () => Promise<keyof Outcomes | 'earlier result' | 'done before'>

/**
 * Photos in three stages: decoding, the GPU's work, saving. Each takes the photos in their order, and each holds one at a time, so that
 * three are in memory at most. What is printed keeps the order, too.
 */
export class ProtectRun {
  private readonly work: Work
  private readonly progress: ProgressLine
  /** Ends, without a failure, when the last photo that the GPU is done with is saved. */
  private saving: Promise<void> = Promise.resolve()
  private readonly codes: number[] = []
  private readonly outcomes: Outcomes = { protected: 0, 'without a face': 0, failed: 0, 'left alone': 0 }
  private readonly faces: FaceCounts = noFaces()
  private readonly began = performance.now()
  private toldAdapter = false
  /** Earlier results among the files of folders: those known by their names, and those that say so themselves. */
  private results: number
  /** Why the ledger could not be written: nothing may be done that is not recorded. */
  private unrecorded: unknown

  /** Says at once which photos fail before any work. */
  constructor(work: Work) {
    this.work = work
    this.results = work.found.results.length
    this.progress = new ProgressLine(work.options.quiet, process.stderr, work.inputs.length)
    if (work.task) {
      this.outcomes['without a face'] += work.task.withoutFace
      this.announceTask(work.task)
    }
    for (const { input, error } of work.found.failed) this.fail(input, error)
  }

  /** Which part of the photos this is. */
  private announceTask({ all, mine, before, record }: TaskWork): void {
    const { shard, quiet } = this.work.options
    this.printRow({ task: { shard: shard ?? null, photos: mine, of: all, doneBefore: before } })
    if (quiet) return
    for (const text of record.suspicions(this.work.inputs)) process.stderr.write(`note: ${text}\n`)
    const { index, count, engine, from } = shard ?? {}
    const found = engine ? ` (${engine}: ${from})` : ''
    if (shard) process.stderr.write(`shard ${index} of ${count}${found}: ${mine} of ${all} photos\n`)
  }

  /** Shows what is done before the first photo. */
  say(doing: string): void {
    this.progress.say(doing)
  }

  /** No photo is left to work on. */
  get isOver(): boolean {
    return this.work.inputs.length === 0
  }

  /**
   * Resolves with the exit code. Throws Interrupted, and errors of the GPU or the weights, which end all photos' chances; whatever it
   * ends with, photos that were done before are saved.
   */
  async all(gpu: Gpu, protector: Protector): Promise<number> {
    const { inputs, leaving, task } = this.work
    try {
      for (const [index, input] of inputs.entries()) {
        leaving.throwIfAborted()
        if (this.unrecorded) throw this.unrecorded
        task?.record.begun(input)
        this.progress.start(nameOf(input), index)
        const finish = await this.workOn(input, gpu, protector)
        await this.saving
        this.saving = this.finish(input, finish)
      }
      await this.saving
      if (this.unrecorded) throw this.unrecorded
    } catch (error) {
      await this.close(error)
      throw error
    }
    return this.close()
  }

  /** Whatever came of it: no folder stays that was made for nothing. */
  end(): void {
    this.work.outputs.close()
  }

  /** Says what was left alone, and counts; resolves with the exit code, also of a run that an error ended. */
  async close(error?: unknown): Promise<number> {
    const { inputs, found, several, options, task } = this.work
    await this.saving
    this.progress.clear()
    this.end()
    for (const left of found.left) {
      const { name, problem, advice, photos } = left
      this.record((record) => record.leftAlone(left, task!.paths))
      this.outcomes['left alone'] += photos
      process.stderr.write(`lowkey-gpu: ${shown(name)} ${problem}: ${advice}\n`)
      this.printRow({ input: name, leftAlone: { photos, problem, advice } })
    }
    const code = error === undefined ? this.exitCode() : exitCodeOf(error)
    const notDone = inputs.length + found.failed.length - this.codes.length
    this.record((task) => task.end(code, notDone, this.work.task!.before))
    if (!several) {
      if (code === Exit.uncertain && options.quiet) process.stderr.write(`lowkey-gpu: ${faceNote(this.faces)}\n`)
      return code
    }
    const row = {
      summary: closingRow(this.outcomes, notDone, this.results, this.faces, task?.before),
      notes: found.notes,
      seconds: this.seconds(),
      // What ended the run before its last photo; rows of photos say what ended those.
      ...(error === undefined ? {} : { stopped: stoppedBy(error) }),
    }
    this.printRow(row)
    if (!options.quiet) {
      for (const note of found.notes) process.stderr.write(`note: ${note}\n`)
      const worked = this.codes.length - found.failed.length
      if (worked > 0 && !options.dryRun) process.stderr.write(`${rateLine(worked, this.seconds())}\n`)
    }
    if (!options.quiet || code !== Exit.done) {
      const line = closingLine(this.outcomes, notDone, this.results, options.dryRun, task?.before, this.faces)
      process.stderr.write(`${line}\n`)
    }
    return code
  }

  private exitCode(): number {
    const { codes } = this
    if (this.outcomes['left alone'] > 0 || this.unrecorded) return Exit.failed
    if (this.work.task?.before && !codes.every((code) => code === Exit.done)) return Exit.failed
    if (codes.every((code) => code === Exit.done)) return this.mayBeLeft ? Exit.uncertain : Exit.done
    return codes.every((code) => code === Exit.noFace) ? Exit.noFace : codes.length === 1 ? codes[0] : Exit.failed
  }

  /** A place that may be a face stays as it is, though nobody chose that. */
  private get mayBeLeft(): boolean {
    const { listFaces, choosesFaces } = this.work.options
    return this.faces.mayBe > 0 && !listFaces && !choosesFaces
  }

  private seconds = (): number => (performance.now() - this.began) / 1000

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
      const began = performance.now()
      const protection = await protector.protect(photo, {
        preset: options.preset,
        steps: options.steps,
        ...options.choice,
        grey: photo.grey,
        seed: options.seed,
        products: options.products,
        storage: options.storage,
        signal,
        onProgress: (p) => this.progress.update(p),
      })
      const seconds = decoded.seconds + (performance.now() - began) / 1000
      return () => this.save(input, { photo: decoded.photo, seconds }, target, protection, gpu)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof Interrupted) throw error
      const code = exitCodeOf(error)
      // What ends one photo's chance ends all others' too: the GPU or the weights are gone.
      if (code === Exit.noGpu || code === Exit.weights) throw error
      return () => this.withoutResult(input, photo, error)
    }
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
      const outcome = await finish().catch((error: unknown) => this.withoutResult(input, undefined, error))
      if (outcome === 'earlier result') this.results++
      else if (outcome !== 'done before') this.outcomes[outcome]++
      this.codes.push(Exit.done)
    } catch (error) {
      this.fail(input, error)
    }
  }

  private fail(input: Input, error: unknown): void {
    const [code, message, name] = [exitCodeOf(error), messageOf(error), nameOf(input)]
    this.outcomes[code === Exit.noFace ? 'without a face' : 'failed']++
    this.codes.push(code)
    this.progress.clear()
    process.stderr.write(`lowkey-gpu: ${withName(name, message)}\n`)
    const retry = mayDoBetter(error)
    this.printRow({ input: input.name, error: { code, message, retry } })
    if (error instanceof RecordedError) return
    const content = this.work.photos.contentOf(input)
    const ended = { error: { code, message, retry }, ...(error instanceof OutputError ? {} : { input: content }) }
    this.record((task) => task.came(input, code === Exit.noFace ? 'without a face' : 'failed', ended))
  }

  private record(write: (task: ProtectTask) => void): void {
    const { task } = this.work
    if (!task) return
    try {
      write(task.record)
    } catch (error) {
      this.unrecorded ??= error
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
    const began = performance.now()
    const after: Photo = { ...photo, rgb: protection.photo.rgb }
    const bytes = await encodePhoto(after, { format, keepMetadata, mark })
    const more = lostInResult(photo, format).map(({ says }) => `${nameOf(input)} ${says}.`)
    const warned = { ...photo, warnings: [...(photo.warnings ?? []), ...more] }
    const content = photos.contentOf(input)
    const rest = task && content && rowOf(content, task.record.output(path, bytes), warned, protection, seconds, gpu)
    if (rest) task.record.came(input, 'protected', rest, 'saving')
    if (path === STREAM) await writeStandardOutput(bytes)
    else await outputs.write(path, bytes, input)
    if (rest) this.record((record) => record.came(input, 'protected', rest))
    if (compare !== undefined) await outputs.write(compare, await comparePicture(photo, after), input)
    this.progress.clear()
    this.report(input, warned, path, protection, seconds + (performance.now() - began) / 1000, gpu)
    return 'protected'
  }

  /**
   * `--on-no-face copy` and `skip`; every other error, and `--on-no-face error`, is thrown on. A copy is written as results are: places
   * and the like are not in it.
   */
  private async withoutFace(input: Input, photo: Photo | undefined, error: unknown): Promise<'without a face'> {
    const { destination, options, outputs } = this.work
    const { onNoFace, dryRun, quiet } = options
    if (!(error instanceof NoFaceError) || onNoFace === 'error' || !photo) throw error
    const copy = onNoFace === 'copy' ? copyOf(input, photo.format, destination) : undefined
    let outcome = 'skipped'
    if (copy !== undefined) {
      outputs.check(copy.path)
      if (dryRun) outputs.note(copy.path)
      else {
        const bytes = await this.copied(input, photo, copy)
        const output = this.work.task?.record.output(copy.path, bytes)
        const rest = { input: this.work.photos.contentOf(input), output, warnings: [error.message] }
        this.work.task?.record.came(input, 'without a face', rest, 'saving')
        await outputs.write(copy.path, bytes, input)
        this.record((record) => record.came(input, 'without a face', rest))
      }
      outcome = `${dryRun ? 'would be copied' : 'copied'} unprotected to ${shown(copy.path)}`
    }
    if (copy === undefined) {
      const rest = { input: this.work.photos.contentOf(input), warnings: [error.message] }
      this.record((record) => record.came(input, 'without a face', rest))
    }
    this.faces.mayBe += error.weak.length
    this.progress.clear()
    const warning = `${error.message}; ${outcome}`
    this.printRow({ input: input.name, output: copy?.path ?? null, faces: [], warnings: [warning] })
    if (!quiet) process.stderr.write(`${nameOf(input)}: ${warning}\n`)
    return 'without a face'
  }

  /** `--dry-run` and `--faces list`: the faces, and what would be or is written. */
  private async announce(input: Input, photo: Photo, path: string, choice: Choice): Promise<'protected'> {
    const { json, listFaces, dryRun } = this.work.options
    const { faces, left, smallest } = choice
    const { width, height } = photo
    countFaces(this.faces, faces, left)
    if (!listFaces || dryRun) this.work.outputs.note(path)
    else {
      const picture = await numberedPicture(photo, numberedBoxes(choice))
      if (path === STREAM) await writeStandardOutput(picture)
      else await this.work.outputs.write(path, picture, input)
    }
    this.progress.clear()
    if (json) {
      this.printRow({
        input: input.name,
        output: path,
        width,
        height,
        faces,
        left,
        smallest,
        ...(dryRun ? { dryRun } : {}),
      })
      return 'protected'
    }
    const count = `${faces.length} ${faces.length === 1 ? 'face' : 'faces'}`
    const target = path === STREAM ? 'to standard output' : shown(path)
    const written = listFaces && !dryRun ? `numbered in ${target}` : `would write ${target}`
    // Where the picture goes to standard output the list does not.
    const out = path === STREAM && listFaces && !dryRun ? process.stderr : process.stdout
    out.write(`${[`${nameOf(input)}: ${count}, ${written}`, ...(listFaces ? faceLines(choice) : [])].join('\n')}\n`)
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
    this.record((record) => record.came(input, 'earlier result', { input: this.work.photos.contentOf(input) }))
    this.progress.clear()
    if (!this.work.options.quiet) process.stderr.write(`note: ${error.message}\n`)
    return 'earlier result'
  }

  /** `--json`'s line about a photo, unless the photo itself goes to standard output. */
  private printRow(row: object): void {
    const { options, stream } = this.work
    if (options.json && (!stream || options.dryRun)) process.stdout.write(`${JSON.stringify(row)}\n`)
  }

  private report(input: Input, photo: Photo, path: string, protection: Protection, seconds: number, gpu: Gpu): void {
    const { json, quiet, preset } = this.work.options
    const { capabilities } = gpu
    const { faces, left, smallest, lpips, psnr } = protection
    countFaces(this.faces, faces, left)
    const warnings = [...(photo.warnings ?? []), ...protection.warnings]
    const { width, height } = photo
    const adapter = adapterName(capabilities)
    const measured = { adapter, seconds, lpips, psnr, faces, left, smallest, warnings }
    this.printRow({ input: input.name, output: path, width, height, ...measured })
    // Exact for programs; a terminal is not to be rewritten by a name.
    if (!json && path !== STREAM) process.stdout.write(`${process.stdout.isTTY ? shown(path) : path}\n`)
    if (quiet) return
    const lines = [`${nameOf(input)} -> ${path === STREAM ? 'standard output' : shown(path)}`]
    lines.push(...photoLines(protection, preset, seconds, adapter))
    if (!this.toldAdapter && capabilities.software) lines.push(describeAdapter(capabilities))
    this.toldAdapter = true
    for (const warning of warnings) lines.push(`warning: ${warning}`)
    process.stderr.write(`${lines.join('\n')}\n`)
  }
}
