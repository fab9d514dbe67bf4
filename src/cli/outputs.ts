/** The files of a run: checked before any work as far as that can be, and written by one hand. */
import { accessSync, constants, lstatSync, readlinkSync, rmdirSync, type Stats, statfsSync, statSync } from 'node:fs'
import { utimes } from 'node:fs/promises'
import { basename, dirname, join, parse, resolve, sep } from 'node:path'
import { makeFolder } from '../files/folders.ts'
import { codeOf, OutputError, shown, whyUnwritten, writeFileAtomically } from '../images/index.ts'
import { UsageError } from './exit.ts'
import { type Input, pathOf, STREAM } from './listing.ts'
import { type FilePath, keyOf, lookedAt, textOf } from './paths.ts'

/** Times that a file is written where its folder goes away meanwhile. */
const MOST_TRIES = 5
/** Bytes that a name may have on all common file systems. */
const LONGEST_NAME = 255
/** The system's own folders, /proc, /sys and their like (statfs(2)): the superuser seems to be allowed to write there. */
const NO_PLACE = [0x9fa0, 0x62656572, 0x1cd1, 0x27e0eb, 0x63677270]

/** Throws OutputError unless files can be made in the folder, or it can be made. Nothing is written. */
export function checkFolder(folder: string): void {
  const problem = (kind: OutputError['problem'], text: string, cause?: unknown) =>
    new OutputError(folder, kind, text, { cause })
  let existing = parse(resolve(folder)).root
  const parts = resolve(folder).slice(existing.length).split(sep).filter(Boolean)
  const long = parts.find((part) => Buffer.byteLength(part) > LONGEST_NAME)
  if (long !== undefined) throw problem('no-folder', `cannot be a folder: ${tooLong(long)}`)
  for (const part of parts) {
    const path = join(existing, part)
    let there: Stats | undefined
    try {
      there = lstatSync(path, { throwIfNoEntry: false })
      if (!there) break
      if (there.isSymbolicLink()) there = statSync(path)
    } catch (error) {
      if (there && codeOf(error) === 'ENOENT') {
        const target = shown(readlinkSync(path))
        const text = `cannot be a folder: ${shown(path)} is a link to ${target}, which is not there; connect the disk, or delete the link`
        throw problem('no-folder', text, error)
      }
      throw problem(whyUnwritten(error, shown(existing)).problem, whyUnwritten(error, shown(existing)).detail, error)
    }
    if (!there.isDirectory()) throw problem('no-folder', `cannot be a folder: ${shown(path)} is a file`)
    existing = path
  }
  try {
    accessSync(existing, constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw problem('unwritable', `cannot be written to (${codeOf(cause)}): choose another folder with --output`, cause)
  }
  if (process.platform === 'linux' && NO_PLACE.includes(statfsSync(existing).type)) {
    throw problem(
      'unwritable',
      `cannot be written to (${shown(existing)} holds no files): choose another folder with --output`,
    )
  }
}

/** Makes a folder and those above it; returns those that were not there, the first made first. Throws OutputError. */
export function makeOutputFolder(folder: string): string[] {
  try {
    return makeFolder(folder)
  } catch (cause) {
    throw new OutputError(folder, 'unwritable', `cannot be made a folder (${codeOf(cause)})`, { cause })
  }
}

function removeEmpty(folders: readonly string[]): void {
  for (const folder of folders.toReversed()) {
    try {
      rmdirSync(folder)
    } catch {
      // It is not empty, which is what folders are for.
    }
  }
}

export interface OutputOptions {
  overwrite: boolean
  dryRun: boolean
  /** Files keep the times of the photo they were made of. */
  keepTimes: boolean
}

export class Outputs {
  private readonly options: OutputOptions
  /** The inputs, as files and by their paths. */
  private readonly inputs = new Set<string>()
  /** Files written so far, or in a dry run those that would be, in the same way. */
  private readonly written = new Set<string>()
  private readonly made: string[] = []

  constructor(inputs: readonly Input[], options: OutputOptions) {
    this.options = options
    for (const input of inputs) if (input.name !== STREAM) addFile(this.inputs, pathOf(input))
  }

  /**
   * Refuses what would replace an input or another result, what exists, and what cannot be written. Throws UsageError for the first, else
   * OutputError.
   */
  check(path: string): void {
    if (path === STREAM) return
    if (hasFile(this.inputs, path)) throw new UsageError(`${shown(path)} is an input; results never replace inputs`)
    this.refuseWritten(path)
    checkFolder(dirname(path))
    const name = basename(path)
    if (Buffer.byteLength(name) > LONGEST_NAME) {
      const advice = 'choose another with --output, or a shorter --suffix'
      throw new OutputError(path, 'failed', `cannot be written: ${tooLong(name)}; ${advice}`)
    }
    // Not followed: a link is something that exists, wherever it leads.
    const there = lstatSync(path, { throwIfNoEntry: false })
    if (there?.isDirectory()) throw new OutputError(path, 'is-folder', 'is a folder: name a file')
    if (there && !this.options.overwrite) {
      const detail = 'exists already: --overwrite replaces it, --suffix or --output names another'
      throw new OutputError(path, 'exists', detail)
    }
  }

  private refuseWritten(path: string): void {
    if (!hasFile(this.written, path)) return
    const detail = 'is the result of another photo already: protect them into different folders'
    throw new OutputError(path, 'exists', detail)
  }

  /** Makes a folder for results. `close` removes it where none came. */
  prepare(folder: string): void {
    if (!this.options.dryRun) this.made.push(...makeOutputFolder(folder))
  }

  /** Notes a file that would be written. */
  note(path: string): void {
    addFile(this.written, path)
  }

  /** Writes a file that anybody may read who may read the photo it was made of, and nobody else. Throws OutputError. */
  async write(path: string, bytes: Uint8Array, source: Input): Promise<void> {
    // Files come one after another, so that now it is known whether the disk takes two names for one.
    this.refuseWritten(path)
    const like = source.name === STREAM ? undefined : statSync(pathOf(source), { throwIfNoEntry: false })
    const mode = like?.isFile() ? like.mode & 0o666 : 0o666
    for (let tries = MOST_TRIES; ; tries--) {
      this.prepare(dirname(path))
      try {
        await writeFileAtomically(path, bytes, { overwrite: this.options.overwrite, mode })
        break
      } catch (error) {
        // Another task may remove a folder that it made and found empty.
        if (tries === 1 || !(error instanceof OutputError) || error.problem !== 'no-folder') throw error
      }
    }
    addFile(this.written, path)
    if (this.options.keepTimes && like) await utimes(path, like.atime, like.mtime)
  }

  /** Removes folders that were made for results that never came. */
  close(): void {
    removeEmpty(this.made)
  }
}

/** The file itself where it is there: it may have other paths, and the disk may not tell capital letters from small ones. */
const keysOf = (path: FilePath): string[] => {
  const there = lookedAt(path)
  return [resolve(textOf(path)), ...(there ? [keyOf(there)] : [])]
}
const addFile = (files: Set<string>, path: FilePath): void => {
  for (const key of keysOf(path)) files.add(key)
}
const hasFile = (files: ReadonlySet<string>, path: string): boolean => keysOf(path).some((key) => files.has(key))

const tooLong = (name: string): string =>
  `the name ${shown(Buffer.from(name).toString('utf8', 0, 24))}... has ${Buffer.byteLength(name)} bytes, and ${LONGEST_NAME} are allowed`

/** A closed or full standard output is this photo's failure: nobody has the result. */
export function writeStandardOutput(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      if (error) reject(new Error(`cannot be written to standard output (${error.message})`, { cause: error }))
      else resolve()
    })
  })
}
