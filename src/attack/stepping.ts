/** Steps of a plan, sent to the GPU one after another: nothing is read back in between. */
import type { Gpu } from '../device/gpu.ts'

/** Time between waits for the GPU: long enough to keep it busy, short enough for progress and interruption. */
const PROGRESS_MS = 100

export interface SteppingOptions {
  /** Called after some of the steps, with how many are done. */
  onProgress?: (step: number) => void
  /** Ends the steps, between two of them, with the signal's reason. */
  signal?: AbortSignal
}

/**
 * Takes `count` steps and waits until the device is done with them. Steps are sent while those before them are computed: the GPU waits for
 * nobody. How many are sent at once follows from how long they take.
 *
 * @param send sends the step of a number, from 0 on, to the device
 * @throws the signal's reason when interrupted; DeviceLostError, GpuError as `Gpu.wait` does
 */
export async function takeSteps(
  gpu: Gpu,
  count: number,
  send: (step: number) => void,
  { onProgress, signal }: SteppingOptions = {},
): Promise<void> {
  let stride = 1
  let before = Promise.resolve()
  for (let sent = 0; sent < count; ) {
    signal?.throwIfAborted()
    const now = performance.now()
    const until = Math.min(count, sent + stride)
    for (; sent < until; sent++) send(sent)
    await before
    const done = sent
    before = gpu.wait().then(() => onProgress?.(done))
    before.catch(() => {}) // it is awaited below, unless the signal ends the run
    if (performance.now() - now < PROGRESS_MS / 2) stride *= 2
  }
  await before
  signal?.throwIfAborted()
}
