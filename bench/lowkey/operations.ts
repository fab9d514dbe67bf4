/** A step against the sum of what its operations take by themselves. */
import { type Plan, profile } from '../../src/graph/index.ts'
import { spreadOf } from './timing.ts'

export interface OperationShare {
  op: string
  /** How many of the step's operations are of this kind. */
  count: number
  ms: number
  /** Of the sum. */
  share: number
  /** Arithmetic by the operations' definitions, 10^9 operations a second. */
  gflops: number
}

export interface OperationSum {
  /** Each operation timed between two timestamps, with a barrier on either side; median over the profiles. */
  sumMs: number
  /** A step's time divided by the sum: above 1 is what lies between the operations, below 1 what overlaps. */
  ratio: number
  operations: OperationShare[]
}

/**
 * Times every operation of a plan's step. Undefined where the adapter has no timestamps.
 * @param msPerStep what the step takes as a whole
 * @param profiles that the median is taken of
 */
export async function operationsOf(plan: Plan, msPerStep: number, profiles: number): Promise<OperationSum | undefined> {
  if (!plan.gpu.capabilities.timestamps) return undefined
  const sums: number[] = []
  const kinds = new Map<string, { count: number; ms: number; gflop: number }>()
  for (let i = 0; i < profiles; i++) {
    const rows = await profile(plan)
    sums.push(rows.reduce((sum, row) => sum + row.microseconds, 0) / 1000)
    for (const { op, microseconds, gflops } of rows) {
      const kind = kinds.get(op) ?? { count: 0, ms: 0, gflop: 0 }
      kind.count += 1 / profiles
      kind.ms += microseconds / 1000 / profiles
      kind.gflop += (gflops * microseconds) / 1e6 / profiles
      kinds.set(op, kind)
    }
  }
  const total = [...kinds.values()].reduce((sum, { ms }) => sum + ms, 0)
  const sumMs = spreadOf(sums).median
  const operations = [...kinds]
    .map(([op, { count, ms, gflop }]) => {
      return { op, count: Math.round(count), ms, share: ms / total, gflops: gflop / (ms / 1000) }
    })
    .sort((a, b) => b.ms - a.ms)
  return { sumMs, ratio: msPerStep / sumMs, operations }
}
