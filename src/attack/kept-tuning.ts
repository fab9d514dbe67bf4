/** The cache folder's record of the fastest kernels. */
import { join } from 'node:path'
import type { Gpu } from '../device/gpu.ts'
import { fileTuning } from '../graph/node.ts'
import { adapterSlug } from '../graph/tune.ts'
import { cacheFolder } from '../weights/node.ts'

/**
 * Has the fastest kernels of a real GPU found out once and remembered, in `tuning/ADAPTER.json` of the cache folder: from then on every
 * process uses the same, and the same seed gives the same bytes. Where the adapter is the processor no trials are made, and this does
 * nothing.
 */
export function keepTuning(gpu: Gpu): void {
  const { capabilities } = gpu
  if (capabilities.software) return
  gpu.tuning = fileTuning(join(cacheFolder(), 'tuning', `${adapterSlug(capabilities)}.json`))
}
