/** The GPU and the networks of the page's worker, which survive the loss of a device. */
import { choosePopulations, openPopulations } from '../attack/population-file.ts'
import { Protector, type ProtectorNetworks } from '../attack/protect.ts'
import { acquire, DeviceLostError, type Gpu, NoAdapterError } from '../device/browser.ts'
import { recogniser } from '../models/recognisers.ts'
import type { RecogniserEntry } from '../weights/registry.ts'
import { unpackNetworks } from './pack.ts'
import type { Inability } from './protocol.ts'
import { wrongNumbers } from './self-test.ts'

/** Nothing can be protected here; `detail` is for those who want to know. */
export class UnableError extends Error {
  override name = 'UnableError'
  readonly reason: Inability

  constructor(reason: Inability, detail: string) {
    super(detail)
    this.reason = reason
  }
}

/** The networks of a pack: all its recognisers are attacked, or those named. Throws UnableError where the pack is damaged or lacks one. */
export async function networksOf(
  pack: Uint8Array<ArrayBuffer>,
  models?: readonly string[],
): Promise<ProtectorNetworks> {
  try {
    const { networks, populations } = await unpackNetworks(pack)
    const all = [...networks.values()]
    const entries = all
      .map(({ entry }) => entry)
      .filter((entry): entry is RecogniserEntry => entry.role === 'recogniser')
    const attacked = models ? entries.filter(({ id }) => models.includes(id)) : entries
    if (attacked.length === 0)
      throw new Error(`there is no recogniser ${models}; there are ${entries.map(({ id }) => id)}`)
    const { known } = choosePopulations([await openPopulations(populations, 'populations')], attacked)
    const surrogates = attacked.map((entry) => ({
      network: recogniser(entry),
      weights: networks.get(entry.id)!,
      population: known.get(entry.id),
    }))
    const detector = all.find(({ entry }) => entry.role === 'detector')!
    const perceptual = all.find(({ entry }) => entry.role === 'perceptual')!
    return { detector, lpips: { weights: perceptual, trunk: 'alex' }, surrogates, heldOut: [] }
  } catch (error) {
    throw new UnableError('damaged', error instanceof Error ? error.message : String(error))
  }
}

/** An open GPU whose numbers are right, with a Protector. */
export class Engine {
  private readonly networks: ProtectorNetworks
  private gpu: Gpu
  private protector: Protector

  private constructor(networks: ProtectorNetworks, gpu: Gpu, protector: Protector) {
    this.networks = networks
    this.gpu = gpu
    this.protector = protector
  }

  /**
   * Throws UnableError where the browser has no WebGPU, no adapter, or one that computes something else.
   *
   * @param unpacked gives the networks, once there is a device for them
   */
  static async start(unpacked: () => Promise<ProtectorNetworks>): Promise<Engine> {
    const gpu = await openGpu()
    const networks = await unpacked()
    return new Engine(networks, gpu, await Protector.create(gpu, networks))
  }

  get capabilities() {
    return this.gpu.capabilities
  }

  /**
   * Runs some work. Where the device is lost in it, or was before, a new one is opened and the work done once more from its start.
   * Throws what the work throws, DeviceLostError where the second device is lost too, NoDeviceError where there is none.
   *
   * @param onRestart called before the work begins anew
   */
  async use<T>(work: (protector: Protector) => Promise<T>, onRestart: () => void): Promise<T> {
    try {
      return await work(this.protector)
    } catch (error) {
      if (!(error instanceof DeviceLostError)) throw error
      onRestart()
      await this.reopen()
      return await work(this.protector)
    }
  }

  /** Opens another device, with nothing on it but the detector. Throws NoDeviceError where none can be had. */
  async reopen(): Promise<void> {
    this.gpu.destroy()
    // A GPU process or a driver that went down needs a moment to come back.
    for (let attempt = 0; ; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 500 * (attempt + 1)))
      try {
        const { gpu, protector } = await open(this.networks)
        this.gpu = gpu
        this.protector = protector
        return
      } catch (error) {
        if (attempt === ATTEMPTS) throw new NoDeviceError(error)
      }
    }
  }
}

const ATTEMPTS = 4

/** The device was lost, and no other could be opened. */
export class NoDeviceError extends Error {
  override name = 'NoDeviceError'

  constructor(cause: unknown) {
    super(`no device can be opened any more: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

async function open(networks: ProtectorNetworks): Promise<{ gpu: Gpu; protector: Protector }> {
  const gpu = await openGpu()
  return { gpu, protector: await Protector.create(gpu, networks) }
}

/** A device whose numbers are right. Throws UnableError. */
async function openGpu(): Promise<Gpu> {
  let gpu: Gpu
  try {
    gpu = await acquire()
  } catch (error) {
    if (error instanceof NoAdapterError) {
      const reason = globalThis.navigator?.gpu ? 'no-adapter' : globalThis.isSecureContext ? 'no-webgpu' : 'insecure'
      throw new UnableError(reason, error.message)
    }
    throw new UnableError('other', error instanceof Error ? error.message : String(error))
  }
  const wrong = await wrongNumbers(gpu)
  if (!wrong) return gpu
  gpu.destroy()
  throw new UnableError('wrong-numbers', wrong)
}
