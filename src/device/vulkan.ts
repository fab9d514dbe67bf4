import { readdirSync } from 'node:fs'
import { constants, homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** dlopen's RTLD_NODELETE on Linux, which node:os does not name: the library stays although Node closes it. */
const RTLD_NODELETE = 0x1000

const LOADER = 'libvulkan.so.1'

let loaderInstalled: boolean | undefined

/**
 * Loads a shared library that is no Node module, and keeps it for the life of the process: a later `dlopen` of the same
 * soname, by Dawn, gets this one.
 * @throws Error in the dynamic loader's words when the library cannot be loaded.
 */
export function loadLibrary(file: string): void {
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen
  open(file, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE)
}

/** Whether this Linux system has a Vulkan loader. Remembered, since {@link loadLibrary} may bring another one in. */
export function hasVulkanLoader(): boolean {
  if (loaderInstalled !== undefined) return loaderInstalled
  try {
    open(LOADER, constants.dlopen.RTLD_LAZY)
    return (loaderInstalled = true)
  } catch {
    return (loaderInstalled = false)
  }
}

/** In words, why the Vulkan drivers of this Linux system gave no adapter: what there is of them. */
export function describeVulkan(): string {
  if (!hasVulkanLoader()) return `the Vulkan loader (${LOADER}) is not installed`
  for (const variable of ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES']) {
    const files = process.env[variable]
    if (files !== undefined) return `${variable} names '${files}', which gave no usable adapter`
  }
  const manifests = manifestFolders().flatMap(filesOf)
  if (manifests.length === 0) return 'the Vulkan loader is installed, but no driver for it'
  return `there are ${manifests.join(', ')}, but no GPU here for any of them, or they are too old`
}

/** Node's dlopen takes only Node modules: it loads the library, then throws that it did not register itself as one. */
function open(file: string, flags: number): void {
  try {
    process.dlopen({ exports: {} }, file, flags)
  } catch (error) {
    if (!/did not self-register/.test((error as Error).message)) throw error
  }
}

/** The Vulkan loader's search path for driver manifests (its LoaderDriverInterface.md). */
function manifestFolders(): string[] {
  const { XDG_CONFIG_DIRS = '/etc/xdg', XDG_DATA_DIRS = '/usr/local/share:/usr/share', XDG_DATA_HOME } = process.env
  const data = XDG_DATA_HOME ?? join(homedir(), '.local', 'share')
  const roots = [...XDG_CONFIG_DIRS.split(delimiter), '/etc', data, ...XDG_DATA_DIRS.split(delimiter)]
  return [...new Set(roots)].map((root) => join(root, 'vulkan', 'icd.d'))
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name))
  } catch {
    return [] // most of the folders do not exist
  }
}
