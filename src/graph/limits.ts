/** What a device can hold and dispatch, checked before anything is allocated. */
import type { Gpu } from '../device/gpu.ts'
import { ShapeError } from '../kernels/op.ts'
import { bytesOf, type Lowered } from './lower.ts'
import type { MemoryPlan, Slot } from './memory.ts'

/** A plan needs more memory than the device or the caller allows. */
export class PlanMemoryError extends Error {
  override name = 'PlanMemoryError'
}

/** Throws PlanMemoryError or ShapeError, with the numbers, where the device or `maxBytes` does not allow a dispatch or the whole. */
export function checkLimits(
  gpu: Gpu,
  lowered: Lowered,
  memory: MemoryPlan,
  maxBytes: number = Number.POSITIVE_INFINITY,
): void {
  const { maxBindingBytes, maxBufferBytes, maxWorkgroupsPerDimension, maxStorageBuffers, description } =
    gpu.capabilities
  for (const { dispatch, node, reads, writes } of lowered.placed) {
    const where = `${node.op?.name}(${node.name})`
    for (const v of [...reads, ...writes]) {
      const bytes = bytesOf(v)
      if (bytes > Math.min(maxBindingBytes, maxBufferBytes)) {
        throw new PlanMemoryError(
          `${where}: ${v.name} needs ${mib(bytes)} in one binding; ${description} allows ${mib(Math.min(maxBindingBytes, maxBufferBytes))}`,
        )
      }
    }
    if (reads.length + writes.length > maxStorageBuffers) {
      throw new PlanMemoryError(
        `${where}: ${reads.length + writes.length} buffers in one dispatch; ${description} allows ${maxStorageBuffers}`,
      )
    }
    if (dispatch.workgroups.some((n) => n > maxWorkgroupsPerDimension || !Number.isInteger(n) || n < 1)) {
      throw new ShapeError(
        `${where}: a grid of ${dispatch.workgroups.join('x')} workgroups; ${description} allows ${maxWorkgroupsPerDimension} per dimension`,
      )
    }
  }
  const total = totalBytes(memory)
  if (total > maxBytes) throw new PlanMemoryError(`compile: the plan needs ${mib(total)}, ${mib(maxBytes)} are allowed`)
}

export const totalBytes = ({ slots }: { readonly slots: readonly Slot[] }): number =>
  slots.reduce((n, s) => n + s.bytes, 0)
export const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
