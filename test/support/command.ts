/** The command line under its own name, for recipes that call it as users do. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const repository = resolve(import.meta.dirname, '../..')

/** Makes `bin/lowkey-gpu` in a folder; returns the path of `bin`. It runs the sources, with this Node, without foreign weights. */
export function installCommand(folder: string): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const quoted = [process.execPath, join(repository, 'src/cli/main.ts')].map((text) => `'${text}'`).join(' ')
  writeFileSync(
    join(bin, 'lowkey-gpu'),
    `#!/bin/sh
export NODE_OPTIONS= NODE_COMPILE_CACHE='${join(repository, 'node_modules/.cache/lowkey-tests')}' LOWKEY_HOME='${join(folder, 'none')}'
exec ${quoted} "$@"
`,
  )
  chmodSync(join(bin, 'lowkey-gpu'), 0o755)
  return bin
}
