/**
 * `navigator.gpu` for libraries written for browsers, in Node. Its only adapter opens as the device that `acquire` gives
 * this engine: the same adapter and driver, toggles, features and limits.
 */
import { globals } from 'webgpu'
import { acquire, type Gpu } from '../../src/device/node.ts'
import type { Setup } from './engine.ts'

/**
 * Peers await their promises through the result's `settle`. That is this engine's own throttle: without it Dawn's polling
 * takes one of the cores that a software adapter computes on, which made these peers 1.7 times slower. All of a
 * measurement is enqueued before the await, so that the throttle's naps (1 ms at most) do not keep a peer from enqueueing.
 */
export async function provideNavigator({ gpu: name }: Setup): Promise<Gpu> {
  const gpu = await acquire({ gpu: name })
  const { device, capabilities } = gpu
  const adapter = {
    features: device.features,
    limits: device.limits,
    info: capabilities,
    isFallbackAdapter: false,
    requestDevice: async () => device,
  }
  Object.assign(globalThis, globals) // GPUBufferUsage and the like
  Object.defineProperty(globalThis.navigator, 'gpu', {
    value: { requestAdapter: async () => adapter, wgslLanguageFeatures: new Set<string>() },
  })
  return gpu
}
