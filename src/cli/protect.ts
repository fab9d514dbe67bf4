/** `lowkey-gpu protect`: photos in, protected photos out. */

import { lstatSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { addAbortSignal } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { DEFAULT_SURROGATES, keepTuning, loadNetworks, UnknownModelError } from '../attack/node.ts'
import { presets } from '../attack/presets.ts'
import { NoFaceError, type Protection, Protector } from '../attack/protect.ts'
import { acquire, adapterName, describeAdapter, type Gpu, listAdapters } from '../device/node.ts'
import {
  comparePicture,
  encodePhoto,
  OutputError,
  type Photo,
  readPhoto,
  writeFileAtomically,
} from '../images/index.ts'
import { Exit, exitCodeOf, Interrupted, messageOf, UsageError } from './exit.ts'
import {
  checkFolder,
  copyOf,
  type Destination,
  findInputs,
  type Input,
  outputIsFolder,
  resultIsStream,
  resultOf,
  STREAM,
  sameFile,
} from './inputs.ts'
import { integer, oneOf, parse } from './options.ts'
import { ProgressLine } from './progress.ts'
import { table } from './table.ts'

export const protectHelp = `Usage: lowkey-gpu protect FILE|FOLDER|-... [OPTIONS]

Protects every face in the photos and writes each result beside its photo as NAME.cloaked.EXT.

  -o, --output PATH       a file (for one photo) or a folder; - is standard output
  -s, --strength LEVEL    ${Object.values(presets)
    .map(({ name, summary }) => `${name} (${summary})`)
    .join(', ')}
  -f, --format FORMAT     png, jpeg or webp; unless told, the photo's own. PNG and WebP are lossless, JPEG is 4:4:4 at quality 98
      --suffix TEXT       what is added to names (.cloaked)
      --overwrite         replace results that exist; never an input
      --models A,B        recognisers to attack (${DEFAULT_SURROGATES.join(',')}); all others measure the result
      --faces WHICH       all (default) or largest
      --on-no-face WHAT   error (default), copy (an unprotected copy under its own name, into --output) or skip
      --seed N            of the first noise (1): same seed, same adapter, same bytes
      --steps N           instead of the strength's own
      --keep-metadata     keep author, copyright, description, date and camera; never places
      --compare FILE      also write a picture of before, after and the amplified difference (for one photo)
      --gpu NAME          part of an adapter's name; list shows them
      --json              one JSON object a photo on standard output instead of its path
  -q, --quiet             nothing on standard error but errors
      --dry-run           find faces and say what would be written; write nothing
`

const optionTable = {
  output: { type: 'string', short: 'o' },
  strength: { type: 'string', short: 's' },
  format: { type: 'string', short: 'f' },
  suffix: { type: 'string' },
  overwrite: { type: 'boolean' },
  models: { type: 'string' },
  faces: { type: 'string' },
  'on-no-face': { type: 'string' },
  seed: { type: 'string' },
  steps: { type: 'string' },
  'keep-metadata': { type: 'boolean' },
  compare: { type: 'string' },
  gpu: { type: 'string' },
  json: { type: 'boolean' },
  quiet: { type: 'boolean', short: 'q' },
  'dry-run': { type: 'boolean' },
} as const

function readOptions(args: string[]) {
  const { values, positionals } = parse(args, optionTable, 'protect')
  const strength = oneOf('--strength', values.strength, Object.keys(presets)) ?? 'medium'
  const suffix = values.suffix ?? '.cloaked'
  if (/[\\/]/.test(suffix)) throw new UsageError(`--suffix takes a part of a file name; got "${suffix}"`)
  return {
    paths: positionals,
    preset: presets[strength],
    suffix,
    output: values.output,
    format: oneOf('--format', values.format, ['png', 'jpeg', 'webp']),
    overwrite: values.overwrite ?? false,
    models: values.models?.split(',').map((id) => id.trim()),
    faces: oneOf('--faces', values.faces, ['all', 'largest']) ?? 'all',
    onNoFace: oneOf('--on-no-face', values['on-no-face'], ['error', 'copy', 'skip']) ?? 'error',
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1) ?? 1,
    steps: integer('--steps', values.steps, 1, 10_000),
    keepMetadata: values['keep-metadata'] ?? false,
    compare: values.compare,
    gpu: values.gpu,
    json: values.json ?? false,
    quiet: values.quiet ?? false,
    dryRun: values['dry-run'] ?? false,
  }
}

type Options = ReturnType<typeof readOptions>

