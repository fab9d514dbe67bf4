/** Ledgers beside results: what tasks did, so that others leave it alone and a person can read it. One file a task. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readdirSync, readSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { codeOf, OutputError, PhotoError, shown, whyUnread, whyUnwritten } from '../images/index.ts'
import type { EngineTask } from './engines.ts'
import type { LedgerRow, TaskRow } from './rows.ts'
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

const CHUNK_BYTES = 2 ** 20
const LINE_END = 0x0a

/**
 * The rows of a ledger; undefined for a line that is none: the last one of a task that was killed while it wrote it, or damage. Throws
 * PhotoError where it cannot be read.
 */
export function* rowsOf(path: string): Generator<LedgerRow | undefined> {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    let rest = Buffer.alloc(0)
    for (let length = readSync(file, chunk); length > 0; length = readSync(file, chunk)) {
      rest = Buffer.concat([rest, chunk.subarray(0, length)])
      let start = 0
      for (let end = rest.indexOf(LINE_END); end >= 0; end = rest.indexOf(LINE_END, start)) {
        if (end > start) yield rowOf(rest.toString('utf8', start, end))
        start = end + 1
      }
      rest = rest.subarray(start)
    }
    if (rest.length > 0) yield rowOf(rest.toString())
  } catch (error) {
    throw error instanceof PhotoError ? error : unread(path, error)
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

function rowOf(line: string): LedgerRow | undefined {
  try {
    const row = JSON.parse(line) as LedgerRow
    const known =
      row !== null && typeof row === 'object' && ['task', 'begun', 'saving', 'photo', 'end'].includes(row.row)
    return known && (row.row === 'task' || row.row === 'end' || typeof row.photo === 'string') ? row : undefined
  } catch {
    return undefined
  }
}

function unread(path: string, cause: unknown): PhotoError {
  const { problem, advice } = whyUnread(cause)
  return new PhotoError(path, problem, advice, { cause })
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
    const stamp = `${at.replace(/[-:.]/g, '')}-${randomBytes(4).toString('hex')}`
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
