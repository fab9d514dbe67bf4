/** `lowkey-gpu protect`: photos in, protected photos out. */
import { keepTuning } from '../../attack/kept-tuning.ts'
import { loadNetworks, recognisersOf } from '../../attack/node.ts'
import { Protector, type ProtectorNetworks } from '../../attack/protect.ts'
import type { Gpu } from '../../device/node.ts'
import { knownNetworks } from '../../weights/node.ts'
import { adapterLines, pciLines } from '../adapters.ts'
import { findAdapters, openGpu } from '../driver-noise.ts'
import { Exit } from '../exit.ts'
import type { Interruption } from '../interruption.ts'
import { attackedRecognisers } from '../models.ts'
import { type ProtectArguments, readOptions } from './options.ts'
import { ProtectRun } from './run.ts'
import { findWork } from './work.ts'

export { protectHelp } from './options.ts'

/** Runs the command; resolves with the exit code. */
export async function protect(args: string[], interruption: Interruption): Promise<number> {
  const options = readOptions(args)
  if (options.ledger) interruption.finishFirst(options.grace)
  if (options.gpu === 'list') return await printAdapters()
  const run = new ProtectRun(await findWork(options, interruption))
  if (run.isOver) return await run.close()
  const { leaving } = interruption
  try {
    leaving.throwIfAborted()
    run.say('opening the GPU, reading the weights')
    const reading = await beginReading(options)
    await run.passUnreadable()
    if (run.isOver) return await run.close()
    const { networks, gpu: opened } = await open(reading, options.gpu)
    using gpu = opened
    leaving.throwIfAborted()
    keepTuning(gpu)
    run.say('preparing the detector')
    using protector = await Protector.create(gpu, networks)
    // Awaited here: what `using` holds ends with this block.
    return await run.all(gpu, protector)
  } finally {
    run.end()
  }
}

async function printAdapters(): Promise<number> {
  const lines = adapterLines(await findAdapters())
  process.stdout.write(`${[...(lines.length > 0 ? lines : ['no adapter']), ...pciLines()].join('\n')}\n`)
  return lines.length > 0 ? Exit.done : Exit.noGpu
}

/** The weights, on their way. Throws UsageError for a name that is no recogniser. */
async function beginReading({ attacked }: ProtectArguments): Promise<{ networks: Promise<ProtectorNetworks> }> {
  const surrogates = attackedRecognisers(recognisersOf(await knownNetworks()), attacked).map(({ id }) => id)
  const networks = loadNetworks(surrogates)
  networks.catch(() => {}) // `open` says it
  return { networks }
}

/** Opens the GPU while the weights are read. Where neither can be had, the weights are named. */
async function open(
  reading: { networks: Promise<ProtectorNetworks> },
  name: string | undefined,
): Promise<{ networks: ProtectorNetworks; gpu: Gpu }> {
  const [networks, gpu] = await Promise.allSettled([reading.networks, openGpu(name)])
  if (networks.status === 'rejected') {
    if (gpu.status === 'fulfilled') gpu.value.destroy()
    throw networks.reason
  }
  if (gpu.status === 'rejected') throw gpu.reason
  return { networks: networks.value, gpu: gpu.value }
}
