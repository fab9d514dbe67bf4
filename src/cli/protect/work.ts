/** What a run of `lowkey-gpu protect` will do, found out before a GPU is opened: its photos, where they go, and what cannot be. */
import { dirname, join } from 'node:path'
import type { Preset } from '../../attack/presets.ts'
import type { Known } from '../../batch/records.ts'
import { shardOf } from '../../batch/shard.ts'
import { adapterName, type Gpu } from '../../device/node.ts'
import { checkSide, OutputError, type Photo, shown } from '../../images/index.ts'
import { RecordedError, UsageError } from '../exit.ts'
import type { Interruption } from '../interruption.ts'
import { type Input, type Listing, listPhotos, STREAM } from '../listing.ts'
import { checkFolder, Outputs } from '../outputs.ts'
import { type FilePath, lookedAt, RESULT_SUFFIX, sameFile, textOf } from '../paths.ts'
import type { EarlierPhoto } from './earlier.ts'
import { LIST_SUFFIX } from './face-list.ts'
import { listedPaths } from './files-from.ts'
import type { ProtectArguments } from './options.ts'
import { ReadAhead } from './read-ahead.ts'
import { type Destination, outputIsFolder, resultIsStream, resultsOf, type Target } from './results.ts'
import { ProtectTask, photoOf, shardListing } from './task.ts'

const OTHER_SHARDS =
  'photos of other shards are not known to this task: those of one person in two shards may match each other'

/** What a run works on. */
export interface Work {
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
  /** Photos with results from before, in the order of the listing; those of this shard. */
  earlier: readonly EarlierPhoto[]
  outputs: Outputs
  photos: ReadAhead
  /** Aborted when the photo in work is to end. */
  signal: AbortSignal
  /** Aborted when no further photo is to begin. */
  leaving: AbortSignal
  /** Where this is one task of many, or goes on where others ended. */
  task?: TaskWork
}

/** What a task has to do and what was done before. */
export interface TaskWork {
  record: ProtectTask
  /** Photos of all shards, and of this one. */
  all: number
  mine: number
  /** Photos that were done before, and those that were found to have no face and need no other try. */
  before: number
  withoutFace: number
  /** Places in all of these that may be faces and stay as they are. */
  mayBe: number
  /** Names that were given. */
  paths: readonly FilePath[]
}

/**
 * Lists the photos and checks where they go; folders for results are made, unless it is a dry run. The first photo is being decoded from
 * here on.
 *
 * @throws UsageError for options that do not go together and two photos with one result
 * @throws OutputError for an `--output` that cannot be, PhotoError for a folder or a list that cannot be read
 */
