/** `lowkey-gpu weights import`: networks that the user brings. */

import { architectureIds, architectureOf } from '../../models/architectures.ts'
import { HALF_PRECISION_LIMIT } from '../../models/half-precision.ts'
import { ONNX } from '../../models/import-network.ts'
import { ALIGNMENTS } from '../../weights/registry.ts'
import { Exit, exitCodeOf, Interrupted, messageOf, UsageError } from '../exit.ts'
import { integer, oneOf, parse } from '../options.ts'
import { type ImportOptions, importFile } from './import-file.ts'

export const importHelp = `weights import FILE... reads PyTorch (.pth, .pt), safetensors, numpy (.npy, .npz) and ONNX (.onnx), finds out which network
it is, checks every tensor and keeps it in the weights folder; \`protect --models NAME\` then attacks it, and every other run measures it.

      --as ID             the architecture, where it is not to be found out (ir-152, resnet-50, ...)
      --name NAME         what to call it (the file's name)
      --prefix TEXT       what the names of the network's tensors begin with, in a file with several networks
      --colours ORDER     RGB (default) or BGR
      --range=A,B         values of black and white (0,255 for example)
      --mean=R,G,B        subtracted from them, and
      --std=R,G,B         what they are then divided by; one number or three, in the order of the colours
      --input-size N      side of the image in pixels, or HEIGHTxWIDTH, where the file leaves it open
      --output NAME       the output of an ONNX file that is the embedding, where there are several
      --threshold T       cosine from which two faces count as one person's; \`weights accuracy\` measures it
      --alignment KIND    arcface112 (default), dlib150 or facenet160
      --f16 WHEN          auto (default: half precision where no embedding changes by ${HALF_PRECISION_LIMIT} in cosine), yes or no
      --overwrite         replace a network of that name
      --gpu WHICH         part of an adapter's name, pci:ADDRESS or index:N
`

const optionTable = {
  as: { type: 'string' },
  name: { type: 'string' },
  prefix: { type: 'string' },
  colours: { type: 'string' },
  range: { type: 'string' },
  mean: { type: 'string' },
  std: { type: 'string' },
  'input-size': { type: 'string' },
  output: { type: 'string' },
  threshold: { type: 'string' },
  alignment: { type: 'string' },
  f16: { type: 'string' },
  overwrite: { type: 'boolean' },
  gpu: { type: 'string' },
  json: { type: 'boolean' },
} as const

/** Runs the command; resolves with the exit code. */
export async function importWeights(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parse(args, optionTable, 'weights import')
  if (positionals.length === 0) throw new UsageError('weights import: name a file')
  const options = readOptions(values)
  if (options.name !== undefined && positionals.length > 1)
    throw new UsageError('weights import: --name is for a single file')
  const codes: number[] = []
  for (const path of positionals) {
    try {
      signal.throwIfAborted()
      const { entry, path: written, report } = await importFile(path, options)
      process.stdout.write(`${values.json ? JSON.stringify({ ...entry, path: written }) : written}\n`)
      process.stderr.write(`${report.join('\n')}\n`)
      codes.push(Exit.done)
    } catch (error) {
      if (positionals.length === 1 || error instanceof UsageError || error instanceof Interrupted) throw error
      codes.push(exitCodeOf(error))
      process.stderr.write(`lowkey-gpu: ${messageOf(error)}\n`)
    }
  }
  return codes.every((code) => code === codes[0]) ? codes[0] : Exit.failed
}

function readOptions(values: ReturnType<typeof parse<typeof optionTable>>['values']): ImportOptions {
  if (values.as !== undefined && values.as !== ONNX && !architectureOf(values.as)) {
    throw new UsageError(`--as takes ${architectureIds.join(', ')} or ${ONNX}; got "${values.as}"`)
  }
  const std = values.std === undefined ? undefined : triple('--std', values.std)
  if (std?.some((value) => value <= 0)) throw new UsageError(`--std takes positive numbers; got "${values.std}"`)
  const range = values.range === undefined ? undefined : numbers('--range', values.range, 2)
  return {
    as: values.as,
    name: values.name,
    prefix: values.prefix,
    colours: oneOf('--colours', values.colours, ['RGB', 'BGR']),
    range: range && [range[0], range[1]],
    mean: values.mean === undefined ? undefined : triple('--mean', values.mean),
    std,
    size: sizeOf(values['input-size']),
    output: values.output,
    threshold: thresholdOf(values.threshold),
    alignment: oneOf('--alignment', values.alignment, ALIGNMENTS),
    f16: oneOf('--f16', values.f16, ['auto', 'yes', 'no']) ?? 'auto',
    overwrite: values.overwrite ?? false,
    gpu: values.gpu,
  }
}

function numbers(option: string, text: string, ...counts: readonly number[]): number[] {
  const list = text.split(',').map((word) => (word.trim() === '' ? Number.NaN : Number(word)))
  if (!counts.includes(list.length) || !list.every(Number.isFinite)) {
    throw new UsageError(`${option} takes ${counts.join(' or ')} numbers with commas between them; got "${text}"`)
  }
  return list
}

function triple(option: string, text: string): [number, number, number] {
  const [first, second = first, third = first] = numbers(option, text, 1, 3)
  return [first, second, third]
}

function sizeOf(text: string | undefined): readonly [number, number] | undefined {
  if (text === undefined) return undefined
  const [height, width = height, ...more] = text.split('x').map((side) => integer('--input-size', side, 16, 1024)!)
  if (more.length > 0) throw new UsageError(`--input-size takes a side or HEIGHTxWIDTH; got "${text}"`)
  return [height, width]
}

function thresholdOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() === '' || !(value > -1 && value < 1))
    throw new UsageError(`--threshold takes a cosine between -1 and 1; got "${text}"`)
  return value
}
