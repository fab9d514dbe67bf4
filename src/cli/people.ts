/** Folders of people: a folder for each, with several photos of them. */
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { LabelledPhoto } from '../evaluate/accuracy.ts'
import type { PersonPhoto, PersonPhotos } from '../evaluate/protocol.ts'
import { PhotoError, readCleanPhoto, shown } from '../images/index.ts'
import { messageOf, UsageError } from './exit.ts'
import { isProgramFolder, type Listing, type ListOptions, listPhotos } from './listing.ts'
import { lookedAt, RESULT_SUFFIX } from './paths.ts'
import { canRewrite, rewrite } from './progress.ts'

/** What one folder of a person's photos is listed by. */
const LISTING: ListOptions = {
  suffixes: [RESULT_SUFFIX],
  onlyText: true,
  advice: { recursive: 'photos of a person lie in one folder', hidden: 'give it another name to include it' },
}

/**
 * The people of a folder, by name, each with the photos in their folder. Folders without photos, earlier results and what cannot be read
 * are left out, and named on standard error. Throws UsageError where there is nobody.
 */
export async function peopleOf(folder: string): Promise<PersonPhotos[]> {
  const names = await foldersIn(folder)
  if (names.length === 0) throw new UsageError(`${shown(folder)}: there is no folder in it; each person has one`)
  const people = await peopleIn(folder, names)
  if (people.length > 0) return people
  throw new UsageError(`${shown(folder)}: no folder in it has photos (${names.map(shown).join(', ')})`)
}

async function peopleIn(folder: string, people: readonly string[]): Promise<PersonPhotos[]> {
  const found: PersonPhotos[] = []
  const empty: string[] = []
  for (const person of people) {
    const listing = await listPhotos([join(folder, person)], LISTING).catch((error: unknown) => {
      if (!(error instanceof PhotoError)) throw error
      say(`${messageOf(error)}; left out`)
    })
    if (!listing) continue
    sayLeftOut(listing)
    if (listing.inputs.length > 0) found.push({ person, files: listing.inputs.map(({ name }) => name) })
    else empty.push(person)
  }
  if (empty.length > 0) {
    say(`${shown(folder)}: left out, because they have no photos: ${empty.map(shown).join(', ')}`)
  }
  return found
}

/**
 * People of whom little is known: every folder is one, and so is every photo that lies in the folder itself. They are called by their
 * paths, which are nobody's names.
 */
export async function strangersOf(folder: string): Promise<PersonPhotos[]> {
  const folders = await foldersIn(folder)
  const people = await peopleIn(folder, folders)
  const listing = await listPhotos([folder], LISTING)
  // Folders below are people here.
  const left = listing.left.filter(({ name }) => !folders.includes(basename(name)))
  sayLeftOut({ ...listing, left })
  if (people.length + listing.inputs.length === 0) throw new UsageError(`${shown(folder)}: the folder has no photos`)
  return [
    ...people.map(({ person, files }) => ({ person: join(folder, person), files })),
    ...listing.inputs.map(({ name }) => ({ person: name, files: [name] })),
  ]
}

/** Folders in a folder, also through links; those that are hidden or that programs keep are nobody. */
async function foldersIn(folder: string): Promise<string[]> {
  const isFolder = (path: string) => lookedAt(path)?.isDirectory() ?? false
  if (!isFolder(folder)) throw new UsageError(`${shown(folder)} is no folder`)
  const names = await readdir(folder)
  return names.filter((name) => !isProgramFolder(name) && isFolder(join(folder, name))).sort()
}

/** What of a folder takes no part in a measurement. */
function sayLeftOut({ left, results }: Listing): void {
  for (const { name, problem, advice } of left) say(`${shown(name)} ${problem}: ${advice}; left out`)
  if (results.length > 0) {
    const count = `${results.length} earlier ${results.length === 1 ? 'result' : 'results'}`
    say(`${count} of protect left out, which are no clean photos: ${results.map(shown).join(', ')}`)
  }
}

const say = (text: string): void => {
  process.stderr.write(`lowkey-gpu: ${text}\n`)
}

/** Reads one photo after another and says how far it is. One that cannot be read is left out, and named. */
export async function* openedPhotos(
  photos: readonly PersonPhoto[],
  signal: AbortSignal,
): AsyncGenerator<LabelledPhoto> {
  const { stderr } = process
  for (const [i, { person, file }] of photos.entries()) {
    signal.throwIfAborted()
    if (canRewrite()) rewrite(`photo ${i + 1} of ${photos.length}`)
    else if (i % 100 === 0) stderr.write(`photo ${i + 1} of ${photos.length}\n`)
    try {
      yield { person, photo: await readCleanPhoto(file) }
    } catch (error) {
      stderr.write(`lowkey-gpu: ${messageOf(error)}\n`)
    }
  }
  if (canRewrite()) rewrite('')
}
