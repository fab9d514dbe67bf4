/**
 * Commands in the process of the tests, on one device, for what needs no process of its own: starting one, opening a GPU and compiling the
 * same shaders once more take most of the time of a run over one small photo. A file that imports this has `openGpu` give `sharedGpu`:
 *
 *     vi.mock('../../src/cli/driver-noise.ts', async (original) => ({ ...(await original<object>()), openGpu: () => sharedGpu() }))
 */
import { join } from 'node:path'
import { afterAll, vi } from 'vitest'
import { check } from '../../src/cli/check.ts'
import { Exit, exitCodeOf, messageOf } from '../../src/cli/exit.ts'
import { Interruption } from '../../src/cli/interruption.ts'
import { protect } from '../../src/cli/protect/protect.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import { acquire } from '../../src/device/node.ts'
import { type Invocation, type Outcome, watched } from './cli.ts'

let opened: Promise<Gpu> | undefined
afterAll(async () => (await opened)?.destroy())

/** The device of the file's tests, opened when the first command asks. No command closes it. */
export function sharedGpu(): Promise<Gpu> {
  opened ??= acquire({ gpu: process.env.LOWKEY_GPU }).then((gpu) =>
    Object.defineProperty(gpu, Symbol.dispose, { value: () => {} }),
  )
  return opened
}

const commands: Readonly<Record<string, (args: string[]) => Promise<number>>> = {
  check,
  protect: (args) => protect(args, new Interruption()),
}

/** Runs a command as src/cli/main.ts does, with the checks of `lowkey`; standard input and output are no streams here. */
export const inProcess = (
  [command, ...args]: readonly string[],
  { cwd, ...options }: Pick<Invocation, 'cwd' | 'replaces'>,
): Promise<Outcome> =>
  watched({ cwd, ...options }, async () => {
    const before = process.cwd()
    const printed = { stdout: '', stderr: '' }
    const spies = (['stdout', 'stderr'] as const).map((name) =>
      vi.spyOn(process[name], 'write').mockImplementation((text) => {
        printed[name] += text
        return true
      }),
    )
    vi.stubEnv('LOWKEY_HOME', join(cwd, 'no-such-folder'))
    process.chdir(cwd)
    let code: number
    try {
      code = await commands[command](args)
    } catch (error) {
      code = exitCodeOf(error)
      printed.stderr += `lowkey-gpu: ${messageOf(error)}\n`
      if (code === Exit.usage) printed.stderr += 'lowkey-gpu --help tells how it is used\n'
    } finally {
      process.chdir(before)
      vi.unstubAllEnvs()
      for (const spy of spies) spy.mockRestore()
    }
    return { code, ...printed, stdoutBytes: Buffer.from(printed.stdout) }
  })
