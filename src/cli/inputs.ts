/** Which photos a command works on, and where their results go. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { OutputError, type OutputFormat } from '../images/index.ts'
import { UsageError } from './exit.ts'

/** Standard input or output. */
export const STREAM = '-'

const PHOTO = /\.(png|jpe?g|webp|avif|tiff?)$/i
/** Names of pictures that nobody would give to a folder. */
const UNWRITABLE = /\.(avif|bmp|gif|hei[cf]|jxl|svg|tiff?)$/i

const formats: Readonly<Record<string, OutputFormat>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
}
const extensions: Readonly<Record<OutputFormat, string>> = { png: '.png', jpeg: '.jpg', webp: '.webp' }

/** A photo to work on. A missing file is found out when it is read, so that the others are still done. */
export interface Input {
  /** As the user knows it. */
  name: string
  /** The folder that was named, where the photo was found in one. */
  folder?: string
}

/** What messages call an input. */
export const nameOf = ({ name }: Input): string => (name === STREAM ? 'standard input' : name)

/** Photos named, and those in the folders named (not in folders below), without earlier results, in alphabetical order. */
export async function findInputs(paths: readonly string[], suffix: string): Promise<Input[]> {
  const inputs: Input[] = []
  for (const path of paths) {
    if (path !== STREAM && existsSync(path) && statSync(path).isDirectory()) {
      const names = (await readdir(path)).filter((name) => PHOTO.test(name) && !isResult(name, suffix)).sort()
      if (names.length === 0) throw new UsageError(`${path}: the folder has no photos (png, jpg, webp, avif, tiff)`)
      inputs.push(...names.map((name) => ({ name: join(path, name), folder: path })))
    } else inputs.push({ name: path })
  }
  return inputs
}

const isResult = (name: string, suffix: string): boolean =>
  suffix !== '' && basename(name, extname(name)).endsWith(suffix)

export interface Destination {
  /** `--output`: a file for a single input, else a folder. */
  output: string | undefined
  /** Whether `output` is a folder; see `outputIsFolder`. */
  folder: boolean
  suffix: string
  format: OutputFormat | undefined
}

/**
 * Whether the result goes to standard output: asked for with `--output -`, or by a photo from standard input. Throws UsageError where
 * other photos would go there with it, and where standard input is named twice.
 */
export function resultIsStream(output: string | undefined, inputs: readonly Input[]): boolean {
  const fromStream = inputs.filter(({ name }) => name === STREAM).length
  if (fromStream > 1) throw new UsageError('- is standard input, which holds a single photo')
  const stream = output === STREAM || (output === undefined && fromStream > 0)
  if (stream && inputs.length > 1) {
    throw new UsageError('standard output takes a single photo; --output FOLDER takes several')
  }
  return stream
}

/** `--output` is a folder if it is one already, ends in a slash, has no known extension, or there are several inputs. */
export function outputIsFolder(output: string | undefined, inputs: readonly Input[]): boolean {
  if (output === undefined || output === STREAM) return false
  if (existsSync(output) && statSync(output).isDirectory()) return true
  const known = formats[extname(output).toLowerCase()] !== undefined
  const folder = /[\\/]$/.test(output) || !known
  if (UNWRITABLE.test(output)) throw new UsageError(`--output ${output}: results are .png, .jpg or .webp`)
  if (!folder && (inputs.length > 1 || inputs[0]?.folder !== undefined)) {
    throw new UsageError(`--output ${output} is a file, which takes a single photo; name a folder`)
  }
  return folder
}

/**
 * Path and format of a photo's result. The format is `--format`, else what the extension of `--output` says, else the photo's own
 * if it can be written, else PNG. Throws UsageError where extension and format disagree.
 */
export function resultOf(
  { name }: Input,
  own: string,
  { output, folder, suffix, format }: Destination,
): { path: string; format: OutputFormat } {
  const fallback = format ?? (own in extensions ? (own as OutputFormat) : 'png')
  if (output === STREAM || (output === undefined && name === STREAM)) return { path: STREAM, format: fallback }
  if (output !== undefined && !folder) {
    const byName = formats[extname(output).toLowerCase()]
    if (format && byName !== format) throw new UsageError(`--format ${format} does not fit --output ${output}`)
    return { path: output, format: byName }
  }
  const stem = name === STREAM ? 'photo' : basename(name, extname(name))
  // Keep the spelling of an extension that already says the format (.jpeg, .JPG).
  const spelling = extname(name)
  const extension = formats[spelling.toLowerCase()] === fallback ? spelling : extensions[fallback]
  const path = join(output ?? dirname(name), `${stem}${suffix}${extension}`)
  // Names are printed for other commands, which would take this one for an option.
  return { path: path.startsWith('-') ? `./${path}` : path, format: fallback }
}

/**
 * Where an unprotected copy goes: under the photo's own name. Undefined if that is the photo itself, or the name of a protected one.
 */
export function copyOf({ name }: Input, { output, folder, suffix }: Destination): string | undefined {
  if (name === STREAM || output === undefined || !folder || isResult(basename(name), suffix)) return undefined
  const path = join(output, basename(name))
  return sameFile(path, name) ? undefined : path
}

/** Throws OutputError unless files can be made in the folder, or in the nearest one above it that exists. */
export function checkFolder(folder: string): void {
  let existing = resolve(folder)
  while (!existsSync(existing)) existing = dirname(existing)
  if (!statSync(existing).isDirectory()) {
    throw new OutputError(folder, 'no-folder', `cannot be a folder: ${existing} is a file`)
  }
  try {
    accessSync(existing, constants.W_OK | constants.X_OK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new OutputError(folder, 'unwritable', `cannot be written to (${code}): choose another folder with --output`, {
      cause,
    })
  }
}

/** Whether two paths are one file, also through links, and where the disk does not tell capital letters from small ones. */
export function sameFile(a: string, b: string): boolean {
  if (!existsSync(a) || !existsSync(b)) return resolve(a) === resolve(b)
  const [one, other] = [statSync(a, { bigint: true }), statSync(b, { bigint: true })]
  return one.dev === other.dev && one.ino === other.ino
}
