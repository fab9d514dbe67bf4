/**
 * Trains a face recogniser of one's own from others, its teachers, on photos that nobody has labelled; robust against small changes of
 * the pixels where that is asked for:
 *
 *     node examples/distil.ts FOLDER --student sirius --radius 4 --held-out PEOPLE
 *
 * It is TypeScript, which Node runs from 22.18 on, and takes everything from the package. docs/training.md explains it.
 *
 * Every number that is drawn follows from the seed and the number of the step, and a checkpoint holds all that a step leaves for the
 * next. So a run that was interrupted and gone on with gives the same weights as one that was not.
 */
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Gpu, readSafetensors, recogniser, recogniserOf, writeSafetensors } from 'lowkey-gpu'
import { acquire, knownNetworks, loadWeights, writeFileAtomically } from 'lowkey-gpu/node'
import { batchOf } from './distil/batches.ts'
import { type Canvases, readCanvases } from './distil/crops.ts'
import { type Judgement, judge } from './distil/judge.ts'
import { help, type Options, readOptions, UsageError } from './distil/options.ts'
import { type Known, type Student, type Tensors, Trainer } from './distil/trainer.ts'

/** What is written beside the recogniser, and printed. */
interface Report {
  run: Options['run']
  adapter: string
  photos: number
  /** Mean losses of the steps since the one before. */
  losses: { step: number; loss: number; seconds: number; processorSeconds: number }[]
  heldOut?: { folder: string; faces: number; recognisers: Record<string, Judgement> }
}

async function known(id: string): Promise<Known | undefined> {
  const entry = (await knownNetworks()).find((network) => network.id === id && network.role === 'recogniser')
  return entry && { network: recogniser(entry), weights: await loadWeights(id) }
}

async function main({ run, output, ...options }: Options): Promise<void> {
  using gpu = await acquire({ gpu: options.gpu })
  await mkdir(output, { recursive: true })
  const teachers: Known[] = []
  for (const id of run.teachers) {
    const teacher = await known(id)
    if (!teacher) throw new UsageError(`--teachers: there is no recogniser "${id}"`)
    teachers.push(teacher)
  }
  const student: Student = (await known(run.student)) ?? { network: recogniserOf(run.student) }
  const saved = options.resume ? await readCheckpoint(output, run) : undefined
  const photos = await readCanvases(gpu, run, join(output, 'photos'))
  if (photos.names.length < run.batch) throw new UsageError(`${photos.names.length} faces are too few for --batch`)
  console.log(`${photos.names.length} faces; ${run.teachers.join(', ')} teach ${student.network.id}`)

  using trainer = await Trainer.compile(gpu, student, teachers, run)
  const report: Report = saved?.report ?? {
    run,
    adapter: gpu.capabilities.description,
    photos: photos.names.length,
    losses: [],
  }
  if (saved) trainer.restore(saved.tensors)
  const isDone = await learn(trainer, student, photos, { run, output, ...options }, report, saved?.step ?? 0)
  if (!isDone) return

  const weights = await trainer.weights()
  const file = join(output, 'student.safetensors')
  await write(file, inHalves(weights, options.f16), { format: 'pt', distilled: JSON.stringify(run) })
  if (options.heldOut) {
    const students = { network: student.network, weights: { tensor: (name: string) => weights.get(name)! } }
    const judged = new Map([['student', students], ...teachers.map((each) => [each.network.id, each] as const)])
    report.heldOut = await judgeAll(gpu, judged, { ...options, run, output, heldOut: options.heldOut })
  } else console.log('nothing was kept out, so nothing is known of its accuracy (--held-out)')
  await write(join(output, 'report.json'), report)
  console.log(file)
}

let stopping = false

