/** What all tasks of a run did, joined from their ledgers. */
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { stillMatches } from '../attack/verdict.ts'
import { rowsOf } from './ledger.ts'
import type { LedgerFace, Outcome, PhotoRow, TaskRow } from './rows.ts'

/** Exit codes of tasks that tried all their photos; 6 says that a place may be a face. */
const ENDED = [0, 1, 2, 3, 6]

/** Bins of the histograms of similarity, over -1 to 1. */
export const BINS = 80

/** A photo that came to no result, and why. */
export interface Unprotected {
  photo: string
  code: number | null
  message: string
  /** Another try may do better. */
  retry: boolean
}

/** A face that a recogniser still takes for the person. */
export interface StillMatching {
  photo: string
  /** Where the result lies, relative to its ledger's folder. */
  output: string
  /** x1, y1, x2, y2 in pixels of the photo. */
  box: readonly number[]
  recognisers: { id: string; heldOut: boolean; after: number; threshold: number }[]
}

/** A photo with places that may be faces, which stay as they are. */
export interface MayBeFaces {
  photo: string
  /** x1, y1, x2, y2 of each in pixels of the photo. */
  boxes: readonly (readonly number[])[]
}

/** The similarity of faces with themselves that one recogniser sees: cosines. */
export interface RecogniserSummary {
  id: string
  heldOut: boolean
  threshold: number
  faces: number
  stillMatch: number
  meanBefore: number
  meanAfter: number
  medianAfter: number
  worstAfter: number
  /** Faces by the similarity that is left, in BINS equal bins from -1 to 1. */
  histogram: number[]
}

export interface AdapterSummary {
  name: string
  photos: number
  /** Of work, summed over tasks. */
  seconds: number
}

export interface RunSummary {
  format: 'lowkey-gpu run'
  version: 1
  ledgers: number
  /** Lines that are no rows: of tasks that were killed while they wrote, or damage. */
  damagedLines: number
  tasks: {
    count: number
    hosts: number
    /** By themselves, with all photos tried. */
    ended: number
    /** By SIGTERM, SIGINT or a lost GPU, by their exit codes. */
    stopped: Record<string, number>
    /** They were killed, or still run. */
    withoutEnd: number
    /** Shards of the latest division that wrote no ledger: they had nothing to do, or never ran. */
    shardsWithout: number[]
  }
  photos: {
    protected: number
    withoutFace: number
    failed: number
    leftAlone: number
    earlierResults: number
    /** Begun by a task that wrote no more of them. */
    unfinished: number
  }
  /** Photos that were protected by more than one task, or again. */
  again: number
  /** Versions of program and settings that made the results, with how many each. */
  settings: { key: string; version: string; strength: string; photos: number }[]
  faces: number
  /** Faces that were not found again in the result, which is no verdict. */
  notFoundAgain: number
  recognisers: RecogniserSummary[]
  stillMatch: StillMatching[]
  mayBe: MayBeFaces[]
  /** Visibility over photos. */
  lpips: { median: number; worst: number } | null
  psnr: { median: number; worst: number } | null
  seconds: { sum: number; median: number; longest: number } | null
  /** First and last time that the ledgers name, ISO 8601. */
  from: string | null
  to: string | null
  adapters: AdapterSummary[]
  failed: Unprotected[]
  withoutFace: Unprotected[]
  leftAlone: Unprotected[]
  unfinished: string[]
}

/** The last word on a photo. */
interface Last {
  photo: string
  folder: string
  at: string
  outcome: Outcome
  row: PhotoRow
}

