/** Compute pipelines, compiled once per device and shader source, all in parallel. */
import type { Gpu } from '../device/gpu.ts'
import type { Dispatch } from '../kernels/op.ts'
import { shaderSource } from '../kernels/wgsl.ts'

const PIPELINES = Symbol('pipelines')

export interface EarlyOptions {
  /** Called with the shaders compiled so far, and all of them. Not called where the driver compiles in time, or knows them all. */
  onProgress?: (done: number, total: number) => void
  /** The device itself is busy with something else: only the second one compiles. */
  background?: boolean
}

/** What compiles shaders before the first run, where a device was opened by something that knows how (early.ts). */
export const EARLY: unique symbol = Symbol('early')
export type CompileEarly = (gpu: Gpu, dispatches: readonly Dispatch[], options: EarlyOptions) => Promise<void>

/** The pipeline of a dispatch. Throws an error with the shader's first lines where the driver refuses it. */
export function pipelineFor(gpu: Gpu, dispatch: Dispatch): Promise<GPUComputePipeline> {
  const cache = gpu.keep(PIPELINES, () => new Map<string, Promise<GPUComputePipeline>>())
  const code = shaderSource(dispatch)
  let pipeline = cache.get(code)
  if (!pipeline) {
    pipeline = compilePipeline(gpu, dispatch.label, code)
    cache.set(code, pipeline)
  }
  return pipeline
}

async function compilePipeline(gpu: Gpu, label: string, code: string): Promise<GPUComputePipeline> {
  const { device } = gpu
  // In a scope, so that code which does not compile is this pipeline's error and not that of whoever waits next.
  device.pushErrorScope('validation')
  const module = device.createShaderModule({ label, code })
  device.popErrorScope().catch(() => {}) // where the device is lost, the pipeline is refused as well
  try {
    return await gpu.settle(
      device.createComputePipelineAsync({ label, layout: 'auto', compute: { module, entryPoint: 'main' } }),
    )
  } catch (cause) {
    const info = await gpu.settle(module.getCompilationInfo())
    const messages = info.messages.map((m) => `  ${m.lineNum}:${m.linePos} ${m.message}`).join('\n')
    throw new Error(`${label}: the shader does not compile\n${messages || String(cause)}\n${code}`, { cause })
  }
}
