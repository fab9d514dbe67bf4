/** What `lowkey-gpu protect` takes, and what its `--help` says of it: one table. */
import { type PresetName, presets } from '../../attack/presets.ts'
import { type EngineTask, taskFromEnvironment } from '../../batch/engines.ts'
import { parseShard, type Shard } from '../../batch/shard.ts'
import { exitCodes, UsageError } from '../exit.ts'
import { attackHelp } from '../models.ts'
import { integer, oneOf, parse } from '../options.ts'
import { RESULT_SUFFIX } from '../paths.ts'
import { faceChoice, LIST_SUFFIX } from './face-list.ts'
import { strengthLines } from './strength-help.ts'

interface Option {
  type: 'string' | 'boolean'
  short?: string
  /** It may be given several times. */
  multiple?: boolean
  /** What its value is called in the help. */
  takes?: string
  /** Its lines in the help. */
  help: readonly string[]
}

const option = {
  output: {
    type: 'string',
    short: 'o',
    takes: 'PATH',
    help: ['a file (for one photo) or a folder; - is standard output'],
  },
  strength: {
    type: 'string',
    short: 's',
    takes: 'LEVEL',
    help: ['how much of the change may be seen', ...strengthLines()],
  },
  format: {
    type: 'string',
    short: 'f',
    takes: 'FORMAT',
    help: [
      "png, jpeg or webp (the photo's own; PNG where that is none of these, JPEG for HEIC). PNG and WebP are lossless,",
      "JPEG has about the quality of the photo's own (80 to 98; 98 of lossless ones), with colours at full resolution",
    ],
  },
  suffix: { type: 'string', takes: 'TEXT', help: [`what is added to names (${RESULT_SUFFIX})`] },
  shard: {
    type: 'string',
    takes: 'K/N',
    help: [
      'only the Kth of N parts of the photos, found by their paths: the same for all tasks, and photos that are added',
      'move none. auto reads K and N from what Slurm, Kubernetes, AWS Batch, GNU parallel, PBS, LSF or Grid Engine set',
    ],
  },
  resume: {
    type: 'boolean',
    help: ['leave photos alone that were done from the same bytes with the same settings, by the ledgers in --output'],
  },
  alone: {
    type: 'boolean',
    help: [
      "each photo by itself: else a person's later photos are kept from matching the earlier ones, and what a photo comes",
      'to depends on those before it',
    ],
  },
  earlier: {
    type: 'string',
    takes: 'N',
    help: ['so many photos that have results from before are looked at again, to keep others apart from them (100)'],
  },
  grace: {
    type: 'string',
    takes: 'SECONDS',
    help: [
      'what --shard and --resume have after SIGTERM to end the photo in work (as long as it takes); a second',
      'signal ends at once',
    ],
  },
  overwrite: { type: 'boolean', help: ['replace results that exist; never an input'] },
  recursive: {
    type: 'boolean',
    short: 'r',
    help: ['also the photos in folders below; --output FOLDER gets the same folders'],
  },
  hidden: { type: 'boolean', help: ['also hidden files, and with --recursive hidden folders'] },
  'files-from': {
    type: 'string',
    takes: 'FILE',
    help: ['also the photos and folders that a file names, one a line; - is standard input'],
  },
  null: { type: 'boolean', short: '0', help: ['names in --files-from end in a zero byte (find -print0), not a line'] },
  'raw-preview': { type: 'boolean', help: ['also raw files of cameras: the JPEG that the camera put inside'] },
  again: { type: 'boolean', help: ['protect results of this program once more'] },
  models: { type: 'string', takes: 'A,B', help: [attackHelp.models] },
  'hold-out': { type: 'string', takes: 'A,B', help: [attackHelp.holdOut] },
  faces: {
    type: 'string',
    takes: 'WHICH',
    help: [
      'all (default), largest, or list: protect none, but number them,',
      `and write a picture with the numbers as NAME${LIST_SUFFIX}.png`,
    ],
  },
  face: { type: 'string', takes: 'N,M', help: ['those of these numbers, as --faces list shows them (for one photo)'] },
  box: {
    type: 'string',
    multiple: true,
    takes: 'X,Y,W,H',
    help: ['also a face in this box of pixels, where none is found; may be given again (for one photo)'],
  },
  'on-no-face': {
    type: 'string',
    takes: 'WHAT',
    help: ['error (default), copy (an unprotected copy under its own name, into --output) or skip'],
  },
  seed: { type: 'string', takes: 'N', help: ['of the first noise (1): same seed, same adapter, same bytes'] },
  steps: {
    type: 'string',
    takes: 'N',
    help: ["exactly so many, instead of the strength's own number and of further rounds"],
  },
  'keep-metadata': { type: 'boolean', help: ['keep author, copyright, description, date and camera; never places'] },
  'keep-times': { type: 'boolean', help: ['results have the times of their photos (permissions they always have)'] },
  'no-mark': {
    type: 'boolean',
    help: ['leave out the mark (a word in the metadata) by which a result is known as one'],
  },
  strict: {
    type: 'boolean',
    help: ['refuse photos with small faults that viewers pass over (wrong headers, a few missing rows)'],
  },
  compare: {
    type: 'string',
    takes: 'FILE',
    help: ['also write a picture of before, after and the amplified difference (for one photo)'],
  },
  products: {
    type: 'string',
    takes: 'WHAT',
    help: ['f32 (default), or f16: multiply in half precision where a GPU offers it'],
  },
  storage: {
    type: 'string',
    takes: 'WHAT',
    help: [
      'f32 (default), or f16: half precision between operations, half the memory',
      '(neither was timed on a GPU yet)',
    ],
  },
  gpu: {
    type: 'string',
    takes: 'WHICH',
    help: [
      "part of an adapter's name, or on Linux pci:ADDRESS or index:N, which tell cards of one name apart; list shows",
      'them all',
    ],
  },
  json: {
    type: 'boolean',
    help: [
      'one JSON object a photo on standard output instead of its path; of several photos, one with the counts last',
    ],
  },
  quiet: { type: 'boolean', short: 'q', help: ['nothing on standard error but errors'] },
  'dry-run': { type: 'boolean', help: ['find faces and say what would be written; write nothing'] },
} as const satisfies Record<string, Option>

