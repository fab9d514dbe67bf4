/** Packages that a single test needs, installed for it: those who only protect photos, or run the other tests, do not carry them. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'

const repository = resolve(import.meta.dirname, '../..')

/**
 * Installs what package.json and package-lock.json of a folder of the repository name into another folder, beside links to this package and to
 * the types it uses. Returns why that was not possible (no registry can be reached), in words for a test that is skipped then.
 */
export function installPackages(from: string, folder: string): string | undefined {
  for (const name of ['package.json', 'package-lock.json'])
    copyFileSync(join(repository, from, name), join(folder, name))
  const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: folder, encoding: 'utf8' })
  if (npm.status !== 0)
    return `packages of ${from} cannot be installed: ${(npm.stderr ?? `${npm.error}`).split('\n')[0]}`
  const links = { 'lowkey-gpu': '.', '@types': 'node_modules/@types', '@webgpu': 'node_modules/@webgpu' }
  for (const [name, target] of Object.entries(links)) {
    const link = join(folder, 'node_modules', name)
    if (!existsSync(link)) symlinkSync(join(repository, target), link)
  }
  return undefined
}

/** What the compiler says of the TypeScript in a folder with a tsconfig.json; empty where it is right. */
export function typeErrors(folder: string): string {
  const tsc = spawnSync(process.execPath, [join(repository, 'node_modules/typescript/bin/tsc'), '-p', folder], {
    encoding: 'utf8',
  })
  return tsc.status === 0 ? '' : tsc.stdout || `${tsc.stderr}${tsc.error ?? ''}`
}
