/**
 * One matrix shape that the adapter's matrix units offer: C[M,N] (resultComponentType) += A[M,K] * B[K,N]
 * (componentType).
 */
export interface SubgroupMatrixConfig {
  readonly componentType: string
  readonly resultComponentType: string
  readonly M: number
  readonly N: number
  readonly K: number
}

/** What the opened device can do: the facts kernels choose their variants by. */
export interface Capabilities {
  /** The adapter is the processor itself (lavapipe, SwiftShader, WARP). */
  readonly software: boolean
  readonly vendor: string
  readonly architecture: string
  readonly device: string
  readonly description: string
  readonly driver: 'lavapipe' | 'swiftshader' | 'other'
  readonly f16: boolean
  readonly subgroups: boolean
  /** Lanes; 0 where subgroups are not offered. */
  readonly subgroupMinSize: number
  readonly subgroupMaxSize: number
  readonly timestamps: boolean
  /** Invocations of one workgroup. */
  readonly maxInvocations: number
  /** Bytes of workgroup memory of one workgroup. */
  readonly maxWorkgroupStorage: number
  /** Bytes of one storage binding. */
  readonly maxBindingBytes: number
  readonly maxBufferBytes: number
  readonly maxWorkgroupsPerDimension: number
  /** Storage buffers of one shader stage. */
  readonly maxStorageBuffers: number
  /** Empty where matrix units are not offered. */
  readonly subgroupMatrix: readonly SubgroupMatrixConfig[]
}

/** Outcome of a trial among kernels of one operation. */
export interface TuningChoice {
  /** The kernel that is used. */
  readonly variant: string
  /** Median time of one run of each rival that gave the right numbers. */
  readonly microseconds: Readonly<Record<string, number>>
  /** Rivals that did not, or did not run at all, and why. */
  readonly excluded: Readonly<Record<string, string>>
}

/** Where choices are kept. A Map is one; `fileTuning` of lowkey-gpu/node keeps them in a file. */
export interface TuningCache {
  get(key: string): TuningChoice | undefined
  set(key: string, choice: TuningChoice): void
}

/**
 * Awaits a promise that the WebGPU implementation settles. In a browser that is all there is to do; Dawn in Node polls
 * its events as fast as the event loop turns while anything is pending, and there a throttle slows the turns (see
 * node.ts).
 */
export type Throttle = <T>(promise: Promise<T>) => Promise<T>

export interface DeviceOptions {
  readonly throttle?: Throttle
  /** Opens another device of the same driver; see `Gpu.sibling`. */
  readonly another?: () => Promise<Gpu>
}

const noThrottle: Throttle = (promise) => promise

/**
 * The device is gone: it was destroyed, the driver was reset, or the GPU was unplugged. Nothing on it can be used any
 * more.
 */
export class DeviceLostError extends Error {
  override readonly name = 'DeviceLostError'
  /** 'destroyed' when the program itself ended the device, else 'unknown' (WebGPU's two reasons). */
  readonly reason: GPUDeviceLostReason

  constructor(adapter: string, reason: GPUDeviceLostReason, message: string) {
    const why = `(${message.trim() || 'no reason given'}): the driver may have reset it; open it again`
    super(`the device on ${adapter} was ${reason === 'destroyed' ? 'destroyed' : `lost ${why}`}`)
    this.reason = reason
  }
}

/** A validation, out-of-memory or internal error that no error scope caught. */
export class GpuError extends Error {
  override readonly name = 'GpuError'
  readonly kind: 'validation' | 'out-of-memory' | 'internal'

  constructor(kind: GpuError['kind'], message: string, more = 0, options?: ErrorOptions) {
    super(`${kind} error: ${message.trim()}${more > 0 ? ` (and ${more} more after it)` : ''}`, options)
    this.kind = kind
  }
}

/** There is no adapter, or none of the name asked for. The message says what was looked for and what to do. */
export class NoAdapterError extends Error {
  override readonly name = 'NoAdapterError'
}

/** Limits that kernels profit from; a device gets the specification's small defaults for every limit not asked for. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxUniformBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupSizeY',
  'maxComputeWorkgroupSizeZ',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxTextureDimension2D',
  'maxImmediateSize',
] as const

const FEATURES = [
  'shader-f16',
  'subgroups',
  'subgroup-size-control',
  'timestamp-query',
  'chromium-experimental-timestamp-query-inside-passes',
  'chromium-experimental-subgroup-matrix',
] as const

/**
 * An open device with its facts, and the only way the rest of the code waits for it.
 * `using gpu = await openDevice(adapter)` (or `await using`) destroys it at the end of the block.
 */
