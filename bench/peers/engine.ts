import type { Problem } from './problem.ts'

/** A peer, as a process of its own runs it. */
export interface Engine {
  /** Uploads and compiles. @throws Error where the engine cannot do it, in its words. */
  prepare(problem: Problem): Promise<Prepared>
}

export interface Prepared {
  /** Enqueues the operation so many times, on data that is on the device already, then waits for the last one. */
  run(times: number): Promise<void>
  /** The result in this engine's layout (NCHW, OIHW), to be compared. */
  result(): Promise<Float32Array>
  release(): Promise<void>
}

/** What a peer's process is told about the adapter that this engine was measured on. */
export interface Setup {
  /** `acquire`'s option. */
  readonly gpu?: string
}