/** Columns before an option's help. */
const INDENT = 26

export const protectHelp = `Usage: lowkey-gpu protect FILE|FOLDER|-... [OPTIONS]

Protects every face in the photos and writes each result beside its photo as NAME.cloaked.EXT. Of a folder every file is looked at,
whatever its name: what is no photo, or cannot be read, is named at the end, and the last line counts.

${Object.entries<Option>(option)
  .map(([name, { short, takes = '', help }]) => {
    const start = `  ${short ? `-${short},` : '   '} --${name} ${takes}`
    return [start.padEnd(INDENT) + help[0], ...help.slice(1).map((line) => ' '.repeat(INDENT) + line)].join('\n')
  })
  .join('\n')}

${exitCodes('protect')}
`

/** Reads the command's arguments. Throws UsageError, naming the option, for what it does not take. */
export function readOptions(args: string[]) {
  const { values, positionals } = parse(args, option, 'protect')
  const strength = oneOf('--strength', values.strength, Object.keys(presets) as PresetName[]) ?? 'auto'
  const faces = oneOf('--faces', values.faces, ['all', 'largest', 'list'])
  const listFaces = faces === 'list'
  const suffix = values.suffix ?? (listFaces ? LIST_SUFFIX : RESULT_SUFFIX)
  if (values.null && values['files-from'] === undefined)
    throw new UsageError('--null is about the names of --files-from')
  if (/[\\/]/.test(suffix)) throw new UsageError(`--suffix takes a part of a file name; got "${suffix}"`)
  const shard =
    values.shard === undefined ? undefined : values.shard === 'auto' ? taskFromEnvironment() : parseShard(values.shard)
  const resume = values.resume ?? false
  checkTask(values, shard !== undefined || resume, listFaces)
  return {
    shard: shard as (Shard & Partial<EngineTask>) | undefined,
    resume,
    /** A ledger is kept. */
    ledger: (shard !== undefined || resume) && !(values['dry-run'] ?? false),
    grace: integer('--grace', values.grace, 0, 1_000_000),
    paths: positionals,
    filesFrom: values['files-from'],
    nullSeparated: values.null ?? false,
    recursive: values.recursive ?? false,
    hidden: values.hidden ?? false,
    again: values.again ?? false,
    rawPreview: values['raw-preview'] ?? false,
    keepTimes: values['keep-times'] ?? false,
    preset: presets[strength],
    suffix,
    output: values.output,
    format: listFaces ? ('png' as const) : oneOf('--format', values.format, ['png', 'jpeg', 'webp']),
    overwrite: values.overwrite ?? false,
    attacked: { models: values.models, 'hold-out': values['hold-out'] },
    choice: faceChoice(faces, values.face, values.box),
    /** Faces are numbered, and nothing is protected. */
    listFaces,
    /** `--face` or `--box` was given, which are of one photo. */
    ofOnePhoto: values.face !== undefined || values.box !== undefined,
    /** What of the faces is protected was chosen by somebody who looked. */
    choosesFaces: faces === 'largest' || values.face !== undefined || values.box !== undefined,
    onNoFace: oneOf('--on-no-face', values['on-no-face'], ['error', 'copy', 'skip']) ?? 'error',
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1) ?? 1,
    /** A person's photos are kept apart from each other. */
    together: !(values.alone ?? false) && presets[strength].apart > 0 && !listFaces,
    earlier: integer('--earlier', values.earlier, 0, 1e9) ?? 100,
    steps: integer('--steps', values.steps, 1, 10_000),
    products: oneOf('--products', values.products, ['f32', 'f16']) ?? 'f32',
    storage: oneOf('--storage', values.storage, ['f32', 'f16']) ?? 'f32',
    keepMetadata: values['keep-metadata'] ?? false,
    mark: !(values['no-mark'] ?? false),
    strict: values.strict ?? false,
    compare: values.compare,
    gpu: values.gpu,
    json: values.json ?? false,
    quiet: values.quiet ?? false,
    dryRun: values['dry-run'] ?? false,
  }
}

/** What tasks of many are not for. Throws UsageError. */
function checkTask(
  {
    output,
    grace,
    compare,
    face,
    box,
  }: { output?: string; grace?: string; compare?: string; face?: string; box?: string[] },
  isTask: boolean,
  listFaces: boolean,
): void {
  if (!isTask) {
    if (grace !== undefined) throw new UsageError('--grace is about --shard and --resume')
    return
  }
  if (output === undefined || output === '-')
    throw new UsageError('--shard and --resume need --output FOLDER, where their ledger lies')
  if (listFaces) throw new UsageError('--shard and --resume protect photos; --faces list does not')
  if (compare !== undefined || face !== undefined || box !== undefined)
    throw new UsageError('--shard and --resume are for many photos; --compare, --face and --box for one')
}

export type ProtectArguments = ReturnType<typeof readOptions>
