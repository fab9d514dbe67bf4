/** What all tasks wrote about photos, as far as it decides what is left to do. */
import { statSync } from 'node:fs'
import { ledgersIn, rowsOf } from './ledger.ts'
import type { Content, LedgerRow, Outcome, PhotoRow } from './rows.ts'

/** The part of a photo's row that is kept: archives have many. */
export interface Known {
  outcome: Outcome
  settings: string
  /** Of the photo that was read; undefined where it could not be. */
  sha256: string | undefined
  /** The result, or the copy. */
  output: (Content & { path: string }) | undefined
  /** There is no result, and another try would end in the same way. */
  final: boolean
  error: PhotoRow['error']
  /** How many places may be faces and stayed as they are. */
  mayBe: number
}

export class Records {
  private readonly folder: string
  private readonly wanted: (photo: string) => boolean
  private readonly photos = new Map<string, Known[]>()
  private readonly begun = new Map<string, number>()
  /** Lengths of the files when they were read last. */
  private read = new Map<string, number>()

  /**
   * Reads the ledgers of a folder. Throws PhotoError for one that cannot be read.
   *
   * @param wanted of which photos
   */
  constructor(folder: string, wanted: (photo: string) => boolean = () => true) {
    this.folder = folder
    this.wanted = wanted
    this.refresh()
  }

  /** Reads them again where one grew or came since. Throws as the constructor. */
  refresh(): void {
    const files = new Map(
      ledgersIn(this.folder).map((path) => [path, statSync(path, { throwIfNoEntry: false })?.size ?? 0]),
    )
    const same = files.size === this.read.size && [...files].every(([path, size]) => this.read.get(path) === size)
    if (same) return
    this.read = files
    this.photos.clear()
    this.begun.clear()
    for (const path of files.keys()) this.add(rowsOf(path))
  }

  private add(rows: Iterable<LedgerRow | undefined>): void {
    const open = new Set<string>()
    for (const row of rows) {
      if (row === undefined || row.row === 'task') continue
      // A task that ended by itself was stopped, and did not die of a photo.
      if (row.row === 'end') open.clear()
      else if (!this.wanted(row.photo)) continue
      else if (row.row === 'begun') open.add(row.photo)
      else {
        open.delete(row.photo)
        const known = this.photos.get(row.photo)
        if (known) known.push(shortened(row))
        else this.photos.set(row.photo, [shortened(row)])
      }
    }
    for (const photo of open) this.begun.set(photo, (this.begun.get(photo) ?? 0) + 1)
  }

  /** What was written about a photo; of each task the oldest first. */
  of(photo: string): readonly Known[] {
    return this.photos.get(photo) ?? []
  }

  /** How many tasks began with a photo and were not heard of again: they were killed, or still run. */
  unfinished(photo: string): number {
    return this.begun.get(photo) ?? 0
  }
}

function shortened({ row, outcome, settings, input, output, error, mayBe }: PhotoRow): Known {
  const ended = ['without a face', 'failed', 'earlier result'].includes(outcome)
  const final = row === 'photo' && ended && output === undefined && !error?.retry
  return { outcome, settings, sha256: input?.sha256, output, final, error, mayBe: mayBe?.length ?? 0 }
}
