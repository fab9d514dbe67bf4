import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { BufferUsage, MAP_READ } from '../../src/device/flags.ts'
import { type Capabilities, DeviceLostError, Gpu, GpuError } from '../../src/device/gpu.ts'
import {
  acquire,
  adapterName,
  describeAdapter,
  installLines,
  listAdapters,
  NoAdapterError,
} from '../../src/device/node.ts'

const linux = process.platform === 'linux'
const adapters = await listAdapters()
const named = (part: string) => adapters.some(({ name }) => name.toLowerCase().includes(part))
/** What can be asked for by name here: each of them goes through the same tests. */
const names = ['lavapipe', 'swiftshader'].filter((name) => named(name === 'lavapipe' ? 'llvmpipe' : name))

const temporary = mkdtempSync(join(tmpdir(), 'lowkey-device-'))
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

/** A compute pass of one workgroup over one storage buffer, submitted. */
function submit({ device }: Gpu, pipeline: GPUComputePipeline, buffer: GPUBuffer): void {
  const layout = pipeline.getBindGroupLayout(0)
  const bindGroup = device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer } }] })
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, bindGroup)
  pass.dispatchWorkgroups(1)
  pass.end()
  device.queue.submit([encoder.finish()])
}

function pipelineOf(gpu: Gpu, body: string): Promise<GPUComputePipeline> {
  const code = `
    @group(0) @binding(0) var<storage, read_write> x : array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id : vec3u) { ${body} }`
  const module = gpu.device.createShaderModule({ code })
  return gpu.settle(gpu.device.createComputePipelineAsync({ layout: 'auto', compute: { module } }))
}

