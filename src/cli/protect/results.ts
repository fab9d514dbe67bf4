/** Where the results of photos go, and what they are called. */
import { existsSync, statSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { isPictureName, type OutputFormat, shown } from '../../images/index.ts'
import { UsageError } from '../exit.ts'
import { type Input, STREAM } from '../listing.ts'
import { folded, foldsNames, isResultName, sameFile } from '../paths.ts'

const formats: Readonly<Record<string, OutputFormat>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.jpe': 'jpeg',
  '.jfif': 'jpeg',
  '.webp': 'webp',
}
/** Extensions that everything knows; others for the same format are not kept. */
const COMMON = ['.png', '.jpg', '.jpeg', '.webp']
const extensions: Readonly<Record<OutputFormat, string>> = { png: '.png', jpeg: '.jpg', webp: '.webp' }

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

/** `--output` is a folder if it is one already, ends in a slash, has no known extension, or there are `several` inputs. */
export function outputIsFolder(output: string | undefined, several: boolean): boolean {
  if (output === undefined || output === STREAM) return false
  if (existsSync(output) && statSync(output).isDirectory()) return true
  if (/[\\/]$/.test(output)) return true
  const known = formats[extname(output).toLowerCase()] !== undefined
  if (!known && isPictureName(output)) {
    throw new UsageError(`--output ${shown(output)}: results are .png, .jpg or .webp (a folder of that name ends in /)`)
  }
  if (known && several) {
    throw new UsageError(`--output ${shown(output)} is a file, which takes a single photo; name a folder`)
  }
  return !known
}

/** A result's file. */
export interface Target {
  path: string
  format: OutputFormat
}

/**
 * Path and format of a photo's result. The format is `--format`, else what the extension of `--output` says, else the photo's own
 * if it can be written, else the one nearest to it. Photos of folders below lie in folders below `--output`. Throws UsageError where
 * extension and format disagree.
 *
 * @param whole keep the photo's extension in the name, because another photo's name differs in that only
 */
export function resultOf(input: Input, own: string, destination: Destination, whole = false): Target {
  const { name } = input
  const { output, folder, suffix, format } = destination
  const fallback = format ?? (own in extensions ? (own as OutputFormat) : own === 'heic' ? 'jpeg' : 'png')
  if (output === STREAM || (output === undefined && name === STREAM)) return { path: STREAM, format: fallback }
  if (output !== undefined && !folder) {
    const byName = formats[extname(output).toLowerCase()]
    if (format && byName !== format) throw new UsageError(`--format ${format} does not fit --output ${shown(output)}`)
    return { path: output, format: byName }
  }
  // Keep the spelling of an extension that already says the format (.jpeg, .JPG).
  const spelling = extname(name)
  const kept = COMMON.includes(spelling.toLowerCase()) && formats[spelling.toLowerCase()] === fallback
  const stem = name === STREAM ? 'photo' : basename(name, whole && !kept ? '' : spelling)
  const base = output === undefined ? dirname(name) : join(output, input.below ?? '')
  const path = join(base, `${stem}${suffix}${kept ? spelling : extensions[fallback]}`)
  // Names are printed for other commands, which would take this one for an option.
  return { path: path.startsWith('-') ? `./${path}` : path, format: fallback }
}

/**
 * Where the results of all photos go whose format is known. Photos whose names differ in the extension only (IMG_1.HEIC, IMG_1.JPG) keep
 * it where their results would be one file. Throws UsageError where results would be one file all the same, or on a disk that does not
 * tell capital letters from small ones.
 *
 * @param folds whether a folder is on such a disk
 */
export function resultsOf(
  inputs: readonly Input[],
  destination: Destination,
  folds: (folder: string) => boolean = foldsNames,
): Map<Input, Target> {
  const targets = new Map<Input, Target>()
  for (const input of inputs) {
    if (input.format !== undefined) targets.set(input, resultOf(input, input.format, destination))
  }
  for (const [input, other] of clashes(targets, folds)) {
    for (const one of [input, other]) targets.set(one, resultOf(one, one.format!, destination, true))
  }
  const [clash] = clashes(targets, folds)
  if (clash) {
    const [one, other] = clash.map(({ name }) => shown(name))
    const path = shown(targets.get(clash[0])!.path)
    throw new UsageError(
      `${one} and ${other} would both become ${path}: protect them into different folders` +
        (clash[0].folder === clash[1].folder ? '' : ', or one folder at a time'),
    )
  }
  return targets
}

/** Pairs of photos whose results would be one file. */
function clashes(targets: ReadonlyMap<Input, Target>, folds: (folder: string) => boolean): [Input, Input][] {
  const known = new Map<string, boolean>()
  const taken = new Map<string, Input>()
  const pairs: [Input, Input][] = []
  for (const [input, { path }] of targets) {
    if (path === STREAM) continue
    const [folder, name] = [dirname(path), folded(basename(path))]
    const key = join(folder, name)
    const other = taken.get(key)
    if (other) {
      if (!known.has(folder)) known.set(folder, folds(folder))
      if (known.get(folder) || targets.get(other)!.path === path) pairs.push([other, input])
    } else taken.set(key, input)
  }
  return pairs
}

/**
 * Where an unprotected copy goes: under the photo's own name, with the extension of what is written. Undefined if that is the photo
 * itself, or the name of a protected one.
 */
export function copyOf(input: Input, own: string, destination: Destination): Target | undefined {
  const { output, folder, suffix } = destination
  if (input.name === STREAM || output === undefined || !folder || isResultName(basename(input.name), [suffix]))
    return undefined
  const target = resultOf(input, own, { ...destination, suffix: '' })
  return sameFile(target.path, input.name) ? undefined : target
}
