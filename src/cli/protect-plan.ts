/** What a run of `lowkey-gpu protect` will do, found out before a GPU is opened: its photos, where they go, and what cannot be. */
import { dirname } from 'node:path'
import { shown } from '../images/index.ts'
import { UsageError } from './exit.ts'
import { LIST_SUFFIX } from './face-list.ts'
import { listedPaths } from './files-from.ts'
import { type Input, type Listing, listPhotos, STREAM } from './listing.ts'
import { checkFolder, Outputs } from './outputs.ts'
import { type FilePath, lookedAt, RESULT_SUFFIX, sameFile, textOf } from './paths.ts'
import type { ProtectArguments } from './protect-options.ts'
import { ReadAhead } from './read-ahead.ts'
import { type Destination, outputIsFolder, resultIsStream, resultsOf, type Target } from './results.ts'

/** What a run works on. */
export interface RunPlan {
  options: ProtectArguments
  destination: Destination
  /** The result is written to standard output, where nothing else may go. */
  stream: boolean
  /** More than a single photo was named, so that there is something to count. */
  several: boolean
  /** Photos to work on. */
  inputs: readonly Input[]
  /** What was found beside them, and photos that fail before any work. */
  found: Omit<Listing, 'inputs'>
  /** Results of the photos whose format is known. */
  targets: ReadonlyMap<Input, Target>
  outputs: Outputs
  photos: ReadAhead
  signal: AbortSignal
}

/**
 * Lists the photos and checks where they go; folders for results are made, unless it is a dry run. The first photo is being decoded from
 * here on.
 *
 * @throws UsageError for options that do not go together and two photos with one result
 * @throws OutputError for an `--output` that cannot be, PhotoError for a folder or a list that cannot be read
 */
export async function planRun(options: ProtectArguments, signal: AbortSignal): Promise<RunPlan> {
  const { output, suffix, filesFrom } = options
  const paths: FilePath[] = [...options.paths]
  if (filesFrom === STREAM && paths.includes(STREAM))
    throw new UsageError('- is standard input, and so is --files-from -')
  if (filesFrom !== undefined) paths.push(...(await listedPaths(filesFrom, options.nullSeparated, signal)))
  if (paths.length === 0) throw new UsageError('protect: name a photo, a folder, or - for standard input')
  const several = paths.length > 1 || filesFrom !== undefined || isFolder(paths[0])
  if (options.compare !== undefined && several) throw new UsageError('--compare takes a single photo')
  if (options.ofOnePhoto && several) throw new UsageError('--face and --box are of a single photo')
  if (options.compare === STREAM) throw new UsageError('--compare takes a file, not standard output')
  resultIsStream(
    output,
    paths.map((path) => ({ name: textOf(path) })),
  )
  const destination = { ...options, folder: outputIsFolder(output, several) }
  checkCopies(options, destination)
  const except = destination.folder && !paths.some((path) => textOf(path) === output) ? output : undefined
  const { inputs, ...found } = await listPhotos(paths, {
    ...options,
    suffixes: [...new Set([suffix, RESULT_SUFFIX, LIST_SUFFIX])],
    except,
    signal,
  })
  const stream = resultIsStream(output, [...inputs, ...found.failed.map(({ input }) => input)])
  if (inputs.length + found.failed.length + found.left.length === 0) throw new UsageError(nothing(paths, found))
  if (destination.folder) checkFolder(output!)
  const targets = resultsOf(inputs, destination)
  const outputs = new Outputs(inputs, options)
  const ready = inputs.filter((input) => {
    try {
      checkTarget(outputs, options, targets.get(input)?.path ?? (destination.folder ? STREAM : (output ?? STREAM)))
      return true
    } catch (error) {
      found.failed.push({ input, error: error as Error })
      return false
    }
  })
  const folders = ready.map((input) => targets.get(input)?.path ?? STREAM).filter((path) => path !== STREAM)
  try {
    for (const folder of new Set(folders.map((path) => dirname(path)))) outputs.prepare(folder)
  } catch (error) {
    outputs.close()
    throw error
  }
  const photos = new ReadAhead(ready, signal, options)
  return { options, destination, stream, several, inputs: ready, found, targets, outputs, photos, signal }
}

/** Throws where the result at `path`, or the picture that is asked for beside it, cannot be written. */
export function checkTarget(outputs: Outputs, { compare }: ProtectArguments, path: string): void {
  outputs.check(path)
  if (compare === undefined) return
  outputs.check(compare)
  if (sameFile(compare, path)) throw new UsageError('--compare names the file of the result')
}

function checkCopies({ onNoFace }: ProtectArguments, { folder, suffix }: Destination): void {
  if (onNoFace !== 'copy') return
  if (!folder) {
    throw new UsageError('--on-no-face copy needs --output FOLDER: a copy beside the photo would be the photo itself')
  }
  if (suffix === '') {
    throw new UsageError('--on-no-face copy needs a --suffix: an unprotected copy must not look like a protected photo')
  }
}

/** What is said of folders without photos. */
function nothing(paths: readonly FilePath[], { results, notes }: Omit<Listing, 'inputs'>): string {
  const names = paths.map((path) => shown(textOf(path))).join(', ')
  if (results.length > 0) {
    const count = `${results.length} earlier ${results.length === 1 ? 'result' : 'results'}`
    return `${names}: the folder has only earlier results (${count}); --again protects them once more`
  }
  return `${names}: the folder has no photos${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`
}

const isFolder = (path: FilePath): boolean => lookedAt(path)?.isDirectory() ?? false
