import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { acquire } from '../../src/graph/node.ts'
import { shaderCaches } from './shader-caches.ts'

/**
 * One device for a test file; `LOWKEY_GPU` names another adapter (for example swiftshader).
 * @param fewLanes lavapipe computes with vectors of 128 bits in this file, as on processors without longer ones: shaders compile in half the
 *   time and run more slowly, which is right where shaders are many and tensors small. Its cache of shaders does not tell them apart.
 */
export async function testGpu({ fewLanes = false }: { fewLanes?: boolean } = {}): Promise<Gpu> {
  if (fewLanes && process.platform === 'linux') {
    const caches = join(shaderCaches(), 'lowkey-gpu-tests-128')
    mkdirSync(caches, { recursive: true })
    process.env.MESA_SHADER_CACHE_DIR = caches
    process.env.LP_NATIVE_VECTOR_WIDTH = '128'
  }
  const gpu = await acquire({ gpu: process.env.LOWKEY_GPU })
  afterAll(() => gpu.destroy())
  return gpu
}
