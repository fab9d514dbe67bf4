/**
 * Times operations: `node bench/ops.ts [--json] [--only WORD] [--gpu NAME]`.
 * A row is the median over several runs of a compiled graph with that one operation, timed on the host from the first
 * submission to the end of the last; weights are constants, as in use. `--only` takes the rows whose group or operation
 * is named WORD (conv3x3: the six layers every engine is compared on, batch 1).
 */
import { parseArgs } from 'node:util'
import type { Gpu } from '../src/device/gpu.ts'
import { acquire } from '../src/device/node.ts'
import { compile, type Graph, graph } from '../src/graph/index.ts'
import { type ConvOptions, convArgs, convGeometry, outputShape } from '../src/kernels/conv/geometry.ts'
import { conv2d, conv2dWeightGradient, convTranspose2d, linear, matmul } from '../src/kernels/index.ts'
import { elements, type Shape, type Tensor } from '../src/kernels/op.ts'

type Direction = 'forward' | 'input' | 'weight'

interface Row {
  group: string
  op: string
  shape: string
  direction: Direction
  record(g: Graph): Tensor
}

/** One run is repeated so often that it lasts this long at least, and so many runs are timed. */
const RUN_MS = 60
const RUNS = 7

/** Different from each other and below 1, without a seed to look after. */
const filled = (shape: Shape): Float32Array =>
  Float32Array.from({ length: elements(shape) }, (_, i) => ((i * 2654435761) % 2 ** 32) / 2 ** 31 - 1)

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
  return directions.map((direction) => ({ group, op: op[direction], shape, direction, record: record[direction] }))
}

/** 3x3 layers of the face networks (IR, ResNet): channels, extent, stride, output channels. */
const LAYERS = [
  ['64@112', 64, 112, 1, 64],
  ['128@56', 128, 56, 1, 128],
  ['256@28', 256, 28, 1, 256],
  ['256@14', 256, 14, 1, 256],
  ['512 14->7 s2', 512, 14, 2, 512],
  ['512@7', 512, 7, 1, 512],
] as const

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

function product(name: string, x: Shape, record: (g: Graph, x: Tensor) => Tensor, op: string): Row {
  return { group: op, op: 'matmul', shape: name, direction: 'forward', record: (g) => record(g, g.input('x', x)) }
}

const rows: Row[] = [
  ...[1, 4].flatMap((n) =>
    LAYERS.flatMap(([name, c, extent, stride, k]) => {
      const group = n === 1 ? 'conv3x3' : 'batch4'
      return conv(group, name, [n, c, extent, extent], [k, c, 3, 3], { stride, padding: 1 }, ['forward', 'input'])
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
  ...[1, 4].map((n) =>
    product(
      `${n}x25088x512`,
      [n, 25088],
      (g, x) => linear(x, g.constant(filled([512, 25088]), [512, 25088])),
      'linear',
    ),
  ),
  product('256x256x256', [256, 256], (g, x) => matmul(x, g.input('b', [256, 256])), 'matmul'),
  ...conv('weight', '64@56', [1, 64, 56, 56], [64, 64, 3, 3], { padding: 1 }, ['weight']),
  ...conv('weight', '256@14', [4, 256, 14, 14], [256, 256, 3, 3], { padding: 1 }, ['weight']),
]

async function time(gpu: Gpu, row: Row): Promise<{ us: number; gflops: number; variants: string }> {
  const g = graph()
  const x = row.record(g)
  using plan = await compile(gpu, { y: x })
  for (const node of g.nodes) if (!node.op && !node.data) plan.write(node.name, filled(node.shape))
  const run = async (times: number): Promise<number> => {
    const start = performance.now()
    for (let i = 0; i < times; i++) plan.run()
    await gpu.wait()
    return (performance.now() - start) / times
  }
  const times = Math.max(1, Math.ceil(RUN_MS / (await run(1))))
  const each: number[] = []
  for (let i = 0; i < RUNS; i++) each.push(await run(times))
  const us = each.sort((a, b) => a - b)[RUNS >> 1] * 1000
  const { gflop, dispatches } = plan.summary()
  return { us, gflops: (gflop * 1e6) / us, variants: `${dispatches.step} dispatches` }
}

const { values } = parseArgs({
  options: { json: { type: 'boolean' }, only: { type: 'string' }, gpu: { type: 'string' } },
})
const chosen = rows.filter((r) => values.only === undefined || r.group === values.only || r.op === values.only)
if (chosen.length === 0) {
  const names = [...new Set(rows.flatMap((r) => [r.group, r.op]))]
  throw new Error(`--only ${values.only}: there is none of that name, but ${names.join(', ')}`)
}
const gpu = await acquire({ gpu: values.gpu })
if (!values.json) console.log(`# ${gpu.capabilities.description}, ${gpu.capabilities.device}`)
let logs = 0
for (const row of chosen) {
  const { us, gflops, variants } = await time(gpu, row)
  logs += Math.log(gflops)
  const { op, shape, direction } = row
  if (values.json) console.log(JSON.stringify({ op, shape, direction, us, gflops, peers: {} }))
  else {
    const columns = [op.padEnd(22), shape.padEnd(26), direction.padEnd(8), us.toFixed(0).padStart(9), 'us']
    console.log(...columns, gflops.toFixed(1).padStart(6), 'GFLOP/s', ` ${variants}`)
  }
}
if (!values.json) console.log(`# geometric mean ${Math.exp(logs / chosen.length).toFixed(1)} GFLOP/s`)
gpu.destroy()
