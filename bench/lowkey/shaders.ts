/** What the compilation of shaders takes, on drivers that do it when a shader first runs. */
import type { Gpu } from '../../src/device/gpu.ts'
import { watchShaders } from '../../src/graph/early.ts'

export interface ShaderSum {
  count: number
  /** All of them one after another; two are compiled at once. */
  seconds: number
  /** By the name of the kernel without what is computed in its stores, slowest first. */
  kernels: { name: string; count: number; seconds: number }[]
}

/** Counts the shaders that are compiled on a device from here on. */
export function shadersOf(gpu: Gpu): { sum(): ShaderSum } {
  const kernels = new Map<string, { count: number; seconds: number }>()
  watchShaders(gpu, (label, seconds) => {
    const name = label.split('+')[0]
    const before = kernels.get(name) ?? { count: 0, seconds: 0 }
    kernels.set(name, { count: before.count + 1, seconds: before.seconds + seconds })
  })
  return {
    sum() {
      const rows = [...kernels].map(([name, row]) => ({ name, ...row })).sort((a, b) => b.seconds - a.seconds)
      const total = (of: 'count' | 'seconds') => rows.reduce((n, row) => n + row[of], 0)
      return { count: total('count'), seconds: total('seconds'), kernels: rows }
    },
  }
}
