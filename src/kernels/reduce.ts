/** Sums, means and maxima over any axes. */
import { broadcastShape, mergedDims } from './broadcast.ts'
import { equal, mul } from './elementwise.ts'
import { wgslIsNaN } from './expression.ts'
import { pointwiseKernel } from './fused.ts'
import {
  type Dispatch,
  elements,
  expectShape,
  formatShape,
  type Kernel,
  type Op,
  type Param,
  type PointwiseForm,
  type Shape,
  sameShape,
  type Tensor,
  u32,
} from './op.ts'
import { reshape } from './reshape.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface ReduceArgs {
  /** Axes to reduce; they stay as extents of 1. */
  axes: readonly number[]
}

/** The sum over the axes, which keep extent 1 (all axes unless told). */
export const sum = (x: Tensor, axes: readonly number[] = x.shape.map((_, i) => i)): Tensor => reduced(sumOp, x, axes)

/** The arithmetic mean over the axes, which keep extent 1 (all axes unless told). */
export const mean = (x: Tensor, axes: readonly number[] = x.shape.map((_, i) => i)): Tensor => reduced(meanOp, x, axes)

/** The largest element over the axes, which keep extent 1. The gradient goes to every element that equals it. */
export const max = (x: Tensor, axes: readonly number[] = x.shape.map((_, i) => i)): Tensor => reduced(maxOp, x, axes)

/** Where the axes have extent 1 there is nothing to do. */
const reduced = (op: Op<ReduceArgs>, x: Tensor, axes: readonly number[]): Tensor =>
  axes.every((axis) => x.shape[axis] === 1) ? x : x.recorder.apply(op, [x], { axes })

/** Undoes broadcasting: sums `x` over the axes along which `shape` has extent 1 or none, and gives it that shape. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x
  const lead = x.shape.length - shape.length
  const axes = x.shape.flatMap((extent, i) => (extent !== 1 && (i < lead || shape[i - lead] === 1) ? [i] : []))
  return reshape(axes.length > 0 ? sum(x, axes) : x, shape)
}

interface Reduction {
  name: 'sum' | 'mean' | 'max'
  identity: string
  combine: (a: string, b: string) => string
  /** What `combine` needs. */
  declare?: string
}

const reductions: Record<Reduction['name'], Reduction> = {
  sum: { name: 'sum', identity: '0.0', combine: (a, b) => `${a} + ${b}` },
  mean: {
    name: 'mean',
    identity: '0.0',
    combine: (a, b) => `${a} + ${b}`,
  },
  max: {
    name: 'max',
    identity: '-3.4028234e38',
    combine: (a, b) => `larger(${a}, ${b})`,
    declare: `fn larger(a: f32, b: f32) -> f32 { return select(b, a, (a >= b) | ${wgslIsNaN('f32', 'a')}); }\n`,
  },
}

const reducedShape = (name: string, { axes }: ReduceArgs, [x]: readonly Shape[]): Shape => {
  expectShape(
    axes.every((a) => Number.isInteger(a) && a >= 0 && a < x.length) && new Set(axes).size === axes.length,
    `${name}: axes ${formatShape(axes)} do not fit x ${formatShape(x)}`,
  )
  return x.map((extent, i) => (axes.includes(i) ? 1 : extent))
}

/** Elements one workgroup adds up before a second dispatch joins the partial results. */
const CHUNK = 16384
const LANES = 64