/** Runs the command; resolves with the exit code. */
export async function protect(args: string[], signal: AbortSignal): Promise<number> {
  const options = readOptions(args)
  if (options.gpu === 'list') {
    const adapters = await listAdapters()
    const lines = adapters.map(({ name, backend, software }) => `${name} (${backend}${software ? ', software' : ''})`)
    process.stdout.write(`${lines.length > 0 ? lines.join('\n') : 'no adapter'}\n`)
    return lines.length > 0 ? Exit.done : Exit.noGpu
  }
  if (options.paths.length === 0) throw new UsageError('protect: name a photo, a folder, or - for standard input')
  const inputs = await findInputs(options.paths, options.suffix)
  if (options.compare !== undefined && inputs.length > 1) throw new UsageError('--compare takes a single photo')
  if (options.compare === STREAM) throw new UsageError('--compare takes a file, not standard output')
  const stream = resultIsStream(options.output, inputs)
  const destination: Destination = { ...options, folder: outputIsFolder(options.output, inputs) }
  if (options.onNoFace === 'copy' && !destination.folder) {
    throw new UsageError('--on-no-face copy needs --output FOLDER: a copy beside the photo would be the photo itself')
  }
  if (options.onNoFace === 'copy' && options.suffix === '') {
    throw new UsageError('--on-no-face copy needs a --suffix: an unprotected copy must not look like a protected photo')
  }
  const networks = await loadNetworks(options.models).catch((error: unknown) => {
    throw error instanceof UnknownModelError ? new UsageError(`--models: ${error.message}`) : error
  })
  using gpu = await acquire({ gpu: options.gpu })
  keepTuning(gpu)
  using protector = await Protector.create(gpu, networks)
  // Awaited here: what `using` holds ends with this function.
  return await new Run(gpu, protector, options, destination, stream, inputs, signal).all()
}

/** One invocation: the photos one after another, each result written as soon as it is there. */
class Run {
  private readonly gpu: Gpu
  private readonly protector: Protector
  private readonly options: Options
  private readonly destination: Destination
  /** The result is written to standard output, where nothing else may go. */
  private readonly stream: boolean
  private readonly inputs: readonly Input[]
  private readonly signal: AbortSignal
  private readonly progress: ProgressLine
  /** Files written so far, or in a dry run those that would be. */
  private readonly written: string[] = []
  private toldAdapter = false

  constructor(
    gpu: Gpu,
    protector: Protector,
    options: Options,
    destination: Destination,
    stream: boolean,
    inputs: readonly Input[],
    signal: AbortSignal,
  ) {
    this.gpu = gpu
    this.protector = protector
    this.options = options
    this.destination = destination
    this.stream = stream
    this.inputs = inputs
    this.signal = signal
    this.progress = new ProgressLine(options.quiet)
  }

  async all(): Promise<number> {
    const codes: number[] = []
    for (const [index, input] of this.inputs.entries()) {
      const name = nameOf(input)
      this.progress.start(this.inputs.length > 1 ? `${index + 1} of ${this.inputs.length}, ${name}` : name)
      try {
        this.signal.throwIfAborted()
        await this.one(input).catch((error: unknown) => this.withoutFace(input, error))
        codes.push(Exit.done)
      } catch (error) {
        this.progress.clear()
        if (error instanceof Interrupted || this.signal.aborted) throw new Interrupted()
        const code = exitCodeOf(error)
        // What ends one photo's chance ends all others' too: the GPU or the weights are gone.
        if (code === Exit.noGpu || code === Exit.weights) throw error
        codes.push(code)
        process.stderr.write(`lowkey-gpu: ${withName(name, messageOf(error))}\n`)
        this.printRow({ input: input.name, error: { code, message: messageOf(error) } })
      }
    }
    if (codes.every((code) => code === Exit.done)) return Exit.done
    return codes.every((code) => code === Exit.noFace) ? Exit.noFace : codes.length === 1 ? codes[0] : Exit.failed
  }

  private async one(input: Input): Promise<void> {
    const began = performance.now()
    const { options, progress } = this
    const photo = await readPhoto(input.name === STREAM ? await this.standardInput() : input.name, nameOf(input))
    this.signal.throwIfAborted()
    const result = resultOf(input, photo.format, this.destination)
    this.checkTarget(result.path)
    if (options.compare !== undefined) {
      this.checkTarget(options.compare)
      if (sameFile(options.compare, result.path)) throw new UsageError('--compare names the file of the result')
    }
    if (options.dryRun) return this.announce(input, photo, result.path)

    const protection = await this.protector.protect(
      { width: photo.width, height: photo.height, data: photo.rgb },
      {
        preset: options.preset,
        steps: options.steps,
        faces: options.faces,
        grey: photo.grey,
        seed: options.seed,
        signal: this.signal,
        onProgress: (p) => progress.update(p),
      },
    )
    const after: Photo = { ...photo, rgb: protection.photo.data }
    const bytes = await encodePhoto(after, { format: result.format, keepMetadata: options.keepMetadata })
    this.signal.throwIfAborted()
    if (result.path === STREAM) await writeStandardOutput(bytes)
    else await this.write(result.path, bytes)
    if (options.compare !== undefined) await this.write(options.compare, await comparePicture(photo, after))
    progress.clear()
    this.report(input, photo, result.path, protection, (performance.now() - began) / 1000)
  }

