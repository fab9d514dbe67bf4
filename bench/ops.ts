/**
 * Times operations: `node bench/ops.ts [--json] [--peers] [--only WORD] [--gpu NAME]`.
 * A row is the median over several runs of a compiled graph with that one operation, timed on the host from the first
 * submission to the end of the last; weights are constants, as in use. `--only` takes the rows whose group or operation
 * is named WORD (conv3x3: the six layers every engine is compared on, batch 1), and of an operation of that name, any of
 * test/operations, its cases: the shapes of its tests, which are small and tell what a dispatch costs.
 *
 * `--peers` times other engines on the same adapter too (`npm ci --prefix bench/peers --ignore-scripts` installs them):
 * in turn with ours, on the same numbers, data on the device beforehand, only where their result is ours.
 * `--json` prints one object a line: op, shape, direction, us, gflops, peers (GFLOP/s of WebGPU engines, by name), and
 * native (that of native code on the processor: no peers).
 */
import { parseArgs } from 'node:util'
import type { Gpu } from '../src/device/gpu.ts'
import { compile, type Graph, graph } from '../src/graph/index.ts'
import { acquire } from '../src/graph/node.ts'
import { type ConvOptions, convArgs, convGeometry, outputShape } from '../src/kernels/conv/geometry.ts'
import { conv2d, conv2dWeightGradient, convTranspose2d, linear, matmul } from '../src/kernels/index.ts'
import type { Shape, Tensor } from '../src/kernels/op.ts'
import { caseNames, casesOf } from './cases.ts'
import { LAYERS } from './layers.ts'
import { findPeers, type Peer } from './peers/peers.ts'
import { type Direction, filled, type Problem } from './peers/problem.ts'

interface Row {
  group: string
  op: string
  shape: string
  direction: Direction | 'case'
  record(g: Graph): Tensor
  /** The same for the peers; they get no cases. */
  problem?: Problem
  /** What inputs are written with; by shape unless told. */
  values?: Float32Array[]
}

/** One run is repeated so often that it lasts this long at least, and so many runs are timed. */
const RUN_MS = 60
const RUNS = 7
/**
 * A peer's result may differ from ours by this share of the largest value: float32 sums of 25,088 products in another
 * order do by 1e-5, Winograd by some more; a peer that computes something else by about 1.
 */
const SAME = 1e-3

function conv(
  group: string,
  name: string,
  x: Shape,
  weights: Shape,
  options: ConvOptions,
  directions: Direction[],
): Row[] {
  const g = convGeometry(name, convArgs(options), x, weights)
  const y = outputShape(g)
  const op = { forward: 'conv2d', input: 'conv_transpose2d', weight: 'conv2d_weight_gradient' }
  const record: Record<Direction, (graph: Graph) => Tensor> = {
    forward: (graph) => conv2d(graph.input('x', x), graph.constant(filled(weights), weights), undefined, options),
    input: (graph) =>
      convTranspose2d(graph.input('x', y), graph.constant(filled(weights), weights), undefined, {
        ...options,
        size: [g.h, g.w],
      }),
    weight: (graph) =>
      conv2dWeightGradient(graph.input('x', x), graph.input('dy', y), { ...options, kernel: [g.kh, g.kw] }),
  }
  const shape = x[0] === 1 ? name : `${name} x${x[0]}`
  return directions.map((direction) => ({
    group,
    op: op[direction],
    shape,
    direction,
    record: record[direction],
    problem: { kind: 'convolution', direction, geometry: g },
  }))
}

/** MobileFaceNet's 1x1 layers (Chen et al. 2018) and AlexNet's layers, as LPIPS uses them, by the photo's extent. */
const POINTWISE = [
  ['1x1 64->128@56', 64, 56, 128],
  ['1x1 128->64@28', 128, 28, 64],
  ['1x1 128->256@14', 128, 14, 256],
  ['1x1 256->512@7', 256, 7, 512],
] as const
const DEPTHWISE = [
  ['dw3x3 128@56', 128, 56, 3, 1, 1],
  ['dw3x3 128@56 s2', 128, 56, 3, 2, 1],
  ['dw3x3 256@14', 256, 14, 3, 1, 1],
  ['dw7x7 512@7', 512, 7, 7, 1, 0],
] as const

