/** `lowkey-gpu protect`: photos in, protected photos out. */

import { constants, existsSync } from 'node:fs'
import { copyFile, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { DEFAULT_SURROGATES, loadNetworks, UnknownModelError } from '../attack/node.ts'
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
  copyOf,
  type Destination,
  findInputs,
  type Input,
  outputIsFolder,
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
  const destination: Destination = { ...options, folder: outputIsFolder(options.output, inputs) }
  if (options.onNoFace === 'copy' && !destination.folder) {
    throw new UsageError('--on-no-face copy needs --output FOLDER: a copy beside the photo would be the photo itself')
  }
  const networks = await loadNetworks(options.models).catch((error: unknown) => {
    throw error instanceof UnknownModelError ? new UsageError(`--models: ${error.message}`) : error
  })
  using gpu = await acquire({ gpu: options.gpu })
  using protector = await Protector.create(gpu, networks)
  if (!options.dryRun) {
    if (options.output !== undefined && options.output !== STREAM) {
      await makeFolder(destination.folder ? options.output : dirname(options.output))
    }
    if (options.compare !== undefined) await makeFolder(dirname(options.compare))
  }
  // Awaited here: what `using` holds ends with this function.
  return await new Run(gpu, protector, options, destination, inputs, signal).all()
}

/** One invocation: the photos one after another, each result written as soon as it is there. */
class Run {
  private readonly gpu: Gpu
  private readonly protector: Protector
  private readonly options: Options
  private readonly destination: Destination
  private readonly inputs: readonly Input[]
  private readonly signal: AbortSignal
  private readonly progress: ProgressLine
  private toldAdapter = false

  constructor(
    gpu: Gpu,
    protector: Protector,
    options: Options,
    destination: Destination,
    inputs: readonly Input[],
    signal: AbortSignal,
  ) {
    this.gpu = gpu
    this.protector = protector
    this.options = options
    this.destination = destination
    this.inputs = inputs
    this.signal = signal
    this.progress = new ProgressLine(options.quiet)
  }

  async all(): Promise<number> {
    const codes: number[] = []
    for (const [index, input] of this.inputs.entries()) {
      const name = input.name === STREAM ? 'standard input' : input.name
      this.progress.start(this.inputs.length > 1 ? `${index + 1} of ${this.inputs.length}, ${name}` : name)
      try {
        await this.one(input)
        codes.push(Exit.done)
      } catch (error) {
        this.progress.clear()
        if (error instanceof Interrupted || this.signal.aborted) throw new Interrupted()
        if (error instanceof NoFaceError && (await this.handledNoFace(input, error))) {
          codes.push(Exit.done)
          continue
        }
        const code = exitCodeOf(error)
        // What ends one photo's chance ends all others' too: the GPU or the weights are gone.
        if (code === Exit.noGpu || code === Exit.weights) throw error
        codes.push(code)
        process.stderr.write(`lowkey-gpu: ${withName(name, messageOf(error))}\n`)
        if (this.options.json)
          process.stdout.write(`${JSON.stringify({ input: input.name, error: { code, message: messageOf(error) } })}\n`)
      }
    }
    if (codes.every((code) => code === Exit.done)) return Exit.done
    return codes.every((code) => code === Exit.noFace) ? Exit.noFace : codes.length === 1 ? codes[0] : Exit.failed
  }

  private async one(input: Input): Promise<void> {
    const began = performance.now()
    const { options, progress } = this
    const photo = await readPhoto(input.name === STREAM ? await buffer(process.stdin) : input.name)
    const result = resultOf(input, photo.format, this.destination)
    this.checkTarget(result.path)
    if (options.compare !== undefined) this.checkTarget(options.compare)
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
    if (result.path === STREAM) process.stdout.write(bytes)
    else await writeFileAtomically(result.path, bytes, { overwrite: options.overwrite })
    if (options.compare !== undefined) {
      await writeFileAtomically(options.compare, await comparePicture(photo, after), { overwrite: options.overwrite })
    }
    progress.clear()
    this.report(input, photo, result.path, protection, (performance.now() - began) / 1000)
  }

  /** Refused before any work: results that exist, and results that would replace an input. */
  private checkTarget(path: string): void {
    if (path === STREAM) return
    const input = this.inputs.find(({ name }) => name !== STREAM && sameFile(path, name))
    if (input) throw new UsageError(`${path} is an input; results never replace inputs`)
    if (existsSync(path) && !this.options.overwrite)
      throw new OutputError(
        path,
        'exists',
        'exists already: --overwrite replaces it, --suffix or --output names another',
      )
  }

  private async announce(input: Input, photo: Photo, path: string): Promise<void> {
    const faces = await this.protector.find(
      { width: photo.width, height: photo.height, data: photo.rgb },
      this.options.faces,
    )
    this.progress.clear()
    if (this.options.json) {
      const { width, height } = photo
      process.stdout.write(
        `${JSON.stringify({ input: input.name, output: path, width, height, faces, dryRun: true })}\n`,
      )
    } else
      process.stdout.write(
        `${input.name}: ${faces.length} ${faces.length === 1 ? 'face' : 'faces'}, would write ${path}\n`,
      )
  }

  /** `--on-no-face copy` and `skip`; false leaves the error to be reported. */
  private async handledNoFace(input: Input, error: NoFaceError): Promise<boolean> {
    const { onNoFace, overwrite, quiet } = this.options
    if (onNoFace === 'error') return false
    const copy = onNoFace === 'copy' && !this.options.dryRun ? copyOf(input, this.destination) : undefined
    if (copy !== undefined) await copyFile(input.name, copy, overwrite ? 0 : constants.COPYFILE_EXCL)
    if (!quiet)
      process.stderr.write(`${input.name}: ${error.message}; ${copy ? `copied unprotected to ${copy}` : 'skipped'}\n`)
    return true
  }

  private report(input: Input, photo: Photo, path: string, protection: Protection, seconds: number): void {
    const { options, gpu } = this
    const { faces, lpips, psnr } = protection
    const warnings = [...(photo.warnings ?? []), ...protection.warnings]
    if (options.json && path !== STREAM) {
      const { width, height } = photo
      const adapter = adapterName(gpu.capabilities)
      const row = { input: input.name, output: path, width, height, adapter, seconds, lpips, psnr, faces, warnings }
      process.stdout.write(`${JSON.stringify(row)}\n`)
    } else if (path !== STREAM) process.stdout.write(`${path}\n`)
    if (options.quiet) return
    const lines = [`${input.name} -> ${path}`]
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
    lines.push(`visible change: LPIPS ${lpips.toFixed(4)}, PSNR ${psnr.toFixed(1)} dB (of the area around the face)`)
    const { detect, compile, attack, measure } = protection.seconds
    lines.push(
      `${seconds.toFixed(1)} s (detect ${detect.toFixed(1)}, compile ${compile.toFixed(1)}, attack ${attack.toFixed(1)}, ` +
        `measure ${measure.toFixed(1)}) on ${adapterName(gpu.capabilities)}`,
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

/** Errors about files begin with the name already. */
const withName = (name: string, message: string): string => (message.startsWith(name) ? message : `${name}: ${message}`)
