/** `lowkey-gpu protect` as a process of its own, on a stand-in for the GPU: what signals, kills and other tasks do to it, without waiting. */
import { exitCodeOf, messageOf } from '../../src/cli/exit.ts'
import { Interruption } from '../../src/cli/interruption.ts'
import { readOptions } from '../../src/cli/protect/options.ts'
import { ProtectRun } from '../../src/cli/protect/run.ts'
import { findWork } from '../../src/cli/protect/work.ts'
import { gpu, protector } from './stand-in-protector.ts'

const interruption = Interruption.ofProcess()
try {
  const options = readOptions(process.argv.slice(2))
  if (options.ledger) interruption.finishFirst(options.grace)
  const run = new ProtectRun(await findWork(options, interruption))
  process.exitCode = run.isOver ? await run.close() : await run.all(gpu, protector)
} catch (error) {
  process.exitCode = exitCodeOf(error)
  process.stderr.write(`lowkey-gpu: ${messageOf(error)}\n`)
}
