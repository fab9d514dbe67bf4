/** What each operation of a run took, and what it would take under the adapter's roofs. */
import { BufferUsage, MAP_READ } from '../device/flags.ts'
import type { Gpu } from '../device/gpu.ts'
import { measureRoofs, type Roofs } from '../device/roofs.ts'
import { formatShape } from '../kernels/op.ts'
import { type Call, dispatch } from './calls.ts'
import type { Plan } from './plan.ts'

/** Time of one operation of a run; see `profile`. */
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

/** Dispatches of one query set: WebGPU allows 4096 timestamps in it. */
const PER_SET = 2048

/**
 * Runs a plan once with a timestamp around every dispatch: a row an operation, slowest first, beside the adapter's roofs, which are
 * measured before the first profile of a device. Each dispatch is a pass of its own here, so the total is above a run's time. Updates are
 * not made.
 * @throws Error where the adapter has no `timestamp-query`; PlanDestroyedError, PlanOrderError as `plan.run`.
 */
export async function profile<In extends string, Out extends string>(plan: Plan<In, Out>): Promise<ProfileRow[]> {
  const { gpu } = plan
  const { timestamps, description } = gpu.capabilities
  plan.calls() // what is wrong with the plan is said before anything is measured
  if (!timestamps) throw new Error(`profile: ${description} has no timestamp-query`)
  const roofs = await measureRoofs(gpu)
  // All is submitted before anything is waited for: what the plan is told meanwhile has no part in it.
  const calls = plan.calls()
  const sets: TimedCalls[] = []
  for (let start = 0; start < calls.length; start += PER_SET)
    sets.push(timeCalls(gpu, calls.slice(start, start + PER_SET)))
  const rows = new Map<
    string,
    Omit<ProfileRow, keyof ReturnType<typeof underRoofs>> & { flop: number; bytes: number }
  >()
  try {
    for (const { calls: timed, staging } of sets) {
      await gpu.settle(staging.mapAsync(MAP_READ))
      const times = new BigUint64Array(staging.getMappedRange())
      timed.forEach(({ placed }, i) => {
        const key = `${placed.node.id}`
        const row = rows.get(key) ?? {
          op: placed.node.op?.name ?? '',
          node: placed.node.name,
          shape: formatShape(placed.node.shape),
          variant: placed.variant,
          microseconds: 0,
          flop: 0,
          bytes: 0,
        }
        row.microseconds += Number(times[2 * i + 1] - times[2 * i]) / 1000
        row.flop += placed.flop
        row.bytes += placed.bytes
        rows.set(key, row)
      })
    }
  } finally {
    for (const { destroy } of sets) destroy()
  }
  return [...rows.values()]
    .map(({ flop, bytes, ...row }) => ({ ...row, ...underRoofs({ flop, bytes, ...row }, roofs) }))
    .sort((a, b) => b.microseconds - a.microseconds)
}

/** Dispatches that were submitted, and where their timestamps will be: beginning and end of each. */
interface TimedCalls {
  calls: readonly Call[]
  staging: GPUBuffer
  destroy(): void
}

function timeCalls({ device }: Gpu, calls: readonly Call[]): TimedCalls {
  const size = calls.length * 16
  const querySet = device.createQuerySet({ type: 'timestamp', count: calls.length * 2 })
  const resolved = device.createBuffer({ size, usage: BufferUsage.QUERY_RESOLVE | BufferUsage.COPY_SRC })
  const staging = device.createBuffer({ size, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
  const encoder = device.createCommandEncoder()
  calls.forEach((call, i) => {
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
    })
    dispatch(pass, call)
    pass.end()
  })
  encoder.resolveQuerySet(querySet, 0, calls.length * 2, resolved, 0)
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size)
  device.queue.submit([encoder.finish()])
  const destroy = () => {
    for (const each of [staging, resolved, querySet]) each.destroy()
  }
  return { calls, staging, destroy }
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
