/**
 * Trains a small face recogniser on a folder that has a folder of photos for each person, all on the GPU:
 *
 *     node examples/train.ts FOLDER [OPTIONS]
 *
 * It is TypeScript, which Node runs from 22.18 on, and takes everything from the package.
 *
 * The network is face.evoLVe's IR with one unit a stage and few channels, the loss ArcFace (s 64, m 0.5, from the first step on), the
 * optimiser Adam. Some photos of each person are held out: before and after training each of them is compared with all that were
 * learned from, and the share whose most similar one shows the same person (rank-1) is printed. The weights are written as
 * safetensors under face.evoLVe's names.
 */
import { statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { mtcnnNetworks, writeSafetensors } from 'lowkey-gpu'
import { acquire, loadWeights, writeFileAtomically } from 'lowkey-gpu/node'
import { batchesOf, seeded } from './train/batches.ts'
import { byLandmarks, centre, readPeople } from './train/people.ts'
import { rank1 } from './train/rank.ts'
import { architecture, Trainer, train } from './train/trainer.ts'

const help = `Usage: node examples/train.ts FOLDER [OPTIONS]

FOLDER has a folder of photos for each person.

  -o, --output FILE    where the weights go (out/recogniser.safetensors); an existing file is replaced
      --align HOW      mtcnn (default: the largest face found) or centre (photos cut as LFW's deep-funneled ones are)
      --people N       only the first N people, by name
      --held-out N     faces of each person that are not learned from (2)
      --steps N        (300)
      --batch N        faces a step (32)
      --rate X         learning rate of the first step (0.002); it falls to 0 along a cosine
      --seed N         same seed, photos and adapter: same weights (1)
      --gpu NAME       part of an adapter's name
`

/** It was called wrongly. */
class UsageError extends Error {}

function readOptions(args: string[]) {
  const { values, positionals } = parsed(args)
  const [folder] = positionals
  if (positionals.length !== 1) throw new UsageError(`train takes one folder, got ${positionals.length}`)
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`${folder} is no folder`)
  const rate = Number(values.rate)
  if (!(rate > 0 && rate < 1)) throw new UsageError(`--rate takes a number between 0 and 1; got "${values.rate}"`)
  const { align } = values
  if (align !== 'mtcnn' && align !== 'centre') throw new UsageError(`--align takes mtcnn, centre; got "${align}"`)
  return {
    folder,
    output: values.output,
    align,
    people: values.people === undefined ? Infinity : integer('--people', values.people, 2, 1e6),
    heldOut: integer('--held-out', values['held-out'], 1, 1e6),
    steps: integer('--steps', values.steps, 1, 1e9),
    batch: integer('--batch', values.batch, 2, 1e5),
    rate,
    seed: integer('--seed', values.seed, 0, 1e9),
    gpu: values.gpu,
  }
}

function parsed(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        output: { type: 'string', short: 'o', default: 'out/recogniser.safetensors' },
        align: { type: 'string', default: 'mtcnn' },
        people: { type: 'string' },
        'held-out': { type: 'string', default: '2' },
        steps: { type: 'string', default: '300' },
        batch: { type: 'string', default: '32' },
        rate: { type: 'string', default: '0.002' },
        seed: { type: 'string', default: '1' },
        gpu: { type: 'string' },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0], { cause: error })
  }
}

/** A whole number of at least `least` and at most `most`. */
function integer(option: string, value: string, least: number, most: number): number {
  const number = Number(value)
  if (/^\d+$/.test(value) && number >= least && number <= most) return number
  throw new UsageError(`${option} takes a whole number from ${least} to ${most}; got "${value}"`)
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`

async function main(args: string[]): Promise<void> {
  const options = readOptions(args)
  const { folder, output, steps, batch } = options
  using gpu = await acquire({ gpu: options.gpu })
  using detector = options.align === 'mtcnn' ? await mtcnnNetworks(gpu, await loadWeights('mtcnn')) : undefined
  const align = detector ? byLandmarks(detector) : centre
  const { count, learned, heldOut } = await readPeople(folder, options.people, options.heldOut, align)
  if (count < 2) throw new UsageError(`${folder}: ${count} people have enough photos; two are needed at least`)
  console.log(`${count} people: ${learned.length} faces to learn from, ${heldOut.length} held out`)

  using trainer = await Trainer.compile(gpu, batch, count)
  const random = seeded(options.seed)
  trainer.initialise(random)
  const recognition = async (): Promise<string> => {
    const share = await rank1(gpu, learned, heldOut, await trainer.weights())
    return `rank-1 ${percent(share)} of the held-out faces (chance ${percent(1 / count)})`
  }
  const untrained = await recognition()
  const interval = Math.ceil(steps / 10)
  const start = performance.now()
  let step = 0
  let recent: number[] = []
  let loss = 0
  for await (const now of train(trainer, batchesOf(learned, batch, random), options)) {
    if (step++ === 0) console.log(`before: loss ${now.toFixed(3)}, ${untrained}`)
    recent.push(now)
    if (step % interval !== 0 && step !== steps) continue
    loss = recent.reduce((sum, value) => sum + value, 0) / recent.length
    recent = []
    const seconds = (performance.now() - start) / 1000 / step
    console.log(`step ${step} of ${steps}: loss ${loss.toFixed(3)}, ${seconds.toFixed(2)} s a step`)
  }
  console.log(`after: loss ${loss.toFixed(3)}, ${await recognition()}`)

  const metadata = { format: 'pt', architecture: JSON.stringify(architecture) }
  const bytes = writeSafetensors(await trainer.weights(), metadata, output)
  await mkdir(dirname(output), { recursive: true })
  await writeFileAtomically(output, bytes, { overwrite: true })
  console.log(output)
}

const args = process.argv.slice(2)
let code = 0
// Ending by exit removes a file that is half written, and does not wait for a driver's threads.
process.on('SIGINT', () => process.exit(130))
if (args.includes('--help') || args.includes('-h')) process.stdout.write(help)
else {
  await main(args).catch((error) => {
    code = error instanceof UsageError ? 2 : 1
    process.stderr.write(`train: ${(error as Error).message}\n`)
  })
}
process.exit(code)
