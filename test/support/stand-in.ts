/** `lowkey-gpu protect` in this process, on a stand-in for the GPU: what files it reads and writes and what it says, without waiting. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, vi } from 'vitest'
import { NoFaceError, type Protector } from '../../src/attack/protect.ts'
import { readOptions } from '../../src/cli/protect-options.ts'
import { planRun } from '../../src/cli/protect-plan.ts'
import { ProtectRun } from '../../src/cli/protect-run.ts'
import type { Gpu } from '../../src/device/node.ts'

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

/** Every pixel becomes brighter by one; a photo whose first pixel is darker than 8 has no face. */
const protector = {
  async protect(photo: { data: Uint8Array }) {
    await sleep(1)
    if (photo.data[0] < 8) throw new NoFaceError('no face found')
    const data = photo.data.map((v) => v + 1)
    const seconds = { detect: 0, compile: 0, attack: 0, measure: 0, total: 0 }
    const found = { left: { notChosen: [], weak: [] }, smallest: { upright: 20, turned: 20 } }
    return { photo: { ...photo, data }, faces: [], ...found, lpips: 0, psnr: 50, seconds, warnings: [] }
  },
  async find(photo: { data: Uint8Array }) {
    if (photo.data[0] < 8) throw new NoFaceError('no face found')
    return [{ box: [0, 0, 1, 1], score: 1, landmarks: [] }]
  },
} as unknown as Protector

const capabilities = { software: false, driver: 'other', device: 'stand-in', description: '', maxBindingBytes: 2 ** 27 }

/** Resolves with the exit code. Throws what the plan throws. */
export async function standIn(...args: string[]): Promise<number> {
  const { signal } = new AbortController()
  const run = new ProtectRun(await planRun(readOptions(args), { signal, leaving: signal }))
  return run.isOver ? run.close() : run.all({ capabilities } as Gpu, protector)
}
