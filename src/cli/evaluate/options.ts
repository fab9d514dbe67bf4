/** What `lowkey-gpu evaluate` takes. */
import { fawkesModes } from '../../attack/fawkes.ts'
import { DEFAULT_SURROGATES } from '../../attack/node.ts'
import { presets } from '../../attack/presets.ts'
import { type Method, protectWith } from '../../evaluate/methods.ts'
import { UsageError } from '../exit.ts'
import { attackOptions } from '../models.ts'
import { integer, parse } from '../options.ts'

const FAWKES = Object.values(fawkesModes).map(({ name }) => name)

export const evaluateHelp = `Usage: lowkey-gpu evaluate DIR [OPTIONS]

Measures protection on people: DIR holds a folder for each, with several photos of them. Of the first people some photos are protected
and make up a gallery with clean photos of everybody else; every recogniser then looks for the people in it by their other photos.

      --people N              people to protect (6): the first, by name, who have enough photos
      --gallery-per-person N  photos of a person in the gallery (4); the others are looked for
      --distractors DIR       photos of further people for the gallery, or folders of them
  -p, --preset A,B            what protects them (auto): ${[...Object.keys(presets), ...FAWKES].join(', ')};
                              constants can be changed: medium:steps=20
      --models A,B            recognisers to attack (${DEFAULT_SURROGATES.join(',')})
      --hold-out A,B          recognisers of these not to attack, but to judge
      --victims A,B           recognisers that look for them (all)
      --matrix                also attack each of --models alone, with the first preset
      --scales A,B            also protect the same photos enlarged by these factors (3,8)
      --no-robustness         do not measure what JPEG, resizing, blur and another detector leave of the protection
      --seed N                of the protection (1)
      --out DIR               where report.html, evaluation.json and the protected photos go (evaluation); a run that
                              is repeated there goes on where it was interrupted
      --gpu WHICH             part of an adapter's name, pci:ADDRESS or index:N
      --json                  the result as one JSON object on standard output instead of tables
  -q, --quiet                 nothing on standard error but errors
`

const optionTable = {
  people: { type: 'string' },
  'gallery-per-person': { type: 'string' },
  distractors: { type: 'string' },
  preset: { type: 'string', short: 'p' },
  ...attackOptions,
  victims: { type: 'string' },
  matrix: { type: 'boolean' },
  scales: { type: 'string' },
  'no-robustness': { type: 'boolean' },
  seed: { type: 'string' },
  out: { type: 'string' },
  gpu: { type: 'string' },
  json: { type: 'boolean' },
  quiet: { type: 'boolean', short: 'q' },
} as const

export function readOptions(args: string[]) {
  const { values, positionals } = parse(args, optionTable, 'evaluate')
  const [folder, ...more] = positionals
  if (folder === undefined || more.length > 0) throw new UsageError('evaluate: name one folder of people')
  const names = (value: string | undefined) => value?.split(',').map((name) => name.trim())
  return {
    folder,
    people: integer('--people', values.people, 1, 1e6) ?? 6,
    galleryPerPerson: integer('--gallery-per-person', values['gallery-per-person'], 1, 1e6) ?? 4,
    distractors: values.distractors,
    methods: methodsOf(names(values.preset) ?? ['auto']),
    attacked: { models: values.models, 'hold-out': values['hold-out'] },
    victims: names(values.victims),
    matrix: values.matrix ?? false,
    scales: (names(values.scales) ?? []).map(scaleOf),
    robustness: !values['no-robustness'],
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1) ?? 1,
    out: values.out ?? 'evaluation',
    gpu: values.gpu,
    json: values.json ?? false,
    quiet: values.quiet ?? false,
  }
}

function methodsOf(names: readonly string[]): Method[] {
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new UsageError(`--preset: ${twice} is named twice`)
  try {
    return names.map(protectWith)
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`--preset: ${error.message}`) : error
  }
}

function scaleOf(text: string): number {
  const scale = Number(text)
  if (!(scale >= 1 && scale <= 100)) throw new UsageError(`--scales takes numbers from 1 to 100; got "${text}"`)
  return scale
}

export type Options = ReturnType<typeof readOptions>
