/**
 * `node build/training.ts TITLE REPORT COMMAND ... > docs/results/training.json`: what is committed of runs of examples/distil.ts, three words
 * each. A report is a run's report.json, or the checkpoint of one that did not end. Then `npm run docs`.
 */
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { readSafetensors } from '../src/weights/safetensors.ts'
import type { TrainingRun } from './docs/training.ts'

type Report = Pick<TrainingRun, 'adapter' | 'photos' | 'losses'>

const reportOf = (file: string): Report => {
  const bytes = readFileSync(file)
  return JSON.parse(file.endsWith('.safetensors') ? readSafetensors(bytes, file).metadata.report : bytes.toString())
}

const words = process.argv.slice(2)
if (words.length === 0 || words.length % 3 !== 0)
  throw new Error('usage: node build/training.ts TITLE REPORT COMMAND [TITLE REPORT COMMAND ...]')
const rounded = (value: number): number => Number(value.toPrecision(5))
const runs = Array.from({ length: words.length / 3 }, (_, i): TrainingRun => {
  const [title, file, command] = words.slice(3 * i, 3 * i + 3)
  const { adapter, photos, losses } = reportOf(file)
  const processor = `${cpus()[0].model.trim()}, ${cpus().length} cores`
  const entries = losses.map(({ step, loss, seconds, processorSeconds, heldOut }) => ({
    step,
    loss: loss === undefined ? undefined : rounded(loss),
    seconds: rounded(seconds),
    processorSeconds: rounded(processorSeconds),
    heldOut: heldOut && { rank1: rounded(heldOut.rank1), equalErrorRate: rounded(heldOut.equalErrorRate) },
  }))
  return { title, command, adapter, processor, photos, losses: entries }
})
// A line an entry.
const text = JSON.stringify(runs, null, 1).replace(/\{\s*"step"[^{}]*(\{[^{}]*\}\s*)?\}/g, (flat) =>
  flat.replace(/\s*\n\s*/g, ' '),
)
process.stdout.write(`${text}\n`)
