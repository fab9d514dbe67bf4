/** `lowkey-gpu protect`: photos in, protected photos out. */
import { keepTuning, loadNetworks, recognisersOf } from '../attack/node.ts'
import { Protector, type ProtectorNetworks } from '../attack/protect.ts'
import { acquire, type Gpu, listAdapters } from '../device/node.ts'
import { knownNetworks } from '../weights/node.ts'
import { Exit, UsageError } from './exit.ts'
import { findInputs, outputIsFolder, resultIsStream, STREAM } from './inputs.ts'
import { attackedRecognisers } from './models.ts'
import { type ProtectArguments, readOptions } from './protect-options.ts'
import { ProtectRun, type RunPlan } from './protect-run.ts'
import { ReadAhead } from './read-ahead.ts'

export { protectHelp } from './protect-options.ts'

/** Runs the command; resolves with the exit code. */
export async function protect(args: string[], signal: AbortSignal): Promise<number> {
  const options = readOptions(args)
  if (options.gpu === 'list') return await printAdapters()
  const plan = await planRun(options, signal)
  const { networks, gpu: opened } = await open(options)
  using gpu = opened
  signal.throwIfAborted()
  keepTuning(gpu)
  using protector = await Protector.create(gpu, networks)
  // Awaited here: what `using` holds ends with this function.
  return await new ProtectRun(plan, gpu, protector).all()
}

async function printAdapters(): Promise<number> {
  const adapters = await listAdapters()
  const lines = adapters.map(({ name, backend, software }) => `${name} (${backend}${software ? ', software' : ''})`)
  process.stdout.write(`${lines.length > 0 ? lines.join('\n') : 'no adapter'}\n`)
  return lines.length > 0 ? Exit.done : Exit.noGpu
}

/** The photos and where they go; the first is being decoded from here on. Throws UsageError for options that do not go together. */
async function planRun(options: ProtectArguments, signal: AbortSignal): Promise<RunPlan> {
  if (options.paths.length === 0) throw new UsageError('protect: name a photo, a folder, or - for standard input')
  const inputs = await findInputs(options.paths, options.suffix)
  if (options.compare !== undefined && inputs.length > 1) throw new UsageError('--compare takes a single photo')
  if (options.compare === STREAM) throw new UsageError('--compare takes a file, not standard output')
  const stream = resultIsStream(options.output, inputs)
  const destination = { ...options, folder: outputIsFolder(options.output, inputs) }
  if (options.onNoFace === 'copy' && !destination.folder) {
    throw new UsageError('--on-no-face copy needs --output FOLDER: a copy beside the photo would be the photo itself')
  }
  if (options.onNoFace === 'copy' && options.suffix === '') {
    throw new UsageError('--on-no-face copy needs a --suffix: an unprotected copy must not look like a protected photo')
  }
  return { options, destination, stream, inputs, photos: new ReadAhead(inputs, signal), signal }
}

/** Reads the weights while the GPU is opened. Where neither can be had, the weights are named. */
async function open({ attacked, gpu: name }: ProtectArguments): Promise<{ networks: ProtectorNetworks; gpu: Gpu }> {
  // A name that is no recogniser is refused before any driver is woken up.
  const surrogates = attackedRecognisers(recognisersOf(await knownNetworks()), attacked).map(({ id }) => id)
  const [networks, gpu] = await Promise.allSettled([loadNetworks(surrogates), acquire({ gpu: name })])
  if (networks.status === 'rejected') {
    if (gpu.status === 'fulfilled') gpu.value.destroy()
    throw networks.reason
  }
  if (gpu.status === 'rejected') throw gpu.reason
  return { networks: networks.value, gpu: gpu.value }
}
