/** One task of many: its part of the photos, what earlier tasks did of it, and the ledger in which it says what it did. */
import { basename, join, normalize, relative, sep } from 'node:path'
import type { Protection } from '../../attack/protect.ts'
import { Ledger, now, sha256Of } from '../../batch/ledger.ts'
import { type Known, Records } from '../../batch/records.ts'
import { contentOf, settledBy, writerOf } from '../../batch/resume.ts'
import type { Content, LedgerRow, Outcome, PhotoRow } from '../../batch/rows.ts'
import { shardOf } from '../../batch/shard.ts'
import { adapterName, type Gpu } from '../../device/node.ts'
import { OutputError, type Photo } from '../../images/index.ts'
import { type Input, type LeftAlone, type Listing, nameOf, pathOf } from '../listing.ts'
import { type FilePath, textOf } from '../paths.ts'
import { version } from '../version.ts'
import type { ProtectArguments } from './options.ts'
import type { Target } from './results.ts'
import { settingsOf } from './settings.ts'

/** So many tasks that began with a photo and were killed are worth a word: it may be chance, or the photo. */
const MANY_TRIES = 3

/** A photo's path in what was named, the same wherever that lies: with / between folders. */
export function photoOf({ name, folder, below = '' }: Input): string {
  const path = folder === undefined ? normalize(name) : join(below, basename(name))
  return sep === '/' ? path : path.replaceAll(sep, '/')
}

/** Throws away what other shards have. What is said of all files, and not of a photo, the first shard says. */
export function shardListing<T extends Omit<Listing, 'inputs'>>(
  found: T,
  paths: readonly FilePath[],
  { index, count }: { index: number; count: number },
): T {
  const isMine = (photo: string) => shardOf(photo, count) === index
  const first = index === 1
  return {
    ...found,
    failed: found.failed.filter(({ input }) => isMine(photoOf(input))),
    left: found.left.filter((left) => isMine(leftPath(left, paths))),
    results: first ? found.results : [],
    notes: first ? found.notes : [],
  }
}

/** The path in what was named of what is left alone. */
function leftPath({ name }: LeftAlone, paths: readonly FilePath[]): string {
  const below = paths.map((path) => relative(textOf(path), name)).find((path) => path !== '' && !path.startsWith('..'))
  const path = below ?? name
  return sep === '/' ? path : path.replaceAll(sep, '/')
}

export class ProtectTask {
  private readonly folder: string
  private readonly ledger: Ledger
  private readonly records: Records | undefined
  private readonly writes: boolean
  /** Whether a row was written. */
  private used = false

  private constructor(folder: string, ledger: Ledger, records: Records | undefined, writes: boolean) {
    this.folder = folder
    this.ledger = ledger
    this.records = records
    this.writes = writes
  }

  /** Throws as `settingsOf`; PhotoError for a ledger that cannot be read. */
  static async open(folder: string, options: ProtectArguments): Promise<ProtectTask> {
    const { shard, resume, dryRun } = options
    const ledger = new Ledger(folder, version, shard, await settingsOf(options))
    const isMine = shard && ((photo: string) => shardOf(photo, shard.count) === shard.index)
    const records = resume ? new Records(folder, isMine) : undefined
    return new ProtectTask(folder, ledger, records, !dryRun)
  }

  /** What was written about a photo and still holds. Rejects where its file cannot be read. */
  async settled(input: Input): Promise<Known | undefined> {
    const { records } = this
    const photo = photoOf(input)
    // Of what can be read only once nothing is known before its turn.
    if (!records || input.format === undefined || records.of(photo).length === 0) return undefined
    return settledBy(records, photo, await contentOf(pathOf(input)), this.ledger.settings, this.folder)
  }

  /** The same, after looking at what others wrote meanwhile: a result is there that was not when this task began. */
  async settledMeanwhile(input: Input): Promise<Known | undefined> {
    this.records?.refresh()
    return this.settled(input).catch(() => undefined)
  }

