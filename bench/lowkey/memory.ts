/** How much GPU memory is held, by counting the buffers of a device. */
import type { Gpu } from '../../src/device/gpu.ts'

export interface MemoryWatch {
  /** The most that was held at once since the last call, MiB; counting goes on from what is held now. */
  peakMiB(): number
}

/**
 * Counts every buffer of the device from now on, from its creation until it is destroyed: plans, uniforms and those that results are read
 * through. What the driver takes for itself is not in it.
 */
export function watchMemory({ device }: Gpu): MemoryWatch {
  let [held, peak] = [0, 0]
  const create = device.createBuffer.bind(device)
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor)
    held += descriptor.size
    peak = Math.max(peak, held)
    let bytes = descriptor.size
    const destroy = buffer.destroy.bind(buffer)
    buffer.destroy = () => {
      held -= bytes
      bytes = 0
      return destroy()
    }
    return buffer
  }
  return {
    peakMiB() {
      const most = peak / 2 ** 20
      peak = held
      return most
    },
  }
}
