/**
 * `node bench/demo.ts NAME [--cold] [--runs N] [--save]`: how long the demo takes as a user waits for it, from the shell to its end, on
 * an adapter with NAME in its name (lavapipe, swiftshader). `--cold` empties the driver's cache and this program's before each run.
 * `--save` puts the medians into bench/results/demo.json, in the place of the same row. `npm run build` first.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { commit, version } from '../src/cli/version.ts'
import type { DemoTimes } from './demo-times.ts'
import { spreadOf } from './lowkey/timing.ts'
import { processorSeconds } from './processor.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cold: { type: 'boolean', default: false },
    runs: { type: 'string', default: '1' },
    save: { type: 'boolean', default: false },
  },
})
const [driver] = positionals
const runs = Number(values.runs)
if (!driver || !(runs >= 1))
  throw new Error('usage: node bench/demo.ts lavapipe|swiftshader [--cold] [--runs N] [--save]')

const repository = resolve(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'demo-'))
const caches = { MESA_SHADER_CACHE_DIR: join(folder, 'mesa'), LOWKEY_HOME: join(folder, 'home') }

function demo(): { clock: number; processor: number } {
  const results = ['--output', join(folder, 'out.png'), '--compare', join(folder, 'compare.png'), '--overwrite']
  const used = processorSeconds()
  const start = performance.now()
  const { status, stderr } = spawnSync(
    process.execPath,
    ['dist/cli.js', 'protect', 'examples/astronaut.png', ...results, '--gpu', driver],
    { cwd: repository, encoding: 'utf8', env: { ...process.env, ...caches } },
  )
  const clock = (performance.now() - start) / 1000
  if (status !== 0) throw new Error(`the demo ended with ${status}:\n${stderr}`)
  return { clock, processor: processorSeconds() - used }
}

try {
  if (!values.cold) demo() // fills the caches
  const times = Array.from({ length: runs }, () => {
    if (values.cold) for (const cache of Object.values(caches)) rmSync(cache, { recursive: true, force: true })
    return demo()
  })
  const row: DemoTimes['runs'][number] = {
    driver,
    cache: values.cold ? 'cold' : 'warm',
    seconds: spreadOf(times.map(({ clock }) => clock)).median,
    processorSeconds: spreadOf(times.map(({ processor }) => processor)).median,
    runs,
    date: new Date().toISOString().slice(0, 10),
    commit: commit() ?? `version ${version}`,
  }
  console.log(JSON.stringify(row))
  if (values.save) save(row)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function save(row: DemoTimes['runs'][number]): void {
  const file = join(repository, 'bench/results/demo.json')
  const processor = `${cpus()[0]?.model.trim()}, ${cpus().length} cores`
  const old = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as DemoTimes) : undefined
  // Rows of one file are of one processor: times of two stand in no relation.
  const kept = old?.processor === processor ? old.runs : []
  const others = kept.filter((each) => each.driver !== row.driver || each.cache !== row.cache)
  const times: DemoTimes = { format: 'lowkey-gpu demo times', version: 1, processor, runs: [...others, row] }
  writeFileSync(file, `${JSON.stringify(times, null, 1)}\n`)
}
