/** What the processor is asked for, in benchmarks that start processes. Linux. */
import { readFileSync } from 'node:fs'

/** Seconds of processor of the children that have ended; `process.resourceUsage` counts this process alone. */
export function processorSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')
  const [user, system] = [fields[13], fields[14]].map(Number)
  return (user + system) / 100 // ticks of Linux
}
