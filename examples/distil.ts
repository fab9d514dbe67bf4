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
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Gpu, readSafetensors, recogniser, recogniserOf, writeSafetensors } from 'lowkey-gpu'
import { acquire, knownNetworks, loadWeights, writeFileAtomically } from 'lowkey-gpu/node'
import { batchOf } from './distil/batches.ts'
import { type Canvases, readCanvases } from './distil/crops.ts'
import { accuracy, embed, type Judged, type Judgement, similarityUnderAttack } from './distil/judge.ts'
import { help, type Options, type Run, readOptions, UsageError } from './distil/options.ts'
import { isOwn, type Known, type Student, type Tensors, Trainer } from './distil/trainer.ts'

/** What is written beside the recogniser, and printed. */
interface Report {
  run: Run
  adapter: string
  photos: number
  losses: Losses[]
  heldOut?: { folder: string; faces: number; recognisers: Record<string, Judgement> }
}

/** At a checkpoint: the mean loss of the steps since the one before, and how well people kept out are told apart. */
interface Losses {
  step: number
  loss: number
  seconds: number
  processorSeconds: number
  heldOut?: { rank1: number; equalErrorRate: number }
}

/** What a run works with. */
interface Work {
  gpu: Gpu
  trainer: Trainer
  student: Student
  photos: Canvases
  heldOut: Canvases | undefined
}

async function known(id: string): Promise<Known | undefined> {
  const entry = (await knownNetworks()).find((network) => network.id === id && network.role === 'recogniser')
  return entry && { network: recogniser(entry), weights: await loadWeights(id) }
}

async function main(options: Options): Promise<void> {
  const { run, output, 'held-out': heldOutFolder } = options
  using gpu = await acquire(options.gpu ? { gpu: options.gpu } : {})
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
  const heldOut = heldOutFolder
    ? await readCanvases(gpu, { folder: heldOutFolder, align: run.align, most: 0 }, join(output, 'held-out'))
    : undefined
  console.log(`${photos.names.length} faces; ${run.teachers.join(', ')} teach ${student.network.id}`)
  const rows = run.once ? await rowsOf(gpu, teachers, student, photos, options) : new Map()

  using trainer = await Trainer.compile(gpu, student, teachers, rows, run)
  const report: Report = saved?.report ?? {
    run,
    adapter: gpu.capabilities.description,
    photos: photos.names.length,
    losses: [],
  }
  if (saved) trainer.restore(saved.tensors)
  const isDone = await learn({ gpu, trainer, student, photos, heldOut }, options, report, saved?.step ?? 0)
  if (!isDone) return

  const file = join(output, 'student.safetensors')
  await write(file, inHalves(await trainer.weights(), options.f16), { format: 'pt', distilled: JSON.stringify(run) })
  if (heldOut) {
    const judged = {
      student: await asJudged(trainer, student),
      ...Object.fromEntries(run.teachers.map((id, i) => [id, teachers[i]])),
    }
    const { length: faces } = heldOut.names
    report.heldOut = { folder: heldOutFolder, faces, recognisers: await judgeAll(gpu, judged, heldOut, options) }
  } else console.log('nothing was kept out, so nothing is known of its accuracy (--held-out)')
  await write(join(output, 'report.json'), report)
  console.log(file)
}

/** What the teachers say of the photos as they are: unit rows, of teachers whom the student translates relative to their mean; kept in a file. */
async function rowsOf(
  gpu: Gpu,
  teachers: readonly Known[],
  student: Student,
  photos: Canvases,
  { run: { batch, folder, align }, output }: Options,
): Promise<Tensors> {
  const file = join(output, 'teachers.safetensors')
  const key = JSON.stringify([
    folder,
    align,
    photos.names,
    student.network.id,
    teachers.map(({ network }) => network.id),
  ])
  if (existsSync(file)) {
    const { tensors, metadata } = await read(file)
    if (metadata.key === key) return tensors
  }
  const rows = new Map<string, { shape: number[]; data: Float32Array }>()
  for (const teacher of teachers) {
    const { id, embedding } = teacher.network
    const all = await embed(gpu, teacher, photos, batch)
    const mean = Float64Array.from(
      { length: embedding },
      (_, i) => all.reduce((sum, row) => sum + row[i], 0) / all.length,
    )
    const data = new Float32Array(all.length * embedding)
    for (const [k, row] of all.entries()) {
      const seen = isOwn(student, teacher) ? row : row.map((v, i) => v - mean[i])
      const length = Math.hypot(...seen)
      data.set(
        seen.map((v) => v / length),
        k * embedding,
      )
    }
    rows.set(id, { shape: [all.length, embedding], data })
  }
  await write(file, rows, { key })
  return rows
}

