/** How long `npm run demo` takes from the shell to its end: the form of bench/results/demo.json. `node bench/demo.ts` measures it. */
export interface DemoTimes {
  format: 'lowkey-gpu demo times'
  version: 1
  /** The processor, with its number of cores. */
  processor: string
  runs: readonly {
    driver: string
    /** `cold`: the caches of the driver and of this program were empty. */
    cache: 'cold' | 'warm'
    /** Of the clock, and of the processor; medians. */
    seconds: number
    processorSeconds: number
    /** How often it was measured. */
    runs: number
    date: string
    commit: string
  }[]
}
