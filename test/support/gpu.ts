import { afterAll } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { acquire } from '../../src/graph/node.ts'

/** One device for a test file; `LOWKEY_GPU` names another adapter (for example swiftshader). */
export async function testGpu(): Promise<Gpu> {
  const gpu = await acquire({ gpu: process.env.LOWKEY_GPU })
  afterAll(() => gpu.destroy())
  return gpu
}