const asJudged = async (trainer: Trainer, { network }: Student): Promise<Judged> => {
  const weights = await trainer.weights()
  return { network, weights: { tensor: (name: string) => weights.get(name)! } }
}

let stopping = false

/** Runs the steps that are left. False where it was told to stop before the last. */
async function learn(work: Work, { run, output, every }: Options, report: Report, from: number): Promise<boolean> {
  const { trainer, photos, student } = work
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
    const heldOut =
      work.heldOut &&
      accuracy(await embed(work.gpu, await asJudged(trainer, student), work.heldOut, run.batch), work.heldOut)
    const entry: Losses = { step: step + 1, loss, seconds, processorSeconds: (user + system) / 1e6 }
    if (heldOut) entry.heldOut = { rank1: heldOut.rank1, equalErrorRate: heldOut.equalErrorRate }
    report.losses.push(entry)
    const told = heldOut ? `; rank-1 ${percent(heldOut.rank1)}, EER ${percent(heldOut.equalErrorRate)}` : ''
    console.log(
      `step ${step + 1} of ${run.steps}: loss ${loss.toFixed(4)}${told}; ${(seconds / recent.length).toFixed(2)} s a step`,
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
function rateOf(step: number, { rate, 'warm-up': warmUp, steps }: Run): number {
  if (step < warmUp) return (rate * (step + 1)) / warmUp
  return (rate / 2) * (1 + Math.cos((Math.PI * (step - warmUp)) / Math.max(1, steps - warmUp)))
}

async function judgeAll(
  gpu: Gpu,
  judged: Readonly<Record<string, Judged>>,
  faces: Canvases,
  { attacks, attacked, run: { batch } }: Options,
): Promise<Record<string, Judgement>> {
  const recognisers: Record<string, Judgement> = {}
  console.log(`${faces.names.length} faces kept out: rank-1, EER, cosine under attacks of ${attacks.join(', ')}/255`)
  for (const [name, each] of Object.entries(judged)) {
    const underAttack: Judgement['underAttack'] = {}
    for (const radius of attacks)
      underAttack[radius] = await similarityUnderAttack(gpu, each, faces, {
        attacked,
        radius,
        batch: Math.min(batch, attacked),
      })
    const found = accuracy(await embed(gpu, each, faces, batch), faces)
    recognisers[name] = { ...found, underAttack, attackedFaces: Math.min(attacked, faces.names.length) }
    const cosines = attacks.map((radius) => underAttack[radius].toFixed(3))
    console.log(`${name}: ${percent(found.rank1)}, ${percent(found.equalErrorRate)}, ${cosines.join(', ')}`)
  }
  return recognisers
}

const percent = (share: number): string => `${(100 * share).toFixed(2)}%`

const CHECKPOINT = 'checkpoint.safetensors'

const writeCheckpoint = (output: string, tensors: Tensors, step: number, report: Report): Promise<void> =>
  write(join(output, CHECKPOINT), tensors, { step: String(step), report: JSON.stringify(report) })

async function readCheckpoint(output: string, run: Run) {
  const file = join(output, CHECKPOINT)
  if (!existsSync(file)) throw new UsageError(`--resume: there is no ${file}`)
  const { tensors, metadata } = await read(file)
  const report = JSON.parse(metadata.report) as Report
  const other = Object.entries(run).find(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(report.run[name as keyof typeof run]),
  )
  if (other) throw new UsageError(`--resume: ${file} was written with another ${other[0]}`)
  return { tensors, step: Number(metadata.step), report }
}

const inHalves = (tensors: Tensors, halves: boolean) =>
  new Map([...tensors].map(([name, tensor]) => [name, halves ? { ...tensor, dtype: 'F16' as const } : tensor]))

async function read(file: string) {
  const { tensors, metadata } = readSafetensors(await readFile(file), file)
  return { tensors: tensors as Tensors, metadata }
}

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
