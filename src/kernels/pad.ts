/** Padding of any axes with a number or mirror images. */
import {
  elements,
  expectShape,
  f32,
  formatShape,
  i32,
  type Kernel,
  type Op,
  type Param,
  type Shape,
  type Tensor,
  u32,
} from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface PadOptions {
  /** Elements added in front of each axis. */
  before: readonly number[]
  /** Elements added behind each axis. */
  after: readonly number[]
  /** What they are: a number (unless told), or the mirror image without the border element repeated. */
  mode?: 'constant' | 'reflect'
  /** That number; 0 unless told. */
  value?: number
}

export type PadArgs = Required<PadOptions>

/**
 * `x` with elements added around it, PyTorch's pad in modes constant and reflect.
 * Throws ShapeError where there is not one whole number >= 0 for every axis and side, or where a mirror image would need more
 * elements than the axis has beside its border.
 */
export const pad = (x: Tensor, { before, after, mode = 'constant', value = 0 }: PadOptions): Tensor =>
  x.recorder.apply(padOp, [x], { before, after, mode, value })

export function padShape(name: string, { before, after, mode }: PadArgs, x: Shape): Shape {
  const limit = (axis: number): number => (mode === 'reflect' ? x[axis] - 1 : Number.POSITIVE_INFINITY)
  const fits = (counts: readonly number[]): boolean =>
    counts.length === x.length && counts.every((n, axis) => Number.isInteger(n) && n >= 0 && n <= limit(axis))
  expectShape(
    fits(before) && fits(after),
    `${name}: x ${formatShape(x)} cannot be padded by ${formatShape(before)} and ${formatShape(after)} (${mode})`,
  )
  return x.map((extent, axis) => before[axis] + extent + after[axis])
}

/** A loop dimension: axes between which nothing is added count as one. */
interface Dim {
  extent: number
  before: number
  after: number
}

function mergedAxes({ before, after }: PadArgs, x: Shape): Dim[] {
  const dims: Dim[] = []
  const whole = (d: Dim | undefined): d is Dim => d !== undefined && d.before === 0 && d.after === 0
  x.forEach((extent, axis) => {
    const dim = { extent, before: before[axis], after: after[axis] }
    const last = dims.at(-1)
    if (whole(last) && whole(dim)) last.extent *= extent
    else dims.push(dim)
  })
  return dims.length > 0 ? dims : [{ extent: 1, before: 0, after: 0 }]
}

const isPadded = ({ before, after }: Dim): boolean => before + after > 0

/** Extents, sides and strides of x (`s`) and of the padded tensor (`t`), innermost last. */
function dimParams(dims: readonly Dim[], count: number): Record<string, Param> {
  const params: Record<string, Param> = { count: u32(count) }
  let inner = 1
  let outer = 1
  for (let d = dims.length - 1; d >= 0; d--) {
    const { extent, before, after } = dims[d]
    Object.assign(params, {
      [`n${d}`]: i32(extent),
      [`b${d}`]: i32(before),
      [`a${d}`]: i32(after),
      [`s${d}`]: i32(inner),
      [`t${d}`]: i32(outer),
    })
    inner *= extent
    outer *= before + extent + after
  }
  return params
}

/** Takes the thread's number apart into `i0`, `i1`, ... over dimensions with these extents. */
const decompose = (dims: readonly Dim[], extent: (d: number) => string): string =>
  dims
    .map((_, d) => (d === 0 ? 'let i0 = rest;' : `let i${d} = rest % (${extent(d)}); rest = rest / (${extent(d)});`))
    .toReversed()
    .join('\n  ')

