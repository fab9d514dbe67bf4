/** `lowkey-gpu weights population`: how faces are spread in the recognisers' spaces, from photos of many people. */
import { existsSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { MOST_COMPONENTS } from '../../attack/directions.ts'
import { packPopulations } from '../../attack/population-file.ts'
import { POPULATIONS } from '../../attack/populations.ts'
import { averagedByPerson, populationsOf } from '../../evaluate/population.ts'
import { importFolder } from '../../weights/node.ts'
import { placeFile } from '../../weights/place.ts'
import { Exit, UsageError } from '../exit.ts'
import { integer, parse } from '../options.ts'
import { checkFolder } from '../outputs.ts'
import { strangersOf } from '../people.ts'
import { embeddedBy, loadRecognisers } from './embedded.ts'

const COMPONENTS = 48

export const populationHelp = `weights population FOLDER finds out how faces are spread in the recognisers' spaces, from photos of many different people: photos in
FOLDER are of one person each, and a folder in it is a person with several, which are averaged. Presets that draw every photo towards
a direction of its own take directions from that spread. The package has it for its own recognisers; recognisers that were imported
need it made. It is written to the folder of imported networks and replaces the one there.

      --models A,B        recognisers that will be attacked together (all)
      --components N      main directions to keep (${COMPONENTS}); takes photos of more people, several times as many for good ones
      --most N            photos of a person to use
      --out FILE          where else to write it
      --gpu WHICH         part of an adapter's name, pci:ADDRESS or index:N
`

const optionTable = {
  models: { type: 'string' },
  components: { type: 'string' },
  most: { type: 'string' },
  out: { type: 'string' },
  gpu: { type: 'string' },
  json: { type: 'boolean' },
} as const

/** Runs the command; resolves with the exit code. */
export async function population(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parse(args, optionTable, 'weights population')
  const [folder, ...more] = positionals
  if (folder === undefined || more.length > 0) throw new UsageError('weights population: name one folder of photos')
  const components = integer('--components', values.components, 1, MOST_COMPONENTS) ?? COMPONENTS
  const most = integer('--most', values.most, 1, 1e6) ?? Number.POSITIVE_INFINITY
  const path = values.out ?? join(importFolder(), POPULATIONS)
  if (existsSync(path) && statSync(path).isDirectory()) throw new UsageError(`--out ${path} is a folder; name a file`)
  checkFolder(dirname(path))
  const strangers = await strangersOf(folder)
  checkCount(folder, strangers.length, components)
  const photos = strangers.flatMap(({ person, files }) => files.slice(0, most).map((file) => ({ person, file })))

  const loaded = await loadRecognisers(values.models)
  const { entries } = loaded
  const found = await embeddedBy(loaded, { photos, gpu: values.gpu, signal })
  const faces = new Set(found.people).size
  checkCount(folder, faces, components, 'with a face that was found')

  const populations = populationsOf(averagedByPerson(found), components)
  const spaces = entries.map(({ id, sha256 }) => [id, { sha256, population: populations.get(id)! }] as const)
  const bytes = await packPopulations({ path, faces, components, recognisers: new Map(spaces) })
  await placeFile(bytes, dirname(path), basename(path))
  const { withoutFace } = found
  const row = { path, faces, components, recognisers: entries.map(({ id }) => id), withoutFace }
  process.stdout.write(`${values.json ? JSON.stringify(row) : path}\n`)
  process.stderr.write(
    `${components} components of ${faces} faces for ${row.recognisers.join(', ')}; ${withoutFace} photos without a face\n`,
  )
  return Exit.done
}

function checkCount(folder: string, people: number, components: number, which = ''): void {
  if (people > components) return
  const count = `${people} ${people === 1 ? 'person' : 'people'}${which && ` ${which}`}`
  throw new UsageError(
    `${folder}: ${components} components take photos of ${components + 1} people at least; there ${people === 1 ? 'is' : 'are'} ${count} (see --components)`,
  )
}
