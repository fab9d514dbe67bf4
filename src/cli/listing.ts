/**
 * What paths from the command line hold: the photos, by what the files are and not by their names, and all that is no photo or is not
 * looked into, so that nothing stays as it is without a word.
 */
import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import {
  classifyFile,
  codeOf,
  type Explanation,
  type FileClass,
  isPictureName,
  PhotoError,
  type PhotoFormat,
  shown,
  whyUnread,
} from '../images/index.ts'
import { DanglingError, entriesOf, lookAt } from './entries.ts'
import { type FilePath, isResultName, joined, keyOf, lookedAt, textOf } from './paths.ts'

/** Standard input or output. */
export const STREAM = '-'

/** A photo to work on. */
export interface Input {
  /** As the user knows it. */
  name: string
  /** Where the system has it, if the name does not say so: names that are not UTF-8 are bytes. */
  path?: Buffer
  /** By its first bytes; not known of what can be read only once. */
  format?: PhotoFormat
  /** The folder that was named, where the photo was found in one. */
  folder?: string
  /** The folder in `folder` in which it lies; empty for `folder` itself. */
  below?: string
}

/** What the system opens. */
export const pathOf = ({ name, path }: Input): FilePath => path ?? name

/** What messages call an input. */
export const nameOf = ({ name }: Input): string => (name === STREAM ? 'standard input' : shown(name))

/** Photos that stay as they are, though somebody could be on them. */
export interface LeftAlone extends Explanation {
  /** A file, or a folder that was not looked into. */
  name: string
  /** How many photos: more than one in a folder. */
  photos: number
}

export interface Listing {
  inputs: Input[]
  /** Files that were named and cannot be read, or are no photos. */
  failed: { input: Input; error: Error }[]
  left: LeftAlone[]
  /** Results of this program among the files of folders, by their names. */
  results: string[]
  /** What else was found and not looked into, as sentences. */
  notes: string[]
}

export interface ListOptions {
  /** What names of results end in. */
  suffixes: readonly string[]
  /** Results are photos like others. */
  again?: boolean
  recursive?: boolean
  hidden?: boolean
  /** Raw files of cameras are photos, by the picture inside. */
  rawPreview?: boolean
  /** A folder that is not looked into: results go there. */
  except?: string
  /** Photos whose names are not UTF-8 are left alone: what follows opens files by text. */
  onlyText?: boolean
  signal?: AbortSignal
  /** What is said of folders below and of hidden files; some commands have no options for them. */
  advice?: { recursive: string; hidden: string }
}

const OPTIONS = { recursive: '--recursive includes it', hidden: '--hidden includes it' }
/** What Synology's and Apple's programs keep beside photos: thumbnails and metadata. */
const PROGRAM_FOLDERS = ['@eaDir', '__MACOSX']

/** Whether a folder of this name is not a user's own: hidden, or kept by a program. */
export const isProgramFolder = (name: string): boolean => name.startsWith('.') || PROGRAM_FOLDERS.includes(name)
export const EARLIER_ADVICE = 'protect the photo it was made of, or add --again'
/** A folder that is not looked into is counted in, but not for ever. */
const MOST_COUNTED = 1000
/** Files that a sentence names. */
const MOST_NAMED = 5

/**
 * Looks at files named, and at all files in folders named, in alphabetical order. Every path counts once.
 *
 * @throws PhotoError for a folder that cannot be read, and the signal's reason
 */
export async function listPhotos(paths: readonly FilePath[], options: ListOptions): Promise<Listing> {
  const walk = new Walk(options)
  for (const path of paths) await walk.named(path)
  return walk.listing()
}