  /** What is waited for when nothing is piped in can be interrupted, too. */
  private standardInput(): Promise<Buffer> {
    return buffer(addAbortSignal(this.signal, process.stdin))
  }

  /** Refused before any work: results that would replace an input or another result, that exist, or that cannot be written. */
  private checkTarget(path: string): void {
    if (path === STREAM) return
    const input = this.inputs.find(({ name }) => name !== STREAM && sameFile(path, name))
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
    if (there && !this.options.overwrite)
      throw new OutputError(
        path,
        'exists',
        'exists already: --overwrite replaces it, --suffix or --output names another',
      )
  }

  private async write(path: string, bytes: Uint8Array): Promise<void> {
    await makeFolder(dirname(path))
    await writeFileAtomically(path, bytes, { overwrite: this.options.overwrite })
    this.written.push(path)
  }

  private async announce(input: Input, photo: Photo, path: string): Promise<void> {
    const faces = await this.protector.find(
      { width: photo.width, height: photo.height, data: photo.rgb },
      this.options.faces,
    )
    this.signal.throwIfAborted()
    this.progress.clear()
    this.written.push(path)
    if (this.options.json) {
      const { width, height } = photo
      this.printRow({ input: input.name, output: path, width, height, faces, dryRun: true })
    } else {
      const count = `${faces.length} ${faces.length === 1 ? 'face' : 'faces'}`
      const target = path === STREAM ? 'to standard output' : path
      process.stdout.write(`${nameOf(input)}: ${count}, would write ${target}\n`)
    }
  }

  /** `--on-no-face copy` and `skip`; every other error, and `--on-no-face error`, is thrown on. */
  private async withoutFace(input: Input, error: unknown): Promise<void> {
    const { onNoFace, dryRun, quiet } = this.options
    if (!(error instanceof NoFaceError) || onNoFace === 'error') throw error
    const copy = onNoFace === 'copy' ? copyOf(input, this.destination) : undefined
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
  }

  /** `--json`'s line about a photo, unless the photo itself goes to standard output. */
  private printRow(row: object): void {
    if (this.options.json && (!this.stream || this.options.dryRun)) process.stdout.write(`${JSON.stringify(row)}\n`)
  }

  private report(input: Input, photo: Photo, path: string, protection: Protection, seconds: number): void {
    const { options, gpu } = this
    const { faces, lpips, psnr } = protection
    const warnings = [...(photo.warnings ?? []), ...protection.warnings]
    const { width, height } = photo
    const adapter = adapterName(gpu.capabilities)
    this.printRow({ input: input.name, output: path, width, height, adapter, seconds, lpips, psnr, faces, warnings })
    if (!options.json && path !== STREAM) process.stdout.write(`${path}\n`)
    if (options.quiet) return
    const lines = [`${nameOf(input)} -> ${path === STREAM ? 'standard output' : path}`]
    faces.forEach(({ box, recognisers }, i) => {
      lines.push(`face ${i + 1} of ${faces.length}, at ${box.map(Math.round).join(', ')}`)
      const rows = recognisers.map(({ id, heldOut, before, after, threshold }) => [
        id,
        heldOut ? 'held out' : 'surrogate',
        before.toFixed(3),
        after.toFixed(3),
        threshold.toFixed(3),
        after < threshold ? 'no match any more' : 'STILL MATCHES',
      ])
      lines.push(...table(['recogniser', 'role', 'before', 'after', 'threshold', ''], rows).map((line) => `  ${line}`))
    })
    const area = { photo: 'the whole photo', face: 'the area around the face' }[options.preset.area]
    lines.push(`visible change: LPIPS ${lpips.toFixed(4)}, PSNR ${psnr.toFixed(1)} dB (of ${area})`)
    const { detect, compile, attack, measure } = protection.seconds
    lines.push(
      `${seconds.toFixed(1)} s (detect ${detect.toFixed(1)}, compile ${compile.toFixed(1)}, attack ${attack.toFixed(1)}, ` +
        `measure ${measure.toFixed(1)}) on ${adapter}`,
    )
    if (!this.toldAdapter && gpu.capabilities.software) lines.push(describeAdapter(gpu.capabilities))
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

const nameOf = ({ name }: Input): string => (name === STREAM ? 'standard input' : name)

/** Errors about files begin with the name already. */
const withName = (name: string, message: string): string => (message.startsWith(name) ? message : `${name}: ${message}`)
