/** What comes of the photos of a run: counted, said on standard error, given as rows of `--json`, and written into the task's ledger. */
import type { Choice } from '../../attack/choose.ts'
import type { NoFaceError } from '../../attack/protect.ts'
import { adapterName, describeAdapter } from '../../device/node.ts'
import { startClock } from '../../device/stopwatch.ts'
import { OutputError, type Photo, type PhotoError, shown } from '../../images/index.ts'
import { Exit, exitCodeOf, mayDoBetter, messageOf, RecordedError, stoppedBy } from '../exit.ts'
import { type Input, nameOf, STREAM } from '../listing.ts'
import { ProgressLine } from '../progress.ts'
import { countFaces, type FaceCounts, faceNote, noFaces } from './face-counts.ts'
import { faceLines } from './face-list.ts'
import { closingLine, closingRow, type Outcomes, photoLines, rateLine, withName } from './report.ts'
import type { ProtectedPhoto, ProtectTask } from './task.ts'
import type { TaskWork, Work } from './work.ts'

/** How a photo that did not fail ended. */
export type Outcome = keyof Outcomes | 'earlier result' | 'done before'

export class Account {
  readonly progress: ProgressLine
  private readonly work: Work
  private readonly codes: number[] = []
  private readonly outcomes: Outcomes = { protected: 0, 'without a face': 0, failed: 0, 'left alone': 0 }
  private readonly faces: FaceCounts = noFaces()
  private readonly seconds = startClock()
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

  /** A photo's turn has come; `index` counts from 0. Throws where the ledger cannot be written. */
  begin(input: Input, index: number): void {
    this.expectRecorded()
    this.work.task?.record.begun(input)
    this.progress.start(nameOf(input), index)
  }

  /** Throws why the ledger could not be written, if so. */
  expectRecorded(): void {
    if (this.unrecorded) throw this.unrecorded
  }

  /** A photo ended without a failure. */
  end(outcome: Outcome): void {
    if (outcome === 'earlier result') this.results++
    else if (outcome !== 'done before') this.outcomes[outcome]++
    this.codes.push(Exit.done)
  }

  fail(input: Input, error: unknown): void {
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

  /** Writes into the ledger, where there is one. */
  record(write: (task: ProtectTask) => void): void {
    const { task } = this.work
    if (!task) return
    try {
      write(task.record)
    } catch (error) {
      this.unrecorded ??= error
    }
  }

  /** The results of a photo that was protected; `path` is where its result is. */
  report(input: Input, path: string, { photo, protection, seconds, gpu }: ProtectedPhoto): void {
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

  /** The faces of a photo that was looked at, and what would be or is written to `path`. */
  list(input: Input, { width, height }: Photo, path: string, choice: Choice): void {
    const { json, listFaces, dryRun } = this.work.options
    const { faces, left, smallest } = choice
    countFaces(this.faces, faces, left)
    this.progress.clear()
    if (json) {
      const row = { input: input.name, output: path, width, height, faces, left, smallest }
      this.printRow(dryRun ? { ...row, dryRun } : row)
      return
    }
    const count = `${faces.length} ${faces.length === 1 ? 'face' : 'faces'}`
    const target = path === STREAM ? 'to standard output' : shown(path)
    const written = listFaces && !dryRun ? `numbered in ${target}` : `would write ${target}`
    // Where the picture goes to standard output the list does not.
    const out = path === STREAM && listFaces && !dryRun ? process.stderr : process.stdout
    out.write(`${[`${nameOf(input)}: ${count}, ${written}`, ...(listFaces ? faceLines(choice) : [])].join('\n')}\n`)
  }

  /** A photo without a face that is allowed to have none. `output` is where its copy is, `outcome` what was done. */
  reportWithoutFace(input: Input, error: NoFaceError, output: string | undefined, outcome: string): void {
    this.faces.mayBe += error.weak.length
    this.progress.clear()
    const warning = `${error.message}; ${outcome}`
    this.printRow({ input: input.name, output: output ?? null, faces: [], warnings: [warning] })
    if (!this.work.options.quiet) process.stderr.write(`${nameOf(input)}: ${warning}\n`)
  }

  /** A file of a folder that is a result already. */
  noteEarlierResult(input: Input, error: PhotoError): void {
    this.record((record) => record.came(input, 'earlier result', { input: this.work.photos.contentOf(input) }))
    this.progress.clear()
    if (!this.work.options.quiet) process.stderr.write(`note: ${error.message}\n`)
  }

  /** Says what was left alone, and counts; the exit code, also of a run that an error ended. */
  close(error?: unknown): number {
    const { inputs, found, several, options, task } = this.work
    this.progress.clear()
    for (const left of found.left) {
      const { name, problem, advice, photos } = left
      this.record((record) => record.leftAlone(left, task!.paths))
      this.outcomes['left alone'] += photos
      process.stderr.write(`lowkey-gpu: ${shown(name)} ${problem}: ${advice}\n`)
      this.printRow({ input: name, leftAlone: { photos, problem, advice } })
    }
    const code = error === undefined ? this.exitCode() : exitCodeOf(error)
    const notDone = inputs.length + found.failed.length - this.codes.length
    const faces = this.allFaces
    this.record((task) => task.end(code, notDone, this.work.task!.before))
    if (!several) {
      if (code === Exit.uncertain && options.quiet) process.stderr.write(`lowkey-gpu: ${faceNote(faces)}\n`)
      return code
    }
    const closing = { outcomes: this.outcomes, notDone, results: this.results, faces, before: task?.before }
    const row = {
      summary: closingRow(closing),
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
      process.stderr.write(`${closingLine({ ...closing, dryRun: options.dryRun })}\n`)
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

  /** With what earlier tasks left in photos that are done. */
  private get allFaces(): FaceCounts {
    return { ...this.faces, mayBe: this.faces.mayBe + (this.work.task?.mayBe ?? 0) }
  }

  /** A place that may be a face stays as it is, though nobody chose that. */
  private get mayBeLeft(): boolean {
    const { listFaces, choosesFaces } = this.work.options
    return this.allFaces.mayBe > 0 && !listFaces && !choosesFaces
  }

  /** `--json`'s line about a photo, unless the photo itself goes to standard output. */
  private printRow(row: object): void {
    const { options, stream } = this.work
    if (options.json && (!stream || options.dryRun)) process.stdout.write(`${JSON.stringify(row)}\n`)
  }
}