export class Gpu implements Disposable, AsyncDisposable {
  readonly device: GPUDevice
  readonly capabilities: Capabilities
  /**
   * Where `compile` keeps which of an operation's rival kernels is the fastest; false for no trials, the first is taken then. At first
   * memory on a GPU, and false where the adapter is the processor.
   */
  tuning: TuningCache | false
  /** What modules keep for this device; see {@link keep}. */
  private readonly kept = new Map<symbol, unknown>()
  readonly #throttle: Throttle
  readonly #another: (() => Promise<Gpu>) | undefined
  #sibling: Promise<Gpu> | undefined
  #lost: DeviceLostError | undefined
  /** Rejectors of the promises being awaited: a lost device ends every wait, also one whose promise never settles. */
  readonly #waiting = new Set<(reason: DeviceLostError) => void>()
  /**
   * The first uncaptured error since the last wait(), and how many came: the first one is usually the cause of the
   * others.
   */
  #uncaptured: GPUError | undefined
  #uncapturedCount = 0
  readonly #onUncaptured = (event: GPUUncapturedErrorEvent) => {
    event.preventDefault() // browsers would print it as well; it is thrown by wait()
    this.#uncaptured ??= event.error
    this.#uncapturedCount++
  }

  constructor(device: GPUDevice, capabilities: Capabilities, { throttle = noThrottle, another }: DeviceOptions = {}) {
    this.device = device
    this.capabilities = capabilities
    this.tuning = capabilities.software ? false : new Map<string, TuningChoice>()
    this.#throttle = throttle
    this.#another = another
    device.addEventListener('uncapturederror', this.#onUncaptured)
    void device.lost.then(({ reason, message }) => this.#markLost(reason, message))
  }

  /**
   * Resolves when everything submitted so far is done, without burning a core.
   * @throws DeviceLostError when the device is or gets lost; GpuError when a validation, out-of-memory or internal
   * error happened since the last wait.
   */
  async wait(): Promise<void> {
    await this.settle(this.device.queue.onSubmittedWorkDone())
    const error = this.#takeUncaptured()
    if (error) throw error
  }

  /**
   * Awaits any promise of this device (`mapAsync`, `createComputePipelineAsync`, `popErrorScope`) with the same
   * throttle.
   * @throws DeviceLostError when the device is or gets lost; where the promise rejects, GpuError with the uncaptured
   * error behind it (a pipeline is refused with "invalid shader module", and what is wrong in the WGSL is the
   * uncaptured error), else its own reason.
   */
  async settle<T>(promise: Promise<T>): Promise<T> {
    promise.catch(() => {}) // its rejection is reported below, or gives way to the lost device
    if (this.#lost) throw this.#lost
    let reject: (reason: DeviceLostError) => void = () => {}
    const lost = new Promise<never>((_, fail) => (reject = fail))
    this.#waiting.add(reject)
    try {
      const value = await this.#throttle(Promise.race([promise, lost]))
      if (this.#lost) throw this.#lost
      return value
    } catch (error) {
      // Work cut short by a loss fails in its own words (AbortError), sometimes before `device.lost` resolves.
      if (isAbort(error)) await Promise.race([lost, new Promise((resolve) => setTimeout(resolve, 0))])
      throw this.#lost ?? this.#takeUncaptured(error) ?? error
    } finally {
      this.#waiting.delete(reject)
    }
  }

  /**
   * A second device of the same driver, opened when it is first asked for and destroyed with this one: it has a queue, and with it a
   * thread, of its own. Undefined where the way this device was opened gives none.
   */
  sibling(): Promise<Gpu | undefined> {
    if (!this.#another || this.#lost) return Promise.resolve(undefined)
    // What it is for can be done without it.
    this.#sibling ??= this.#another()
    return this.#sibling.catch(() => undefined)
  }

  /**
   * Ends the device and frees its memory. Idempotent; every pending and later wait rejects with DeviceLostError. Dawn
   * returns from it only when the work submitted so far is done.
   */
  destroy(): void {
    this.#markLost('destroyed', '')
    this.device.destroy()
    this.#sibling?.then(
      (gpu) => gpu.destroy(),
      () => {},
    )
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy()
  }

  /** The value kept under a key for the life of this object, made where there is none: compiled pipelines, measured roofs. */
  keep<T>(key: symbol, make: () => T): T {
    if (!this.kept.has(key)) this.kept.set(key, make())
    return this.kept.get(key) as T
  }

  /** Has a value made anew the next time. */
  forget(key: symbol): void {
    this.kept.delete(key)
  }

  #takeUncaptured(cause?: unknown): GpuError | undefined {
    const error = this.#uncaptured
    if (!error) return undefined
    const more = this.#uncapturedCount - 1
    this.#uncaptured = undefined
    this.#uncapturedCount = 0
    return new GpuError(errorKind(error), error.message, more, cause === undefined ? undefined : { cause })
  }

  #markLost(reason: GPUDeviceLostReason, message: string): void {
    const { description, device, vendor } = this.capabilities
    this.#lost ??= new DeviceLostError(description || device || vendor || 'an unnamed adapter', reason, message)
    for (const reject of this.#waiting) reject(this.#lost)
    this.#waiting.clear()
    // Dawn in Node holds listeners for ever, and with them all that they know.
    this.device.removeEventListener('uncapturederror', this.#onUncaptured)
  }
}

/**
 * Opens a device with the adapter's full useful limits and every useful feature it offers.
 * The adapter is used up by it (WebGPU gives one device an adapter).
 * @throws whatever `requestDevice` rejects with, e.g. an adapter used before.
 */
export async function openDevice(adapter: GPUAdapter, options: DeviceOptions = {}): Promise<Gpu> {
  const { throttle = noThrottle } = options
  const requiredLimits: Record<string, number> = {}
  for (const name of LIMITS) {
    // A name the implementation does not know would make requestDevice fail.
    const value = (adapter.limits as unknown as Record<string, number | undefined>)[name]
    if (value !== undefined) requiredLimits[name] = value
  }
  const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name)) as GPUFeatureName[]
  const capabilities = capabilitiesOf(adapter)
  const device = await throttle(adapter.requestDevice({ label: 'lowkey-gpu', requiredFeatures, requiredLimits }))
  return new Gpu(device, capabilities, options)
}

/** The facts of an adapter, as a device opened by {@link openDevice} will have them. */
export function capabilitiesOf(adapter: GPUAdapter): Capabilities {
  const { limits, features } = adapter
  const info = adapter.info as GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig> }
  const { vendor, architecture, device, description } = info
  const name = `${vendor} ${architecture} ${device} ${description}`.toLowerCase()
  const driver = name.includes('llvmpipe') ? 'lavapipe' : name.includes('swiftshader') ? 'swiftshader' : 'other'
  const subgroups = features.has('subgroups')
  const matrix = (features as ReadonlySet<string>).has('chromium-experimental-subgroup-matrix')
  return {
    // "Microsoft Basic Render Driver" is WARP.
    software: driver !== 'other' || info.isFallbackAdapter === true || name.includes('basic render'),
    vendor,
    architecture,
    device,
    description,
    driver,
    f16: features.has('shader-f16'),
    subgroups,
    // WebGPU's bounds for an adapter that does not say.
    subgroupMinSize: subgroups ? (info.subgroupMinSize ?? 4) : 0,
    subgroupMaxSize: subgroups ? (info.subgroupMaxSize ?? 128) : 0,
    timestamps: features.has('timestamp-query'),
    maxInvocations: limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroupStorage: limits.maxComputeWorkgroupStorageSize,
    maxBindingBytes: limits.maxStorageBufferBindingSize,
    maxBufferBytes: limits.maxBufferSize,
    maxWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
    subgroupMatrix: matrix
      ? Array.from(info.subgroupMatrixConfigs ?? [], ({ componentType, resultComponentType, M, N, K }) => ({
          componentType,
          resultComponentType,
          M,
          N,
          K,
        }))
      : [],
  }
}

function errorKind(error: GPUError): GpuError['kind'] {
  const name = error.constructor.name
  return name === 'GPUOutOfMemoryError' ? 'out-of-memory' : name === 'GPUInternalError' ? 'internal' : 'validation'
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'OperationError')
}
