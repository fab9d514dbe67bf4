/** Kernels of a product for real GPUs, ranked. */
import type { Kernel, Target } from '../op.ts'
import { matrixKernels } from './matrix.ts'
import { safeTile, type TiledProduct, tileKernels } from './tile.ts'

/**
 * Kernels for this adapter, among them further ones that are likely to be `faster` than tiles, and others; last the one that
 * runs everywhere. On a GPU they are rivals: which is fastest, a measured trial says, which also finds out those that a driver
 * gets wrong. On a processor there is the last alone.
 */
export function productKernels(
  t: TiledProduct,
  gpu: Target,
  { faster = [], others = [] }: { faster?: readonly Kernel[]; others?: readonly Kernel[] } = {},
): Kernel[] {
  if (gpu.software) return [safeTile(t)]
  const half = gpu.products === 'f16' && gpu.f16 ? [...matrixKernels(t, gpu), ...tileKernels(t, gpu, true)] : []
  // What no software adapter can run must prove itself in a trial: it is never first.
  const all = [...faster, ...tileKernels(t, gpu), ...others, ...half]
  return [...all.map((k, i): Kernel => ({ ...k, rival: i > 0, experimental: true })), safeTile(t)]
}
