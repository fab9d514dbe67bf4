import type { Capabilities } from './gpu.ts'

/** How to get a driver, for each system that needs other words. Debian 12's own Mesa (22.3) is too old for Dawn. */
const INSTALL = [
  [
    'Debian 12',
    "add the suite bookworm-backports to apt's sources, at the address that they name for bookworm, then",
    'sudo apt-get update && sudo apt-get install -y -t bookworm-backports mesa-vulkan-drivers',
  ],
  ['Debian 13', 'sudo apt-get update && sudo apt-get install -y mesa-vulkan-drivers'],
  ['Ubuntu', 'sudo apt-get update && sudo apt-get install -y mesa-vulkan-drivers'],
  [
    'NVIDIA GPU',
    'sudo apt-get install -y libvulkan1',
    "beside NVIDIA's own driver (in a container, with NVIDIA_DRIVER_CAPABILITIES=all)",
  ],
]

/**
 * The commands that install a Vulkan driver: Mesa's, which has lavapipe and the drivers of AMD's and Intel's GPUs, or
 * NVIDIA's.
 */
export function installLines(): string {
  const row = ([system, ...lines]: string[]) => lines.map((line, i) => `  ${(i ? '' : system).padEnd(12)}${line}`)
  return INSTALL.flatMap(row).join('\n')
}

/**
 * The adapter in a few words, e.g. `lavapipe (llvmpipe: Mesa 25.0.7 (LLVM 15.0.6))` or `nvidia h100 (NVIDIA:
 * 550.90.07)`.
 */
export function adapterName(capabilities: Capabilities): string {
  const { driver, vendor, architecture, device, description } = capabilities
  const named = device || [vendor, architecture].filter(Boolean).join(' ') || 'an unnamed adapter'
  const name =
    driver === 'other' ? named.replace(/-+/g, ' ').trim() : driver === 'lavapipe' ? 'lavapipe' : 'SwiftShader'
  return description ? `${name} (${description})` : name
}

/**
 * What the adapter is, in sentences for people: which one, whether it is software, what to expect of it and how to get
 * a faster one. The times are of the demo on two cores; on a real GPU nothing was measured yet.
 */
export function describeAdapter(capabilities: Capabilities): string {
  const name = adapterName(capabilities)
  if (!capabilities.software) return `Runs on the GPU ${name}.`
  const expectation = {
    lavapipe: 'Expect about half a minute for each face.',
    swiftshader:
      'This is the slowest way: expect two to three minutes for each face. ' +
      "Mesa's lavapipe is several times faster (Debian 13, Ubuntu: sudo apt-get install mesa-vulkan-drivers; " +
      'Debian 12: the same from bookworm-backports).',
    other: 'Expect minutes for each face.',
  }[capabilities.driver]
  return (
    `Runs in software, on ${name}: the processor stands in for a GPU. ${expectation} ` +
    'Any GPU with a Vulkan driver should be much faster; that is not measured yet.'
  )
}
