/** What an adapter can do at most, measured: the roofs under which every kernel stays (Williams et al. 2009, "Roofline"). */
import { BufferUsage } from './flags.ts'
import type { Gpu } from './gpu.ts'
import { median, timePass, timeSubmission } from './stopwatch.ts'

export interface Roofs {
  /** f32 multiply-adds on values in registers, two operations each, in 10^9 a second. */
  readonly gflops: number
  /** Copying from buffer to buffer, bytes read and written, in 10^9 a second. */
  readonly gbps: number
  /** Between two dispatches of which one needs the other's result, and which compute next to nothing; encoding included. */
  readonly dispatchMicroseconds: number
}

const WORKGROUP = 256
/** One measurement lasts at least this long; the median of so many is taken. */
const LEAST_MICROSECONDS = 8000
const MEASUREMENTS = 3

const ROOFS = Symbol('roofs')

/**
 * Measures the roofs, once a device: about 0.2 s, and the compilation of three small shaders. Other work on the device or, where the
 * adapter is the processor, on the machine makes them too low.
 * @throws DeviceLostError, GpuError where two buffers of 128 MiB (64 MiB on software adapters) cannot be had.
 */
export function measureRoofs(gpu: Gpu): Promise<Roofs> {
  return gpu.keep(ROOFS, () => {
    const roofs = measure(gpu)
    roofs.catch(() => gpu.forget(ROOFS))
    return roofs
  })
}

async function measure(gpu: Gpu): Promise<Roofs> {
  // One after another: at the same time they would slow each other down.
  const gflops = await arithmetic(gpu)
  const gbps = await traffic(gpu)
  return { gflops, gbps, dispatchMicroseconds: await dispatches(gpu) }
}

/**
 * Four independent vec4 sums a thread, stepped by multiply-adds. Long loop bodies hide the loop on a GPU and take seconds to compile
 * on a software adapter.
 */
async function arithmetic(gpu: Gpu): Promise<number> {
  const { software } = gpu.capabilities
  const steps = software ? 4 : 16
  const threads = software ? 2 ** 14 : 2 ** 20
  const step = 'a = fma(a, m, c); b = fma(b, m, c); d = fma(d, m, c); e = fma(e, m, c);'
  using run = await prepare(
    gpu,
    `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> sink: array<vec4f>;
@group(0) @binding(2) var<uniform> p: vec4u;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = source[0];
  let c = source[1];
  var a = vec4f(f32(id.x)); var b = a + c; var d = b + c; var e = d + c;
  for (var i = 0u; i < p.x; i++) {
    ${step.repeat(steps)}
  }
  sink[id.x] = a + b + d + e;
}
`,
    { source: 32, sink: threads * 16, params: true },
  )
  // Sums stay near 1: m is just below 1, and c makes up for it.
  run.write(new Float32Array([0.999, 0.999, 0.999, 0.999, 0.001, 0.001, 0.001, 0.001]))
  const flop = threads * steps * 4 * 4 * 2
  const perIteration = await adaptively(async (iterations) => {
    run.setParam(iterations)
    return timePass(gpu, (pass) => run.dispatch(pass, threads / WORKGROUP))
  })
  return flop / perIteration / 1000
}

/** Buffers larger than caches; of a slow adapter only a part of them is copied. */
async function traffic(gpu: Gpu): Promise<number> {
  const { software, maxBindingBytes, maxBufferBytes } = gpu.capabilities
  const bytes = Math.min(2 ** (software ? 26 : 27), maxBindingBytes, maxBufferBytes)
  const parts = 16
  const groups = Math.floor(bytes / (WORKGROUP * 16 * parts))
  using run = await prepare(
    gpu,
    `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> sink: array<vec4f>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) { sink[id.x] = source[id.x]; }
`,
    { source: bytes, sink: bytes },
  )
  const perPart = await adaptively((count) =>
    timePass(gpu, (pass) => {
      for (let rest = count; rest > 0; rest -= parts) run.dispatch(pass, groups * Math.min(rest, parts))
    }),
  )
  return (2 * groups * WORKGROUP * 16) / perPart / 1000
}

/** By the host's clock: where encoding is slower than the GPU, it is what a dispatch costs. */
async function dispatches(gpu: Gpu): Promise<number> {
  using run = await prepare(
    gpu,
    `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> sink: array<vec4f>;
@compute @workgroup_size(1)
fn main() { sink[0] += source[0]; }
`,
    { source: 16, sink: 16 },
  )
  return await adaptively((count) =>
    timeSubmission(gpu, (pass) => {
      for (let i = 0; i < count; i++) run.dispatch(pass, 1)
    }),
  )
}

/** Microseconds of one unit of work, from measurements of so many units that they last long enough. */
async function adaptively(time: (count: number) => Promise<number>): Promise<number> {
  await time(1) // buffers are cleared with their first use
  let count = 1
  let last = await time(count)
  while (last < LEAST_MICROSECONDS && count < 2 ** 24) {
    count *= Math.min(16, Math.max(2, Math.ceil((1.25 * LEAST_MICROSECONDS) / Math.max(last, 1))))
    last = await time(count)
  }
  const times = [last]
  while (times.length < MEASUREMENTS) times.push(await time(count))
  return Math.max(median(times), 1e-3) / count
}

/** A shader with its buffers, of so many bytes: `source`, `sink`, and one number in a uniform. */
async function prepare(gpu: Gpu, code: string, sizes: { source: number; sink: number; params?: boolean }) {
  const { device } = gpu
  const module = device.createShaderModule({ label: 'roof', code })
  const pipeline = await gpu.settle(
    device.createComputePipelineAsync({ label: 'roof', layout: 'auto', compute: { module, entryPoint: 'main' } }),
  )
  const make = (size: number, usage: number) => device.createBuffer({ label: 'roof', size, usage })
  const source = make(sizes.source, BufferUsage.STORAGE | BufferUsage.COPY_DST)
  const buffers = [source, make(sizes.sink, BufferUsage.STORAGE)]
  const params = sizes.params ? make(16, BufferUsage.UNIFORM | BufferUsage.COPY_DST) : undefined
  if (params) buffers.push(params)
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  })
  return {
    write: (data: Float32Array<ArrayBuffer>) => device.queue.writeBuffer(source, 0, data),
    setParam: (value: number) => params && device.queue.writeBuffer(params, 0, new Uint32Array([value, 0, 0, 0])),
    dispatch(pass: GPUComputePassEncoder, workgroups: number): void {
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, group)
      pass.dispatchWorkgroups(workgroups)
    },
    [Symbol.dispose]: () => {
      for (const buffer of buffers) buffer.destroy()
    },
  }
}