function reduceKernels(r: Reduction, args: ReduceArgs, [x]: readonly Shape[]): Kernel[] {
  const output = reducedShape(r.name, args, [x])
  const dims = mergedDims(x, [output])
  const outer = elements(output)
  const count = elements(x) / outer
  const scale = r.name === 'mean' ? 1 / count : 1
  const params: Record<string, Param> = { outer: u32(outer), count: u32(count), scale: { type: 'f32', value: scale } }
  // Offsets of the o-th kept and the r-th reduced element, each decomposed over its own merged dimensions.
  let step = 1
  const strides = dims.map(() => 0)
  for (let d = dims.length - 1; d >= 0; d--) {
    strides[d] = step
    step *= dims[d].extent
  }
  const offset = (kept: boolean, variable: string): string => {
    const own = dims.flatMap((dim, d) => (dim.varies[0] === kept ? [d] : []))
    if (own.length === 0) return '  return 0u;'
    const lines = [`  var rest = ${variable}; var at = 0u;`]
    for (const d of own.toReversed()) {
      params[`e${d}`] = u32(dims[d].extent)
      params[`s${d}`] = u32(strides[d])
      lines.push(`  at += rest % p.e${d} * p.s${d}; rest = rest / p.e${d};`)
    }
    lines.push('  return at;')
    return lines.join('\n')
  }
  const declare = r.declare ?? ''
  const addressing = `${declare}fn keptOffset(o: u32) -> u32 {\n${offset(true, 'o')}\n}
fn reducedOffset(r: u32) -> u32 {\n${offset(false, 'r')}\n}`
  const reads = [{ name: 'x', buffer: 0 }] as const
  const finish = r.name === 'mean' ? 'total * p.scale' : 'total'

  const perThread: Kernel = {
    variant: 'thread',
    dispatches: [
      {
        label: r.name,
        code: `${addressing}
${linearEntry(`  if (i >= p.outer) { return; }
  let base = keptOffset(i);
  var total = ${r.identity};
  for (var k = 0u; k < p.count; k++) { total = ${r.combine('total', 'load(base + reducedOffset(k))')}; }
  store(i, 0u, ${finish});`)}`,
        reads,
        writes: [{ name: 'y', buffer: 'output' }],
        params,
        workgroups: linearGrid(outer),
        loads: 'x',
        stores: 'f32',
        flat: true,
      },
    ],
  }
  if (count < 256 || (outer >= 4096 && count < 1024)) return [perThread]

  const chunks = Math.ceil(count / CHUNK)
  const tree = `
  partial[lane] = total;
  for (var half = ${LANES / 2}u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] = ${r.combine('partial[lane]', 'partial[lane + half]')}; }
  }`
  const groupId = `@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = group.y * groups.x + group.x;`
  const grid = (n: number): [number, number] => {
    const gx = Math.min(n, 32768)
    return [gx, Math.ceil(n / gx)]
  }
  const first: Dispatch = {
    label: r.name,
    code: `var<workgroup> partial: array<f32, ${LANES}>;
${addressing}
${groupId}
  let live = o < p.outer;
  let base = keptOffset(min(o, p.outer - 1u));
  var total = ${r.identity};
  let end = min(p.count, (group.z + 1u) * ${CHUNK}u);
  for (var k = group.z * ${CHUNK}u + lane; k < end; k += ${LANES}u) { total = ${r.combine('total', 'load(base + reducedOffset(k))')}; }
  ${tree}
  if (lane == 0u && live) { ${chunks === 1 ? `store(o, 0u, partial[0]${r.name === 'mean' ? ' * p.scale' : ''})` : 'y[o * groups.z + group.z] = partial[0]'}; }
}`,
    reads,
    writes: [{ name: 'y', buffer: chunks === 1 ? 'output' : 'scratch0' }],
    params,
    workgroups: [...grid(outer), chunks],
    loads: 'x',
    ...(chunks === 1 ? { stores: 'f32', flat: true } : {}),
  }
  if (chunks === 1) return [{ variant: 'workgroup', dispatches: [first] }, perThread]
  const second: Dispatch = {
    label: `${r.name}.join`,
    code: `${declare}${linearEntry(`  if (i >= p.outer) { return; }
  var total = ${r.identity};
  for (var k = 0u; k < p.chunks; k++) { total = ${r.combine('total', 'parts[i * p.chunks + k]')}; }
  store(i, 0u, ${finish});`)}`,
    reads: [{ name: 'parts', buffer: 'scratch0' }],
    writes: [{ name: 'y', buffer: 'output' }],
    params: { outer: u32(outer), chunks: u32(chunks), scale: { type: 'f32', value: scale } },
    workgroups: linearGrid(outer),
    stores: 'f32',
    flat: true,
  }
  return [{ variant: 'chunked', dispatches: [first, second], scratch: [outer * chunks] }, perThread]
}

function reduceOp(r: Reduction, backward: NonNullable<Op<ReduceArgs>['backward']>): Op<ReduceArgs> {
  return {
    name: r.name,
    inputs: ['x'],
    shape: (args, shapes) => reducedShape(r.name, args, shapes),
    cost: (args, shapes) => ({
      flop: elements(shapes[0]),
      bytes: 4 * (elements(shapes[0]) + elements(reducedShape(r.name, args, shapes))),
    }),
    kernels: (args, shapes) => reduceKernels(r, args, shapes),
    backward,
  }
}

export interface ExpandArgs {
  /** The shape to repeat to; the input broadcasts to it. */
  shape: Shape
  /** Factor on every element. */
  scale: number
}

/** `x` repeated along its axes of extent 1 to `shape`. */
export const expand = (x: Tensor, shape: Shape): Tensor =>
  sameShape(x.shape, shape) ? x : x.recorder.apply(expandOp, [x], { shape, scale: 1 })

const EXPAND: PointwiseForm = { value: ['mul', 'x', 'scale'], inputs: ['x'], params: ['scale'] }

export const expandOp: Op<ExpandArgs> = {
  name: 'expand',
  inputs: ['x'],
  shape({ shape }, [x]) {
    expectShape(
      sameShape(broadcastShape([shape, x]), shape),
      `expand: x ${formatShape(x)} does not broadcast to ${formatShape(shape)}`,
    )
    return shape
  },
  cost: ({ shape }, [x]) => ({ flop: 0, bytes: 4 * (elements(shape) + elements(x)) }),
  pointwise: EXPAND,
  kernels: ({ shape, scale }, [x]) => [
    pointwiseKernel('expand', [{ form: EXPAND, args: { scale }, shape, operands: [{ buffer: 0, shape: x }] }]),
  ],
  backward: ({ args: { scale }, inputs: [x], gradient }) => {
    const total = sumTo(gradient, x.shape)
    return [scale === 1 ? total : total.recorder.apply(expandOp, [total], { shape: x.shape, scale })]
  },
}

export const sumOp = /* @__PURE__ */ reduceOp(reductions.sum, ({ inputs: [x], gradient }) => [
  expand(gradient, x.shape),
])
export const meanOp = /* @__PURE__ */ reduceOp(reductions.mean, ({ inputs: [x], output, gradient }) => {
  const scale = elements(output.shape) / elements(x.shape)
  return [gradient.recorder.apply(expandOp, [gradient], { shape: x.shape, scale })]
})
export const maxOp = /* @__PURE__ */ reduceOp(reductions.max, ({ inputs: [x], output, gradient }) => [
  mul(equal(x, output), gradient),
])
