/** The form of bench/results/scale.json, which `node bench/scale.ts --save` writes. */

import type { Prediction } from './model.ts'

/** One process of `protect`. */
export interface TaskTime {
  photos: number
  /** From the shell to its end. */
  seconds: number
  /** What each photo took, by its own account; their start, loading and opening the device, is in none of them. */
  each: readonly number[]
}

export interface ScaleTimes {
  format: 'lowkey-gpu scale times'
  version: 1
  processor: string
  cores: number
  /** Processes that wanted the processor before it began, on average of a minute. */
  load: number
  /** A task that has all cores, with a few numbers of photos. */
  alone: readonly (TaskTime & { processorSeconds: number })[]
  /** As many tasks as cores at a time, each kept on one. `seconds`: until the last one ended. */
  together: { tasks: readonly TaskTime[]; seconds: number; processorSeconds: number }
  /** What follows for many machines, by bench/scale/model.ts. */
  predictions: readonly Prediction[]
  date: string
  commit: string
}
