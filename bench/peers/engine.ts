import type { LoopProblem } from './loop.ts'
import type { Problem } from './problem.ts'

/** What a peer can be asked to do: one operation, or steps of the whole loop. */
export type Task = Problem | LoopProblem

/** A peer, as a process of its own runs it. */
export interface Engine {
  /** Uploads and compiles. @throws Error where the engine cannot do it, in its words. */
  prepare(task: Task): Promise<Prepared>
}

export interface Prepared {
  /** Enqueues the operation, or the loop's step, so many times, on data that is on the device already, then waits for the last one. */
  run(times: number): Promise<void>
  /**
   * What is compared: the result in this engine's layout (NCHW, OIHW); of the loop the objective at the first change, and after it the
   * gradient [3,height,width].
   */
  result(): Promise<Float32Array>
  release(): Promise<void>
}

/** What a peer's process is told about the adapter that this engine was measured on. */
export interface Setup {
  /** `acquire`'s option. */
  readonly gpu?: string
}
