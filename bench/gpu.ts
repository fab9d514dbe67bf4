/**
 * Everything to be measured on a machine with a GPU, in one command: `node bench/gpu.ts [--gpu NAME] [--batch 1,4] [--quick]`.
 * Facts and limits of the adapter, its roofs, and for the six 3x3 layers, forward and input gradient, every kernel that could be
 * chosen for f32 and f16: time, TFLOP/s, share of the f32 roof (matrix units may pass it), and error against the f32 kernel that runs
 * everywhere. Where python3 has torch and CUDA, PyTorch does the same layers right after. All of it is saved as JSON in bench/results.
 * `--quick` does one small layer, to show on any adapter that it works; kernels for GPUs are offered there as well.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Gpu } from '../src/device/gpu.ts'
import { measureRoofs } from '../src/device/roofs.ts'
import { median } from '../src/device/stopwatch.ts'
import { compile, graph } from '../src/graph/index.ts'
import { acquire } from '../src/graph/node.ts'
import { timeRuns } from '../src/graph/tune.ts'
import { convArgs, convGeometry, outputShape } from '../src/kernels/conv/geometry.ts'
import { convTranspose2dOp } from '../src/kernels/conv-transpose2d.ts'
import { conv2dOp } from '../src/kernels/conv2d.ts'
import type { Kernel, Op, Shape } from '../src/kernels/op.ts'
import { LAYERS } from './layers.ts'
import { filled } from './peers/problem.ts'

interface Layer {
  name: string
  n: number
  c: number
  extent: number
  stride: number
  k: number
  kernel: number
  direction: 'forward' | 'input'
}

interface Row extends Pick<Layer, 'name' | 'direction'> {
  variant: string
  precision: 'f32' | 'f16'
  us?: number
  tflops?: number
  shareOfRoof?: number
  /** Largest difference from the f32 kernel that runs everywhere, relative to the largest value. */
  error?: number
  failed?: string
}

const QUICK = [['32@14', 32, 14, 1, 32, 3]] as const

/** One measurement lasts at least this long; the median of so many is taken. */
const LEAST_MICROSECONDS = 5000
const MEASUREMENTS = 7

const { values } = parseArgs({
  options: {
    gpu: { type: 'string' },
    batch: { type: 'string', default: '1,4' },
    quick: { type: 'boolean', default: false },
  },
})
const batches = values.quick ? [1] : values.batch.split(',').map(Number)
if (!batches.every((n) => Number.isInteger(n) && n > 0))
  throw new Error(`--batch ${values.batch}: positive integers, please`)
const layers = (values.quick ? QUICK : LAYERS).flatMap(([name, c, extent, stride, k, kernel]) =>
  batches.flatMap((n) =>
    (['forward', 'input'] as const).map(
      (direction): Layer => ({ name: n > 1 ? `${name} x${n}` : name, n, c, extent, stride, k, kernel, direction }),
    ),
  ),
)

/** The layer as one operation: its arguments, and shapes of its inputs. */
function operation({ n, c, extent, stride, k, kernel, direction }: Layer): {
  op: Op<unknown>
  args: unknown
  shapes: Shape[]
} {
  const x: Shape = [n, c, extent, extent]
  const weights: Shape = [k, c, kernel, kernel]
  const args = convArgs({ stride, padding: kernel >> 1 })
  if (direction === 'forward') return { op: conv2dOp as unknown as Op<unknown>, args, shapes: [x, weights] }
  const y = outputShape(convGeometry('conv2d', args, x, weights))
  const transposed = { ...args, size: [extent, extent] }
  return { op: convTranspose2dOp as unknown as Op<unknown>, args: transposed, shapes: [y, weights] }
}

/** Output and time of one kernel. */
async function measure(gpu: Gpu, layer: Layer, kernel: Kernel): Promise<{ output: Float32Array; us: number }> {
  const { op, args, shapes } = operation(layer)
  const g = graph()
  const y = g.apply(op, [g.input('x', shapes[0]), g.constant(filled(shapes[1]), shapes[1])], args)
  using plan = await compile(gpu, { y }, { choose: () => kernel })
  plan.write('x', filled(shapes[0]))
  plan.run()
  const output = await plan.read('y')
  const once = Math.min(await timeRuns(plan, 1), await timeRuns(plan, 1))
  const runs = values.quick ? 1 : Math.min(2000, Math.max(1, Math.ceil(LEAST_MICROSECONDS / Math.max(once, 1))))
  const times: number[] = []
  while (times.length < MEASUREMENTS) times.push((await timeRuns(plan, runs)) / runs)
  return { output, us: median(times) }
}

function difference(got: Float32Array, want: Float32Array): number {
  const largest = want.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-30)
  return got.reduce((m, v, i) => {
    const error = Math.abs(v - want[i]) / largest
    return error > m || Number.isNaN(error) ? error : m
  }, 0)
}

/** The first words of an error; that of a shader has its whole code. */
const reason = (error: unknown): string => String(error).split('\n').slice(0, 2).join(' ').slice(0, 200)

