/** `lowkey-gpu check`: whether recognisers still take the faces of a protected photo for the same person. */
import { existsSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { Embedder } from '../attack/embedder.ts'
import { keepTuning } from '../attack/kept-tuning.ts'
import { DEFAULT_SURROGATES, loadDetector, loadOtherDetector, loadRecogniser, recognisersOf } from '../attack/node.ts'
import { NoFaceError } from '../attack/protect.ts'
import {
  type CheckNetworks,
  checkFolder,
  checkPair,
  type FolderFace,
  type FolderVerdict,
  type Judge,
  type PairCheck,
  type PairFace,
} from '../evaluate/check.ts'
import { changesOf } from '../evaluate/face-change.ts'
import { judgeOf, pairSentence } from '../evaluate/verdict-words.ts'
import { type FoundFaces, noFaceMessage } from '../faces/find.ts'
import { readCleanPhoto, readPhoto, shown } from '../images/index.ts'
import { mtcnnNetworks } from '../models/mtcnn.ts'
import { yunetNetworks } from '../models/yunet.ts'
import type { Pixels } from '../pixels/pixels.ts'
import { knownNetworks } from '../weights/node.ts'
import { openGpu } from './driver-noise.ts'
import { Exit, exitCodes, messageOf, UsageError } from './exit.ts'
import { listPhotos } from './listing.ts'
import { attackedRecognisers, attackOptions } from './models.ts'
import { parse } from './options.ts'
import { RESULT_SUFFIX, sameFile } from './paths.ts'
import { canRewrite, rewrite } from './progress.ts'

export const checkHelp = `Usage: lowkey-gpu check BEFORE AFTER [OPTIONS]
       lowkey-gpu check PHOTO FOLDER [OPTIONS]

Says for every face whether each recogniser still takes it for the same person: in the photo AFTER it was protected, or in a
protected PHOTO beside those of a FOLDER of clean ones (*${RESULT_SUFFIX}.* and PHOTO itself are left out). Recognisers that were not attacked
come first: they tell more about the ones that nobody has here. A match is a similarity of at least the recogniser's threshold.

      --models A,B        recognisers that were attacked (${DEFAULT_SURROGATES.join(',')}); all others are held out
      --hold-out A,B      recognisers of these that were not attacked
      --gpu WHICH         part of an adapter's name, pci:ADDRESS or index:N
      --json              one JSON object instead of sentences
  -q, --quiet             nothing but errors, and --json's object: the exit code tells

Faces are found wherever they are and however they lie; what was done to the photo meanwhile (resized, cropped, mirrored, turned) is said.
A face that is not found any more was not compared, and that is no pass.

${exitCodes('check')}
`

const optionTable = {
  ...attackOptions,
  gpu: { type: 'string' },
  json: { type: 'boolean' },
  quiet: { type: 'boolean', short: 'q' },
} as const

/** Runs the command; resolves with the exit code. */
export async function check(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, optionTable, 'check')
  const [photo, other, ...more] = positionals
  if (photo === undefined || other === undefined || more.length > 0) {
    throw new UsageError('check: name two photos, before and after, or a photo and a folder of clean ones')
  }
  if (isFolder(photo)) throw new UsageError(`check: ${photo} is a folder; the photo comes first, the folder second`)
  const quiet = values.quiet ?? false
  // Photos that cannot be read are found out before anything is compiled.
  const first = await readPhoto(photo)
  const second = isFolder(other) ? await cleanPhotos(other, photo) : await readPhoto(other)
  const recognisers = await loadJudges(values)
  using gpu = await openGpu(values.gpu)
  keepTuning(gpu)
  using detector = await mtcnnNetworks(gpu, recognisers.detector)
  using embedder = await Embedder.compile(gpu, recognisers.networks)
  using yunet = recognisers.other && (await yunetNetworks(gpu, recognisers.other))
  const networks: CheckNetworks = { detector: { mtcnn: detector, yunet }, embedder, judges: recognisers.judges }
  const report =
    'files' in second
      ? await folderReport(networks, photo, first, other, second, quiet)
      : pairReport(photo, first, other, second, await checkPair(networks, first, second))
  if (values.json) process.stdout.write(`${JSON.stringify(report.row)}\n`)
  else if (!quiet) process.stdout.write(`${report.lines.join('\n')}\n`)
  const { matches, leftOut = 0, notCompared } = report.row
  if (matches || leftOut > 0) return Exit.failed
  return notCompared > 0 ? Exit.uncertain : Exit.done
}