/** Reads ledgers and joins them: of a photo the last word counts. Throws PhotoError for a ledger that cannot be read. */
export function summarise(paths: readonly string[]): RunSummary {
  const tasks: { task?: TaskRow; code?: number }[] = []
  const last = new Map<string, Last>()
  const begun = new Map<string, string>()
  const made = new Map<string, number>()
  let [from, to]: (string | null)[] = [null, null]
  let damagedLines = 0
  for (const path of paths) {
    const folder = dirname(path)
    const task: (typeof tasks)[number] = {}
    const saving = new Map<string, PhotoRow>()
    for (const row of rowsOf(path)) {
      if (row === undefined) {
        damagedLines++
        continue
      }
      if (from === null || row.at < from) from = row.at
      if (to === null || row.at > to) to = row.at
      if (row.row === 'task') task.task = row
      else if (row.row === 'end') task.code = row.code
      else {
        const key = keyOf(folder, row)
        if (row.row === 'begun') {
          if (!last.has(key)) begun.set(key, row.photo)
          continue
        }
        if (row.row === 'saving') {
          saving.set(key, row)
          continue
        }
        saving.delete(key)
        begun.delete(key)
        if (row.outcome === 'protected') made.set(key, (made.get(key) ?? 0) + 1)
        keep(last, folder, row)
      }
    }
    // What has no other row had its name when the task was killed, or had it not yet.
    for (const [key, row] of saving) {
      if (!isThere(folder, row)) continue
      begun.delete(key)
      keep(last, folder, row)
    }
    tasks.push(task)
  }
  const photos = [...last.values()].sort((a, b) => (a.photo < b.photo ? -1 : 1))
  return {
    ...{ format: 'lowkey-gpu run', version: 1, ledgers: paths.length, damagedLines },
    tasks: tasksOf(tasks),
    ...ofPhotos(photos, [...begun.values()].sort()),
    again: [...made.values()].filter((count) => count > 1).length,
    settings: settingsOf(photos, tasks),
    mayBe: photos.flatMap(({ photo, row: { mayBe } }) => (mayBe ? [{ photo, boxes: mayBe }] : [])),
    ...ofResults(photos.filter(({ outcome }) => outcome === 'protected').map(({ row }) => row)),
    from,
    to,
  }
}

const keyOf = (folder: string, { photo }: { photo: string }): string => `${folder}\0${photo}`

/** Of two rows about a photo the later one is its last word. */
function keep(last: Map<string, Last>, folder: string, row: PhotoRow): void {
  const { photo, at, outcome } = row
  const known = last.get(keyOf(folder, row))
  if (!known || known.at <= at) last.set(keyOf(folder, row), { photo, folder, at, outcome, row })
}

/** A task that was killed when its result had its name, and not yet its row. */
function isThere(folder: string, { output }: PhotoRow): boolean {
  if (!output) return false
  return statSync(join(folder, output.path), { throwIfNoEntry: false })?.size === output.bytes
}

function tasksOf(tasks: readonly { task?: TaskRow; code?: number }[]): RunSummary['tasks'] {
  const stopped: Record<string, number> = {}
  let ended = 0
  for (const { code } of tasks) {
    if (code === undefined) continue
    if (ENDED.includes(code)) ended++
    else stopped[code] = (stopped[code] ?? 0) + 1
  }
  const rows = tasks.flatMap(({ task }) => (task ? [task] : []))
  const latest = rows.filter(({ shard }) => shard).sort((a, b) => (a.at < b.at ? 1 : -1))[0]?.shard?.count
  const there = new Set(rows.filter(({ shard }) => shard?.count === latest).map(({ shard }) => shard?.index))
  const all = Array.from({ length: latest ?? 0 }, (_, i) => i + 1)
  return {
    count: tasks.length,
    hosts: new Set(rows.map(({ host }) => host)).size,
    ended,
    stopped,
    withoutEnd: tasks.filter(({ code }) => code === undefined).length,
    shardsWithout: all.filter((index) => !there.has(index)),
  }
}

function ofPhotos(photos: readonly Last[], unfinished: string[]) {
  const of = (outcome: Outcome) => photos.filter((each) => each.outcome === outcome)
  const unprotected = (outcome: Outcome): Unprotected[] =>
    of(outcome).map(({ photo, row: { error, warnings } }) => {
      const message = error?.message ?? warnings?.join('; ') ?? ''
      return { photo, code: error?.code ?? null, message, retry: error?.retry ?? false }
    })
  const leftAlone = of('left alone').reduce((sum, { row }) => sum + (row.photos ?? 1), 0)
  return {
    photos: {
      protected: of('protected').length,
      withoutFace: of('without a face').length,
      failed: of('failed').length,
      leftAlone,
      earlierResults: of('earlier result').length,
      unfinished: unfinished.length,
    },
    failed: unprotected('failed'),
    withoutFace: unprotected('without a face'),
    leftAlone: unprotected('left alone'),
    unfinished,
  }
}

