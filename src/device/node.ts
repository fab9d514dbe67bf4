import { tmpdir } from 'node:os'
import { isMainThread } from 'node:worker_threads'
import { adapterName, installLines } from './describe.ts'
import { capabilitiesOf, type Gpu, NoAdapterError, openDevice } from './gpu.ts'
import { gpuAt, hasSelectLayer, onlyAt, type PciGpu, type Place, pciGpus, placeOf } from './pci.ts'
import { type SwiftShader, unpackSwiftShader } from './swiftshader.ts'
import { throttle } from './throttle.ts'
import { describeVulkan, hasVulkanLoader, loadLibrary } from './vulkan.ts'

export { adapterName, describeAdapter, installLines } from './describe.ts'
export {
  type Capabilities,
  DeviceLostError,
  Gpu,
  GpuError,
  NoAdapterError,
  type SubgroupMatrixConfig,
} from './gpu.ts'
export { hasSelectLayer, type PciGpu, pciGpus } from './pci.ts'

export interface AcquireOptions {
  /**
   * Part of an adapter's name, in any case ('nvidia', 'lavapipe', 'swiftshader'); without it the fastest kind there is. Of several
   * cards of one name, on Linux: 'pci:0000:65:00.0', or 'index:1' for the second by PCI address.
   */
  readonly gpu?: string
  /**
   * Clamp every index in shaders (default). False is faster on a real GPU; a wrong index then reads or writes foreign
   * memory.
   */
  readonly robustness?: boolean
  /**
   * Zero new buffers and workgroup memory (default). False is for code that writes every element before it reads one.
   */
  readonly zeroInit?: boolean
  /**
   * Called for what looks for drivers and does not give way to other work meanwhile: a place to see to what they write to stderr.
   */
  readonly around?: <T>(look: () => T) => T
  /** Further toggles, by their names in Dawn's src/dawn/native/Toggles.cpp. */
  readonly toggles?: { readonly enable?: readonly string[]; readonly disable?: readonly string[] }
}

/** An adapter that `acquire({ gpu: name })` can open. */
export interface AdapterEntry {
  /** The driver's name of it, e.g. 'llvmpipe (LLVM 15.0.6, 256 bits)'. */
  readonly name: string
  /** 'vulkan', 'metal' or 'd3d12'. */
  readonly backend: string
  /** The adapter is the processor itself. */
  readonly software: boolean
}

/** The names people know drivers by, where the driver gives itself another. */
const ALIASES: Readonly<Record<string, string>> = { lavapipe: 'llvmpipe', warp: 'microsoft basic render' }

/**
 * What `create()` returned, by driver and flags, for the life of the process: the process dies when one is collected
 * while a device of it lives.
 */
const instances = new Map<string, GPU>()

/**
 * Opens the best adapter of this machine: a real GPU; else an installed software driver (lavapipe, WARP); else
 * SwiftShader out of the npm package `@sparticuz/chromium`, in this process and without root. With `options.gpu`, the
 * first adapter of that name.
 * @throws NoAdapterError when there is none; Error when the adapter does not open; RangeError for an address or index that is none.
 */
export async function acquire(options: AcquireOptions = {}): Promise<Gpu> {
  const { gpu: name, around } = options
  const look: Look = { flags: dawnFlags(options), around }
  const place = name === undefined ? undefined : placeOf(name)
  if (place) return openAt(look, place)
  const installed = await find(look, undefined, name)
  if (installed) return open(installed, () => find(look, undefined, name))
  const looked = [`installed drivers: ${describeInstalled()}`]
  const swiftShader = findSwiftShader(looked)
  const bundled = swiftShader && (await find(look, swiftShader, name))
  if (bundled) return open(bundled, () => find(look, swiftShader, name))
  if (swiftShader) looked.push(`SwiftShader: its driver (${swiftShader.manifest}) gave no usable adapter`)

  const others = name === undefined ? [] : await listAdapters(around)
  if (others.length > 0) {
    const there = others.map(({ name }) => `  ${name}`)
    if (!swiftShader) there.push(...looked.slice(1))
    throw new NoAdapterError(`no adapter's name contains '${name}'. There are\n${there.join('\n')}`)
  }
  throw new NoAdapterError(
    `no GPU and no software driver was found. Looked for\n${looked.map((line) => `  ${line}`).join('\n')}\n` +
      (process.platform === 'linux' ? `A driver is installed with\n${installLines()}` : 'Update the graphics driver'),
  )
}

