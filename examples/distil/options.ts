/** What the program is told, checked. */
import { statSync } from 'node:fs'
import { parseArgs } from 'node:util'

/** It was called wrongly. */
export class UsageError extends Error {}

/** An option: what its value is called, what it is unless told, what it is for, how it is read (`undefined`: yes or no). */
interface Option<T> {
  what: string
  start: string | undefined
  help: string
  read: ((text: string, option: string) => T) | undefined
}

const text = (what: string, start: string, help: string): Option<string> => ({ what, start, help, read: (v) => v })
const flag = (help: string): Option<boolean> => ({ what: '', start: undefined, help, read: undefined })

function number(what: string, start: string, [least, most]: readonly number[], help: string): Option<number> {
  const kind = what === 'N' ? 'a whole number' : 'a number'
  const read = (given: string, option: string) => {
    const value = given.trim() === '' ? Number.NaN : Number(given)
    if (value >= least && value <= most && (what !== 'N' || Number.isInteger(value))) return value
    throw new UsageError(`--${option} takes ${kind} from ${least} to ${most}; got "${given}"`)
  }
  return { what, start, help, read }
}

function oneOf<T extends string>(choices: readonly T[], help: string): Option<T> {
  const read = (given: string, option: string) => {
    const choice = choices.find((each) => each === given)
    if (choice) return choice
    throw new UsageError(`--${option} takes ${choices.join(', ')}; got "${given}"`)
  }
  return { what: choices.join('|'), start: choices[0], help, read }
}

const list = (what: string, start: string, help: string): Option<string[]> => ({
  ...{ what, start, help },
  read: (given) => given.split(','),
})

const MANY = 1e9

/** Everything that decides what is learned. A checkpoint is gone on from only with the same. */
const run = {
  student: text(
    'WHAT',
    'sirius',
    "a recogniser, which goes on from its weights, or an architecture that begins anew: one of 'weights import --as', also spelled out (ir-1x16-1x32-1x64-1x128-e128; stages of one width cannot be told apart in the file)",
  ),
  teachers: list('LIST', 'sirius', 'recognisers with commas between'),
  target: oneOf(['embeddings', 'similarities'], 'what of the teachers is learned'),
  once: flag(
    'teachers see each face once, as it is, before the first step, which takes much less time; what a student translates is then learned relative to its mean',
  ),
  radius: number('X', '0', [0, 255], 'crops are changed by up to so much a channel, of 255, to the greatest loss'),
  inner: number('N', '1', [0, 100], 'steps in which that change is found; 0 takes one at random'),
  clean: number('X', '0', [0, 1000], 'weight of the loss on crops that are not changed, beside that on changed ones'),
  shift: number('X', '4', [0, 20], 'crops are moved by up to so many pixels'),
  scale: number('X', '0.08', [0, 0.5], 'and enlarged or reduced by up to this part'),
  light: number('X', '0.2', [0, 1], 'and made brighter or darker by up to this part'),
  jpeg: number('X', '0.2', [0, 1], 'part of the crops that the student sees through JPEG of quality 30 to 90'),
  blur: number('X', '0.1', [0, 1], 'part of the crops that the student sees blurred by 0.3 to 1.5 pixels'),
  steps: number('N', '300', [1, MANY], ''),
  batch: number('N', '16', [2, 1e5], 'crops a step'),
  accumulate: number('N', '1', [1, 1e5], 'so many batches to a change of the weights'),
  optimiser: oneOf(['adam', 'sgd'], 'sgd has a momentum of 0.9'),
  rate: number('X', '0.0005', [1e-9, 10], 'greatest learning rate; it rises at first, and falls to 0 along a cosine'),
  'warm-up': number('N', '10', [0, MANY], 'steps over which it rises'),
  seed: number('N', '1', [0, MANY], 'same seed, photos and adapter: same weights'),
  most: number('N', '0', [0, MANY], 'at most so many photos of FOLDER, spread over it; 0 takes all'),
  align: oneOf(
    ['mtcnn', 'centre'],
    "the face nearest to the centre, or the middle of photos cut as LFW's deep-funneled ones are",
  ),
}

const others = {
  output: text(
    'FOLDER',
    'out/distilled',
    'the recogniser (student.safetensors), the report (report.json), checkpoints',
  ),
  resume: flag('goes on from the checkpoint in that folder'),
  every: number('N', '50', [1, MANY], 'steps between checkpoints'),
  f16: flag('the recogniser in half precision'),
  'held-out': text('DIR', '', 'a folder of photos for each person, to judge by: rank-1, EER, similarity under attack'),
  attacks: list('LIST', '2,4', 'radii of these attacks, of 255'),
  attacked: number('N', '32', [1, MANY], 'faces that are attacked, spread over all'),
  gpu: text('NAME', '', "part of an adapter's name"),
}

const table: Readonly<Record<string, Option<unknown>>> = { ...run, ...others }

type Read<T> = { [K in keyof T]: T[K] extends Option<infer V> ? V : never }

/** What decides what is learned. `folder` has the photos, `radius` is of 1. */
export type Run = Read<typeof run> & { folder: string }
export type Options = Omit<Read<typeof others>, 'attacks'> & { run: Run; attacks: number[] }

/** An option in the help, what it is for beside it in lines of 84 characters. */
function described([name, { what, start, help }]: [string, Option<unknown>]): string {
  const option = `${name === 'output' ? '-o, ' : '    '}--${name} ${what}`.trimEnd()
  const lines = `${help}${start ? ` (${start})` : ''}`.trim().match(/.{1,84}(?= |$)/g) ?? []
  return lines.map((part, i) => `  ${(i === 0 ? option : '').padEnd(38)}${part.trim()}`).join('\n')
}

export const help = `Usage: node examples/distil.ts FOLDER [OPTIONS]

FOLDER has photos of faces, in folders or not; nobody says who is on them.

${Object.entries(table).map(described).join('\n')}
`

export function readOptions(args: string[]): Options {
  const { values, positionals } = parsed(args)
  const [folder] = positionals
  if (positionals.length !== 1) throw new UsageError(`distil takes one folder, got ${positionals.length}`)
  const read = <T extends Readonly<Record<string, Option<unknown>>>>(options: T) =>
    Object.fromEntries(
      Object.entries(options).map(([name, option]) => {
        const value = values[name] ?? option.start ?? false
        return [name, option.read ? option.read(String(value), name) : value]
      }),
    ) as Read<T>
  const decided = read(run)
  const { attacks, ...rest } = read(others)
  for (const path of [folder, rest['held-out'] || folder])
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`${path} is no folder`)
  const radii = attacks.map(Number)
  if (!radii.every((radius) => radius > 0 && radius <= 255))
    throw new UsageError(`--attacks takes numbers from 0 to 255 with commas between; got "${attacks}"`)
  return { run: { folder, ...decided, radius: decided.radius / 255 }, ...rest, attacks: radii }
}

function parsed(args: string[]) {
  const options = Object.entries(table).map(([name, { read }]) => {
    const type = read ? ('string' as const) : ('boolean' as const)
    return [name, name === 'output' ? { type, short: 'o' } : { type }]
  })
  try {
    const { values, positionals } = parseArgs({ args, allowPositionals: true, options: Object.fromEntries(options) })
    return { values: values as Record<string, string | boolean | undefined>, positionals }
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0], { cause: error })
  }
}
