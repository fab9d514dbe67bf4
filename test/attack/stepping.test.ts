/** Steps that are sent while those before them are computed, without a device. */
import { describe, expect, test } from 'vitest'
import { takeSteps } from '../../src/attack/stepping.ts'
import type { Gpu } from '../../src/device/gpu.ts'

/** A device that takes so many milliseconds for each step that was sent. */
function slowly(milliseconds: number) {
  const sent: number[] = []
  let done = 0
  const gpu = {
    async wait() {
      const until = sent.length
      await new Promise((resolve) => setTimeout(resolve, milliseconds * (until - done)))
      done = Math.max(done, until)
    },
  } as unknown as Gpu
  return { gpu, sent, send: (step: number) => void sent.push(step) }
}

describe('steps', () => {
  test('are sent in order, all of them, and told of up to the last', async () => {
    const { gpu, sent, send } = slowly(1)
    const told: number[] = []
    await takeSteps(gpu, 37, send, { onProgress: (done) => told.push(done) })
    expect(sent).toEqual(Array.from({ length: 37 }, (_, i) => i))
    expect(told.at(-1)).toBe(37)
    expect(told).toEqual(told.toSorted((a, b) => a - b))
    // More and more at once: not one by one.
    expect(told.length).toBeLessThan(37)
    await takeSteps(gpu, 0, () => expect.unreachable())
  })

  test('end between two of them with the reason of the signal', async () => {
    const { gpu, sent, send } = slowly(2)
    const stop = new AbortController()
    const run = takeSteps(gpu, 1000, send, {
      signal: stop.signal,
      onProgress: (done) => {
        if (done > 2) stop.abort(new Error('enough'))
      },
    })
    await expect(run).rejects.toThrow('enough')
    expect(sent.length).toBeLessThan(1000)
    await expect(takeSteps(gpu, 1, send, { signal: AbortSignal.abort(new Error('at once')) })).rejects.toThrow(
      'at once',
    )
  })

  test('end with what the device says', async () => {
    const gpu = { wait: () => Promise.reject(new Error('lost')) } as unknown as Gpu
    await expect(takeSteps(gpu, 5, () => {})).rejects.toThrow('lost')
  })
})
