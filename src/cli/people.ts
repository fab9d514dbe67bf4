/** Folders of people: a folder for each, with several photos of them. */
import { existsSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { LabelledPhoto } from '../evaluate/accuracy.ts'
import type { PersonPhoto, PersonPhotos } from '../evaluate/protocol.ts'
import { readPhoto } from '../images/index.ts'
import { messageOf, UsageError } from './exit.ts'
import { findInputs } from './inputs.ts'

/** The people of a folder, by name, each with the photos in their folder. Throws UsageError where there are none. */
export async function peopleOf(folder: string): Promise<PersonPhotos[]> {
  const names = await foldersIn(folder)
  if (names.length === 0) throw new UsageError(`${folder}: there is no folder in it; each person has one`)
  return Promise.all(
    names.map(async (person) => ({
      person,
      files: (await findInputs([join(folder, person)], '')).map(({ name }) => name),
    })),
  )
}

/**
 * People of whom little is known: every folder is one, and so is every photo that lies in the folder itself. They are called by their
 * paths, which are nobody's names.
 */
export async function strangersOf(folder: string): Promise<PersonPhotos[]> {
  const folders = await foldersIn(folder)
  const people = folders.length > 0 ? await peopleOf(folder) : []
  // Where there are people, photos beside them are not needed.
  const photos = await findInputs([folder], '').catch((error: unknown) => {
    if (error instanceof UsageError && people.length > 0) return []
    throw error
  })
  return [
    ...people.map(({ person, files }) => ({ person: join(folder, person), files })),
    ...photos.map(({ name }) => ({ person: name, files: [name] })),
  ]
}

async function foldersIn(folder: string): Promise<string[]> {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) throw new UsageError(`${folder} is no folder`)
  const entries = await readdir(folder, { withFileTypes: true })
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

/** Reads one photo after another and says how far it is. One that cannot be read is left out, and named. */
export async function* openedPhotos(
  photos: readonly PersonPhoto[],
  signal: AbortSignal,
): AsyncGenerator<LabelledPhoto> {
  const { stderr } = process
  for (const [i, { person, file }] of photos.entries()) {
    signal.throwIfAborted()
    if (stderr.isTTY) stderr.write(`\r\x1b[Kphoto ${i + 1} of ${photos.length}`)
    else if (i % 100 === 0) stderr.write(`photo ${i + 1} of ${photos.length}\n`)
    try {
      const { width, height, rgb } = await readPhoto(file)
      yield { person, photo: { width, height, data: rgb } }
    } catch (error) {
      stderr.write(`lowkey-gpu: ${messageOf(error)}\n`)
    }
  }
  if (stderr.isTTY) stderr.write('\r\x1b[K')
}
