/** `lowkey-gpu protect` in this process, on a stand-in for the GPU: what files it reads and writes and what it says, without waiting. */
import { afterEach, beforeEach, vi } from 'vitest'
import { readOptions } from '../../src/cli/protect/options.ts'
import { ProtectRun } from '../../src/cli/protect/run.ts'
import { findWork } from '../../src/cli/protect/work.ts'
import { gpu, protector } from './stand-in-protector.ts'

/** What a test has printed so far. */
export function capturedOutput(): { stdout: string; stderr: string } {
  const printed = { stdout: '', stderr: '' }
  beforeEach(() => {
    for (const name of ['stdout', 'stderr'] as const) {
      printed[name] = ''
      vi.spyOn(process[name], 'write').mockImplementation((text) => {
        printed[name] += text
        return true
      })
    }
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })
  return printed
}

/** Resolves with the exit code. Throws what `findWork` throws. */
export async function standIn(...args: string[]): Promise<number> {
  const { signal } = new AbortController()
  const run = new ProtectRun(await findWork(readOptions(args), { signal, leaving: signal }))
  return run.isOver ? run.close() : run.all(gpu, protector)
}
