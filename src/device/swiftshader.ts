import { existsSync, lstatSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import { homeFolder, makeFolder } from '../files/folders.ts'

/** Where an unpacked SwiftShader lies: a Vulkan loader of its own, and the driver manifest to point that loader at. */
export interface SwiftShader {
  readonly loader: string
  readonly manifest: string
}

const PACKAGE = '@sparticuz/chromium'
const LOADER = 'libvulkan.so.1'
const MANIFEST = 'vk_swiftshader_icd.json'
/**
 * The members needed, out of the package's archive (its other members are for OpenGL). The manifest names the library
 * beside it.
 */
const MEMBERS = [LOADER, MANIFEST, 'libvk_swiftshader.so']

/**
 * SwiftShader out of the npm package `@sparticuz/chromium`, unpacked into the user's cache folder the first time: no
 * root and no Vulkan installation needed. The package carries a Linux x64 build of Chromium's software Vulkan driver in
 * a brotli-packed tar.
 * @throws Error saying why there is none: another platform, package not installed, or no folder to unpack into.
 */
export function unpackSwiftShader(): SwiftShader {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error(`the npm package ${PACKAGE} has it for linux-x64, this is ${process.platform}-${process.arch}`)
  const root = findPackage()
  if (!root) throw new Error(`not installed (without root: npm install --no-save ${PACKAGE})`)
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const failures: string[] = []
  for (const cache of cacheFolders()) {
    try {
      const folder = join(cache, `swiftshader-${version}`)
      makeFolder(cache, 0o700)
      assertOurs(cache)
      if (!isComplete(folder)) unpack(join(root, 'bin', 'swiftshader.tar.br'), folder)
      assertOurs(folder)
      return { loader: join(folder, LOADER), manifest: join(folder, MANIFEST) }
    } catch (error) {
      failures.push((error as Error).message)
    }
  }
  throw new Error(`it could not be unpacked: ${failures.join('; ')}`)
}

/** The package is looked up from this file (or the bundle it became) upwards; published installs do not have it. */
function findPackage(): string | undefined {
  const folders = createRequire(import.meta.url).resolve.paths(PACKAGE) ?? []
  return folders
    .map((folder) => join(folder, PACKAGE))
    .find((root) => existsSync(join(root, 'bin', 'swiftshader.tar.br')))
}

function cacheFolders(): string[] {
  const { XDG_CACHE_HOME } = process.env
  return [
    // The specification of XDG folders has relative paths ignored.
    XDG_CACHE_HOME?.startsWith('/') ? join(XDG_CACHE_HOME, 'lowkey-gpu') : join(homeFolder(), '.cache', 'lowkey-gpu'),
    join(tmpdir(), `lowkey-gpu-${process.getuid!()}`),
  ]
}

/** Code is loaded from the folder: one that another user made or may write to (planted in /tmp, say) is refused. */
function assertOurs(folder: string): void {
  const { uid, mode } = lstatSync(folder)
  if (uid !== process.getuid!() && uid !== 0) throw new Error(`${folder} belongs to another user`)
  if (mode & 0o002) throw new Error(`${folder} can be written by anybody (chmod o-w makes it safe)`)
}

function isComplete(folder: string): boolean {
  return MEMBERS.every((name) => existsSync(join(folder, name)))
}

/**
 * Unpacks beside the folder and renames, so that the folder is there whole or not at all, whoever else unpacks
 * meanwhile.
 */
function unpack(archive: string, folder: string): void {
  const temporary = mkdtempSync(`${folder}.part-`)
  try {
    for (const [name, data] of tarMembers(brotliDecompressSync(readFileSync(archive)))) {
      if (MEMBERS.includes(name)) writeFileSync(join(temporary, name), data, { mode: 0o600 })
    }
    if (!isComplete(temporary)) throw new Error(`${archive} lacks one of ${MEMBERS.join(', ')}`)
    try {
      renameSync(temporary, folder)
    } catch (error) {
      if (isComplete(folder)) return // another process was faster
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY' && (error as NodeJS.ErrnoException).code !== 'EEXIST')
        throw error
      rmSync(folder, { recursive: true }) // files were deleted from it
      renameSync(temporary, folder)
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

/**
 * The regular files of a tar archive (POSIX ustar, IEEE 1003.1): blocks of 512 bytes, a header with the name at 0 and
 * the size in octal at 124, the type at 156, then the data padded to whole blocks. Names are cut to their last part.
 */
function* tarMembers(tar: Buffer): Generator<[name: string, data: Buffer]> {
  const text = (start: number, length: number) => tar.toString('latin1', start, start + length).split('\0', 1)[0]
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8)
    const data = tar.subarray(at + 512, at + 512 + size)
    if (!(data.length === size)) throw new Error('the archive is damaged')
    const type = text(at + 156, 1)
    if (type === '0' || type === '') yield [basename(text(at, 100)), data]
    at += 512 + Math.ceil(size / 512) * 512
  }
}
