import { acquire } from '../../../src/browser.ts'
import type { Gpu } from '../../../src/device/gpu.ts'

/** The browser's GPU, in the place of the one that tests open in Node. */
export const testGpu = (): Promise<Gpu> => acquire()
