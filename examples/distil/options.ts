/** What the program is told, checked. */
import { statSync } from 'node:fs'
import { parseArgs } from 'node:util'

export const help = `Usage: node examples/distil.ts FOLDER [OPTIONS]

FOLDER has photos of faces, in folders or not; nobody says who is on them.

What is learned
      --student WHAT    a recogniser, which goes on from its weights (sirius), or an architecture that begins anew: one of
                        'weights import --as', also spelled out (ir-1x16-1x32-1x64-1x128-e128; stages of one width
                        cannot be told apart in the file)
      --teachers LIST   recognisers with commas between (sirius)
      --target WHAT     embeddings (default) or similarities: what of the teachers is learned
      --radius N        the student is given crops changed by up to so much a channel, of 255, to its greatest loss (0)
      --inner N         steps in which that change is found (1); 0 takes one at random
      --clean X         weight of the loss on crops that are not changed, beside that on changed ones (0)

How crops are varied, each by a number drawn from 0 to
      --shift N         pixels (4)
      --scale X         part of their size (0.08)
      --light X         part of their brightness (0.2)
      --jpeg X          part of the crops that the student sees through JPEG of quality 30 to 90 (0.2)
      --blur X          part of the crops that the student sees blurred by 0.3 to 1.5 pixels (0.1)

How it is learned
      --steps N         (300)
      --batch N         crops a step (16)
      --accumulate N    so many batches to a change of the weights (1)
      --optimiser WHAT  adam (default) or sgd, with momentum 0.9
      --rate X          greatest learning rate (0.0005); it rises over the first --warm-up steps and falls to 0 along a cosine
      --warm-up N       (10)
      --seed N          same seed, photos and adapter: same weights (1)

Files
  -o, --output FOLDER   the recogniser (student.safetensors), the report (report.json), checkpoints (out/distilled)
      --resume          goes on from the checkpoint in that folder
      --every N         steps between checkpoints (50)
      --f16             the recogniser in half precision
      --most N          at most so many photos of FOLDER, spread over it
      --align HOW       mtcnn (default: the face nearest to the centre) or centre (photos cut as LFW's deep-funneled ones are)
      --held-out DIR    folder with a folder of photos for each person, to judge by: rank-1, EER, and similarity under attack
      --attacks LIST    radii of these attacks, of 255 (2,4)
      --gpu NAME        part of an adapter's name
`

/** It was called wrongly. */
export class UsageError extends Error {}

export type Options = ReturnType<typeof readOptions>

export function readOptions(args: string[]) {
  const { values, positionals } = parsed(args)
  const [folder] = positionals
  if (positionals.length !== 1) throw new UsageError(`distil takes one folder, got ${positionals.length}`)
  for (const path of [folder, values['held-out'] ?? folder])
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw new UsageError(`${path} is no folder`)
  const number = (option: keyof typeof values, least: number, most: number, whole = false): number => {
    const text = String(values[option])
    const value = text.trim() === '' ? Number.NaN : Number(text)
    if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value
    const what = whole ? 'a whole number' : 'a number'
    throw new UsageError(`--${option} takes ${what} from ${least} to ${most}; got "${text}"`)
  }
  const count = (option: keyof typeof values, least: number, most = 1e9): number => number(option, least, most, true)
  const oneOf = <T extends string>(option: keyof typeof values, choices: readonly T[]): T => {
    const choice = choices.find((each) => each === values[option])
    if (choice) return choice
    throw new UsageError(`--${option} takes ${choices.join(', ')}; got "${values[option]}"`)
  }
  return {
    /** Everything that decides what is learned. A checkpoint is gone on from only with the same. */
    run: {
      folder,
      student: values.student,
      teachers: values.teachers.split(','),
      target: oneOf('target', ['embeddings', 'similarities']),
      radius: number('radius', 0, 255) / 255,
      inner: count('inner', 0, 100),
      clean: number('clean', 0, 1000),
      shift: number('shift', 0, 20),
      scale: number('scale', 0, 0.5),
      light: number('light', 0, 1),
      jpeg: number('jpeg', 0, 1),
      blur: number('blur', 0, 1),
      steps: count('steps', 1),
      batch: count('batch', 2, 1e5),
      accumulate: count('accumulate', 1, 1e5),
      optimiser: oneOf('optimiser', ['adam', 'sgd']),
      rate: number('rate', 1e-9, 10),
      warmUp: count('warm-up', 0),
      seed: count('seed', 0),
      most: values.most === undefined ? undefined : count('most', 2),
      align: oneOf('align', ['mtcnn', 'centre']),
    },
    output: values.output,
    resume: values.resume,
    every: count('every', 1),
    f16: values.f16,
    heldOut: values['held-out'],
    attacks: values.attacks.split(',').map((text) => {
      const radius = Number(text)
      if (radius > 0 && radius <= 255) return radius
      throw new UsageError(`--attacks takes numbers from 0 to 255 with commas between; got "${values.attacks}"`)
    }),
    gpu: values.gpu,
  }
}

function parsed(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        student: { type: 'string', default: 'sirius' },
        teachers: { type: 'string', default: 'sirius' },
        target: { type: 'string', default: 'embeddings' },
        radius: { type: 'string', default: '0' },
        inner: { type: 'string', default: '1' },
        clean: { type: 'string', default: '0' },
        shift: { type: 'string', default: '4' },
        scale: { type: 'string', default: '0.08' },
        light: { type: 'string', default: '0.2' },
        jpeg: { type: 'string', default: '0.2' },
        blur: { type: 'string', default: '0.1' },
        steps: { type: 'string', default: '300' },
        batch: { type: 'string', default: '16' },
        accumulate: { type: 'string', default: '1' },
        optimiser: { type: 'string', default: 'adam' },
        rate: { type: 'string', default: '0.0005' },
        'warm-up': { type: 'string', default: '10' },
        seed: { type: 'string', default: '1' },
        output: { type: 'string', short: 'o', default: 'out/distilled' },
        resume: { type: 'boolean', default: false },
        every: { type: 'string', default: '50' },
        f16: { type: 'boolean', default: false },
        most: { type: 'string' },
        align: { type: 'string', default: 'mtcnn' },
        'held-out': { type: 'string' },
        attacks: { type: 'string', default: '2,4' },
        gpu: { type: 'string' },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0], { cause: error })
  }
}
