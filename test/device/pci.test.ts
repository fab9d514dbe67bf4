/** GPUs by their place on the PCI bus: what is read of it, and that the layer that hides all others does so. */
import { execFile } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { acquire, NoAdapterError } from '../../src/device/node.ts'
import { gpuAt, hasSelectLayer, onlyAt, pciGpus, placeOf } from '../../src/device/pci.ts'

const folder = mkdtempSync(join(tmpdir(), 'lowkey-pci-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A bus as /sys and /proc show it. */
function bus(
  devices: Record<string, { class: string; vendor: string; device: string; driver?: string; model?: string }>,
) {
  const [sys, proc] = ['sys', 'proc'].map((name) => join(mkdtempSync(join(folder, 'bus-')), name))
  for (const [address, { class: code, vendor, device, driver, model }] of Object.entries(devices)) {
    mkdirSync(join(sys, address), { recursive: true })
    for (const [file, text] of Object.entries({ class: code, vendor: `0x${vendor}`, device: `0x${device}` }))
      writeFileSync(join(sys, address, file), `${text}\n`)
    writeFileSync(join(sys, address, 'uevent'), `${driver ? `DRIVER=${driver}\n` : ''}PCI_CLASS=30200\n`)
    if (!model) continue
    mkdirSync(join(proc, address), { recursive: true })
    writeFileSync(join(proc, address, 'information'), `Model: \t\t ${model}\nIRQ:   \t\t 90\n`)
  }
  return pciGpus(sys, proc)
}

describe('GPUs on the bus', () => {
  const h100 = { class: '0x030200', vendor: '10de', device: '2330', driver: 'nvidia', model: 'NVIDIA H100 80GB HBM3' }
  const gpus = bus({
    '0000:c1:00.0': h100,
    '0000:00:00.0': { class: '0x060000', vendor: '8086', device: '1237' },
    '0000:00:03.0': { class: '0x020000', vendor: '1af4', device: '1041', driver: 'virtio-pci' },
    '0000:65:00.0': h100,
    '0000:0a:00.0': { class: '0x038000', vendor: '1002', device: '740f', driver: 'amdgpu' },
    '0001:0b:00.0': { class: '0x120000', vendor: 'abcd', device: '0001' },
  })

  test('are display controllers and accelerators, by address, with what the driver calls them', () => {
    expect(gpus).toEqual([
      { address: '0000:0a:00.0', vendor: '1002', device: '740f', name: 'AMD', driver: 'amdgpu' },
      { address: '0000:65:00.0', vendor: '10de', device: '2330', name: 'NVIDIA H100 80GB HBM3', driver: 'nvidia' },
      { address: '0000:c1:00.0', vendor: '10de', device: '2330', name: 'NVIDIA H100 80GB HBM3', driver: 'nvidia' },
      { address: '0001:0b:00.0', vendor: 'abcd', device: '0001', name: 'vendor abcd', driver: '' },
    ])
    expect(pciGpus(join(folder, 'nothing'))).toEqual([])
  })

  test('are chosen by address, as several programs write it, or by index', () => {
    const at = (text: string) => gpuAt(placeOf(text)!, gpus)?.address
    for (const text of ['pci:0000:65:00.0', 'pci:65:00.0', 'PCI:00000000:65:00.0', 'index:1'])
      expect(at(text)).toBe('0000:65:00.0')
    expect(at('pci:0001:0b:00.0')).toBe('0001:0b:00.0')
    expect(at('index:4')).toBe(undefined)
    expect(at('pci:66:00.0')).toBe(undefined)
    for (const name of ['nvidia', '4090', 'lavapipe', 'index', '1']) expect(placeOf(name)).toBe(undefined)
    for (const text of ['pci:', 'pci:65', 'pci:65:00', 'pci:65:00.9', 'index:', 'index:-1', 'index:1.5'])
      expect(() => placeOf(text), text).toThrow(RangeError)
  })

  test('that are not there are refused by name', async () => {
    await expect(acquire({ gpu: 'pci:ffff:ff:1f.7' })).rejects.toThrow(NoAdapterError)
    await expect(acquire({ gpu: 'pci:ffff:ff:1f.7' })).rejects.toThrow('there is no GPU at ffff:ff:1f.7')
    await expect(acquire({ gpu: 'index:9999' })).rejects.toThrow('there is no GPU 9999')
    await expect(acquire({ gpu: 'index:x' })).rejects.toThrow(RangeError)
  })
})

/** lavapipe's manifest, where it is installed. */
const manifest = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d']
  .flatMap((root) => (existsSync(root) ? readdirSync(root).map((name) => join(root, name)) : []))
  .find((file) => /lvp_icd.*\.json$/.test(file))
const library = '/usr/lib/x86_64-linux-gnu/libvulkan_lvp.so'

// lavapipe has no address, which the layer takes for zeros: enough to see that it hides one of two devices of one name.
test.skipIf(!manifest || !existsSync(library) || !hasSelectLayer())(
  'two devices of one name are one where the layer is told an address',
  async () => {
    const second = join(folder, 'libvulkan_lvp_second.so')
    copyFileSync(library, second)
    const twin = join(folder, 'second.json')
    const text = JSON.parse(readFileSync(manifest!, 'utf8'))
    writeFileSync(twin, JSON.stringify({ ...text, ICD: { ...text.ICD, library_path: second } }))
    const script = `import { listAdapters } from '${join(import.meta.dirname, '../../src/device/node.ts')}'
      const list = async () => (await listAdapters()).filter(({ name }) => name.startsWith('llvmpipe')).length
      const before = await list()
      console.log(JSON.stringify([before]))
      process.exit(0)`
    const count = async (more: Record<string, string>): Promise<number> => {
      const env = {
        ...process.env,
        NODE_OPTIONS: '',
        VK_DRIVER_FILES: `${manifest}:${twin}`,
        VK_ICD_FILENAMES: `${manifest}:${twin}`,
        ...more,
      }
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env })
      return JSON.parse(stdout)[0]
    }
    expect(await count({})).toBe(2)
    expect(await count(onlyAt('0000:00:00.0'))).toBe(1)
    // Where no device has the address it hides none: others than one are refused.
    expect(await count(onlyAt('0000:65:00.0'))).toBe(2)
  },
  60_000,
)
