/** Ledgers beside results: what tasks did, so that others leave it alone and a person can read it. One file a task. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { codeOf, OutputError, PhotoError, shown, whyUnread, whyUnwritten } from '../images/index.ts'
import type { LedgerRow, PhotoRow, TaskRow } from './rows.ts'
import type { EngineTask } from './engines.ts'
import type { Shard } from './shard.ts'

const PREFIX = 'lowkey-ledger'
const SUFFIX = '.jsonl'

/** Whether a file is called as ledgers are. */
export const isLedgerName = (name: string): boolean => name.startsWith(PREFIX) && name.endsWith(SUFFIX)

/** A key of anything that JSON can say: 16 hexadecimal digits. */
export const keyOfSettings = (made: object): string => sha256Of(JSON.stringify(made)).slice(0, 16)

export const sha256Of = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The time now, as rows have it. */
export const now = (): string => new Date().toISOString()

/** What a ledger holds. */
export interface LedgerFile {
  path: string
  rows: LedgerRow[]
  /** Lines that are no rows: the last one of a task that was killed while it wrote, or damage. */
  damaged: number
}

/** The ledgers of a folder, in the order of their names; none where there is no folder. Throws PhotoError for one that cannot be read. */
export function ledgersIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter(isLedgerName)
      .sort()
      .map((name) => join(folder, name))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw unread(folder, error)
  }
}

/** Reads a ledger. Throws PhotoError where it cannot be read. */
export function readLedger(path: string): LedgerFile {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw unread(path, error)
  }
  const rows: LedgerRow[] = []
  let damaged = 0
  for (const line of text.split('\n')) {
    if (line === '') continue
    const row = rowOf(line)
    if (row) rows.push(row)
    else damaged++
  }
  return { path, rows, damaged }
}

function rowOf(line: string): LedgerRow | undefined {
  try {
    const row = JSON.parse(line) as LedgerRow
    const known = row !== null && typeof row === 'object' && ['task', 'begun', 'saving', 'photo', 'end'].includes(row.row)
    return known && (row.row === 'task' || row.row === 'end' || typeof row.photo === 'string') ? row : undefined
  } catch {
    return undefined
  }
}

function unread(path: string, cause: unknown): PhotoError {
  const { problem, advice } = whyUnread(cause)
  return new PhotoError(path, problem, advice, { cause })
}

/** What earlier and other tasks wrote about photos. */
export class Records {
  private readonly folder: string
  /** Own rows are known already. */
  private readonly except: string | undefined
  private readonly photos = new Map<string, PhotoRow[]>()
  /** Beginnings without an end. */
  private readonly begun = new Map<string, number>()
  /** Lengths of the files when they were read last. */
  private readonly read = new Map<string, number>()

  constructor(folder: string, except?: string) {
    this.folder = folder
    this.except = except
    this.refresh()
  }

  /** Reads ledgers that grew or came since. Throws PhotoError for one that cannot be read. */
  refresh(): void {
    let changed = false
    const files = ledgersIn(this.folder).filter((path) => basename(path) !== this.except)
    for (const path of files) {
      const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
      if (this.read.get(path) !== size) changed = true
      this.read.set(path, size)
    }
    if (!changed) return
    this.photos.clear()
    this.begun.clear()
    for (const path of files) this.add(readLedger(path).rows)
  }

  private add(rows: readonly LedgerRow[]): void {
    const open = new Set<string>()
    for (const row of rows) {
      if (row.row === 'begun') open.add(row.photo)
      else if (row.row === 'photo' || row.row === 'saving') {
        open.delete(row.photo)
        const known = this.photos.get(row.photo)
        if (known) known.push(row)
        else this.photos.set(row.photo, [row])
      } else if (row.row === 'end') open.clear() // It was stopped, and knew it.
    }
    for (const photo of open) this.begun.set(photo, (this.begun.get(photo) ?? 0) + 1)
  }

  /** What was written about a photo, the oldest first of each task. */
  of(photo: string): readonly PhotoRow[] {
    return this.photos.get(photo) ?? []
  }

  /** How many tasks began with a photo and were never heard of again. */
  unfinished(photo: string): number {
    return this.begun.get(photo) ?? 0
  }
}

/** This task's own ledger. The file is made with the first row. */
export class Ledger {
  readonly path: string
  private readonly first: TaskRow
  private file: number | undefined

  /**
   * @param folder where results go
   * @param task which task of how many; undefined for one that does everything
   * @param made what decides the bytes of a result, beside the photo
   */
  constructor(folder: string, version: string, task: (Shard & Partial<EngineTask>) | undefined, made: object) {
    const at = now()
    // No two tasks have one file, also where an engine starts a task again whose first one still runs.
    const stamp = `${at.replace(/[-:]|\.\d+/g, '')}-${randomBytes(4).toString('hex')}`
    const digits = String(task?.count ?? 0).length
    const shard = task ? `-${String(task.index).padStart(digits, '0')}-of-${task.count}` : ''
    this.path = join(folder, `${PREFIX}${shard}-${stamp}${SUFFIX}`)
    this.first = {
      ...{ row: 'task', ledger: 1, version, host: hostname(), pid: process.pid, at },
      ...(task ? { shard: task } : {}),
      ...{ settings: keyOfSettings(made), made },
    }
  }

  get settings(): string {
    return this.first.settings
  }

  /** Adds rows and has them on the disk when it returns. Throws OutputError where they cannot be written. */
  write(...rows: readonly LedgerRow[]): void {
    try {
      const all = this.file === undefined ? [this.first, ...rows] : rows
      this.file ??= openSync(this.path, 'ax')
      const bytes = Buffer.from(all.map((row) => `${JSON.stringify(row)}\n`).join(''))
      for (let done = 0; done < bytes.length; ) done += writeSync(this.file, bytes, done)
      fsyncSync(this.file)
    } catch (cause) {
      const { problem, detail } = whyUnwritten(cause, shown(this.path))
      throw new OutputError(this.path, problem, detail, { cause })
    }
  }

  close(): void {
    if (this.file !== undefined) closeSync(this.file)
    this.file = undefined
  }
}
