/**
 * Words behind every buffer of a poisoned plan that no kernel may touch. Bindings reach over them, so that a write past the end lands there
 * even where the driver clamps indices to what is bound; a read past the end is NaN. Where a driver drops what is out of bounds instead, an
 * index beyond the guard stays unseen.
 */
import { BufferUsage, MAP_READ } from '../device/flags.ts'
import type { Gpu } from '../device/gpu.ts'
import type { Slot } from './memory.ts'

const WORDS = 64
/** Behind each buffer; a multiple of what every element type is aligned to. */
export const GUARD_BYTES: number = 4 * WORDS

/** NaN, each with a number of its own: a kernel that copies past the end of one buffer past that of another changes them. */
export const guardOf = (index: number): Uint32Array<ArrayBuffer> =>
  Uint32Array.from({ length: WORDS }, (_, k) => 0x7fc00000 | ((index * WORDS + k + 1) & 0x3fffff))

/** A buffer with its guard, the `index`-th of the plan's. */
interface Guarded {
  slot: Slot
  buffer: GPUBuffer
  index: number
}

/** Throws an Error that names the values of a buffer whose guard was written. Submits at once, then waits. */
export async function checkGuards(gpu: Gpu, guarded: readonly Guarded[]): Promise<void> {
  if (guarded.length === 0) return
  const { device } = gpu
  const staging = device.createBuffer({
    label: 'guards',
    size: guarded.length * GUARD_BYTES,
    usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST,
  })
  try {
    const encoder = device.createCommandEncoder()
    for (const [i, { slot, buffer }] of guarded.entries())
      encoder.copyBufferToBuffer(buffer, slot.bytes, staging, i * GUARD_BYTES, GUARD_BYTES)
    device.queue.submit([encoder.finish()])
    await gpu.settle(staging.mapAsync(MAP_READ))
    const words = new Uint32Array(staging.getMappedRange())
    for (const [i, { slot, index }] of guarded.entries()) {
      const at = guardOf(index).findIndex((word, k) => words[i * WORDS + k] !== word)
      if (at < 0) continue
      const names = slot.values.map(({ name }) => name).join(' or ')
      throw new Error(`a kernel wrote past the end of ${names}: ${4 * at} bytes behind its ${slot.bytes}`)
    }
  } finally {
    staging.destroy()
  }
}