function alexnet(photo: number): Row[] {
  const extent = [photo, Math.floor((photo - 7) / 4) + 1]
  extent.push(Math.floor((extent[1] - 3) / 2) + 1)
  extent.push(Math.floor((extent[2] - 3) / 2) + 1)
  const layers = [
    [`alex 11x11 s4 3->64@${photo}`, 3, extent[0], 64, 11, 4, 2],
    [`alex 5x5 64->192@${extent[2]}`, 64, extent[2], 192, 5, 1, 2],
    [`alex 3x3 192->384@${extent[3]}`, 192, extent[3], 384, 3, 1, 1],
    [`alex 3x3 384->256@${extent[3]}`, 384, extent[3], 256, 3, 1, 1],
  ] as const
  return layers.flatMap(([name, c, e, k, kernel, stride, padding]) =>
    conv('alexnet', name, [1, c, e, e], [k, c, kernel, kernel], { stride, padding }, ['forward', 'input']),
  )
}

/** x [m,k] times constant weights [n,k], a linear layer, or times a second input [k,n]. */
function product(m: number, k: number, n: number, transposed: boolean): Row {
  return {
    group: transposed ? 'linear' : 'matmul',
    op: 'matmul',
    shape: `${m}x${k}x${n}`,
    direction: 'forward',
    record(g) {
      const x = g.input('x', [m, k])
      return transposed ? linear(x, g.constant(filled([n, k]), [n, k])) : matmul(x, g.input('b', [k, n]))
    },
    problem: { kind: 'product', m, k, n, transposed },
  }
}

const rows: Row[] = [
  ...[1, 4].flatMap((n) =>
    LAYERS.flatMap(([name, c, extent, stride, k, kernel]) => {
      const group = kernel === 1 ? 'conv1x1' : n === 1 ? 'conv3x3' : 'batch4'
      const options = { stride, padding: (kernel - 1) / 2 }
      return conv(group, name, [n, c, extent, extent], [k, c, kernel, kernel], options, ['forward', 'input'])
    }),
  ),
  ...[1, 4].flatMap((n) =>
    POINTWISE.flatMap(([name, c, e, k]) => conv('conv1x1', name, [n, c, e, e], [k, c, 1, 1], {}, ['forward', 'input'])),
  ),
  ...[1, 4].flatMap((n) =>
    DEPTHWISE.flatMap(([name, c, e, kernel, stride, padding]) =>
      conv('depthwise', name, [n, c, e, e], [c, 1, kernel, kernel], { stride, padding, groups: c }, [
        'forward',
        'input',
      ]),
    ),
  ),
  ...alexnet(112),
  ...alexnet(224),
  ...[1, 4].map((n) => product(n, 25088, 512, true)),
  product(256, 256, 256, false),
  ...conv('weight', '64@56', [1, 64, 56, 56], [64, 64, 3, 3], { padding: 1 }, ['weight']),
  ...conv('weight', '256@14', [4, 256, 14, 14], [256, 256, 3, 3], { padding: 1 }, ['weight']),
]

/** Runs so many times, then waits for the last; gives how long that took, ms. */
type Runner = (times: number) => Promise<number>

interface Timing {
  us: number
  gflops: number
  dispatches: number
  /** GFLOP/s by name. */
  peers: Record<string, number>
  native: Record<string, number>
}

/** Times a row on this engine and on the peers, a run of each in turn: what else the machine does meets all of them. */
async function time(gpu: Gpu, row: Row, peers: Peer[]): Promise<Timing> {
  const g = graph()
  const y = row.record(g)
  using plan = await compile(gpu, { y })
  const inputs = g.nodes.filter((node) => !node.op && node.rate !== 'constant' && plan.has(node.name))
  for (const node of inputs) plan.write(node.name, row.values?.[Number(node.name.slice(1))] ?? filled(node.shape))
  const { gflop, dispatches } = plan.summary()
  const runners = new Map<Peer | 'ours', Runner>()
  runners.set('ours', async (times) => {
    const start = performance.now()
    for (let i = 0; i < times; i++) plan.run()
    await gpu.wait()
    return performance.now() - start
  })
  plan.run()
  const result = await plan.read('y')
  const { problem } = row
  for (const peer of problem ? peers : []) {
    try {
      const difference = largestDifference(result, await peer.prepare(problem!))
      if (!(difference <= SAME))
        throw new Error(`its result differs by ${difference.toPrecision(2)} of the largest value`)
      runners.set(peer, (times) => peer.run(times))
    } catch (error) {
      dropped(row, peer, error)
    }
  }
  const ms = await takeTurns(runners, (peer, error) => {
    if (peer === 'ours') throw error
    dropped(row, peer, error)
  })
  const speeds = (webgpu: boolean) =>
    Object.fromEntries(
      peers
        .filter((peer) => peer.webgpu === webgpu && ms.has(peer))
        .map((peer) => [peer.name, gflop / (ms.get(peer)! / 1000)]),
    )
  for (const peer of problem ? peers : []) await peer.release().catch((error) => dropped(row, peer, error))
  const us = ms.get('ours')! * 1000
  return { us, gflops: (gflop * 1e6) / us, dispatches: dispatches.step, peers: speeds(true), native: speeds(false) }
}

