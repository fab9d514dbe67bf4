/** GPUs as the PCI bus of a Linux machine has them: what tells two cards of one name apart. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** A GPU on the PCI bus. */
export interface PciGpu {
  /** `0000:65:00.0`: domain, bus, device and function, in hexadecimal digits. */
  readonly address: string
  /** Hexadecimal, e.g. `10de`. */
  readonly vendor: string
  readonly device: string
  /** What the driver calls it, where it says so; else the vendor's name. */
  readonly name: string
  /** The kernel's driver for it; empty where it has none, so that nothing can use it. */
  readonly driver: string
}

/** Display controllers and processing accelerators (PCI's class codes). */
const CLASSES = ['0x03', '0x12']
const VENDORS: Readonly<Record<string, string>> = { '10de': 'NVIDIA', '1002': 'AMD', '8086': 'Intel' }

/** The GPUs, by address, which is the order in which nvidia-smi counts them; none on other systems than Linux. */
export function pciGpus(bus = '/sys/bus/pci/devices', nvidia = '/proc/driver/nvidia/gpus'): PciGpu[] {
  let addresses: string[]
  try {
    addresses = readdirSync(bus).sort()
  } catch {
    return [] // no Linux, or no PCI bus
  }
  const read = (...parts: string[]): string => {
    try {
      return readFileSync(join(...parts), 'utf8').trim()
    } catch {
      return ''
    }
  }
  return addresses
    .filter((address) => CLASSES.some((code) => read(bus, address, 'class').startsWith(code)))
    .map((address) => {
      const [vendor, device] = ['vendor', 'device'].map((file) => read(bus, address, file).replace(/^0x/, ''))
      const model = /^Model:\s*(.+)$/m.exec(read(nvidia, address, 'information'))?.[1]
      const driver = /^DRIVER=(.+)$/m.exec(read(bus, address, 'uevent'))?.[1] ?? ''
      return { address, vendor, device, name: model ?? VENDORS[vendor] ?? `vendor ${vendor}`, driver }
    })
}

/** What `gpu: 'pci:65:00.0'` and `gpu: 'index:1'` choose by. */
export type Place = { readonly address: string } | { readonly index: number }

/**
 * The place that a text names; undefined where it is a part of a name.
 *
 * @throws RangeError for an address that is none
 */
export function placeOf(text: string): Place | undefined {
  const [, kind, value = ''] = /^(pci|index):(.*)$/i.exec(text) ?? []
  if (kind === undefined) return undefined
  if (kind.toLowerCase() === 'index') {
    if (!/^\d{1,4}$/.test(value))
      throw new RangeError(`"${text}": an index is a number from 0, as \`doctor\` counts GPUs`)
    return { index: Number(value) }
  }
  // nvidia-smi writes the domain with eight digits.
  const [, domain = '0', rest] = /^(?:([\da-f]{4,8}):)?([\da-f]{2}:[\da-f]{2}\.[0-7])$/i.exec(value) ?? []
  if (rest === undefined) throw new RangeError(`"${text}": a PCI address is like pci:0000:65:00.0`)
  return { address: `${Number.parseInt(domain, 16).toString(16).padStart(4, '0')}:${rest.toLowerCase()}` }
}

/** The GPU at a place; undefined where there is none. */
export const gpuAt = (place: Place, gpus: readonly PciGpu[]): PciGpu | undefined =>
  'index' in place ? gpus[place.index] : gpus.find(({ address }) => address === place.address)

/**
 * The variable by which Mesa's layer for choosing devices shows a program this GPU and no other. It is for all Vulkan drivers that tell
 * PCI addresses, NVIDIA's too.
 */
export const onlyAt = (address: string): Record<string, string> => ({
  DRI_PRIME: `pci-${address.replaceAll(/[:.]/g, '_')}!`,
})

/** Whether that layer is installed. */
export function hasSelectLayer(): boolean {
  const { XDG_DATA_DIRS = '/usr/local/share:/usr/share', XDG_DATA_HOME, HOME } = process.env
  const data = XDG_DATA_HOME ?? join(HOME ?? homedir(), '.local', 'share')
  return ['/etc', data, ...XDG_DATA_DIRS.split(delimiter)].some((root) =>
    existsSync(join(root, 'vulkan', 'implicit_layer.d', 'VkLayer_MESA_device_select.json')),
  )
}