function settingsOf(photos: readonly Last[], tasks: readonly { task?: TaskRow }[]): RunSummary['settings'] {
  const counts = new Map<string, number>()
  for (const { outcome, row } of photos)
    if (outcome === 'protected') counts.set(row.settings, (counts.get(row.settings) ?? 0) + 1)
  return [...counts].map(([key, count]) => {
    const task = tasks.find((each) => each.task?.settings === key)?.task
    const preset = (task?.made as { preset?: { name?: string } } | undefined)?.preset
    return { key, version: task?.version ?? 'unknown', strength: preset?.name ?? 'unknown', photos: count }
  })
}

function ofResults(rows: readonly PhotoRow[]) {
  const faces = rows.flatMap((row) => (row.faces ?? []).map((face) => ({ row, face })))
  const numbers = (of: (row: PhotoRow) => number | undefined | null) =>
    rows.map(of).filter((value): value is number => typeof value === 'number')
  const [lpips, psnr] = [numbers((row) => row.lpips), numbers((row) => row.psnr)]
  const seconds = numbers((row) => row.seconds)
  return {
    faces: faces.length,
    notFoundAgain: faces.filter(({ face }) => !face.foundAgain).length,
    recognisers: recognisersOf(faces.map(({ face }) => face)),
    stillMatch: faces.flatMap(({ row, face }): StillMatching[] => {
      const still = face.recognisers.filter(stillMatches)
      if (still.length === 0) return []
      const recognisers = still.map(({ id, heldOut, after, threshold }) => ({ id, heldOut, after, threshold }))
      return [{ photo: row.photo, output: row.output?.path ?? '', box: face.box, recognisers }]
    }),
    lpips: lpips.length > 0 ? { median: median(lpips), worst: greatest(lpips) } : null,
    psnr: psnr.length > 0 ? { median: median(psnr), worst: -greatest(psnr.map((value) => -value)) } : null,
    seconds:
      seconds.length > 0
        ? { sum: seconds.reduce((a, b) => a + b, 0), median: median(seconds), longest: greatest(seconds) }
        : null,
    adapters: adaptersOf(rows),
  }
}

function recognisersOf(faces: readonly LedgerFace[]): RecogniserSummary[] {
  const all = new Map<string, LedgerFace['recognisers'][number][]>()
  for (const { recognisers } of faces) {
    for (const each of recognisers) {
      const key = `${each.id}\0${each.heldOut}`
      const known = all.get(key)
      if (known) known.push(each)
      else all.set(key, [each])
    }
  }
  return [...all.values()].map((rows) => {
    const { id, heldOut, threshold } = rows[0]
    const after = rows.map((row) => row.after)
    const histogram = new Array<number>(BINS).fill(0)
    for (const value of after) histogram[Math.min(BINS - 1, Math.max(0, Math.floor(((value + 1) / 2) * BINS)))]++
    return {
      ...{ id, heldOut, threshold, faces: rows.length },
      stillMatch: rows.filter((row) => row.after >= row.threshold).length,
      meanBefore: mean(rows.map(({ before }) => before)),
      meanAfter: mean(after),
      medianAfter: median(after),
      worstAfter: greatest(after),
      histogram,
    }
  })
}

function adaptersOf(rows: readonly PhotoRow[]): AdapterSummary[] {
  const all = new Map<string, AdapterSummary>()
  for (const { adapter: name = 'unknown', seconds = 0 } of rows) {
    const known = all.get(name) ?? { name, photos: 0, seconds: 0 }
    all.set(name, { name, photos: known.photos + 1, seconds: known.seconds + seconds })
  }
  return [...all.values()].sort((a, b) => b.photos - a.photos)
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
const greatest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b))

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
