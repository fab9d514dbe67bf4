/** Where Mesa keeps compiled shaders, for tests that run the command line with another home: compiling them takes longer than the test. */
import { cpSync, existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** The folder of this user, as MESA_SHADER_CACHE_DIR names it. */
export function shaderCaches(): string {
  const { MESA_SHADER_CACHE_DIR, XDG_CACHE_HOME } = process.env
  return MESA_SHADER_CACHE_DIR ?? XDG_CACHE_HOME ?? join(homedir(), '.cache')
}

/** Copies what there is into a folder, for another user. */
export function copyShaderCaches(folder: string): void {
  for (const name of ['mesa_shader_cache', 'mesa_shader_cache_db']) {
    const from = join(shaderCaches(), name)
    if (existsSync(from)) cpSync(from, join(folder, name), { recursive: true })
  }
}
