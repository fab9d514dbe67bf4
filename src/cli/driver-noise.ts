/**
 * What Dawn writes to stderr while it looks for drivers. It has no switch for that and knows no other way to say it: two lines on every
 * start that some limit, which nothing here uses, is smaller than the driver's. They are kept from people; all else is passed on.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AdapterEntry, type Gpu, listAdapters } from '../device/node.ts'
import { acquire } from '../graph/node.ts'
import { UsageError } from './exit.ts'
import { seekTo } from './seek.ts'

/** As `acquire`, with the adapter of that name or place, or the best. Rejects with UsageError for a place that is none. */
export async function openGpu(name?: string): Promise<Gpu> {
  try {
    return await acquire({ gpu: name, around: quietly })
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`--gpu ${error.message}`) : error
  }
}

/** As `listAdapters`. */
export const findAdapters = (): Promise<AdapterEntry[]> => listAdapters(quietly)

const STDERR = 2
const PATIENCE_MS = 1000
const NOISE = /^Warning: maxDynamic\w+PerPipelineLayout artificially reduced from \d+ to \d+ .*\n?/gm

/** What is left of a driver's words without the noise. */
export const withoutNoise = (text: string): string => text.replace(NOISE, '')

/**
 * Runs without the noise on stderr. Only where that can be done: on Linux, for terminals, pipes of a shell and files (not for sockets, which
 * Node gives to what it starts). `run` must not give way to other work.
 */
export function quietly<T>(run: () => T): T {
  const take = setAside() ?? cutOut()
  if (!take) return run()
  try {
    return run()
  } finally {
    take()
  }
}

/**
 * Where stderr is a file: what was written to its end meanwhile is taken out of it, and written again without the noise. It stays open,
 * since one that was opened again would have a place of its own to write at, which a shell that goes on with the file does not know.
 */
function cutOut(): (() => void) | undefined {
  if (process.platform !== 'linux') return undefined
  let from: number
  let reader: number
  try {
    const stat = fstatSync(STDERR)
    if (!stat.isFile()) return undefined
    from = stat.size
    reader = openSync(`/proc/self/fd/${STDERR}`, constants.O_RDONLY)
  } catch {
    return undefined // no procfs, or a file that may not be read
  }
  return () => {
    try {
      const said = Buffer.alloc(Math.max(0, fstatSync(STDERR).size - from))
      readSync(reader, said, 0, said.length, from)
      const text = said.toString('latin1') // byte for byte
      const kept = withoutNoise(text)
      // Both go on at the end of the file, whether it is open for appending or not.
      if (kept === text || !seekTo(STDERR, from)) return
      ftruncateSync(STDERR, from)
      if (kept !== '') writeSync(STDERR, Buffer.from(kept, 'latin1'))
    } finally {
      closeSync(reader)
    }
  }
}

/** Puts a file in the place of stderr; undefined where that cannot be undone. What it gives undoes it, and writes to stderr what was no noise. */
function setAside(): (() => void) | undefined {
  if (process.platform !== 'linux') return undefined
  let kept: number
  try {
    const stat = fstatSync(STDERR)
    if (!stat.isFIFO() && !stat.isCharacterDevice()) return undefined
    kept = openSync(`/proc/self/fd/${STDERR}`, constants.O_WRONLY | constants.O_NOCTTY)
  } catch {
    return undefined // no procfs, or another user's terminal
  }
  let folder: string
  try {
    folder = mkdtempSync(join(tmpdir(), 'lowkey-gpu-'))
  } catch {
    closeSync(kept)
    return undefined
  }
  const file = join(folder, 'stderr')
  // A file is opened under the lowest free number.
  closeSync(STDERR)
  const other = openSync(file, 'w', 0o600)
  return () => {
    closeSync(other)
    // Another thread that opened a file in between has the number, and gives it back when it has read that.
    for (const end = Date.now() + PATIENCE_MS; ; ) {
      const again = openSync(`/proc/self/fd/${kept}`, constants.O_WRONLY | constants.O_NOCTTY)
      if (again === STDERR || Date.now() > end) break
      closeSync(again)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
    closeSync(kept)
    const said = withoutNoise(readFileSync(file, 'utf8'))
    rmSync(folder, { recursive: true })
    if (said !== '') writeSync(STDERR, said)
  }
}
