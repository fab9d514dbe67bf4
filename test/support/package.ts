/** The package as `npm pack` makes it, built anew from the sources and installed beside the programs of a test. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { afterAll } from 'vitest'

const repository = resolve(import.meta.dirname, '../..')

export interface InstalledPackage {
  /** Programs in this folder find `lowkey-gpu`, and the dependencies of the repository. It goes with the test file. */
  folder: string
  /** What npm packs, by path, without the weights. */
  files: { path: string; size: number }[]
}

/** Builds and packs; only what npm would put into the tarball is in the installed package. Weights are linked, not copied. */
export function installPackage(): InstalledPackage {
  mkdirSync(join(repository, 'out'), { recursive: true })
  const folder = mkdtempSync(join(repository, 'out/package-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  // A package of its own: inside the repository `lowkey-gpu` would be the repository, or by its tsconfig.json the sources.
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), '{}')
  const source = join(folder, 'source')
  mkdirSync(source)
  for (const name of ['package.json', 'README.md', 'LICENSE']) copyFileSync(join(repository, name), join(source, name))
  execFileSync(process.execPath, ['build/build.ts', join(source, 'dist')], { cwd: repository, stdio: 'pipe' })
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: source,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    shell: process.platform === 'win32',
  })
  const [{ files }] = JSON.parse(packed) as [InstalledPackage]
  const installed = join(folder, 'node_modules/lowkey-gpu')
  for (const { path } of files) {
    mkdirSync(dirname(join(installed, path)), { recursive: true })
    copyFileSync(join(source, path), join(installed, path))
  }
  symlinkSync(join(repository, 'weights'), join(installed, 'weights'))
  return { folder, files }
}
