/** Which photos a command works on, and where their results go. */
import { existsSync, realpathSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, extname, join, resolve } from 'node:path'
import type { OutputFormat } from '../images/index.ts'
import { UsageError } from './exit.ts'

/** Standard input or output. */
export const STREAM = '-'

const PHOTO = /\.(png|jpe?g|webp|avif|tiff?)$/i

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

/** `--output` is a folder if it is one already, ends in a slash, has no known extension, or there are several inputs. */
export function outputIsFolder(output: string | undefined, inputs: readonly Input[]): boolean {
  if (output === undefined || output === STREAM) return false
  if (existsSync(output) && statSync(output).isDirectory()) return true
  const known = formats[extname(output).toLowerCase()] !== undefined
  const folder = /[\\/]$/.test(output) || !known
  if (!folder && (inputs.length > 1 || inputs[0]?.folder !== undefined)) {
    throw new UsageError(`--output ${output} is a file, but there are ${inputs.length} photos; name a folder`)
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
  return { path: join(output ?? dirname(name), `${stem}${suffix}${extension}`), format: fallback }
}

/** Where an unprotected copy goes: under the photo's own name, never the protected one; undefined if that is the photo itself. */
export function copyOf({ name }: Input, { output, folder }: Destination): string | undefined {
  if (name === STREAM || output === undefined || !folder) return undefined
  const path = join(output, basename(name))
  return sameFile(path, name) ? undefined : path
}

/** Whether two paths are one file, also through links. */
export function sameFile(a: string, b: string): boolean {
  const real = (path: string) => (existsSync(path) ? realpathSync(path) : resolve(path))
  return real(a) === real(b)
}
