/** `lowkey-gpu weights accuracy`: how well the recognisers tell the people of a folder apart. */
import { type Accuracy, accuracyOf } from '../../evaluate/accuracy.ts'
import type { PersonPhoto } from '../../evaluate/protocol.ts'
import { Exit, messageOf, UsageError } from '../exit.ts'
import { integer, parse } from '../options.ts'
import { peopleOf } from '../people.ts'
import { table } from '../table.ts'
import { embeddedBy, loadRecognisers } from './embedded.ts'

export const accuracyHelp = `weights accuracy FOLDER measures the recognisers on photos of known people: FOLDER holds a folder for each person, with several
photos of them. Every face is compared with all others (rank-1: the most similar is the same person's; EER: the error where both kinds
are equally frequent; threshold: what one pair of strangers in 1,000 reaches, and the part of pairs of one person that do).

      --models A,B        recognisers to measure (all)
      --most N            photos of a person to use
      --gpu WHICH         part of an adapter's name, pci:ADDRESS or index:N
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
  const { people, embeddings, withoutFace } = await embeddedBy(await loadRecognisers(values.models), {
    photos,
    gpu: values.gpu,
    signal,
  })
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

function measured(embeddings: readonly Float32Array[], people: readonly string[], folder: string): Accuracy {
  try {
    return accuracyOf(embeddings, people)
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`${folder}: ${messageOf(error)}`) : error
  }
}

/** The photos of the people of a folder, `most` of each at most. */
async function labelledPhotos(folder: string, most = Number.POSITIVE_INFINITY): Promise<PersonPhoto[]> {
  const people = await peopleOf(folder)
  return people.flatMap(({ person, files }) => files.slice(0, most).map((file) => ({ person, file })))
}