interface Report {
  /** The object of `--json`. */
  row: { matches: boolean; leftOut?: number; notCompared: number }
  lines: string[]
}

/** Held-out recognisers first, otherwise in the order of the manifest. */
async function loadJudges(values: Parameters<typeof attackedRecognisers>[1]) {
  const known = await knownNetworks()
  const recognisers = recognisersOf(known)
  const attacked = attackedRecognisers(recognisers, values)
  const entries = [...recognisers.filter((entry) => !attacked.includes(entry)), ...attacked]
  const [detector, other, ...networks] = await Promise.all([
    loadDetector(known),
    loadOtherDetector(known),
    ...entries.map(loadRecogniser),
  ])
  const judges = networks.map(
    ({ network: { id, threshold } }, i): Judge => ({ id, heldOut: !attacked.includes(entries[i]), threshold }),
  )
  return { detector, other, networks, judges }
}

function pairReport(before: string, first: Pixels, after: string, second: Pixels, check: PairCheck): Report {
  const { faces, unmatchedAfter } = check
  if (faces.length === 0) throw noFace(before, check.before)
  if (faces.every(({ matchedBy }) => matchedBy === null) && check.after.faces.length === 0)
    throw noFace(after, check.after)
  const nameOf = (i: number) => (faces.length > 1 ? `face ${i + 1}` : 'the face')
  const warnings = faces.flatMap((face, i) => pairWarnings(face, nameOf(i), before, after))
  if (unmatchedAfter > 0) {
    const count = unmatchedAfter === 1 ? 'a face' : `${unmatchedAfter} faces`
    warnings.push(`${after} has ${count} where ${before} has none; are they the same photo?`)
  }
  const matches = faces.some((face) => face.matches)
  const notCompared = faces.filter((face) => !wasCompared(face)).length
  const changes = changesOf(
    faces.flatMap(({ change }) => change ?? []),
    first,
    second,
  )
  const lines = faces.flatMap((face, i) => [
    title(face, i, faces.length),
    ...face.verdicts.map((v) => `  ${pairSentence(v, face)}`),
    ...(face.verdicts.length === 0 ? ['  not compared: it is not found any more'] : []),
  ])
  if (changes.length > 0) lines.push(`${after} was ${changes.join(', ')}; its faces were compared all the same.`)
  const row = {
    before,
    after,
    faces: faces.map(({ verdicts, change, ...face }) => ({
      ...face,
      compared: wasCompared({ ...face, verdicts, change }),
      recognisers: verdicts.map((v) => ({ ...v, sentence: pairSentence(v, face) })),
    })),
    matches,
    notCompared,
    changes,
    warnings,
  }
  return { row, lines: [...lines, ...warnings.map((text) => `warning: ${text}`), conclusion(faces, notCompared)] }
}

/** The face was found in both photos, in the same picture. What recognisers say of a place without a face, or of another picture, is no pass. */
const wasCompared = ({ matchedBy, change, matches }: PairFace): boolean =>
  (matchedBy === 'overlap' || matchedBy === 'similarity') && (change !== null || matches)

function pairWarnings({ matchedBy, sure, change }: PairFace, name: string, before: string, after: string): string[] {
  if (matchedBy === 'old-place')
    return [
      `${name} is not found any more in ${after}; what its old place looks like was measured, which is no verdict`,
    ]
  if (matchedBy === null) return [`${name} is not found any more in ${after}; it was not compared`]
  const warnings: string[] = []
  if (change === null)
    warnings.push(
      `${name} is another picture in ${after} than in ${before}, so no match would say nothing of a protection; ` +
        'for other photos of a person there is check PHOTO FOLDER',
    )
  if (!sure) warnings.push(`${name}: its eyes, nose and mouth are not certain; others may see it otherwise`)
  return warnings
}

