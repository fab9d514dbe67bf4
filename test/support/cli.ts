import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect } from 'vitest'

const repository = resolve(import.meta.dirname, '../..')

/** A folder of its own for a test, deleted after the file's tests. */
export function room(prefix = 'room'): string {
  const folder = mkdtempSync(join(tmpdir(), `lowkey-cli-${prefix}-`))
  rooms.push(folder)
  return folder
}
const rooms: string[] = []
afterAll(() => {
  for (const folder of rooms) rmSync(folder, { recursive: true, force: true })
})

export interface Invocation {
  /** Where it runs; all files in it are watched. */
  cwd: string
  /** Added to the environment. */
  env?: NodeJS.ProcessEnv
  /** Standard input, or 'open' for one in which nothing comes; there is none by default. */
  input?: Uint8Array | 'open'
  /** Files that may change, because the test is about replacing them. */
  replaces?: readonly string[]
  /** Called once when the process runs, to send it signals. */
  during?: (child: ChildProcess) => void
  /** Reads nothing from these and closes them. */
  closed?: readonly ('stdout' | 'stderr')[]
  /** The script, by default the command line's source, and the Node that runs it. */
  script?: string
  node?: string
  /** Who runs it, instead of root. */
  uid?: number
  /** Temporary files may stay: it is killed. */
  parts?: boolean
  /** An open file that is its standard output. */
  stdout?: number
}

export interface Outcome {
  code: number | null
  stdout: string
  stdoutBytes: Buffer
  /** Without what the driver says. */
  stderr: string
  /** Files that are there now and were not before, relative to `cwd`, in order. */
  created: string[]
}

/** What Dawn and the Vulkan loader write to stderr, past Node: about the limits of software drivers, and where there is no driver. */
const DRIVER_NOISE = /^Warning: .*\n(?: {4}at .*\n)*\n?/gm

/** Runs the command line as a process, with the checks of `watched`. */
export const lowkey = (args: readonly string[], options: Invocation): Promise<Outcome> =>
  watched(options, () => inChild(args, options))

/**
 * Checks what holds for every invocation: files that were there keep their bytes, no temporary file stays, no stack trace is shown.
 */
export async function watched(
  { cwd, replaces = [], parts = false }: Pick<Invocation, 'cwd' | 'replaces' | 'parts'>,
  invoke: () => Promise<Omit<Outcome, 'created'>>,
): Promise<Outcome> {
  // Temporary files that may stay are those of tasks beside this one, too, which come and go while it is looked.
  const isWatched = (name: string) => !parts || !name.endsWith('.part')
  const before = snapshot(cwd, isWatched)
  const outcome = await invoke()
  const after = snapshot(cwd, isWatched)
  for (const [name, hash] of before) {
    if (!replaces.includes(name)) expect(after.get(name), `${name} was changed`).toBe(hash)
  }
  const created = [...after.keys()].filter((name) => !before.has(name)).sort()
  if (!parts) expect(created.filter((name) => name.endsWith('.part'))).toEqual([])
  expect(outcome.stderr).not.toMatch(/^\s+at .*:\d+:\d+/m)
  return { ...outcome, created }
}

async function inChild(args: readonly string[], options: Invocation): Promise<Omit<Outcome, 'created'>> {
  const { cwd, env, input, during, closed = [] } = options
  const { script = join(repository, 'src/cli/main.ts'), node = process.execPath, uid, stdout = 'pipe' } = options
  const child = spawn(node, [script, ...args], {
    cwd,
    // Weights that a user of this machine may have in the cache folder are not looked for, nor Node's options for the test runner.
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      // Starts a process in a third of the time.
      NODE_COMPILE_CACHE: join(repository, 'node_modules/.cache/lowkey-tests'),
      LOWKEY_HOME: join(cwd, 'no-such-folder'),
      ...env,
    },
    stdio: [input ? 'pipe' : 'ignore', stdout, 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  const chunks = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
  for (const name of ['stdout', 'stderr'] as const) {
    if (closed.includes(name)) child[name]?.destroy()
    else child[name]?.on('data', (data: Buffer) => chunks[name].push(data))
  }
  child.stdin?.on('error', () => {}) // it may have ended before it read everything
  if (input !== 'open') child.stdin?.end(input)
  during?.(child)
  const code = await new Promise<number | null>((done, fail) => {
    child.on('error', fail)
    // As a shell sees it: 128 and the signal's number. A crash stays null.
    const interrupts: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143 }
    child.on('close', (code, signal) => done(code ?? (signal ? (interrupts[signal] ?? null) : null)))
  })
  const stdoutBytes = Buffer.concat(chunks.stdout)
  const stderr = Buffer.concat(chunks.stderr).toString().replace(DRIVER_NOISE, '')
  return { code, stdout: stdoutBytes.toString(), stdoutBytes, stderr }
}

/** Files below a folder that are watched, and their hashes. Links are not followed. */
function snapshot(folder: string, isWatched: (name: string) => boolean): Map<string, string> {
  const files = new Map<string, string>()
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !isWatched(entry.name)) continue
    const path = join(entry.parentPath, entry.name)
    files.set(path.slice(folder.length + 1), createHash('sha256').update(readFileSync(path)).digest('hex'))
  }
  return files
}

/** A copy of what an installation consists of, for tests that take something away. Dependencies and weights are links. */
export function installation({
  without = [] as readonly string[],
  weightsWithout = [] as readonly string[],
} = {}): string {
  const folder = room('installation')
  // The build takes the page's pictures from the documents.
  for (const name of ['package.json', 'tsconfig.json', 'src', 'build', 'docs/images']) {
    cpSync(join(repository, name), join(folder, name), { recursive: true })
  }
  link('node_modules', [...without, '.bin', '.vite', '.package-lock.json'])
  link('weights', weightsWithout)
  return folder

  function link(name: string, leaveOut: readonly string[]): void {
    mkdirSync(join(folder, name))
    for (const entry of readdirSync(join(repository, name))) {
      if (!leaveOut.includes(entry)) symlinkSync(join(repository, name, entry), join(folder, name, entry))
    }
  }
}

/** Resolves when the process has written a text that matches, on either stream. */
export function says(child: ChildProcess, pattern: RegExp): Promise<void> {
  return new Promise((done) => {
    let text = ''
    const listen = (data: Buffer) => {
      text += data
      if (pattern.test(text)) done()
    }
    child.stdout?.on('data', listen)
    child.stderr?.on('data', listen)
  })
}
