/** Rows of `Plan.profile`: what each operation of a run took, and what it would take under the adapter's roofs. */
import type { Roofs } from '../device/roofs.ts'

/** Time of one operation of a run; see `Plan.profile`. */
export interface ProfileRow {
  op: string
  node: string
  /** Of the output. */
  shape: string
  variant: string
  microseconds: number
  /** Arithmetic, 10^9 operations a second. */
  gflops: number
  /** Memory traffic that the operation cannot do without, 10^9 bytes a second. */
  gbps: number
  /**
   * The least time that arithmetic or traffic take on this adapter, whichever is more, divided by the time it took: 0 to 1. Values that
   * stay in a cache, and algorithms with less arithmetic than the definition (Winograd), would be above; they count as 1.
   */
  shareOfRoof: number
  /** Which of the two takes more at least. */
  bound: 'arithmetic' | 'memory'
}

/** An operation's measured time, arithmetic and traffic, put under the roofs. */
export function underRoofs(
  { flop, bytes, microseconds }: { flop: number; bytes: number; microseconds: number },
  roofs: Roofs,
): Pick<ProfileRow, 'gflops' | 'gbps' | 'shareOfRoof' | 'bound'> {
  // Clocks tick in steps: a short dispatch may seem to take no time.
  const nanoseconds = Math.max(microseconds * 1000, 1)
  const arithmetic = flop / roofs.gflops
  const memory = bytes / roofs.gbps
  return {
    gflops: flop / nanoseconds,
    gbps: bytes / nanoseconds,
    shareOfRoof: Math.min(1, Math.max(arithmetic, memory) / nanoseconds),
    bound: arithmetic > memory ? 'arithmetic' : 'memory',
  }
}

/** Rows as a table for people, one line each, under a line of headings. */
export function formatProfile(rows: readonly ProfileRow[]): string {
  const cells = rows.map((row) => [
    row.op,
    row.node,
    row.shape,
    row.variant,
    row.microseconds.toFixed(1),
    row.gflops.toFixed(1),
    row.gbps.toFixed(1),
    `${(row.shareOfRoof * 100).toFixed(0)} %`,
    row.bound,
  ])
  const lines = [['operation', 'node', 'shape', 'kernel', 'µs', 'GFLOP/s', 'GB/s', 'of roof', 'bound'], ...cells]
  const widths = lines[0].map((_, k) => Math.max(...lines.map((line) => line[k].length)))
  const numbers = new Set([4, 5, 6, 7])
  return lines
    .map((line) => line.map((cell, k) => (numbers.has(k) ? cell.padStart(widths[k]) : cell.padEnd(widths[k]))))
    .map((line) => line.join('  ').trimEnd())
    .join('\n')
}