class Walk {
  private readonly options: ListOptions
  private readonly advice: NonNullable<ListOptions['advice']>
  private readonly inputs: Input[] = []
  private readonly failed: Listing['failed'] = []
  private readonly left: LeftAlone[] = []
  private readonly results: string[] = []
  private readonly notes: string[] = []
  private readonly videos: string[] = []
  /** Names by what they are: 'text', 'database', ... */
  private readonly others = new Map<string, number>()
  private readonly programs: string[] = []
  /** Files and folders seen, by device and number, and what they were called. */
  private readonly seen = new Map<string, string>()
  private readonly except: string | undefined

  constructor(options: ListOptions) {
    this.options = options
    this.advice = options.advice ?? OPTIONS
    const except = options.except === undefined ? undefined : lookedAt(options.except)
    this.except = except && keyOf(except)
  }

  listing(): Listing {
    const { inputs, failed, left, results, notes } = this
    const said = [...notes]
    if (this.videos.length > 0) {
      const [count, are] = this.videos.length === 1 ? ['1 video', 'it'] : [`${this.videos.length} videos`, 'them']
      said.push(`${count} left as found (${some(this.videos)}): faces in ${are} are not protected`)
    }
    if (this.programs.length > 0) {
      const which = this.programs.length === 1 ? 'a folder that programs keep' : 'folders that programs keep'
      said.push(`${some(this.programs)}: ${which}, not looked into; name it to include it`)
    }
    if (results.length > 0) {
      said.push(`${counted(results.length, 'earlier result')} left out (${some(results)})`)
    }
    const others = [...this.others].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
    if (others.length > 0) {
      const count = others.reduce((sum, [, n]) => sum + n, 0)
      const kinds = others.map(([what, n]) => `${n} ${what}`).join(', ')
      said.push(`${count} other ${count === 1 ? 'file is no photo' : 'files are no photos'} (${kinds})`)
    }
    return { inputs, failed, left, results, notes: said }
  }

  /** A path from the command line. */
  async named(path: FilePath): Promise<void> {
    const name = textOf(path)
    const input: Input = typeof path === 'string' ? { name } : { name, path }
    if (name === STREAM) {
      this.inputs.push(input)
      return
    }
    let info: Stats
    try {
      info = await stat(path)
    } catch (error) {
      const { problem, advice } = unreadNamed(name, error)
      this.failed.push({ input, error: new PhotoError(name, problem, advice, { cause: error }) })
      return
    }
    if (info.isDirectory()) return this.folder(path, name, '', info)
    const known = this.seen.get(keyOfFile(info, name))
    if (known !== undefined) {
      this.notes.push(
        `${shown(name)} is ${known === name ? 'named twice' : `${shown(known)} once more`}; it counts once`,
      )
      return
    }
    this.seen.set(keyOfFile(info, name), name)
    // What can be read only once is looked at when its turn comes.
    if (!info.isFile()) {
      this.inputs.push(input)
      return
    }
    if (!this.options.again && isResultName(basename(name), this.options.suffixes)) {
      const problem = 'is an earlier result, by its name'
      this.failed.push({
        input,
        error: new PhotoError(name, problem, EARLIER_ADVICE),
      })
      return
    }
    try {
      const found = await classifyFile(path)
      if (isInput(found, this.options)) this.inputs.push({ ...input, ...formatOf(found) })
      else if (found.kind !== 'photo') this.failed.push({ input, error: noPhoto(name, found) })
    } catch (error) {
      const { problem, advice } = whyUnread(error)
      this.failed.push({ input, error: new PhotoError(name, problem, advice, { cause: error }) })
    }
  }

  /** A folder: the one named, or with `--recursive` one below. Links to folders come last, so that a folder has its own name. */
  private async folder(path: FilePath, name: string, below: string, info: Stats): Promise<void> {
    const links: [path: FilePath, name: string, below: string][] = []
    await this.files(path, name, below, info, links)
    for (const [target, linkName, linkBelow] of links) {
      const there = await stat(target).catch(() => undefined)
      if (!there) continue
      const known = this.seen.get(keyOf(there))
      if (known !== undefined) this.notes.push(`${shown(linkName)} leads to ${shown(known)}, which was looked into`)
      else await this.folder(target, linkName, linkBelow, there)
    }
  }

