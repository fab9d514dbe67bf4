/** The rows of a ledger: one JSON object a line. */
import type { Shard } from './shard.ts'

/** What came of a photo. */
export type Outcome = 'protected' | 'without a face' | 'failed' | 'left alone' | 'earlier result'

/** A file as it was: its SHA-256 in hexadecimal digits and its length. */
export interface Content {
  sha256: string
  bytes: number
}

/** The first row: which task wrote this ledger. */
export interface TaskRow {
  row: 'task'
  /** Version of this format. */
  ledger: 1
  version: string
  host: string
  pid: number
  /** ISO 8601, UTC, as all times here. */
  at: string
  shard?: Shard & { engine?: string; from?: string }
  /** Key of what decides the bytes of a result, beside the photo itself: `made` in words. */
  settings: string
  made: object
}

/** The task begins to work on a photo. */
export interface BegunRow {
  row: 'begun'
  /** Path relative to the folder that was named, with / between folders. */
  photo: string
  at: string
}

/** A recogniser's cosine similarities of a face. */
export interface Similarity {
  id: string
  heldOut: boolean
  threshold: number
  before: number
  after: number
}

export interface LedgerFace {
  /** x1, y1, x2, y2 in pixels of the photo. */
  box: readonly number[]
  recognisers: readonly Similarity[]
  /** It was found again in the result; if not, `after` is of its old place, which is no verdict. */
  foundAgain: boolean
  sure: boolean
  /** How many protected faces of the same person it was kept apart from, and those that it still matches. */
  apart?: { from: number; matches: readonly { photo: string; recognisers: readonly string[] }[] }
}

/**
 * What came of a photo. `saving` is written before its file gets its name, and has what follows from that: a task that is killed between
 * the two leaves enough to know the result by. `photo` is written when the result is there.
 */
export interface PhotoRow {
  row: 'photo' | 'saving'
  photo: string
  outcome: Outcome
  at: string
  settings: string
  input?: Content
  /** The result, or the unprotected copy; `path` is relative to the ledger's folder, with / between folders. */
  output?: Content & { path: string }
  adapter?: string
  seconds?: number
  lpips?: number
  psnr?: number
  faces?: readonly LedgerFace[]
  /** Places that may be faces and stay as they are: x1, y1, x2, y2 in pixels of the photo. */
  mayBe?: readonly (readonly number[])[]
  warnings?: readonly string[]
  /** Why there is no result. `retry`: another try, on another machine or later, may do better. */
  error?: { code: number; message: string; retry: boolean }
  /** How many photos, where a folder could not be looked into. */
  photos?: number
}

/** The last row of a task that ended by itself: with its exit code. */
export interface EndRow {
  row: 'end'
  code: number
  at: string
  /** Photos of the shard that were not done. */
  notDone: number
  /** Photos that earlier tasks had done. */
  before: number
}

export type LedgerRow = TaskRow | BegunRow | PhotoRow | EndRow
