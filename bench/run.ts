/**
 * The whole program, measured: `node bench/run.ts [--json] [--quick] [--only NAME,...] [--steps N] [--peers] [--products f16] [--storage f16] [--gpu NAME] [--cold] [--save]`.
 * Seconds a photo in its phases, ms a step, dispatches, memory, what each operation takes, and how it grows; against the paper's 32 s.
 *
 * `--only` takes configurations (small, embedded, paper, or one size: paper-250, paper-512, paper-1080p, paper-12mp) and leaves the tables
 * of precisions and scaling out unless `precisions` or `scaling` is among the names. An adapter that is the processor makes few steps and
 * extrapolates, and has the paper's ensemble at 250x250 alone unless a size is named.
 * `--steps` makes so many steps a photo instead of the preset's, and extrapolates. `--quick` is under a minute on two cores.
 * `--peers` runs the same loop by other engines: those of bench/peers (`npm ci --prefix bench/peers --ignore-scripts`) on this adapter, and
 * PyTorch where python3 (or PYTHON) has it. `--products` and `--storage` are what ours is compared at: f32 or f16.
 * `--cold` gives the driver an empty cache of shaders, and shows which it compiles, and how long (Mesa's drivers: lavapipe).
 * `--json` prints one object, `--save` writes it to bench/results. Medians with quartiles; nothing here passes or fails by a time.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { keepTuning } from '../src/attack/kept-tuning.ts'
import { adapterName } from '../src/device/node.ts'
import { measureRoofs } from '../src/device/roofs.ts'
import { acquire } from '../src/graph/node.ts'
import { adapterSlug } from '../src/graph/tune.ts'
import { type Configuration, configurations, named } from './lowkey/configurations.ts'
import { type Budget, measureConfiguration } from './lowkey/measure.ts'
import { watchMemory } from './lowkey/memory.ts'
import { measurePeers } from './lowkey/peers.ts'
import { measurePrecisions } from './lowkey/precisions.ts'
import {
  adapterLines,
  configurationLines,
  peerLines,
  precisionLines,
  type Report,
  scalingLines,
} from './lowkey/report.ts'
import { measureScaling } from './lowkey/scaling.ts'
import { timed } from './lowkey/timing.ts'
import { measureTorch } from './lowkey/torch.ts'

const TABLES = ['precisions', 'scaling']

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    cold: { type: 'boolean', default: false },
    gpu: { type: 'string' },
    only: { type: 'string' },
    steps: { type: 'string' },
    products: { type: 'string', default: 'f32' },
    storage: { type: 'string', default: 'f32' },
  },
})
const floats = (option: 'products' | 'storage'): 'f32' | 'f16' => {
  const value = values[option]
  if (value === 'f32' || value === 'f16') return value
  throw new Error(`--${option} ${value}: one of f32, f16`)
}
const halves = { products: floats('products'), storage: floats('storage') }
const steps = values.steps === undefined ? undefined : Number(values.steps)
if (steps !== undefined && !(Number.isInteger(steps) && steps > 0))
  throw new Error(`--steps ${values.steps}: a whole number from 1`)
const only = values.only?.split(',')
const wanted = only && named(only.filter((name) => !TABLES.includes(name)))
const tables = TABLES.filter((name) => (only ? only.includes(name) : !values.quick))

if (values.cold) {
  // Mesa looks when it opens a device.
  const empty = mkdtempSync(join(tmpdir(), 'lowkey-bench-'))
  process.env.MESA_SHADER_CACHE_DIR = empty
  process.on('exit', () => rmSync(empty, { recursive: true, force: true }))
}
const { seconds: openSeconds, value: gpu } = await timed(() => acquire({ gpu: values.gpu }))
keepTuning(gpu)
const { software } = gpu.capabilities
const memory = watchMemory(gpu)

/** An adapter that is the processor takes seconds for a step of the paper's ensemble. */
function budgetOf({ published, preset }: Configuration): Budget {
  const few = software && published
  return {
    steps: steps ?? (few ? 1 : values.quick ? 3 : preset.steps),
    photos: few ? 1 : values.quick ? 2 : 3,
    samples: few ? 2 : values.quick ? 3 : 7,
    sampleMs: few ? 0 : 100,
  }
}

/** PyTorch compiles some of its modes for minutes: it has the paper's ensemble at one size, unless others are named. */
const WITH_TORCH = ['embedded', software ? 'paper-250' : 'paper-512']

const say = (lines: readonly string[]): void => {
  if (!values.json) console.log(`${lines.join('\n')}\n`)
}
const report: Report = {
  date: new Date().toISOString(),
  node: process.version,
  platform: `${process.platform}-${process.arch}`,
  processor: `${cpus()[0]?.model.trim()}`,
  cores: cpus().length,
  load: loadavg()[0],
  adapter: {
    ...gpu.capabilities,
    name: adapterName(gpu.capabilities),
    roofs: await measureRoofs(gpu),
    openSeconds,
  },
  quick: values.quick,
  configurations: [],
  notes: [],
}
const note = (line: string): void => {
  report.notes.push(line)
  console.error(`# ${line}`)
}
say(adapterLines(report))

const reason = (error: unknown): string => (error as Error).message.split('\n')[0]
const chosen =
  wanted ?? configurations.filter(({ published, large }) => !(software && (large || (values.quick && published))))
for (const configuration of chosen) {
  const budget = budgetOf(configuration)
  try {
    const row = await measureConfiguration(gpu, configuration, budget, memory)
    report.configurations.push(row)
    say(configurationLines(row))
    if (values.peers) {
      if (wanted || WITH_TORCH.includes(configuration.name))
        row.peers = await measureTorch(gpu, configuration, { budget, halves, report: note })
      if (configuration.name === 'embedded') {
        const rounds = values.quick ? 2 : 5
        const others = { gpu: values.gpu, rounds, steps: software ? 1 : 10, halves, report: note }
        Object.assign(row.peers, await measurePeers(gpu, await configuration.networks(), others))
      }
      say(peerLines(row.peers))
    }
  } catch (error) {
    note(`${configuration.name} was left out: ${reason(error)}`)
  }
}
if (!wanted && chosen.length < configurations.length) {
  const left = configurations.filter((each) => !chosen.includes(each)).map(({ name }) => name)
  note(`left out because the adapter is the processor (--only ${left.join(',')} measures them): ${left.join(', ')}`)
}

const [embedded] = named(['embedded'])
const few: Budget = { steps: steps ?? (software ? 2 : embedded.preset.steps), photos: 1, samples: 3, sampleMs: 100 }
if (tables.includes('precisions')) {
  report.precisions = await measurePrecisions(gpu, embedded, { ...few, samples: 7 })
  say(precisionLines(report.precisions))
}
if (tables.includes('scaling')) {
  report.scaling = await measureScaling(gpu, embedded, few)
  say(scalingLines(report.scaling))
}

if (values.json) console.log(JSON.stringify(report))
if (values.save) {
  const folder = new URL('results/', import.meta.url).pathname
  mkdirSync(folder, { recursive: true })
  const { driver } = gpu.capabilities
  const adapter = driver === 'other' ? adapterSlug(gpu.capabilities) : driver
  const file = `${folder}run-${adapter}${values.quick ? '-quick' : ''}${values.cold ? '-cold' : ''}.json`
  writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`)
  console.error(`# saved in ${file}`)
}
gpu.destroy()
