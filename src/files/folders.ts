/** Folders on the disk, for everything that runs in Node. */
import { mkdirSync, statSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/**
 * Makes a folder and those above it that are not there; returns those that were made, the first made first. Node's own `recursive` never
 * returns where the system says that a folder is not there and does not let it be made (/proc, links to nowhere).
 *
 * @param mode permissions of what is made, from which the process's umask is taken
 * @throws the system's error (EACCES, ENOENT, ENOTDIR, ...); what was made before it stays
 */
export function makeFolder(folder: string, mode = 0o777): string[] {
  const missing: string[] = []
  for (let path = resolve(folder); !isFolder(path); path = dirname(path)) {
    missing.unshift(path)
    if (path === dirname(path)) break
  }
  return missing.filter((path) => {
    try {
      mkdirSync(path, { mode })
      return true
    } catch (error) {
      // Another process was faster.
      if ((error as NodeJS.ErrnoException).code === 'EEXIST' && isFolder(path)) return false
      throw error
    }
  })
}

const isFolder = (path: string): boolean => {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}

/**
 * The user's own folder; one among temporary files where the system knows none (a number as user in a container, without HOME).
 */
export function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return join(tmpdir(), `lowkey-gpu-${process.getuid?.() ?? 'home'}`)
  }
}
