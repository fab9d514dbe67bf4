import { type Gpu, NoAdapterError, openDevice } from './gpu.ts'

export { type Capabilities, DeviceLostError, Gpu, GpuError, NoAdapterError, type SubgroupMatrixConfig } from './gpu.ts'

export interface AcquireOptions {
  /** Which GPU of a machine with two; browsers may ignore it. Unless told, the fast one. */
  readonly powerPreference?: GPUPowerPreference
}

/**
 * Opens the browser's GPU, in a page or a worker.
 * @throws NoAdapterError where the browser has no WebGPU, or no adapter; whatever `requestDevice` rejects with.
 */
export async function acquire({ powerPreference = 'high-performance' }: AcquireOptions = {}): Promise<Gpu> {
  const gpu: GPU | undefined = globalThis.navigator?.gpu
  if (!gpu) {
    throw new NoAdapterError(
      'there is no navigator.gpu: WebGPU needs a current browser, and a page that came over https or from localhost',
    )
  }
  const adapter = await gpu.requestAdapter({ powerPreference })
  if (!adapter) {
    throw new NoAdapterError('the browser offers no WebGPU adapter: its page about GPUs (chrome://gpu) may say why')
  }
  return openDevice(adapter)
}
