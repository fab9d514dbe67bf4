/**
 * What the child process of a worker does with a job. Networks and GPU are opened once and stay for the next photos. The worker beside it only
 * renews the job's lock, so the lock holds although a photo takes longer than it lasts, and keeps this process's loop busy.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type SandboxedJob, UnrecoverableError } from 'bullmq'
import { DeviceLostError, FaceChoiceError, NoFaceError, Protector, presetOf } from 'lowkey-gpu'
import {
  acquire,
  encodePhoto,
  keepTuning,
  loadNetworks,
  type OutputFormat,
  PhotoError,
  readPhoto,
  writeFileAtomically,
} from 'lowkey-gpu/node'
import type { Protected, Upload } from './queue.ts'

const { RESULTS = 'results', STRENGTH = 'auto', STEPS, MODELS, GPU } = process.env

// Without its worker nobody hears of the result, and another worker has the job.
process.on('disconnect', () => process.exit(1))

const preset = presetOf(STRENGTH)
let opened: Promise<Protector> | undefined

async function open(): Promise<Protector> {
  const [gpu, networks] = await Promise.all([acquire(GPU ? { gpu: GPU } : {}), loadNetworks(MODELS?.split(','))])
  keepTuning(gpu)
  return await Protector.create(gpu, networks)
}

/** Resolves when the result is a file under its name. Rejects with UnrecoverableError where another try would end the same. */
export default async function protect(job: SandboxedJob<Upload, Protected>): Promise<Protected> {
  const { file, name } = job.data
  try {
    const bytes = await readFile(file)
    const id = createHash('sha256').update(bytes).digest('hex')
    if (id !== job.id) throw new UnrecoverableError(`${name} is not the file any more that was added`)
    const photo = await readPhoto(bytes, name)
    if (photo.cloaked) throw new UnrecoverableError(`${name} is protected already, by what it says of itself`)
    const [format, extension] = formatOf(photo.format)
    const result = join(RESULTS, `${id}.${extension}`)
    // At least once is what a queue promises; this makes it once.
    if (existsSync(result)) return { result, already: true }
    opened ??= open()
    const protector = await opened
    let told = 0
    const {
      faces,
      warnings,
      photo: after,
    } = await protector.protect(photo, {
      preset,
      steps: STEPS === undefined ? undefined : Number(STEPS),
      grey: photo.grey,
      onProgress: ({ phase, done, total }) => {
        // Every second is often enough for a bar, and spares Redis.
        if (Date.now() - told < 1000) return
        told = Date.now()
        job.updateProgress({ phase, done, total }).catch(() => {})
      },
    })
    const encoded = await encodePhoto({ ...photo, rgb: after.rgb }, { format, mark: true })
    await writeFileAtomically(result, encoded, { overwrite: true })
    const matches = faces.flatMap(({ recognisers }) =>
      recognisers.filter(({ after, threshold }) => after >= threshold).map(({ id }) => id),
    )
    return {
      result,
      already: false,
      faces: faces.length,
      matches: [...new Set(matches)],
      warnings: [...(photo.warnings ?? []), ...warnings],
    }
  } catch (error) {
    // A lost GPU takes its process's others along: the next try is in a new process.
    if (error instanceof DeviceLostError) setImmediate(() => process.exit(1))
    if (opened) await opened.catch(() => (opened = undefined))
    const hopeless = [PhotoError, NoFaceError, FaceChoiceError].some((kind) => error instanceof kind)
    const gone = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw hopeless || gone ? new UnrecoverableError((error as Error).message) : error
  }
}

function formatOf(format: string): [OutputFormat, string] {
  if (format === 'jpeg' || format === 'heic') return ['jpeg', 'jpg']
  return format === 'webp' ? ['webp', 'webp'] : ['png', 'png']
}