/** x = 3 x + index on 64 elements of the device, as it reads back. */
async function triple(gpu: Gpu, x: Float32Array<ArrayBuffer>): Promise<number[]> {
  const { device } = gpu
  const pipeline = await pipelineOf(gpu, 'x[id.x] = 3.0 * x[id.x] + f32(id.x);')
  const usage = BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST
  const buffer = device.createBuffer({ size: x.byteLength, usage })
  device.queue.writeBuffer(buffer, 0, x)
  submit(gpu, pipeline, buffer)
  const readback = device.createBuffer({ size: x.byteLength, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(buffer, 0, readback, 0, x.byteLength)
  device.queue.submit([encoder.finish()])
  await gpu.settle(readback.mapAsync(MAP_READ))
  return [...new Float32Array(readback.getMappedRange())]
}
const INPUT = Float32Array.from({ length: 64 }, (_, i) => i / 4 - 5)
const TRIPLED = [...INPUT].map((x, i) => 3 * x + i)

/** Runs a module in a process of its own, with `acquire` in scope. */
function child(script: string, environment: NodeJS.ProcessEnv = {}) {
  const node = JSON.stringify(new URL('../../src/device/node.ts', import.meta.url))
  const source = `import { acquire, NoAdapterError } from ${node}\n${script}`
  const started = spawn(process.execPath, ['--input-type=module', '-e', source], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
  })
  return new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>((resolve) => {
    let stdout = ''
    let stderr = ''
    started.stdout.on('data', (data) => (stdout += data))
    started.stderr.on('data', (data) => (stderr += data))
    started.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** What SwiftShader says of itself. */
const software: Capabilities = {
  software: true,
  vendor: 'google',
  architecture: 'swiftshader',
  device: 'swiftshader-device-subzero-',
  description: 'SwiftShader driver 5.0.0',
  driver: 'swiftshader',
  f16: false,
  subgroups: false,
  subgroupMinSize: 0,
  subgroupMaxSize: 0,
  timestamps: false,
  maxInvocations: 256,
  maxWorkgroupStorage: 16384,
  maxBindingBytes: 2 ** 30,
  maxBufferBytes: 2 ** 30,
  maxWorkgroupsPerDimension: 65535,
  maxStorageBuffers: 8,
  subgroupMatrix: [],
}

describe('acquire', () => {
  test('opens what is there, with its full limits', async () => {
    using gpu = await acquire()
    const { device, capabilities } = gpu
    expect(await triple(gpu, INPUT)).toEqual(TRIPLED)
    expect(device.limits.maxStorageBufferBindingSize).toBe(capabilities.maxBindingBytes)
    expect(device.limits.maxBufferSize).toBe(capabilities.maxBufferBytes)
    expect(device.limits.maxComputeInvocationsPerWorkgroup).toBe(capabilities.maxInvocations)
    expect(device.limits.maxComputeWorkgroupStorageSize).toBe(capabilities.maxWorkgroupStorage)
    expect(device.limits.maxStorageBuffersPerShaderStage).toBe(capabilities.maxStorageBuffers)
    expect(device.features.has('shader-f16')).toBe(capabilities.f16)
    expect(device.features.has('subgroups')).toBe(capabilities.subgroups)
    expect(device.features.has('timestamp-query')).toBe(capabilities.timestamps)
    // Every kernel is written for at least this much.
    expect(capabilities.maxInvocations).toBeGreaterThanOrEqual(256)
    expect(capabilities.maxWorkgroupStorage).toBeGreaterThanOrEqual(16384)
    expect(capabilities.maxBindingBytes).toBeGreaterThanOrEqual(128 * 2 ** 20)
  })

  test.for(names)('opens %s by its name, in any case, and computes on it', async (name) => {
    using gpu = await acquire({ gpu: name.toUpperCase() })
    expect(gpu.capabilities).toMatchObject({ driver: name, software: true })
    expect(await triple(gpu, INPUT)).toEqual(TRIPLED)
    await gpu.wait()
  })

  test.skipIf(names.length < 2)('opens two drivers at once and leaves the environment as it was', async () => {
    const before = { ...process.env }
    const gpus = await Promise.all([...names, ...names].map((gpu) => acquire({ gpu })))
    expect(gpus.map(({ capabilities }) => capabilities.driver)).toEqual([...names, ...names])
    for (const gpu of gpus) expect(await triple(gpu, INPUT)).toEqual(TRIPLED)
    for (const gpu of gpus) gpu.destroy()
    expect(process.env.VK_DRIVER_FILES).toBe(before.VK_DRIVER_FILES)
    expect(process.env.VK_ICD_FILENAMES).toBe(before.VK_ICD_FILENAMES)
  })

  test('computes the same without clamps and zeroing', async () => {
    using gpu = await acquire({ robustness: false, zeroInit: false })
    expect(await triple(gpu, INPUT)).toEqual(TRIPLED)
    await gpu.wait()
  })

  test('refuses a name that matches nothing, naming what there is', async () => {
    const error = await acquire({ gpu: 'no such adapter' }).catch((error) => error)
    expect(error).toBeInstanceOf(NoAdapterError)
    expect(error.message).toContain("'no such adapter'")
    for (const { name } of adapters) expect(error.message).toContain(name)
  })

  test('opens and closes five times', async () => {
    for (let cycle = 0; cycle < 5; cycle++) {
      await using gpu = await acquire({ gpu: names[cycle % names.length] })
      expect(await triple(gpu, INPUT)).toEqual(TRIPLED)
    }
  })

  test('lists adapters that open by the name listed', async () => {
    expect(adapters.length).toBeGreaterThan(0)
    for (const { name, software } of adapters) {
      using gpu = await acquire({ gpu: name })
      expect(gpu.capabilities.software).toBe(software)
    }
  })
})

describe('waiting', () => {
  test('leaves the core to others while the device works', async () => {
    using gpu = await acquire()
    const buffer = gpu.device.createBuffer({ size: 256, usage: BufferUsage.STORAGE })
    let milliseconds = 0
    let share = 0
    let everything = 0
    let ticks = 0
    for (let turns = 1 << 20; milliseconds < 400; turns *= 4) {
      const pipeline = await pipelineOf(
        gpu,
        `for (var i = 0u; i < ${turns}u; i++) { x[id.x] = x[id.x] * 0.999 + 0.5; }`,
      )
      ticks = 0
      const timer = setInterval(() => ticks++, 10)
      const start = performance.now()
      const thread = process.threadCpuUsage()
      const all = process.cpuUsage()
      submit(gpu, pipeline, buffer)
      await gpu.wait()
      milliseconds = performance.now() - start
      const { user, system } = process.threadCpuUsage(thread)
      share = (user + system) / 1000 / milliseconds
      const total = process.cpuUsage(all)
      everything = (total.user + total.system) / 1000 / milliseconds
      clearInterval(timer)
    }
    // Without the throttle this thread polls with 0.5 to 0.9 of a core, and the software GPU's comes on top.
    expect(share).toBeLessThan(0.3)
    if (gpu.capabilities.software) expect(everything).toBeLessThan(1.4)
    // The event loop goes on turning meanwhile.
    expect(ticks).toBeGreaterThan(milliseconds / 50)
  })

  test('throws an uncaptured error once, by name', async () => {
    using gpu = await acquire()
    gpu.device.createBuffer({ size: 16, usage: 0xffff })
    gpu.device.createBuffer({ size: 16, usage: 0xffff })
    const error = await gpu.wait().catch((error) => error)
    expect(error).toBeInstanceOf(GpuError)
    expect(error).toMatchObject({ name: 'GpuError', kind: 'validation' })
    expect(error.message).toMatch(/^validation error: .*65535.*1 more/s)
    await gpu.wait()
  })

  test('reports what is wrong in a shader, not that its pipeline is invalid', async () => {
    using gpu = await acquire()
    const error = await pipelineOf(gpu, 'let y : f32 = 1u;').catch((error) => error)
    expect(error).toBeInstanceOf(GpuError)
    expect(error.message).toMatch(/cannot initialize|cannot convert|u32/)
    expect(error.cause).toBeInstanceOf(Error)
    await gpu.wait()
  })

  test('passes on what a promise rejects with', async () => {
    using gpu = await acquire()
    await expect(gpu.settle(Promise.reject(new RangeError('mine')))).rejects.toThrow(RangeError)
    const buffer = gpu.device.createBuffer({ size: 16, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
    const mapping = gpu.settle(buffer.mapAsync(MAP_READ))
    buffer.destroy()
    await expect(mapping).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('a lost device', () => {
  test('is a named error for those who wait and for those who come later', async () => {
    const gpu = await acquire()
    const buffer = gpu.device.createBuffer({ size: 16, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST })
    const waits = [gpu.wait(), gpu.settle(buffer.mapAsync(MAP_READ)), gpu.settle(new Promise(() => {}))]
    gpu.device.destroy()
    for (const outcome of await Promise.allSettled([...waits, gpu.wait()])) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'DeviceLostError', reason: 'destroyed' } })
    }
    gpu.destroy()
    await expect(gpu.wait()).rejects.toThrow(DeviceLostError)
  })

  test('says so after destroy()', async () => {
    const gpu = await acquire()
    const wait = gpu.wait()
    gpu.destroy()
    gpu.destroy()
    await expect(wait).rejects.toThrow(/was destroyed/)
  })

  test('tells a reset driver from a device that was destroyed', async () => {
    // No driver resets on demand: a device that does nothing but get lost.
    let lose: (info: { reason: string; message: string }) => void = () => {}
    const lost = new Promise((resolve) => (lose = resolve))
    const queue = { onSubmittedWorkDone: () => new Promise(() => {}) }
    const gpu = new Gpu(Object.assign(new EventTarget(), { lost, queue }) as unknown as GPUDevice, software)
    const wait = gpu.wait()
    lose({ reason: 'unknown', message: 'VK_ERROR_DEVICE_LOST' })
    await expect(wait).rejects.toMatchObject({
      name: 'DeviceLostError',
      reason: 'unknown',
      message: expect.stringContaining('VK_ERROR_DEVICE_LOST'),
    })
  })
})

describe('a process of its own', () => {
  const compute =
    'const gpu = await acquire(options); gpu.device.createBuffer({ size: 1024, usage: 128 }); await gpu.wait()\n'

  test.for(names)('on %s ends by itself with code 0, device destroyed or not, and when it is dropped', async (gpu) => {
    const options = `const options = ${JSON.stringify({ gpu })}\n`
    for (const end of ['gpu.destroy()', '', 'await gpu.device.queue.onSubmittedWorkDone()']) {
      expect(await child(options + compute + end)).toMatchObject({ code: 0, signal: null })
    }
    const dropped = `for (let i = 0; i < 3; i++) { ${compute} globalThis.gc?.() }`
    expect(await child(options + dropped, { NODE_OPTIONS: '--expose-gc' })).toMatchObject({ code: 0, signal: null })
  })

  test.runIf(names.includes('swiftshader'))('needs no Vulkan driver: SwiftShader is unpacked, once', async () => {
    const cache = join(temporary, 'cache')
    const environment = { VK_DRIVER_FILES: join(temporary, 'none.json'), XDG_CACHE_HOME: cache, TMPDIR: temporary }
    const script = `const options = {}\n${compute}console.log(gpu.capabilities.driver, process.env.VK_DRIVER_FILES)`
    const both = await Promise.all([child(script, environment), child(script, environment)])
    for (const run of [...both, await child(script, environment)]) {
      expect(run).toMatchObject({ code: 0, stdout: `swiftshader ${environment.VK_DRIVER_FILES}\n` })
    }
    const folders = readdirSync(join(cache, 'lowkey-gpu'))
    expect(folders).toEqual([expect.stringMatching(/^swiftshader-[\d.]+$/)])
    // A folder that lost a file is made anew.
    const loader = join(cache, 'lowkey-gpu', folders[0], 'libvulkan.so.1')
    rmSync(loader)
    expect(await child(script, environment)).toMatchObject({ code: 0 })
    expect(existsSync(loader)).toBe(true)
  })

  test.runIf(linux)('is told what was looked for and what to install where there is nothing', async () => {
    const script = `
      const error = await acquire().catch((error) => error)
      if (!(error instanceof NoAdapterError)) throw error
      console.log(error.message)
      process.exitCode = 4`
    // No driver, and no folder to unpack one into.
    const nowhere = { VK_DRIVER_FILES: '/none.json', XDG_CACHE_HOME: '/dev/null/cache', TMPDIR: '/dev/null' }
    const { code, stdout } = await child(script, nowhere)
    expect(code).toBe(4)
    expect(stdout).toMatch(/installed drivers: (VK_DRIVER_FILES names '\/none\.json'|the Vulkan loader)/)
    expect(stdout).toMatch(/SwiftShader: /)
    for (const system of ['Debian 12', 'Debian 13', 'Ubuntu']) expect(stdout).toContain(system)
    expect(stdout).toContain('apt-get install -y -t bookworm-backports mesa-vulkan-drivers')
  })
})

describe('the words for an adapter', () => {
  const card: Capabilities = {
    ...software,
    software: false,
    driver: 'other',
    vendor: 'nvidia',
    architecture: 'hopper',
    device: 'nvidia-h100-80gb-hbm3',
    description: 'NVIDIA: 550.90.07',
  }

  test('say when it is software, what to expect and what is faster', () => {
    expect(describeAdapter(software)).toMatch(
      /in software, on SwiftShader.*minutes.*lavapipe.*mesa-vulkan-drivers.*GPU/,
    )
    expect(describeAdapter({ ...software, driver: 'lavapipe' })).toMatch(
      /in software, on lavapipe.*minute for each face.*GPU/,
    )
    expect(describeAdapter({ ...software, driver: 'other' })).toMatch(/in software.*GPU/)
    expect(describeAdapter(card)).toBe('Runs on the GPU nvidia h100 80gb hbm3 (NVIDIA: 550.90.07).')
  })

  test('name an adapter that a browser hardly describes', () => {
    expect(adapterName({ ...card, device: '', description: '' })).toBe('nvidia hopper')
    expect(adapterName({ ...card, device: '', description: '', vendor: '', architecture: '' })).toBe(
      'an unnamed adapter',
    )
  })

  test('give the commands for each system', () => {
    expect(installLines()).toMatch(
      /Debian 12 +add the suite bookworm-backports to apt's sources.*\n +sudo apt-get .*-t bookworm-backports/,
    )
    // Sources of packages are the machine's business.
    expect(installLines()).not.toMatch(/:\/\/|deb\./)
    expect(installLines()).toMatch(/Debian 13 .*\n +Ubuntu /)
  })
})