/** The median time of each runner for one, ms. One that fails is given up. */
async function takeTurns<K>(runners: Map<K, Runner>, fail: (key: K, error: unknown) => void): Promise<Map<K, number>> {
  const each = new Map([...runners].map(([key, run]) => [key, { run, times: 1, samples: [] as number[] }]))
  // The first round is for caches and clocks, the second tells how often a run is repeated.
  for (let round = -2; round < RUNS; round++) {
    for (const [key, state] of each) {
      try {
        const ms = (await state.run(state.times)) / state.times
        if (round >= 0) state.samples.push(ms)
        else if (round === -1) state.times = Math.max(1, Math.ceil(RUN_MS / ms))
      } catch (error) {
        each.delete(key)
        fail(key, error)
      }
    }
  }
  return new Map([...each].map(([key, { samples }]) => [key, samples.sort((a, b) => a - b)[RUNS >> 1]]))
}

/** As a share of the largest value of `ours`. */
function largestDifference(ours: Float32Array, theirs: Float32Array): number {
  if (ours.length !== theirs.length) return Number.POSITIVE_INFINITY
  let [largest, difference] = [0, 0]
  for (let i = 0; i < ours.length; i++) {
    largest = Math.max(largest, Math.abs(ours[i]))
    difference = Math.max(difference, Math.abs(ours[i] - theirs[i]))
  }
  return difference / largest
}

function dropped({ op, shape, direction }: Row, peer: Peer, error: unknown): void {
  console.error(`# ${peer.name}: no time for ${op} ${shape} ${direction}: ${(error as Error).message}`)
}

/** GFLOP/s in a column; a dash where there is none. */
const speed = (gflops: number | undefined): string =>
  (gflops === undefined ? '-' : gflops.toFixed(gflops < 10 ? 2 : 1)).padStart(6)

const geometricMean = (values: number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)

const { values } = parseArgs({
  options: {
    json: { type: 'boolean' },
    peers: { type: 'boolean' },
    only: { type: 'string' },
    gpu: { type: 'string' },
  },
})
const cases = values.only === undefined ? [] : casesOf(values.only)
const chosen = [
  ...rows.filter((r) => values.only === undefined || r.group === values.only || r.op === values.only),
  ...cases.map((each): Row => ({ ...each, group: each.op, direction: 'case' })),
]
if (chosen.length === 0) {
  const names = [...new Set([...rows.flatMap((r) => [r.group, r.op]), ...caseNames()])]
  throw new Error(`--only ${values.only}: there is none of that name, but ${names.join(', ')}`)
}
const gpu = await acquire({ gpu: values.gpu })
const peers = values.peers ? await findPeers(gpu, values.gpu, (line) => console.error(`# ${line}`)) : []
if (!values.json) {
  console.log(`# ${gpu.capabilities.description}, ${gpu.capabilities.device}`)
  const names = peers.map(({ name }) => name)
  if (names.length > 0) console.log(`# GFLOP/s: ours | ${names.join(' | ')} | ours / best WebGPU peer`)
}
const speeds: number[] = []
const ratios: number[] = []
for (const row of chosen) {
  const { us, gflops, dispatches, peers: rivals, native } = await time(gpu, row, peers)
  const ratio = gflops / Math.max(...Object.values(rivals))
  if (row.direction !== 'case') speeds.push(gflops)
  if (ratio > 0) ratios.push(ratio) // 0 without any peer: the largest of none is minus infinity
  const { op, shape, direction } = row
  if (values.json) console.log(JSON.stringify({ op, shape, direction, us, gflops, peers: rivals, native }))
  else {
    const columns = [op.padEnd(22), shape.padEnd(26), direction.padEnd(8), us.toFixed(0).padStart(9), 'us']
    const others = peers.map(({ name }) => `| ${speed(rivals[name] ?? native[name])}`)
    if (peers.length > 0) others.push(`| ${ratio > 0 ? ratio.toFixed(2).padStart(6) : '     -'}x`)
    console.log(...columns, speed(gflops), 'GFLOP/s', ...others, ` ${dispatches} dispatches`)
  }
}
if (!values.json) {
  if (speeds.length > 0) console.log(`# geometric mean ${geometricMean(speeds).toFixed(1)} GFLOP/s`)
  if (ratios.length > 0) {
    const [mean, least] = [geometricMean(ratios), Math.min(...ratios)].map((ratio) => ratio.toFixed(2))
    console.log(`# ours / best WebGPU peer: geometric mean ${mean}, least ${least}, in ${ratios.length} rows`)
  }
}
for (const peer of peers) peer.close()
gpu.destroy()