function padKernel(args: PadArgs, x: Shape): Kernel {
  const dims = mergedAxes(args, x)
  const count = elements(padShape('pad', args, x))
  const source = dims.map((dim, d) => {
    if (!isPadded(dim)) return `let x${d} = i${d};`
    if (args.mode === 'reflect') return `let x${d} = mirrored(i${d} - p.b${d}, p.n${d});`
    return `let x${d} = i${d} - p.b${d}; inside = inside && x${d} >= 0 && x${d} < p.n${d};`
  })
  return {
    variant: args.mode,
    dispatches: [
      {
        label: 'pad',
        code: `
fn mirrored(at: i32, extent: i32) -> i32 { return extent - 1 - abs(extent - 1 - abs(at)); }
${linearEntry(`  if (i >= p.count) { return; }
  var rest = i32(i);
  ${decompose(dims, (d) => `p.b${d} + p.n${d} + p.a${d}`)}
  var inside = true;
  ${source.join('\n  ')}
  var value = p.value;
  if (inside) { value = x[${dims.map((_, d) => `x${d} * p.s${d}`).join(' + ')}]; }
  store(i, 0u, value);`)}`,
        reads: [{ name: 'x', buffer: 0 }],
        writes: [{ name: 'y', buffer: 'output' }],
        params: { ...dimParams(dims, count), value: f32(args.value) },
        workgroups: linearGrid(count),
        stores: 'f32',
        flat: true,
      },
    ],
  }
}

export const padOp: Op<PadArgs> = {
  name: 'pad',
  inputs: ['x'],
  half: 'follows',
  shape: (args, [x]) => padShape('pad', args, x),
  cost: (args, [x]) => ({ flop: 0, bytes: 4 * (elements(x) + elements(padShape('pad', args, x))) }),
  kernels: (args, [x]) => [padKernel(args, x)],
  backward: ({ args, inputs: [x], gradient }) => [
    gradient.recorder.apply(padGradientOp, [gradient], { ...args, shape: x.shape }),
  ],
}

interface PadGradientArgs extends PadArgs {
  /** Shape of x. */
  shape: Shape
}

/** The adjoint of `pad`: every element of x collects from itself and from its mirror images. */
export const padGradientOp: Op<PadGradientArgs> = {
  name: 'pad.dx',
  inputs: ['dy'],
  half: 'follows',
  shape: ({ shape }) => shape,
  cost: ({ shape }, [dy]) => ({ flop: elements(dy), bytes: 4 * (elements(dy) + elements(shape)) }),
  kernels({ shape, ...args }) {
    const dims = mergedAxes(args, shape)
    const count = elements(shape)
    const mirrored = args.mode === 'reflect' ? dims.flatMap((dim, d) => (isPadded(dim) ? [d] : [])) : []
    const plain = dims.map((_, d) => (mirrored.includes(d) ? `o${d} * p.t${d}` : `(i${d} + p.b${d}) * p.t${d}`))
    const loops = mirrored.map(
      (d) => `for (var k${d} = 0; k${d} < 3; k${d}++) {
    let o${d} = imageOf(k${d}, i${d}, p.n${d}, p.b${d}, p.a${d});
    if (o${d} < 0) { continue; }
    `,
    )
    return [
      {
        variant: args.mode,
        dispatches: [
          {
            label: 'pad.dx',
            code: `
// Where element \`at\` of an axis is found when padded: itself, its image in front and its image behind; -1 for none.
fn imageOf(k: i32, at: i32, extent: i32, before: i32, after: i32) -> i32 {
  let behind = 2 * (extent - 1) - at;
  if (k == 0) { return before + at; }
  if (k == 1) { return select(-1, before - at, at > 0 && at <= before); }
  return select(-1, before + behind, behind >= extent && behind < extent + after);
}
${linearEntry(`  if (i >= p.count) { return; }
  var rest = i32(i);
  ${decompose(dims, (d) => `p.n${d}`)}
  var total = 0.0;
  ${loops.join('')}total += dy[${plain.join(' + ')}];
  ${'}'.repeat(loops.length)}
  store(i, 0u, total);`)}`,
            reads: [{ name: 'dy', buffer: 0 }],
            writes: [{ name: 'dx', buffer: 'output' }],
            params: dimParams(dims, count),
            workgroups: linearGrid(count),
            stores: 'f32',
            flat: true,
          },
        ],
      },
    ]
  },
}
