/** What graphs have in Node alone: devices on which shaders are compiled early, and choices among kernels in a file. */
import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Gpu, TuningCache, TuningChoice } from '../device/gpu.ts'
import { type AcquireOptions, acquire as open } from '../device/node.ts'
import { makeFolder } from '../files/folders.ts'
import { compilesEarly } from './early.ts'

/**
 * Opens the best adapter of this machine: a real GPU; else an installed software driver (lavapipe, WARP); else
 * SwiftShader out of the npm package `@sparticuz/chromium`, in this process and without root. With `options.gpu`, the
 * first adapter of that name.
 * @throws NoAdapterError when there is none; Error when the adapter does not open; RangeError for an address or index that is none.
 */
export async function acquire(options?: AcquireOptions): Promise<Gpu> {
  const gpu = await open(options)
  compilesEarly(gpu)
  return gpu
}

/** The oldest of more choices than this are forgotten: each size of photo brings some. */
const KEPT = 4096

interface TuningFile {
  format: 'lowkey-gpu tuning 1'
  choices: Record<string, TuningChoice>
}

/**
 * A cache in a JSON file, which is made, with its folder, for the first choice. It is replaced as a whole, so that no other process reads
 * half of it; what others have written meanwhile is kept. A file that is damaged or cannot be read or written is no error: operations
 * are tried again then, and `warn` is told once.
 */
export function fileTuning(
  path: string,
  { warn = (message: string) => process.emitWarning(message) }: { warn?: (message: string) => void } = {},
): TuningCache {
  let warned = false
  const tell = (message: string) => {
    if (!warned) warn(message)
    warned = true
  }
  let choices = readChoices(path, tell)
  return {
    get: (key) => choices.get(key),
    set(key, choice) {
      choices = new Map([...readChoices(path, tell), ...choices])
      choices.delete(key)
      choices.set(key, choice)
      choices = new Map([...choices].slice(-KEPT))
      try {
        replaceFile(path, choices)
      } catch (error) {
        tell(`${path} cannot be written (${(error as Error).message}); kernels are tried again in each process`)
      }
    },
  }
}

function readChoices(path: string, warn: (message: string) => void): Map<string, TuningChoice> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') warn(`${path} cannot be read (${message}); kernels are tried again`)
    return new Map()
  }
  try {
    const file = JSON.parse(text) as Partial<TuningFile> | null
    if (file?.format !== 'lowkey-gpu tuning 1') throw new Error('it is no file of choices')
    const choices = Object.entries(file.choices ?? {})
    if (!choices.every(([, choice]) => isChoice(choice))) throw new Error('it holds what is no choice')
    return new Map(choices)
  } catch (error) {
    warn(`${path} is damaged (${(error as Error).message}) and will be replaced; kernels are tried again`)
    return new Map()
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

const isChoice = (value: unknown): value is TuningChoice =>
  isObject(value) &&
  typeof value.variant === 'string' &&
  isObject(value.microseconds) &&
  Object.values(value.microseconds).every((time) => typeof time === 'number') &&
  isObject(value.excluded) &&
  Object.values(value.excluded).every((reason) => typeof reason === 'string')

function replaceFile(path: string, choices: ReadonlyMap<string, TuningChoice>): void {
  const file: TuningFile = { format: 'lowkey-gpu tuning 1', choices: Object.fromEntries(choices) }
  const folder = dirname(path)
  makeFolder(folder)
  const temporary = join(folder, `.tuning-${randomBytes(8).toString('hex')}.part`)
  try {
    writeFileSync(temporary, `${JSON.stringify(file, null, 1)}\n`, { flag: 'wx' })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