export async function findWork(
  options: ProtectArguments,
  { signal, leaving }: Pick<Interruption, 'signal' | 'leaving'>,
): Promise<Work> {
  const { output, suffix, filesFrom } = options
  const paths: FilePath[] = [...options.paths]
  if (filesFrom === STREAM && paths.includes(STREAM))
    throw new UsageError('- is standard input, and so is --files-from -')
  if (filesFrom !== undefined) paths.push(...(await listedPaths(filesFrom, options.nullSeparated, leaving)))
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
  const isTask = options.shard !== undefined || options.resume
  if (isTask && (!destination.folder || paths.includes(STREAM)))
    throw new UsageError('--shard and --resume take files and folders, and --output a folder')
  const except = destination.folder && !paths.some((path) => textOf(path) === output) ? output : undefined
  const { inputs: all, ...listed } = await listPhotos(paths, {
    ...options,
    suffixes: [...new Set([suffix, RESULT_SUFFIX, LIST_SUFFIX])],
    except,
    signal: leaving,
  })
  const stream = resultIsStream(output, [...all, ...listed.failed.map(({ input }) => input)])
  if (all.length + listed.failed.length + listed.left.length === 0) throw new UsageError(nothing(paths, listed))
  if (destination.folder) checkFolder(output!)
  // Of all shards: what a result is called may depend on its neighbours' names, and no result replaces any photo.
  const targets = resultsOf(all, destination)
  const outputs = new Outputs(all, options)
  const { shard } = options
  const found = shard ? shardListing(listed, paths, shard) : listed
  const mine = shard ? all.filter((input) => shardOf(photoOf(input), shard.count) === shard.index) : all
  if (shard && shard.count > 1 && mine.length > 0 && options.together) found.notes.push(OTHER_SHARDS)
  const task = isTask ? await openTask(options, paths, all, mine) : undefined
  const ready: Input[] = []
  const earlier: EarlierPhoto[] = []
  for (const input of task ? task.record.ordered(mine) : mine) {
    leaving.throwIfAborted()
    const target = targets.get(input)
    try {
      const known = task && (await settled(task, input))
      if (known) {
        const { outcome, output: result } = known
        if (outcome === 'protected' && result) earlier.push({ input, path: join(output!, result.path), recorded: true })
        continue
      }
      checkTarget(outputs, options, target?.path ?? (destination.folder ? STREAM : (output ?? STREAM)))
      ready.push(input)
    } catch (error) {
      if (task && (await isDoneMeanwhile(task, input, error))) continue
      if (target && error instanceof OutputError && error.problem === 'exists')
        earlier.push({ input, path: target.path, recorded: false })
      const why = task && target ? await task.record.explained(input, target, error) : error
      found.failed.push({ input, error: why as Error })
    }
  }
  const folders = ready.map((input) => targets.get(input)?.path ?? STREAM).filter((path) => path !== STREAM)
  try {
    for (const folder of new Set(folders.map((path) => dirname(path)))) outputs.prepare(folder)
  } catch (error) {
    outputs.close()
    throw error
  }
  const photos = new ReadAhead(ready, signal, { ...options, hash: isTask })
  const place = new Map(all.map((input, k) => [input, k]))
  earlier.sort((a, b) => place.get(a.input)! - place.get(b.input)!)
  const files = { targets, outputs, photos, earlier }
  return { options, destination, stream, several, inputs: ready, found, ...files, signal, leaving, task }
}

async function openTask(
  options: ProtectArguments,
  paths: readonly FilePath[],
  all: readonly Input[],
  mine: readonly Input[],
): Promise<TaskWork> {
  const record = await ProtectTask.open(options.output!, options)
  return { record, all: all.length, mine: mine.length, before: 0, withoutFace: 0, mayBe: 0, paths }
}

/** What is known of a photo for which nothing is left to do; counted then. Throws RecordedError for one that failed and would again. */
async function settled(task: TaskWork, input: Input): Promise<Known | undefined> {
  const known = await task.record.settled(input)
  if (known?.error) {
    const { code, message } = known.error
    throw new RecordedError(code, `${message} (so it ended before; without --resume it is tried again)`)
  }
  if (!known) return undefined
  task.mayBe += known.mayBe
  if (known.outcome === 'without a face') task.withoutFace++
  else task.before++
  return known
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

/** Whether an error says that a result is there, and another task made it while this one was at work; counted then. */
export async function isDoneMeanwhile(task: TaskWork, input: Input, error: unknown): Promise<boolean> {
  if (!(error instanceof OutputError) || error.problem !== 'exists') return false
  const known = await task.record.settledMeanwhile(input)
  if (known?.output === undefined) return false
  task.before++
  task.mayBe += known.mayBe
  return true
}

/** Throws PhotoError for a photo that its result's format or, where the whole photo is worked on, the adapter has no room for. */
export function checkSize(photo: Photo, { format }: Target, { area, name }: Preset, { capabilities }: Gpu): void {
  checkSide(photo, format)
  const most = Math.floor(capabilities.maxBindingBytes / BYTES_A_PIXEL)
  const pixels = photo.width * photo.height
  if (area === 'face' || pixels <= most) return
  const problem =
    `a photo of ${megapixels(pixels)} megapixels is too large for --strength ${name} on ${adapterName(capabilities)}, ` +
    `which takes at most ${megapixels(most, Math.floor)}`
  throw new RangeError(`${problem}: scale it down, or use --strength medium`)
}

/** Of the planes of a photo, three floats; the largest buffer that `area: 'photo'` binds. */
const BYTES_A_PIXEL = 12

const megapixels = (pixels: number, round = Math.ceil): string => (round(pixels / 1e5) / 10).toFixed(1)