/** Every adapter that {@link acquire} can open, the preferred ones first. Empty where there is none. */
export async function listAdapters(around?: AcquireOptions['around']): Promise<AdapterEntry[]> {
  const look: Look = { flags: dawnFlags({}), around }
  const installed = await enumerate(look, undefined)
  const swiftShader = findSwiftShader([])
  return swiftShader ? [...installed, ...(await enumerate(look, swiftShader))] : installed
}

/** Opens the GPU at a place on the PCI bus. Dawn knows names only, so all others are hidden from it. */
async function openAt(look: Look, place: Place): Promise<Gpu> {
  const gpus = pciGpus()
  const gpu = gpuAt(place, gpus)
  if (!gpu) {
    const which = 'index' in place ? `no GPU ${place.index}` : `no GPU at ${place.address}`
    const there = gpus.map(({ address, name }, i) => `  index:${i} is pci:${address} (${name})`)
    throw new NoAdapterError(
      `there is ${which}. ${there.length > 0 ? `There are\n${there.join('\n')}` : 'No GPU is on the PCI bus of this machine, or it is not Linux'}`,
    )
  }
  const only = { ...look, environment: onlyAt(gpu.address) }
  await expectOne(only, gpu)
  const again = () => requestAdapter(only, undefined)
  const adapter = await again()
  if (!adapter)
    throw new NoAdapterError(`the GPU at ${gpu.address} (${gpu.name}) gave no adapter: ${describeInstalled()}`)
  return open(adapter, again)
}

/** Throws NoAdapterError where others than one GPU are shown: nobody would know which one works. */
async function expectOne(look: Look, { address, name }: PciGpu): Promise<void> {
  const entries = await enumerate(look, undefined)
  if (entries.length === 1 && !entries[0].software) return
  const shown = entries.map(({ name }) => name).join(', ') || 'none'
  throw new NoAdapterError(
    `the GPU at ${address} (${name}) cannot be chosen: the drivers show ${shown}. ` +
      (hasSelectLayer()
        ? 'Its driver has no Vulkan here, does not tell PCI addresses, or the GPU is not visible to this process'
        : "Choosing by address takes Mesa's layer VK_LAYER_MESA_device_select (package mesa-vulkan-drivers), whatever the GPU"),
  )
}

/** How adapters are looked for. */
interface Look {
  /** Variables that drivers and layers are to see. */
  environment?: Readonly<Record<string, string>>
  flags: string[]
  around: AcquireOptions['around']
}

/** Flags of dawn.node's `create()`. */
function dawnFlags({ robustness = true, zeroInit = true, toggles = {} }: AcquireOptions): string[] {
  // Matrix units and timestamps inside passes are experimental features; f16 is refused on NVIDIA without its toggle.
  const enable = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia', ...(toggles.enable ?? [])]
  // Rounds timestamps to 65 us, against web pages that spy.
  const disable = ['timestamp_quantization', ...(toggles.disable ?? [])]
  if (!robustness) enable.push('disable_robustness')
  if (!zeroInit) {
    enable.push('disable_workgroup_init')
    disable.push('lazy_clear_resource_on_first_use')
  }
  return [`enable-dawn-features=${enable.join(',')}`, `disable-dawn-features=${disable.join(',')}`]
}

async function find(look: Look, driver: SwiftShader | undefined, name?: string): Promise<GPUAdapter | null> {
  if (name === undefined) return requestAdapter(look, driver)
  const wanted = ALIASES[name.toLowerCase()] ?? name.toLowerCase()
  const entry = (await enumerate(look, driver)).find((adapter) => adapter.name.toLowerCase().includes(wanted))
  return entry ? requestAdapter({ ...look, flags: [...look.flags, `adapter=${entry.name}`] }, driver) : null
}

