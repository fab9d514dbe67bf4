/** How long the GPU takes for a piece of work. */
import { BufferUsage, MAP_READ } from './flags.ts'
import type { Gpu } from './gpu.ts'

/**
 * Microseconds of one compute pass: by the GPU's own clock where the adapter has timestamps, else from its submission until `wait`
 * ends, which in Node is up to a millisecond late.
 * @throws DeviceLostError, GpuError as `Gpu.wait` does.
 */
export async function timePass(gpu: Gpu, encode: (pass: GPUComputePassEncoder) => void): Promise<number> {
  if (!gpu.capabilities.timestamps) return timeSubmission(gpu, encode)
  const { device } = gpu
  const querySet = device.createQuerySet({ type: 'timestamp', count: 2 })
  const resolved = device.createBuffer({ size: 16, usage: BufferUsage.QUERY_RESOLVE | BufferUsage.COPY_SRC })
  const staging = device.createBuffer({ size: 16, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
  try {
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
    })
    encode(pass)
    pass.end()
    encoder.resolveQuerySet(querySet, 0, 2, resolved, 0)
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16)
    device.queue.submit([encoder.finish()])
    await gpu.wait()
    await gpu.settle(staging.mapAsync(MAP_READ))
    const [start, end] = new BigUint64Array(staging.getMappedRange())
    return Number(end - start) / 1000
  } finally {
    staging.destroy()
    resolved.destroy()
    querySet.destroy()
  }
}

/** Microseconds from the beginning of a pass' encoding until the device is done with it. */
export async function timeSubmission(gpu: Gpu, encode: (pass: GPUComputePassEncoder) => void): Promise<number> {
  const start = performance.now()
  const encoder = gpu.device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  encode(pass)
  pass.end()
  gpu.device.queue.submit([encoder.finish()])
  await gpu.wait()
  return (performance.now() - start) * 1000
}

/** Begins to count: what it gives tells the seconds since. */
export function startClock(): () => number {
  const began = performance.now()
  return () => (performance.now() - began) / 1000
}

/** The value in the middle; of an even number of values the upper of the two. */
export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]
