/**
 * `npm run conformance -- DIR`: runs ONNX' own test cases (Debian: libonnx-testdata, /usr/share/libonnx-testdata/data/node) of the operators
 * that are understood here. `LOWKEY_GPU` names another adapter. Exit code 0 if none fails, 1 otherwise, 2 without cases.
 */
import { basename } from 'node:path'
import { acquire } from '../src/graph/node.ts'
import { findCases, runCase } from './support/conformance.ts'

const [folder] = process.argv.slice(2)
const cases = folder ? findCases(folder) : []
if (cases.length === 0) {
  console.error(folder ? `${folder}: there are no ONNX test cases` : 'usage: npm run conformance -- DIR')
  process.exit(2)
}

const gpu = await acquire({ gpu: process.env.LOWKEY_GPU })
console.log(`${cases.length} cases on ${gpu.capabilities.description}`)
const unclaimed = new Map<string, number>()
const skipped = new Map<string, string[]>()
const failed: string[] = []
let [passed, foreign] = [0, 0]
for (const path of cases) {
  const outcome = await runCase(gpu, path)
  if (outcome.state === 'passed') passed++
  else if (outcome.state === 'failed') failed.push(`${basename(path)}: ${outcome.problem}`)
  else if ('reason' in outcome) skipped.set(outcome.reason, [...(skipped.get(outcome.reason) ?? []), basename(path)])
  else {
    foreign++
    for (const op of outcome.operators) unclaimed.set(op, (unclaimed.get(op) ?? 0) + 1)
  }
}
gpu.destroy()

if (foreign > 0) {
  const list = [...unclaimed].sort().map(([op, count]) => `${op} ${count}`)
  console.log(`\nskipped, other operators (${foreign} cases): ${list.join(', ')}`)
}
for (const [reason, names] of [...skipped].sort())
  console.log(`\nskipped, ${reason} (${names.length}): ${names.join(', ')}`)
for (const line of failed) console.log(`\nfailed, ${line}`)
console.log(`\n${passed} passed, ${failed.length} failed`)
process.exitCode = failed.length > 0 ? 1 : 0