async function folderReport(
  networks: CheckNetworks,
  photo: string,
  pixels: Pixels,
  folder: string,
  { files, left, notes }: CleanPhotos,
  quiet: boolean,
): Promise<Report> {
  const warnings = [...left, ...notes]
  const { faces, photos, withoutFace, found } = await checkFolder(networks, pixels, opened(files, warnings, quiet))
  const leftOut = left.length + files.length - photos - withoutFace.length
  if (faces.length === 0) throw noFace(photo, found)
  if (photos === 0) throw new NoFaceError(`${folder}: no face was found in its photos`)
  warnings.push(...withoutFace.map((file) => `${file}: no face found; it was left out`))
  const lines = faces.flatMap((face, i) => [
    title(face, i, faces.length),
    ...face.verdicts.map((v) => `  ${folderSentence(v, photos)}`),
  ])
  const row = {
    photo,
    folder,
    photos,
    faces: faces.map(({ verdicts, ...face }) => ({
      ...face,
      recognisers: verdicts.map((v) => ({ ...v, sentence: folderSentence(v, photos) })),
    })),
    matches: faces.some((face) => face.matches),
    leftOut,
    notCompared: 0,
    warnings,
  }
  return { row, lines: [...lines, ...warnings.map((text) => `warning: ${text}`), conclusion(faces, 0)] }
}

/** The photos of a folder that a protected one is compared with, and what is said of the other files. */
interface CleanPhotos {
  files: string[]
  /** Pictures that were not compared, though the face may be on them. */
  left: string[]
  notes: string[]
}

/** The clean photos of a folder: without earlier results and the photo that is checked. */
async function cleanPhotos(folder: string, photo: string): Promise<CleanPhotos> {
  const advice = { recursive: 'check it by itself', hidden: 'give it another name to compare it' }
  const { inputs, left, notes } = await listPhotos([folder], { suffixes: [RESULT_SUFFIX], onlyText: true, advice })
  const files = inputs.map(({ name }) => name).filter((name) => !sameFile(name, photo))
  const said = left.map(({ name, problem, advice }) => `${shown(name)} ${problem}: ${advice}; it was not compared`)
  if (files.length === 0) {
    const others = [...said, ...notes].join('; ')
    throw new UsageError(`${folder}: the folder has no photos but ${photo}${others && ` (${others})`}`)
  }
  return { files, left: said, notes }
}

/** Reads one photo after another and says how far it is. One that cannot be read is left out, with a warning. */
async function* opened(files: readonly string[], warnings: string[], quiet: boolean) {
  const moving = canRewrite() && !quiet
  for (const [i, file] of files.entries()) {
    if (moving) rewrite(`photo ${i + 1} of ${files.length}`)
    try {
      yield { file, photo: await readCleanPhoto(file) }
    } catch (error) {
      warnings.push(`${messageOf(error)}; it was left out`)
    }
  }
  if (moving) rewrite('')
}

const noFace = (file: string, found: FoundFaces): NoFaceError => new NoFaceError(`${file}: ${noFaceMessage(found)}`)

const title = ({ box }: PairFace | FolderFace, index: number, count: number): string =>
  `face ${index + 1} of ${count}, at ${box.map(Math.round).join(', ')}`

function folderSentence(verdict: FolderVerdict, photos: number): string {
  const { best, mean, nearest, matching, threshold } = verdict
  const says =
    matching > 0
      ? `takes this face for the same person as ${matching} of`
      : 'does not take this face for the same person as any of'
  return (
    `${judgeOf(verdict)} ${says} ${photos} ${photos === 1 ? 'photo' : 'photos'}: best ${best.toFixed(3)} (${basename(nearest)}), ` +
    `mean ${mean.toFixed(3)}, threshold ${threshold.toFixed(3)}`
  )
}

function conclusion(faces: readonly { matches: boolean }[], notCompared: number): string {
  const count = faces.filter(({ matches }) => matches).length
  if (faces.length === 1) {
    if (count > 0) return 'The face still matches.'
    return notCompared > 0 ? 'The face was not found any more, so nobody can tell.' : 'The face does not match.'
  }
  const rest = notCompared > 0 ? `; ${notCompared} of ${faces.length} were not found any more, so nobody can tell` : ''
  if (count === 0) {
    const compared = faces.length - notCompared
    return notCompared > 0
      ? `None of the ${compared} faces compared matches${rest}.`
      : `None of ${faces.length} faces matches.`
  }
  return `${count} of ${faces.length} faces still ${count === 1 ? 'matches' : 'match'}${rest}.`
}

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory()