  private async files(
    path: FilePath,
    name: string,
    below: string,
    info: Stats,
    links: [path: FilePath, name: string, below: string][],
  ): Promise<void> {
    if (this.seen.has(keyOf(info))) return
    this.seen.set(keyOf(info), name)
    const folder = below === '' ? name : name.slice(0, name.length - below.length - 1) || name
    const later: (() => Promise<void>)[] = []
    for (const entry of await this.entries(path, name, below)) {
      this.options.signal?.throwIfAborted()
      const [text, file] = [textOf(entry), joined(path, entry)]
      const child = join(name, text)
      const what = await lookAt(file)
      if ('error' in what) {
        this.unopened(child, what.error)
        continue
      }
      const { info: there, link } = what
      if (there.isDirectory()) {
        const deeper = join(below, text)
        if (keyOf(there) === this.except || this.leavesOut(text, child)) continue
        if (!this.options.recursive) await this.notEntered(file, child, link)
        else if (link) links.push([file, child, deeper])
        else await this.files(file, child, deeper, there, links)
      } else if (there.isFile()) {
        const input = { name: child, ...(typeof file === 'string' ? {} : { path: file }), folder, below }
        // A link to a photo in the same folder is that photo once more.
        if (link) later.push(() => this.file(input, text, there))
        else await this.file(input, text, there)
      } else this.count('neither file nor folder')
    }
    for (const look of later) await look()
  }

  /** What is in a folder; one below that cannot be read is said, and the others are looked at. */
  private async entries(path: FilePath, name: string, below: string): Promise<FilePath[]> {
    try {
      return await entriesOf(path, name)
    } catch (error) {
      if (below === '' || !(error instanceof PhotoError)) throw error
      this.left.push({ name, problem: `is a folder that ${error.problem}`, advice: error.advice, photos: 1 })
      return []
    }
  }

  private async file(input: Input, entry: string, info: Stats): Promise<void> {
    const { name } = input
    const known = this.seen.get(keyOfFile(info, name))
    if (known !== undefined) {
      if (known !== name) this.notes.push(`${shown(name)} is ${shown(known)} once more; it counts once`)
      return
    }
    let found: FileClass
    try {
      found = await classifyFile(pathOf(input))
    } catch (error) {
      this.unopened(name, error)
      return
    }
    if (found.kind === 'video') this.videos.push(name)
    else if (found.kind === 'sidecar' || found.kind === 'other') this.count(found.what)
    else if (!this.options.again && isResultName(entry, this.options.suffixes)) this.results.push(name)
    else if (entry.startsWith('.') && !this.options.hidden) {
      this.left.push({ name, problem: 'is hidden', advice: this.advice.hidden, photos: 1 })
    } else if (this.options.onlyText && input.path) {
      this.left.push({ name, problem: 'has a name that is not UTF-8', advice: 'rename it (`convmv`)', photos: 1 })
    } else if (found.kind === 'unreadable' && !isInput(found, this.options)) {
      this.left.push({ name, problem: found.problem, advice: found.advice, photos: 1 })
    } else {
      this.seen.set(keyOfFile(info, name), name)
      this.inputs.push({ ...input, ...formatOf(found) })
    }
  }

  /** What could not be opened may be a photo if it is called one; else it is said, too. */
  private unopened(name: string, error: unknown): void {
    const why = error instanceof DanglingError ? error.explanation : whyUnread(error)
    const isLink = error instanceof DanglingError || codeOf(error) === 'ELOOP'
    if (isLink && !isPictureName(name)) this.notes.push(`${shown(name)} ${why.problem}`)
    else this.left.push({ name, ...why, photos: 1 })
  }

  private leavesOut(entry: string, name: string): boolean {
    const hidden = entry.startsWith('.') && !this.options.hidden
    if (!hidden && !PROGRAM_FOLDERS.includes(entry)) return false
    if (PROGRAM_FOLDERS.includes(entry)) this.programs.push(name)
    else this.notes.push(`${shown(name)} is a hidden folder, not looked into; ${this.advice.hidden}`)
    return true
  }

