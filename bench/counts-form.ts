/** What a step is: the form of bench/results/counts.json. `node bench/counts.ts --save` writes it. */
export interface StepCounts {
  format: 'lowkey-gpu step counts'
  version: 1
  /** Whose limits the kernels were chosen by. */
  adapter: string
  rows: readonly {
    name: string
    width: number
    height: number
    surrogates: readonly string[]
    /** What the kernels were chosen for. */
    target: 'processor' | 'GPU'
    gflop: number
    dispatches: number
    /** What the plan holds, and with what only its constant stage needs. */
    mib: number
    mibWhileCompiling: number
  }[]
}
