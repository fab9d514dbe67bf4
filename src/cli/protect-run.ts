/** One run of `lowkey-gpu protect`: the photos one after another on the GPU, while the next is decoded and the last is saved. */
import { lstatSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { NoFaceError, type Protection, type Protector } from '../attack/protect.ts'
import { adapterName, describeAdapter, type Gpu } from '../device/node.ts'
import type { Face } from '../faces/mtcnn.ts'
import { comparePicture, encodePhoto, OutputError, type Photo, writeFileAtomically } from '../images/index.ts'
import { Exit, exitCodeOf, Interrupted, messageOf, UsageError } from './exit.ts'
import { checkFolder, copyOf, type Destination, type Input, nameOf, resultOf, STREAM, sameFile } from './inputs.ts'
import { ProgressLine } from './progress.ts'
import type { ProtectArguments } from './protect-options.ts'
import { type Outcomes, photoLines, summaryLine } from './protect-report.ts'
import type { DecodedPhoto, ReadAhead } from './read-ahead.ts'

/** What a run works on, as `protect` read it from the command line. */
export interface RunPlan {
  options: ProtectArguments
  destination: Destination
  /** The result is written to standard output, where nothing else may go. */
  stream: boolean
  inputs: readonly Input[]
  photos: ReadAhead
  signal: AbortSignal
}

/** What is left to do for a photo that the GPU is done with: to save it, and to say so. Rejects where the photo fails. */
type Finish = () => Promise<keyof Outcomes>

/**
 * Photos in three stages: decoding, the GPU's work, saving. Each takes the photos in their order, and each holds one at a time, so that
 * three are in memory at most. What is printed keeps the order, too.
 */
export class ProtectRun {
  private readonly plan: RunPlan
  private readonly gpu: Gpu
  private readonly protector: Protector
  private readonly progress: ProgressLine
  /** Files written so far, or in a dry run those that would be. */
  private readonly written: string[] = []
  /** Ends, without a failure, when the last photo that the GPU is done with is saved. */
  private saving: Promise<void> = Promise.resolve()
  /** Where that photo goes, or a copy of it. */
  private savingTo = ''
  private readonly codes: number[] = []
  private readonly outcomes: Outcomes = { protected: 0, 'without a face': 0, failed: 0 }
  private toldAdapter = false

  constructor(plan: RunPlan, gpu: Gpu, protector: Protector) {
    this.plan = plan
    this.gpu = gpu
    this.protector = protector
    this.progress = new ProgressLine(plan.options.quiet, process.stderr, plan.inputs.length)
  }

  /**
   * Resolves with the exit code. Throws Interrupted, and errors of the GPU or the weights, which end all photos' chances; whatever it
   * ends with, photos that were done before are saved.
   */
  async all(): Promise<number> {
    const { inputs, signal, options } = this.plan
    const began = performance.now()
    try {
      for (const [index, input] of inputs.entries()) {
        signal.throwIfAborted()
        this.progress.start(nameOf(input), index)
        const finish = await this.work(input)
        await this.saving
        this.saving = this.finish(input, finish)
      }
    } finally {
      await this.saving
      this.progress.clear()
      if (inputs.length > 1 && this.codes.length > 0 && !options.quiet && !options.dryRun) {
        const seconds = (performance.now() - began) / 1000
        process.stderr.write(`${summaryLine(this.outcomes, inputs.length, seconds)}\n`)
      }
    }
    const { codes } = this
    if (codes.every((code) => code === Exit.done)) return Exit.done
    return codes.every((code) => code === Exit.noFace) ? Exit.noFace : codes.length === 1 ? codes[0] : Exit.failed
  }

  /** Decoding and the GPU's work. What is wrong with this photo alone is not thrown here but left to what finishes it. */
  private async work(input: Input): Promise<Finish> {
    const { options, destination, signal } = this.plan
    try {
      const decoded = await this.plan.photos.take()
      signal.throwIfAborted()
      const { photo } = decoded
      const result = resultOf(input, photo.format, destination)
      await this.checkFree(result.path)
      if (options.compare !== undefined) {
        this.checkTarget(options.compare)
        if (sameFile(options.compare, result.path)) throw new UsageError('--compare names the file of the result')
      }
      const pixels = { width: photo.width, height: photo.height, data: photo.rgb }
      if (options.dryRun) {
        const faces = await this.protector.find(pixels, options.faces)
        signal.throwIfAborted()
        return async () => this.announce(input, photo, result.path, faces)
      }
      const began = performance.now()
      const protection = await this.protector.protect(pixels, {
        preset: options.preset,
        steps: options.steps,
        faces: options.faces,
        grey: photo.grey,
        seed: options.seed,
        precision: options.precision === 'f16' ? 'f16 tensors' : 'f32',
        signal,
        onProgress: (p) => this.progress.update(p),
      })
      const seconds = decoded.seconds + (performance.now() - began) / 1000
      this.savingTo = result.path
      return () => this.save(input, { photo, seconds }, result, protection)
    } catch (error) {
      if (error instanceof Interrupted || signal.aborted) throw new Interrupted()
      const code = exitCodeOf(error)
      // What ends one photo's chance ends all others' too: the GPU or the weights are gone.
      if (code === Exit.noGpu || code === Exit.weights) throw error
      this.savingTo = input.name // where a copy would be
      return () => this.withoutFace(input, error)
    }
  }

  /** Never rejects: a photo that fails here is one that failed. */
  private async finish(input: Input, finish: Finish): Promise<void> {
    try {
      this.outcomes[await finish()]++
      this.codes.push(Exit.done)
    } catch (error) {
      const [code, message, name] = [exitCodeOf(error), messageOf(error), nameOf(input)]
      this.outcomes.failed++
      this.codes.push(code)
      this.progress.clear()
      process.stderr.write(`lowkey-gpu: ${withName(name, message)}\n`)
      this.printRow({ input: input.name, error: { code, message } })
    }
  }

  private async save(
    input: Input,
    { photo, seconds }: DecodedPhoto,
    { path, format }: ReturnType<typeof resultOf>,
    protection: Protection,
  ): Promise<'protected'> {
    const { compare, keepMetadata } = this.plan.options
    const began = performance.now()
    const after: Photo = { ...photo, rgb: protection.photo.data }
    const bytes = await encodePhoto(after, { format, keepMetadata })
    if (path === STREAM) await writeStandardOutput(bytes)
    else await this.write(path, bytes)
    if (compare !== undefined) await this.write(compare, await comparePicture(photo, after))
    this.progress.clear()
    this.report(input, photo, path, protection, seconds + (performance.now() - began) / 1000)
    return 'protected'
  }

  /** As `checkTarget`, after the photo before this one is saved where their names could be one. */
  private async checkFree(path: string): Promise<void> {
    if (path !== STREAM && folded(path) === folded(this.savingTo)) await this.saving
    this.checkTarget(path)
  }

  /** Refused before any work: results that would replace an input or another result, that exist, or that cannot be written. */
  private checkTarget(path: string): void {
    if (path === STREAM) return
    const { inputs, options } = this.plan
    const input = inputs.find(({ name }) => name !== STREAM && sameFile(path, name))
    if (input) throw new UsageError(`${path} is an input; results never replace inputs`)
    if (this.written.some((other) => sameFile(path, other))) {
      throw new OutputError(
        path,
        'exists',
        'is the result of another photo already: protect them into different folders',
      )
    }
    checkFolder(dirname(path))
    // Not followed: a link is something that exists, wherever it leads.
    const there = lstatSync(path, { throwIfNoEntry: false })
    if (there?.isDirectory()) throw new OutputError(path, 'is-folder', 'is a folder: name a file')
    if (there && !options.overwrite)
      throw new OutputError(
        path,
        'exists',
        'exists already: --overwrite replaces it, --suffix or --output names another',
      )
  }

  private async write(path: string, bytes: Uint8Array): Promise<void> {
    await makeFolder(dirname(path))
    await writeFileAtomically(path, bytes, { overwrite: this.plan.options.overwrite })
    this.written.push(path)
  }

  /** `--on-no-face copy` and `skip`; every other error, and `--on-no-face error`, is thrown on. */
  private async withoutFace(input: Input, error: unknown): Promise<'without a face'> {
    const { destination, options } = this.plan
    const { onNoFace, dryRun, quiet } = options
    if (!(error instanceof NoFaceError) || onNoFace === 'error') throw error
    const copy = onNoFace === 'copy' ? copyOf(input, destination) : undefined
    let outcome = 'skipped'
    if (copy !== undefined) {
      this.checkTarget(copy)
      if (dryRun) this.written.push(copy)
      else await this.write(copy, await readFile(input.name))
      outcome = `${dryRun ? 'would be copied' : 'copied'} unprotected to ${copy}`
    }
    this.progress.clear()
    const warning = `${error.message}; ${outcome}`
    this.printRow({ input: input.name, output: copy ?? null, faces: [], warnings: [warning] })
    if (!quiet) process.stderr.write(`${nameOf(input)}: ${warning}\n`)
    return 'without a face'
  }

  private announce(input: Input, { width, height }: Photo, path: string, faces: readonly Face[]): 'protected' {
    this.progress.clear()
    this.written.push(path)
    if (this.plan.options.json) {
      this.printRow({ input: input.name, output: path, width, height, faces, dryRun: true })
    } else {
      const count = `${faces.length} ${faces.length === 1 ? 'face' : 'faces'}`
      const target = path === STREAM ? 'to standard output' : path
      process.stdout.write(`${nameOf(input)}: ${count}, would write ${target}\n`)
    }
    return 'protected'
  }

  /** `--json`'s line about a photo, unless the photo itself goes to standard output. */
  private printRow(row: object): void {
    const { options, stream } = this.plan
    if (options.json && (!stream || options.dryRun)) process.stdout.write(`${JSON.stringify(row)}\n`)
  }

  private report(input: Input, photo: Photo, path: string, protection: Protection, seconds: number): void {
    const { json, quiet, preset } = this.plan.options
    const { capabilities } = this.gpu
    const { faces, lpips, psnr } = protection
    const warnings = [...(photo.warnings ?? []), ...protection.warnings]
    const { width, height } = photo
    const adapter = adapterName(capabilities)
    this.printRow({ input: input.name, output: path, width, height, adapter, seconds, lpips, psnr, faces, warnings })
    if (!json && path !== STREAM) process.stdout.write(`${path}\n`)
    if (quiet) return
    const lines = [`${nameOf(input)} -> ${path === STREAM ? 'standard output' : path}`]
    lines.push(...photoLines(protection, preset, seconds, adapter))
    if (!this.toldAdapter && capabilities.software) lines.push(describeAdapter(capabilities))
    this.toldAdapter = true
    for (const warning of warnings) lines.push(`warning: ${warning}`)
    process.stderr.write(`${lines.join('\n')}\n`)
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (cause) {
    throw new OutputError(path, 'unwritable', `cannot be made a folder (${messageOf(cause)})`, { cause })
  }
}

/** A closed or full standard output is this photo's failure: nobody has the result. */
function writeStandardOutput(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error) reject(new Error(`cannot be written to standard output (${error.message})`, { cause: error }))
      else resolve()
    })
  })
}

/** A file's name as disks that do not tell capital letters from small ones compare it, in whatever folder. */
const folded = (path: string): string => basename(path).normalize('NFC').toLowerCase()

/** Errors about files begin with the name already. */
const withName = (name: string, message: string): string => (message.startsWith(name) ? message : `${name}: ${message}`)
