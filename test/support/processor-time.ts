/** Processor seconds of this process up to now, all threads: for bounds against work without end, which hold on a busy machine too. */
export function processorSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
