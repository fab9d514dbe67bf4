/**
 * `npm run docs`: writes everything in the documents that is generated. Figures come from docs/results and bench/results, docs/cli.md from
 * `--help`, docs/api from the sources. `--check` writes nothing, names what is not current, and ends with 1.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { drawings, filledDocuments, readMeasurements, references, strengthsSource } from './docs/generate.ts'

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })
const repository = resolve(import.meta.dirname, '..')
const measurements = readMeasurements(repository)
const stale: string[] = []

function place(files: Readonly<Record<string, string>>): void {
  for (const [file, text] of Object.entries(files)) {
    const path = join(repository, file)
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue
    stale.push(file)
    if (values.check) continue
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
}

place({
  'src/cli/protect/strengths.ts': strengthsSource(measurements),
  ...drawings(measurements),
  ...filledDocuments(repository, measurements),
})
// After the strengths, which --help has in it.
const made = references(repository)
place(made)
const pages = join(repository, 'docs/api')
for (const file of existsSync(pages) ? readdirSync(pages) : []) {
  if (`docs/api/${file}` in made) continue
  stale.push(`docs/api/${file}`)
  if (!values.check) rmSync(join(pages, file))
}
for (const file of stale) console.log(values.check ? `not current: ${file}` : `written: ${file}`)
if (values.check && stale.length > 0) process.exitCode = 1
