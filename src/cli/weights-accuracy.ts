/** `lowkey-gpu weights accuracy`: how well the recognisers tell the people of a folder apart. */
import { existsSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Embedder } from '../attack/embedder.ts'
import { keepTuning, loadDetector, loadRecogniser, named, recognisersOf, UnknownModelError } from '../attack/node.ts'
import { acquire } from '../device/node.ts'
import { type Accuracy, accuracyOf, embedFaces, type LabelledPhoto } from '../evaluate/accuracy.ts'
import { readPhoto } from '../images/index.ts'
import { mtcnnNetworks } from '../models/mtcnn.ts'
import { knownNetworks } from '../weights/node.ts'
import { Exit, messageOf, UsageError } from './exit.ts'
import { findInputs } from './inputs.ts'
import { integer, parse } from './options.ts'
import { table } from './table.ts'

export const accuracyHelp = `weights accuracy FOLDER measures the recognisers on photos of known people: FOLDER holds a folder for each person, with several
photos of them. Every face is compared with all others (rank-1: the most similar is the same person's; EER: the error where both kinds
are equally frequent; threshold: what one pair of strangers in 1,000 reaches, and the part of pairs of one person that do).

      --models A,B        recognisers to measure (all)
      --most N            photos of a person to use
      --gpu NAME          part of an adapter's name
`

const optionTable = {
  models: { type: 'string' },
  most: { type: 'string' },
  gpu: { type: 'string' },
  json: { type: 'boolean' },
} as const

/** Runs the command; resolves with the exit code. */
export async function accuracy(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parse(args, optionTable, 'weights accuracy')
  const [folder, ...more] = positionals
  if (folder === undefined || more.length > 0) throw new UsageError('weights accuracy: name one folder of people')
  const photos = await labelledPhotos(folder, integer('--most', values.most, 2, 1e6))
  const networks = await knownNetworks()
  const all = recognisersOf(networks)
  const entries = values.models === undefined ? all : modelsOf(all, values.models)
  const [detectorWeights, ...surrogates] = await Promise.all([loadDetector(networks), ...entries.map(loadRecogniser)])
  using gpu = await acquire({ gpu: values.gpu })
  keepTuning(gpu)
  using detector = await mtcnnNetworks(gpu, detectorWeights)
  using embedder = await Embedder.compile(gpu, surrogates)
  const { people, embeddings, withoutFace } = await embedFaces(detector, embedder, opened(photos, signal))
  const results = [...embeddings].map(([id, list]) => ({ id, ...measured(list, people, folder) }))
  if (results.length === 0) throw new UsageError(`${folder}: no face was found in its photos`)
  if (values.json) {
    for (const row of results) process.stdout.write(`${JSON.stringify({ ...row, withoutFace })}\n`)
  } else {
    const percent = (part: number) => `${(100 * part).toFixed(2)}%`
    const rows = results.map((r) => [
      r.id,
      r.rank1.toFixed(3),
      percent(r.equalErrorRate),
      r.threshold.toFixed(3),
      percent(r.trueMatchRate),
    ])
    const [{ faces, people: count, genuinePairs, impostorPairs }] = results
    const lines = [
      ...table(['recogniser', 'rank-1', 'EER', 'threshold', 'true matches'], rows),
      `${faces} faces of ${count} people (${genuinePairs} pairs of one person, ${impostorPairs} of two); ${withoutFace} photos without a face`,
    ]
    process.stdout.write(`${lines.join('\n')}\n`)
  }
  return Exit.done
}

function modelsOf(all: ReturnType<typeof recognisersOf>, models: string) {
  try {
    return named(
      all,
      models.split(',').map((id) => id.trim()),
    )
  } catch (error) {
    throw error instanceof UnknownModelError ? new UsageError(`--models: ${error.message}`) : error
  }
}

function measured(embeddings: readonly Float32Array[], people: readonly string[], folder: string): Accuracy {
  try {
    return accuracyOf(embeddings, people)
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`${folder}: ${messageOf(error)}`) : error
  }
}

interface PhotoOfPerson {
  person: string
  path: string
}

/** The photos in the folders of a folder, each folder a person. */
async function labelledPhotos(folder: string, most = Number.POSITIVE_INFINITY): Promise<PhotoOfPerson[]> {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw new UsageError(`${folder} is no folder`)
  const people = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory())
  const photos: PhotoOfPerson[] = []
  for (const person of people.map(({ name }) => name).sort()) {
    const inputs = await findInputs([join(folder, person)], '')
    photos.push(...inputs.slice(0, most).map(({ name }) => ({ person, path: name })))
  }
  if (photos.length === 0) throw new UsageError(`${folder}: there is no folder in it; each person has one`)
  return photos
}

/** Reads one photo after another and says how far it is. One that cannot be read is left out, and named. */
async function* opened(photos: readonly PhotoOfPerson[], signal: AbortSignal): AsyncGenerator<LabelledPhoto> {
  const { stderr } = process
  for (const [i, { person, path }] of photos.entries()) {
    signal.throwIfAborted()
    if (stderr.isTTY) stderr.write(`\r\x1b[Kphoto ${i + 1} of ${photos.length}`)
    else if (i % 100 === 0) stderr.write(`photo ${i + 1} of ${photos.length}\n`)
    try {
      const { width, height, rgb } = await readPhoto(path)
      yield { person, photo: { width, height, data: rgb } }
    } catch (error) {
      stderr.write(`lowkey-gpu: ${messageOf(error)}\n`)
    }
  }
  if (stderr.isTTY) stderr.write('\r\x1b[K')
}
