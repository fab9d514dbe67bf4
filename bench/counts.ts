/**
 * `node bench/counts.ts [--save]`: what a step is, without running it: arithmetic by the operations' definitions, dispatches and memory of
 * its plan, on this adapter and on one like it that is taken for a GPU (its kernels are chosen, none is compiled). The same on every
 * machine. `--save` writes bench/results/counts.json.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { loadNetworks } from '../src/attack/node.ts'
import { recordObjective } from '../src/attack/objective.ts'
import { type Preset, presets } from '../src/attack/presets.ts'
import { acquire } from '../src/device/node.ts'
import { type GraphTensor, graph } from '../src/graph/index.ts'
import { totalBytes } from '../src/graph/limits.ts'
import { lower, offerKernels, reachable } from '../src/graph/lower.ts'
import { planMemory } from '../src/graph/memory.ts'
import type { Target } from '../src/kernels/op.ts'
import type { StepCounts } from './counts-form.ts'
import { type Networks, named } from './lowkey/configurations.ts'

/** Pixels a side of an area of a face of ordinary size. */
const FACE = 256

const { values } = parseArgs({ options: { save: { type: 'boolean', default: false } } })
const gpu = await acquire()
const { capabilities } = gpu
const counted: StepCounts['rows'][number][] = []

async function count(
  name: string,
  { surrogates, lpips }: Networks,
  preset: Preset,
  [width, height]: readonly [number, number],
): Promise<void> {
  for (const software of [true, false]) {
    const target: Target = { ...capabilities, software, products: 'f32' }
    const g = graph()
    const shape = { width, height, faces: 1, grey: false }
    const masked = preset.area === 'face'
    const recorded = recordObjective(g, { shape, surrogates, perceptual: lpips, preset, masked })
    const { total, feature, lpips: visible, gradient, delta, nextDelta } = recorded
    const roots = [total, feature, visible, gradient, nextDelta, delta].map((tensor) => tensor as GraphTensor)
    const offers = await offerKernels(reachable(roots), target)
    const lowered = lower(roots, target, { offers })
    const step = lowered.placed.filter(({ rate }) => rate === 'step')
    // As compilation does: what the constant stage alone uses is freed when it has run.
    const memory = planMemory(lowered, new Set(roots.map(lowered.value)))
    const later = new Set(lowered.placed.flatMap((s) => (s.rate === 'constant' ? [] : [...s.reads, ...s.writes])))
    const kept = memory.slots.filter(({ values }) => values.some((v) => later.has(v)))
    const mib = (slots: typeof kept) => totalBytes({ slots }) / 2 ** 20
    const row = {
      name,
      width,
      height,
      surrogates: surrogates.map(({ network }) => network.id),
      target: software ? ('processor' as const) : ('GPU' as const),
      gflop: step.reduce((sum, { flop }) => sum + flop, 0) / 1e9,
      dispatches: step.length,
      mib: mib(kept),
      mibWhileCompiling: mib(memory.slots),
    }
    counted.push(row)
    console.log(
      `${name} ${width}x${height}, ${row.target}: ${row.gflop.toFixed(2)} GFLOP, ${row.dispatches} dispatches, ${row.mib.toFixed(0)} MiB, ${row.mibWhileCompiling.toFixed(0)} MiB while it compiles`,
    )
  }
}

const shipped = await loadNetworks()
await count('embedded', shipped, presets.medium, [FACE, FACE])
for (const each of shipped.surrogates)
  await count(`${each.network.id} alone`, { ...shipped, surrogates: [each] }, presets.medium, [FACE, FACE])
const [paper] = named(['paper-512'])
const ensemble = await paper.networks()
for (const [width, height] of [
  [250, 250],
  [512, 512],
  [1920, 1080],
  [4000, 3000],
] as const)
  await count('paper', ensemble, paper.preset, [width, height])
if (values.save) {
  const file = new URL('results/counts.json', import.meta.url).pathname
  const result: StepCounts = {
    format: 'lowkey-gpu step counts',
    version: 1,
    adapter: capabilities.description,
    rows: counted,
  }
  writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`)
  console.error(`# saved in ${file}`)
}
gpu.destroy()