  /** A folder below, without `--recursive`: how many photos lie in it, and in folders in it. */
  private async notEntered(path: FilePath, name: string, link: boolean): Promise<void> {
    if (link) {
      this.notes.push(`${shown(name)} is a link to a folder, not looked into; ${this.advice.recursive}`)
      return
    }
    const photos: string[] = []
    const whole = await this.collect(path, name, photos).catch(notRead)
    if (photos.length === 0) {
      if (!whole) this.notes.push(`${shown(name)} is a folder, not looked into; ${this.advice.recursive}`)
      return
    }
    const count = `${whole ? '' : 'at least '}${counted(photos.length, 'photo')}`
    const problem = `is a folder with ${count} (${some(photos.map((photo) => relative(name, photo)))}), not looked into`
    this.left.push({ name, problem, advice: this.advice.recursive, photos: photos.length })
  }

  /** Adds the photos in a folder and below; false if there are more, or some could not be looked at. Links are not followed. */
  private async collect(path: FilePath, name: string, photos: string[]): Promise<boolean> {
    let whole = true
    for (const entry of await entriesOf(path, name)) {
      this.options.signal?.throwIfAborted()
      if (photos.length >= MOST_COUNTED) return false
      const [text, file] = [textOf(entry), joined(path, entry)]
      const what = await lookAt(file)
      if ('error' in what || what.link || isProgramFolder(text)) continue
      const child = join(name, text)
      if (what.info.isDirectory()) {
        if (keyOf(what.info) === this.except) continue
        whole = (await this.collect(file, child, photos).catch(notRead)) && whole
      } else if (what.info.isFile() && !isResultName(text, this.options.again ? [] : this.options.suffixes)) {
        const found = await classifyFile(file).catch(() => undefined)
        if (found?.kind === 'photo' || found?.kind === 'unreadable') photos.push(child)
      }
    }
    return whole
  }

  private count(what: string): void {
    this.others.set(what, (this.others.get(what) ?? 0) + 1)
  }
}

/** A file with several names of its own has a result for each; links to it are one photo with it. */
const keyOfFile = (info: Stats, name: string): string => keyOf(info) + (info.nlink > 1 ? `:${basename(name)}` : '')

const isInput = (found: FileClass, { rawPreview = false }: ListOptions): boolean =>
  found.kind === 'photo' || (found.kind === 'unreadable' && rawPreview && found.rawPreview === true)

const formatOf = (found: FileClass): { format?: PhotoFormat } =>
  found.kind === 'photo' ? { format: found.format } : {}

/** A file that was named and is no photo. */
function noPhoto(name: string, found: Exclude<FileClass, { kind: 'photo' }>): PhotoError {
  if (found.kind === 'unreadable') return new PhotoError(name, found.problem, found.advice)
  return new PhotoError(name, `is not a photo in a known format (${found.what})`, 'name a photo')
}

/** Node hands on arguments as UTF-8, in which other bytes are lost. */
function unreadNamed(name: string, error: unknown): Explanation {
  if (!name.includes('\ufffd') || codeOf(error) !== 'ENOENT') return whyUnread(error)
  return {
    problem: 'does not exist, or has a name that is not UTF-8',
    advice: 'name its folder, list it with --files-from, or pipe it (`lowkey-gpu protect - < FILE`)',
  }
}

/** A folder that cannot be read is one of which not everything is known. */
function notRead(error: unknown): false {
  if (error instanceof PhotoError) return false
  throw error
}

/** `1 photo`, `3 photos`. */
const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

/** The first of some names. */
const some = (names: readonly string[]): string =>
  names.slice(0, MOST_NAMED).map(shown).join(', ') + (names.length > MOST_NAMED ? ', ...' : '')
