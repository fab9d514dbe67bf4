/** Adapters and GPUs as `doctor` and `protect --gpu list` show them. */
import { type AdapterEntry, type PciGpu, pciGpus } from '../device/node.ts'

/** A line for each adapter. */
export const adapterLines = (adapters: readonly AdapterEntry[]): string[] =>
  adapters.map(({ name, backend, software }) => `${name} (${backend}${software ? ', software' : ''})`)

/** A line for each GPU on the PCI bus: how `--gpu` names it, and what it is. */
export function pciLines(gpus: readonly PciGpu[] = pciGpus()): string[] {
  return gpus.map(({ address, name, vendor, device, driver }, index) => {
    const kernel = driver === '' ? 'no kernel driver' : `kernel driver ${driver}`
    return `index:${index} or pci:${address}  ${name} (${vendor}:${device}, ${kernel})`
  })
}