/** Runs the steps that are left. False where it was told to stop before the last. */
async function learn(
  trainer: Trainer,
  student: Student,
  photos: Canvases,
  { run, output, every }: Options,
  report: Report,
  from: number,
): Promise<boolean> {
  let [start, processor] = [performance.now(), process.cpuUsage()]
  let recent: number[] = []
  let pending: Promise<Float32Array> | undefined
  const batch = (step: number) => batchOf(photos, run, step, trainer.alignments, student.network.size)
  let next = from < run.steps ? await batch(from) : undefined
  for (let step = from; step < run.steps; step++) {
    const applied = (step + 1) % run.accumulate === 0 || step + 1 === run.steps
    const submitted = trainer.step(next!, rateOf(step, run), applied)
    if (step + 1 < run.steps) next = await batch(step + 1) // while the device computes
    if (pending) recent.push((await pending)[0])
    pending = submitted
    const isLast = step + 1 === run.steps
    if (!isLast && !stopping && (step + 1) % every !== 0) continue
    recent.push((await pending)[0])
    pending = undefined
    const loss = recent.reduce((a, b) => a + b, 0) / recent.length
    if (!Number.isFinite(loss)) throw new Error(`the loss is ${loss} at step ${step + 1}: try a smaller --rate`)
    const { user, system } = process.cpuUsage(processor)
    const seconds = (performance.now() - start) / 1000
    report.losses.push({ step: step + 1, loss, seconds, processorSeconds: (user + system) / 1e6 })
    console.log(
      `step ${step + 1} of ${run.steps}: loss ${loss.toFixed(4)}, ${(seconds / recent.length).toFixed(2)} s a step`,
    )
    await writeCheckpoint(output, await trainer.save(), step + 1, report)
    ;[start, processor, recent] = [performance.now(), process.cpuUsage(), []]
    if (stopping && !isLast) {
      console.log(`stopped after step ${step + 1}; --resume goes on`)
      return false
    }
  }
  return true
}

/** Rises over the first steps, then falls to 0 along a cosine. */
function rateOf(step: number, { rate, warmUp, steps }: Options['run']): number {
  if (step < warmUp) return (rate * (step + 1)) / warmUp
  return (rate / 2) * (1 + Math.cos((Math.PI * (step - warmUp)) / Math.max(1, steps - warmUp)))
}

async function judgeAll(
  gpu: Gpu,
  judged: ReadonlyMap<string, Parameters<typeof judge>[1]>,
  { heldOut: folder, attacks, run, output }: Options & { heldOut: string },
): Promise<Report['heldOut']> {
  const faces = await readCanvases(gpu, { folder, align: run.align }, join(output, 'held-out'))
  const recognisers: Record<string, Judgement> = {}
  console.log(`${faces.names.length} faces kept out: rank-1, EER, cosine under attacks of ${attacks.join(', ')}/255`)
  for (const [name, each] of judged) {
    const found = await judge(gpu, each, faces, attacks)
    recognisers[name] = found
    const cosines = attacks.map((radius) => found.underAttack[radius].toFixed(3))
    console.log(`${name}: ${percent(found.rank1)}, ${percent(found.equalErrorRate)}, ${cosines.join(', ')}`)
  }
  return { folder, faces: faces.names.length, recognisers }
}

const percent = (share: number): string => `${(100 * share).toFixed(2)}%`

const CHECKPOINT = 'checkpoint.safetensors'

const writeCheckpoint = (output: string, tensors: Tensors, step: number, report: Report): Promise<void> =>
  write(join(output, CHECKPOINT), tensors, { step: String(step), report: JSON.stringify(report) })

async function readCheckpoint(output: string, run: Options['run']) {
  const file = join(output, CHECKPOINT)
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new UsageError(`--resume: there is no ${file}`)
    throw error
  })
  const { tensors, metadata } = readSafetensors(bytes, file)
  const report = JSON.parse(metadata.report) as Report
  const other = Object.entries(run).find(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(report.run[name as keyof typeof run]),
  )
  if (other) throw new UsageError(`--resume: ${file} was written with another ${other[0]}`)
  return { tensors: tensors as ReadonlyMap<string, { data: Float32Array }>, step: Number(metadata.step), report }
}

const inHalves = (tensors: Tensors, halves: boolean) =>
  new Map([...tensors].map(([name, tensor]) => [name, halves ? { ...tensor, dtype: 'F16' as const } : tensor]))

async function write(file: string, content: Tensors | object, metadata?: Record<string, string>): Promise<void> {
  const bytes =
    content instanceof Map
      ? writeSafetensors(content, metadata ?? {}, file)
      : new TextEncoder().encode(`${JSON.stringify(content, null, 2)}\n`)
  await writeFileAtomically(file, bytes, { overwrite: true })
}

const args = process.argv.slice(2)
let code = 0
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // Twice: at once.
    if (stopping) process.exit(130)
    stopping = true
    code = 130
  })
}
if (args.includes('--help') || args.includes('-h')) process.stdout.write(help)
else {
  try {
    await main(readOptions(args))
  } catch (error) {
    code = error instanceof UsageError ? 2 : 1
    process.stderr.write(`distil: ${(error as Error).message}\n`)
  }
}
// Ending by exit does not wait for a driver's threads.
process.exit(code)