/** All adapters of the drivers. Dawn names them only in its refusal of a name that fits none. */
async function enumerate(look: Look, driver: SwiftShader | undefined): Promise<AdapterEntry[]> {
  try {
    await requestAdapter({ ...look, flags: [...look.flags, 'adapter=(none has this name)'] }, driver)
    return [] // no adapter at all: there Dawn does not look at the name
  } catch (error) {
    const lines = [...String(error).matchAll(/^ \* backend: '(.*)', name: '(.*)'$/gm)]
    if (lines.length === 0) throw error
    return lines.map(([, backend, name]) => ({
      name,
      backend,
      software: /llvmpipe|swiftshader|basic render/i.test(name),
    }))
  }
}

async function requestAdapter(look: Look, driver: SwiftShader | undefined): Promise<GPUAdapter | null> {
  const { flags, environment = {}, around = (run) => run() } = look
  const { create } = await import('webgpu').catch((error: Error) => {
    throw new NoAdapterError(
      `the npm package webgpu does not load on ${process.platform}-${process.arch}: ${error.message}\n` +
        'It is built for Linux with glibc, macOS and Windows, on x64 and arm64',
    )
  })
  const key = JSON.stringify([driver?.manifest, environment, ...flags])
  const request = () => {
    let gpu = instances.get(key)
    if (!gpu) instances.set(key, (gpu = create(flags)))
    return gpu.requestAdapter({ powerPreference: 'high-performance' })
  }
  if (process.platform === 'linux') {
    // Dawn would find out too, and complain on stderr.
    if (!driver && !hasVulkanLoader()) return null
  }
  return around(() => withEnvironment(driver, environment, request))
}

/**
 * Runs with the environment that drivers are to see. They are enumerated before `requestAdapter` returns its promise, so that of the
 * program is back before anything else of it runs.
 */
function withEnvironment<T>(driver: SwiftShader | undefined, more: Readonly<Record<string, string>>, run: () => T): T {
  const variables: Record<string, string> = { ...more }
  if (driver) {
    variables.VK_DRIVER_FILES = driver.manifest
    variables.VK_ICD_FILENAMES = driver.manifest // the name that Vulkan loaders before 1.3.207 know
  }
  // Mesa complains on stderr when it is not set, and needs it for windows only.
  if (process.platform === 'linux') variables.XDG_RUNTIME_DIR = process.env.XDG_RUNTIME_DIR ?? tmpdir()
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, variables)
  try {
    return run()
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

/** SwiftShader, unpacked and its Vulkan loader loaded; or nothing, with the reason added to `failures`. */
function findSwiftShader(failures: string[]): SwiftShader | undefined {
  try {
    // In a worker the environment is a copy, so the driver's manifest could not be named to the loader.
    if (!isMainThread) throw new Error('it can be loaded in the main thread only, this is a worker')
    const swiftShader = unpackSwiftShader()
    loadLibrary(swiftShader.loader)
    return swiftShader
  } catch (error) {
    failures.push(`SwiftShader: ${(error as Error).message}`)
    return undefined
  }
}

function describeInstalled(): string {
  if (process.platform === 'linux') return describeVulkan()
  return process.platform === 'darwin' ? 'Metal gave no adapter' : 'Direct3D 12 gave no adapter'
}

/** @param again gives the adapter once more: one adapter opens one device. */
async function open(adapter: GPUAdapter, again: () => Promise<GPUAdapter | null>): Promise<Gpu> {
  const another = async () => {
    const next = await again()
    if (!next) throw new NoAdapterError('the adapter is not there any more')
    return openDevice(next, { throttle })
  }
  try {
    return await openDevice(adapter, { throttle, another })
  } catch (error) {
    const name = adapterName(capabilitiesOf(adapter))
    throw new Error(`${name} does not open: ${(error as Error).message}; acquire({ gpu: name }) takes another`, {
      cause: error,
    })
  }
}
