/** What lies in folders. */
import { readlinkSync, type Stats } from 'node:fs'
import { lstat, readdir, stat } from 'node:fs/promises'
import { codeOf, type Explanation, PhotoError, shown, whyUnread } from '../images/index.ts'
import { type FilePath, pathOfBytes, textOf } from './paths.ts'

/** A link that leads nowhere. */
export class DanglingError extends Error {
  readonly explanation: Explanation

  constructor(target: string) {
    super(target)
    const problem = `is a link to ${shown(target)}, which is not there`
    this.explanation = { problem, advice: 'connect the disk it lies on, or delete the link' }
  }
}

/** A file or folder; of a link what it leads to. */
export async function lookAt(path: FilePath): Promise<{ info: Stats; link: boolean } | { error: unknown }> {
  try {
    const itself = await lstat(path)
    if (!itself.isSymbolicLink()) return { info: itself, link: false }
    try {
      return { info: await stat(path), link: true }
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      return { error: new DanglingError(readlinkSync(path, 'utf8')) }
    }
  } catch (error) {
    return { error }
  }
}

/** Names in a folder, those that are not UTF-8 as bytes, in alphabetical order. */
export async function entriesOf(path: FilePath, name: string): Promise<FilePath[]> {
  try {
    const names = await readdir(path, { encoding: 'buffer' })
    return names.map(pathOfBytes).sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1))
  } catch (error) {
    const { problem, advice } = whyUnread(error)
    throw new PhotoError(name, problem, advice, { cause: error })
  }
}