  /** What to say of photos with which tasks were killed again and again, as sentences. */
  suspicions(inputs: readonly Input[]): string[] {
    return inputs.flatMap((input) => {
      const tries = this.records?.unfinished(photoOf(input)) ?? 0
      if (tries < MANY_TRIES) return []
      const why = 'it comes last, for it may be what ends them'
      return [`${nameOf(input)}: ${tries} tasks began with it and were not heard of again; ${why}`]
    })
  }

  /** Photos with which no task was killed, or is at work, come first: one that kills tasks then holds up no other. */
  ordered(inputs: readonly Input[]): Input[] {
    const tries = (input: Input) => this.records?.unfinished(photoOf(input)) ?? 0
    return inputs.toSorted((a, b) => tries(a) - tries(b))
  }

  /** What to say of a result that is there and not to be replaced, where a ledger knows it. */
  async explained(input: Input, { path }: Target, error: unknown): Promise<unknown> {
    if (!this.records || !(error instanceof OutputError) || error.problem !== 'exists') return error
    const known = await writerOf(this.records, photoOf(input), this.inFolder(path), this.folder)
    if (!known) return error
    const other = known.settings === this.ledger.settings ? 'from another state of the photo' : 'with other settings'
    return new OutputError(path, 'exists', `was made ${other}, by the ledger: --overwrite replaces it`)
  }

  begun(input: Input): void {
    this.write({ row: 'begun', photo: photoOf(input), at: now() })
  }

  /** What came of a photo. `saving`: its file is about to get its name. */
  came(input: Input, outcome: Outcome, rest: Partial<PhotoRow>, row: PhotoRow['row'] = 'photo'): void {
    this.write(this.row(photoOf(input), outcome, rest, row))
  }

  /** What is not looked into, or no photo that can be read; not said twice. */
  leftAlone(left: LeftAlone, paths: readonly FilePath[]): void {
    const photo = leftPath(left, paths)
    const message = `${left.problem}: ${left.advice}`
    if (this.records?.of(photo).some(({ error }) => error?.message === message)) return
    this.write(this.row(photo, 'left alone', { error: { code: 1, message, retry: false }, photos: left.photos }))
  }

  /** A file in the folder of the results. */
  output(path: string, bytes: Uint8Array): PhotoRow['output'] {
    return { path: this.inFolder(path), sha256: sha256Of(bytes), bytes: bytes.length }
  }

  /** The task ends by itself. Nothing is written where it did nothing. */
  end(code: number, notDone: number, before: number): void {
    if (this.used) this.write({ row: 'end', code, at: now(), notDone, before })
    this.ledger.close()
  }

  private inFolder(path: string): string {
    const inside = relative(this.folder, path)
    return sep === '/' ? inside : inside.replaceAll(sep, '/')
  }

  private row(photo: string, outcome: Outcome, rest: Partial<PhotoRow>, row: PhotoRow['row'] = 'photo'): PhotoRow {
    return { row, photo, outcome, at: now(), settings: this.ledger.settings, ...rest }
  }

  private write(row: LedgerRow): void {
    if (!this.writes) return
    this.used = true
    this.ledger.write(row)
  }
}

/** A photo that was protected, what was done, and where. */
export interface ProtectedPhoto {
  /** As it was read; its warnings are those of the result. */
  photo: Photo
  protection: Protection
  seconds: number
  gpu: Gpu
}

/** What a ledger keeps of a protected photo. */
export function rowOf(
  { photo, protection, seconds, gpu: { capabilities } }: ProtectedPhoto,
  input: Content,
  output: PhotoRow['output'],
): Partial<PhotoRow> {
  const { faces, left, lpips, psnr } = protection
  return {
    ...{ input, output, adapter: adapterName(capabilities), seconds, lpips, psnr },
    faces: faces.map(({ box, recognisers, foundAgain, sure, apart }) => ({
      box,
      recognisers,
      foundAgain,
      sure,
      apart,
    })),
    ...mayBeIn(left.weak),
    warnings: [...(photo.warnings ?? []), ...protection.warnings],
  }
}

/** A row's part about places that may be faces; nothing where there are none. */
export const mayBeIn = (weak: readonly { box: readonly number[] }[]): Pick<PhotoRow, 'mayBe'> =>
  weak.length > 0 ? { mayBe: weak.map(({ box }) => box) } : {}
