/**
 * Compilation before the first run. lavapipe hands a shader to LLVM when it is first dispatched, one after another on the queue's only
 * thread: half a minute of the first attack of a machine, with one core busy. Here every shader is dispatched beforehand over an empty
 * grid, on the device and on a second one of the same driver, whose results the device then finds in the driver's cache of shaders.
 */
import { BufferUsage } from '../device/flags.ts'
import type { Gpu } from '../device/gpu.ts'
import type { Dispatch } from '../kernels/op.ts'
import { paramBytes, shaderSource } from '../kernels/wgsl.ts'
import { EARLY, type EarlyOptions, pipelineFor } from './pipelines.ts'

type Watch = (label: string, seconds: number) => void

/** What watches the shaders of a device. */
const WATCHED = Symbol('watched')

const watched = (gpu: Gpu): { watch?: Watch } => gpu.keep(WATCHED, () => ({}))

/** Has every shader told that is compiled early for this device from here on, with the seconds that it took. Benchmarks use it. */
export function watchShaders(gpu: Gpu, watch: Watch): void {
  watched(gpu).watch = watch
}

/** Shaders that a device has been given, by their code. */
const GIVEN = Symbol('given')

/** The driver found a shader in its cache if it was done in this time. (13 ms on an idle machine; the longest take 300 and more to compile.) */
const CACHED_MS = 120

/** Shaders that are looked for in the cache before the second device is left out. */
const SAMPLES = 4

/** Fewer are not worth a second device. */
const FEW = 4

/**
 * Has the driver compile the shaders of these dispatches, each once for a device; does nothing where the driver has compiled a pipeline
 * when it is made. Resolves when all are compiled, or on their way on the device's queue.
 * @throws DeviceLostError
 */
export async function compileEarly(
  gpu: Gpu,
  dispatches: readonly Dispatch[],
  options: EarlyOptions = {},
): Promise<void> {
  if (gpu.capabilities.driver !== 'lavapipe') return
  const known = gpu.keep(GIVEN, () => new Set<string>())
  const fresh = new Map<string, Dispatch>()
  for (const dispatch of dispatches) {
    const code = shaderSource(dispatch)
    if (known.has(code)) continue
    known.add(code)
    fresh.set(code, dispatch)
  }
  // The longest first, so that both devices end at the same time.
  const left = [...fresh].sort(([a], [b]) => b.length - a.length).map(([, dispatch]) => dispatch)
  const total = left.length
  const helper = total > FEW ? await gpu.sibling() : undefined
  if (!helper) return
  let done = 0
  const took = async (on: Gpu, dispatch: Dispatch): Promise<number> => {
    const began = performance.now()
    await touch(on, [dispatch])
    await on.wait()
    const milliseconds = performance.now() - began
    if (milliseconds >= CACHED_MS) watched(gpu).watch?.(dispatch.label, milliseconds / 1000)
    return milliseconds
  }
  const elsewhere: Dispatch[] = []
  // A cache may hold some of the shaders, those of another network or version: a few tell whether it is worth the second device.
  let cached = true
  for (let k = 0; k < SAMPLES && cached; k++) {
    const [one] = left.splice(Math.floor((k * (total - 1)) / SAMPLES) - k, 1)
    cached = (await took(helper, one)) < CACHED_MS
    elsewhere.push(one)
    if (!cached) options.onProgress?.((done = elsewhere.length), total)
  }
  // What comes before the driver's compiler goes on in threads of Dawn's meanwhile; errors show when they are waited for.
  for (const dispatch of left) pipelineFor(gpu, dispatch).catch(() => {})
  const work = async (on: Gpu): Promise<void> => {
    for (let next = left.shift(); next; next = left.shift()) {
      await took(on, next)
      if (on !== gpu) elsewhere.push(next)
      options.onProgress?.(++done, total)
    }
  }
  if (!cached) await Promise.all(options.background ? [work(helper)] : [work(gpu), work(helper)])
  await touch(gpu, [...elsewhere, ...left])
}

/** Has `compile` do so for this device. */
export function compilesEarly(gpu: Gpu): void {
  gpu.keep(EARLY, () => compileEarly)
}

/** Dispatches shaders over an empty grid. */
async function touch(gpu: Gpu, dispatches: readonly Dispatch[]): Promise<void> {
  if (dispatches.length === 0) return
  const pipelines = await Promise.all(dispatches.map((dispatch) => pipelineFor(gpu, dispatch)))
  const { device } = gpu
  const { STORAGE, UNIFORM } = BufferUsage
  const made: GPUBuffer[] = []
  const buffer = (usage: number, size: number): GPUBuffer => {
    const one = device.createBuffer({ label: 'early', size, usage })
    made.push(one)
    return one
  }
  const most = Math.max(...dispatches.map(({ reads, writes }) => reads.length + writes.length))
  const storage = Array.from({ length: most }, () => buffer(STORAGE, 256))
  const uniform = buffer(UNIFORM, Math.max(16, ...dispatches.map((dispatch) => paramBytes(dispatch).byteLength)))
  // Not a grid of 0 x 0 x 0 in the call: Dawn finds that unusual, and says so on stderr.
  const grid = buffer(BufferUsage.INDIRECT, 16)
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  dispatches.forEach((dispatch, k) => {
    const bound = [...dispatch.reads, ...dispatch.writes].map((_, i) => storage[i])
    if (paramBytes(dispatch).byteLength > 0) bound.push(uniform)
    const entries = bound.map((one, binding) => ({ binding, resource: { buffer: one } }))
    pass.setPipeline(pipelines[k])
    pass.setBindGroup(0, device.createBindGroup({ layout: pipelines[k].getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroupsIndirect(grid, 0)
  })
  pass.end()
  device.queue.submit([encoder.finish()])
  for (const one of made) one.destroy()
}
