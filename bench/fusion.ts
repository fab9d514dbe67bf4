/**
 * What fusion leaves: `node bench/fusion.ts [--only WORD] [--gpu NAME] [--runs N] [--json]`.
 * A row a graph: dispatches of a run, pipelines and seconds of compilation (the driver's cache of shaders is empty where it is Mesa's), and
 * the median time of a run. Each graph gets a device of its own, so no pipeline is shared between rows.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadNetworks } from '../src/attack/node.ts'
import { recordObjective } from '../src/attack/objective.ts'
import { presets } from '../src/attack/presets.ts'
import { adamUpdates, type CompileOptions, compile, type Graph, grad, graph } from '../src/graph/index.ts'
import { acquire } from '../src/graph/node.ts'
import { add, div, exp, linear, max, mean, mul, relu, sigmoid, square, sub, sum, tanh } from '../src/kernels/index.ts'
import type { Tensor } from '../src/kernels/op.ts'
import { lpipsDistances, lpipsTaps } from '../src/models/lpips.ts'
import { filled } from './peers/problem.ts'

interface Recorded {
  outputs: Readonly<Record<string, Tensor>>
  updates?: CompileOptions['updates']
}

const [rows, columns] = [256, 1024]
const input = (g: Graph, name: string) => g.input(name, [rows, columns])
const networks = await loadNetworks()

const graphs: Record<string, (g: Graph) => Recorded> = {
  'relu(a*b+c)': (g) => ({ outputs: { y: relu(add(mul(input(g, 'a'), input(g, 'b')), input(g, 'c'))) } }),
  'mean squared error': (g) => ({ outputs: { y: mean(square(sub(input(g, 'a'), input(g, 'b')))) } }),
  'its gradient': (g) => {
    const a = input(g, 'a')
    const loss = mean(square(sub(a, input(g, 'b'))))
    return { outputs: { loss, gradient: grad(loss, a) } }
  },
  'softmax by hand': (g) => {
    const x = input(g, 'x')
    const e = exp(sub(x, max(x, [1])))
    return { outputs: { y: div(e, sum(e, [1])) } }
  },
  'XOR with Adam': (g) => {
    const x = g.constant([0, 0, 0, 1, 1, 0, 1, 1], [4, 2])
    const y = g.constant([0, 1, 1, 0], [4, 1])
    const start = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(3 * i + 1))
    const parameters = [
      g.state('w1', [8, 2], start(16)),
      g.state('b1', [8]),
      g.state('w2', [1, 8], start(8)),
      g.state('b2', [1]),
    ]
    const [w1, b1, w2, b2] = parameters
    const output = sigmoid(linear(tanh(linear(x, w1, b1)), w2, b2))
    return { outputs: { output }, updates: adamUpdates(mean(square(sub(output, y))), parameters, 0.05) }
  },
  LPIPS: (g) => {
    const { weights, trunk } = networks.lpips
    const x = g.input('x', [1, 3, 224, 224])
    const taps = (image: Tensor) => lpipsTaps(image, weights, trunk)
    const layers = lpipsDistances(taps(g.fixed('clean', [1, 3, 224, 224])), taps(x), weights)
    return { outputs: { gradient: grad(layers.map((layer) => sum(layer)).reduce(add), x) } }
  },
  'embedded, one recogniser': (g) => embedded(g, 1),
  embedded: (g) => embedded(g, networks.surrogates.length),
}

/** A step of what `protect` does at its default, on an area of 256x256. */
function embedded(g: Graph, surrogates: number): Recorded {
  const shape = { height: 256, width: 256, faces: 1, grey: false }
  const chosen = networks.surrogates.slice(0, surrogates)
  const { total, feature, lpips, gradient, delta, nextDelta } = recordObjective(g, {
    shape,
    surrogates: chosen,
    perceptual: networks.lpips,
    preset: presets.medium,
    masked: true,
  })
  return { outputs: { total, feature, lpips, gradient }, updates: [[delta, nextDelta]] }
}

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    gpu: { type: 'string' },
    runs: { type: 'string', default: '9' },
    json: { type: 'boolean', default: false },
  },
})
const empty = mkdtempSync(join(tmpdir(), 'lowkey-bench-'))
process.env.MESA_SHADER_CACHE_DIR = empty
process.on('exit', () => rmSync(empty, { recursive: true, force: true }))

for (const [name, record] of Object.entries(graphs)) {
  if (options.only && !name.includes(options.only)) continue
  const gpu = await acquire({ gpu: options.gpu })
  let pipelines = 0
  const { device } = gpu
  const create = device.createComputePipelineAsync.bind(device)
  device.createComputePipelineAsync = (descriptor) => {
    pipelines++
    return create(descriptor)
  }
  const g = graph()
  const { outputs, updates } = record(g)
  const began = performance.now()
  const plan = await compile(gpu, outputs, { updates })
  for (const node of g.nodes) {
    if (node.op || node.rate === 'constant' || node.data || !plan.has(node.name)) continue
    plan.write(
      node.name,
      node.name === 'mask' ? new Float32Array(node.shape.reduce((n, e) => n * e, 1)).fill(1) : filled(node.shape),
    )
  }
  plan.run()
  await gpu.wait()
  const seconds = (performance.now() - began) / 1000
  const samples: number[] = []
  for (let run = 0; run < Number(options.runs); run++) {
    const start = performance.now()
    plan.run()
    await gpu.wait()
    samples.push(performance.now() - start)
  }
  const ms = samples.sort((a, b) => a - b)[samples.length >> 1]
  const { nodes, dispatches, mebibytes } = plan.summary() as ReturnType<typeof plan.summary> & { mebibytes?: number }
  const row = { name, nodes, dispatches: dispatches.step, all: dispatches, pipelines, seconds, ms, mebibytes }
  if (options.json) console.log(JSON.stringify(row))
  else
    console.log(
      name.padEnd(26),
      `${dispatches.step} dispatches`.padStart(16),
      `${pipelines} pipelines`.padStart(15),
      `compiled in ${seconds.toFixed(1)} s`.padStart(22),
      `${ms.toFixed(2)} ms a run`.padStart(18),
    )
  gpu.destroy()
}
