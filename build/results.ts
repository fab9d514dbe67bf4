/**
 * `node build/results.ts --photos TEXT EVALUATION.json... > docs/results/NAME.json`: what is committed of measurements. Several files are
 * runs on the same people that are read together: one attacks all recognisers that ship, the others hold one out each, in turn
 * (`Results` in build/docs/results.ts). docs/results/shipped.json is the one that README's figures come from. Then `npm run docs`.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { readOptions } from '../src/cli/protect/options.ts'
import type { Evaluation } from '../src/evaluate/results.ts'
import { resultsOf } from './docs/results.ts'

const LFW =
  'Labeled Faces in the Wild, deep-funneled, 250x250 pixels, faces of about 90 pixels; one photo each of further people as distractors'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { photos: { type: 'string' } } })
if (positionals.length === 0) throw new Error('usage: node build/results.ts [--photos TEXT] EVALUATION.json...')
const evaluations = positionals.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Evaluation)
// `--preset default` is the strength that `protect` uses where none is named.
const results = resultsOf(evaluations, values.photos ?? LFW, readOptions([]).preset.name)
// What has nothing nested in it is a line: small, and a change of one figure is a change of one line.
const text = JSON.stringify(results, null, 1).replace(/\{[^{}[\]]*\}/g, (flat) => flat.replace(/\s*\n\s*/g, ' '))
process.stdout.write(`${text}\n`)
