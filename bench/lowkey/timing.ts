/** Times as they are reported: medians with their spread. */

/** Milliseconds, or whatever was sampled. */
export interface Spread {
  median: number
  /** A quarter of the samples are at most the first, a quarter at least the second. */
  quartiles: readonly [number, number]
  samples: number
}

/** The sample at a share of the way through the sorted ones, between two of them in proportion. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (at - below) * (sorted[above] - sorted[below])
}

/** Throws RangeError for no samples. */
export function spreadOf(samples: readonly number[]): Spread {
  if (samples.length === 0) throw new RangeError('spreadOf: there are no samples')
  const sorted = samples.toSorted((a, b) => a - b)
  return {
    median: quantile(sorted, 0.5),
    quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)],
    samples: sorted.length,
  }
}

/** Seconds that a piece of work takes, and what it gives. */
export async function timed<T>(work: () => T | Promise<T>): Promise<{ seconds: number; value: T }> {
  const start = performance.now()
  const value = await work()
  return { seconds: (performance.now() - start) / 1000, value }
}
