/**
 * `node bench/scale.ts [--save | --steps N]`: how photos a minute grow with tasks on this machine, as `lowkey-gpu protect` does them: one task
 * of all cores with 1, 2 and 4 photos, then as many tasks as there are cores, each kept on one core (taskset), with 3 photos each. The photos are
 * the demo's at several brightnesses, the settings the default ones, the driver's cache filled; `--steps` tries the script. `npm run build` first;
 * nothing else should run. What runs all the same gets less of the processor, where this may set priorities (root).
 *
 * `node bench/scale.ts --model` computes anew what follows from the saved measurement for many machines (bench/scale/model.ts), and saves it.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, setPriority, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { commit, version } from '../src/cli/version.ts'
import { processorSeconds } from './processor.ts'
import { costOf, scenarios } from './scale/model.ts'
import type { ScaleTimes, TaskTime } from './scale/times.ts'

const { values } = parseArgs({
  options: {
    steps: { type: 'string' },
    save: { type: 'boolean', default: false },
    model: { type: 'boolean', default: false },
  },
})
const repository = resolve(import.meta.dirname, '..')
const saved = join(repository, 'bench/results/scale.json')
let tasks = 0

try {
  setPriority(-20)
} catch {} // not root

if (values.model) {
  const times = JSON.parse(readFileSync(saved, 'utf8')) as ScaleTimes
  const cost = costOf(times)
  const predictions = scenarios(cost)
  console.log(cost)
  console.table(predictions)
  writeFileSync(saved, `${JSON.stringify({ ...times, predictions }, null, 1)}\n`)
} else {
  const folder = mkdtempSync(join(tmpdir(), 'scale-'))
  try {
    const times = await measure(folder)
    console.log(JSON.stringify(times, null, 1))
    if (values.save && !values.steps) writeFileSync(saved, `${JSON.stringify(times, null, 1)}\n`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(folder: string): Promise<ScaleTimes> {
  const cores = cpus().length
  const load = loadavg()[0]
  // Fills the driver's cache.
  await task(folder, 1, undefined, '1')
  const alone: ScaleTimes['alone'][number][] = []
  for (const photos of [1, 2, 4]) {
    const used = processorSeconds()
    const timed = await task(folder, photos)
    alone.push({ ...timed, processorSeconds: processorSeconds() - used })
  }
  const used = processorSeconds()
  const start = performance.now()
  const each = await Promise.all(Array.from({ length: cores }, (_, core) => task(folder, 3, core)))
  const together = {
    tasks: each,
    seconds: (performance.now() - start) / 1000,
    processorSeconds: processorSeconds() - used,
  }
  return {
    format: 'lowkey-gpu scale times',
    version: 1,
    processor: `${cpus()[0]?.model.trim()}, ${cores} cores`,
    cores,
    load,
    alone,
    together,
    predictions: scenarios(costOf({ alone, together })),
    date: new Date().toISOString().slice(0, 10),
    commit: commit() ?? `version ${version}`,
  }
}

/** One process of `protect` over so many photos, on one core or on all; with exactly so many steps, or as many as the default takes. */
async function task(folder: string, photos: number, core?: number, steps = values.steps): Promise<TaskTime> {
  const at = join(folder, `${tasks++}`)
  mkdirSync(at)
  const portrait = join(repository, 'examples/astronaut.png')
  for (let i = 0; i < photos; i++) {
    const photo = sharp(portrait).modulate({ brightness: 1 + i / 100 })
    await photo.png().toFile(join(at, `${i + 1}.png`))
  }
  const command = [
    process.execPath,
    join(repository, 'dist/cli.js'),
    'protect',
    at,
    '-o',
    join(at, 'out'),
    '--json',
    '-q',
    ...(steps ? ['--steps', steps] : []),
  ]
  const [program, ...args] = core === undefined ? command : ['taskset', '--cpu-list', `${core}`, ...command]
  const start = performance.now()
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, LOWKEY_HOME: join(folder, 'home') },
  })
  let text = ''
  child.stdout.on('data', (data: Buffer) => (text += data))
  const code = await new Promise((done) => child.once('close', done))
  if (code !== 0) throw new Error(`a task ended with ${code}:\n${text}`)
  const seconds = (performance.now() - start) / 1000
  const rows = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { seconds?: number; faces?: unknown })
  return { photos, seconds, each: rows.flatMap((row) => (row.faces && row.seconds ? [row.seconds] : [])) }
}