async function measureLayer(gpu: Gpu, layer: Layer, roof: number): Promise<Row[]> {
  const { op, args, shapes } = operation(layer)
  const { name, direction } = layer
  const facts = gpu.capabilities
  const offered = await op.kernels(args, shapes, { ...facts, products: 'f16' })
  // What real GPUs get, on a software adapter too: that it runs is all it shows there.
  const further = facts.software ? await op.kernels(args, shapes, { ...facts, software: false, products: 'f16' }) : []
  const kernels = new Map([...offered, ...further].map((k) => [k.variant, k]))
  const safe = offered[offered.length - 1]
  const { output: want } = await measure(gpu, layer, safe)
  const { flop } = op.cost(args, shapes)
  const rows: Row[] = []
  for (const [variant, kernel] of kernels) {
    const row: Row = { name, direction, variant, precision: kernel.precision ?? 'f32' }
    rows.push(row)
    try {
      const { output, us } = await measure(gpu, layer, kernel)
      const tflops = flop / us / 1e6
      Object.assign(row, { us, tflops, shareOfRoof: tflops / roof, error: difference(output, want) })
    } catch (error) {
      row.failed = reason(error)
    }
    print(row)
  }
  return rows
}

function print({ name, direction, variant, us, tflops, shareOfRoof, error, failed }: Row): void {
  const head = [name.padEnd(20), direction.padEnd(8), variant.padEnd(28)].join(' ')
  if (us === undefined || tflops === undefined) {
    console.log(head, failed)
    return
  }
  const share = shareOfRoof === undefined ? '' : `${(100 * shareOfRoof).toFixed(0)} %`
  const wrong = error === undefined ? '' : `error ${error.toExponential(1)}`
  console.log(
    head,
    us.toFixed(1).padStart(10),
    'us',
    tflops.toFixed(3).padStart(8),
    'TFLOP/s',
    share.padStart(6),
    '',
    wrong,
  )
}

/** PyTorch's rows, or why there are none. */
function torchRows(flops: ReadonlyMap<string, number>): Promise<{ rows: Row[]; note: string }> {
  return new Promise((resolve) => {
    const rows: Row[] = []
    let note = ''
    const child = spawn('python3', [new URL('torch/conv.py', import.meta.url).pathname], { stdio: 'pipe' })
    let text = ''
    let complaint = ''
    child.stdout.on('data', (data: Buffer) => {
      const lines = (text + data).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) {
        const found = JSON.parse(line) as { torch?: string; device?: string } & Row & { mode: string; us: number }
        if (found.torch) note = `PyTorch ${found.torch} on ${found.device}`
        if (!found.mode) continue
        const tflops = (flops.get(`${found.name} ${found.direction}`) ?? 0) / found.us / 1e6
        const { name, direction, mode, us } = found
        const row: Row = {
          name,
          direction,
          variant: `torch ${mode}`,
          precision: mode.startsWith('f16') ? 'f16' : 'f32',
          us,
          tflops,
        }
        rows.push(row)
        print(row)
      }
    })
    child.stderr.on('data', (data: Buffer) => (complaint = `${complaint}${data}`.slice(-500)))
    child.on('error', (error) => resolve({ rows, note: `no PyTorch: ${error.message}` }))
    child.on('close', (code) =>
      resolve({ rows, note: code === 0 ? note : `no PyTorch: ${complaint.trim().split('\n').at(-1)}` }),
    )
    child.stdin.on('error', () => {}) // it ended before it read: its complaint says why
    child.stdin.end(JSON.stringify(layers))
  })
}

// As in production on GPUs: without clamping of indices and zeroing of memory.
const gpu = await acquire({ gpu: values.gpu, robustness: false, zeroInit: false })
const { capabilities: adapter } = gpu
console.log(`# ${adapter.description}, ${adapter.device}, ${adapter.vendor} ${adapter.architecture}`)
const matrices = adapter.subgroupMatrix.map(
  ({ M, N, K, componentType, resultComponentType }) => `${M}x${N}x${K} ${componentType}->${resultComponentType}`,
)
console.log(
  `# f16 ${adapter.f16}, subgroups of ${adapter.subgroupMinSize} to ${adapter.subgroupMaxSize}, matrix units: ${matrices.join(', ') || 'none'}`,
)
console.log(`# ${adapter.maxInvocations} invocations, ${adapter.maxWorkgroupStorage} bytes of workgroup memory`)
const roofs = await measureRoofs(gpu)
console.log(
  `# roofs: ${(roofs.gflops / 1000).toFixed(2)} TFLOP/s f32, ${roofs.gbps.toFixed(0)} GB/s, ${roofs.dispatchMicroseconds.toFixed(1)} us a dispatch`,
)
const rows: Row[] = []
for (const layer of layers) rows.push(...(await measureLayer(gpu, layer, roofs.gflops / 1000)))
gpu.destroy()
const flops = new Map(
  layers.map((layer) => {
    const { op, args, shapes } = operation(layer)
    return [`${layer.name} ${layer.direction}`, op.cost(args, shapes).flop]
  }),
)
const torch = await torchRows(flops)
console.log(`# ${torch.note}`)
const folder = new URL('results/', import.meta.url).pathname
mkdirSync(folder, { recursive: true })
const slug = `${adapter.vendor} ${adapter.description || adapter.device}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
const file = `${folder}gpu-${slug.replaceAll(/^-|-$/g, '')}${values.quick ? '-quick' : ''}.json`
const result = { date: new Date().toISOString(), adapter, roofs, rows: [...rows, ...torch.rows], torch: torch.note }
writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`)
console.log(`# saved in ${file}`)
