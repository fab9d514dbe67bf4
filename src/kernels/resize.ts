/** Resampling of images to another size, separable. */
import {
  type BufferRef,
  type Dispatch,
  elements,
  expectShape,
  f32,
  formatShape,
  i32,
  type Op,
  type Param,
  type Shape,
  type Tensor,
  u32,
} from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface ResizeOptions {
  /** Height and width of the output in pixels. */
  size: readonly [height: number, width: number]
  /** Bilinear unless told. */
  mode?: 'bilinear' | 'bicubic'
  /** Widen the filter where an axis shrinks, so that all its pixels count. Off unless told. */
  antialias?: boolean
}

export type ResizeArgs = Required<ResizeOptions>

/**
 * Images of another size: PyTorch's interpolate(align_corners=False), so pixel j of an axis samples at (j + 0.5) * in / out - 0.5.
 * Bicubic is Keys' cubic convolution ("Cubic convolution interpolation for digital image processing", 1981) with a = -0.75,
 * or a = -0.5 when antialiased (as in PyTorch and Pillow). Without `antialias` border pixels are repeated beyond the border;
 * with it what lies beyond does not count.
 * @param x [N,C,H,W]
 * @returns [N,C,h,w]; x itself where that is its size
 * @throws ShapeError where x is no such image, the size is not positive, or in * out of an axis is 2^31 or more.
 */
export function resize(x: Tensor, { size, mode = 'bilinear', antialias = false }: ResizeOptions): Tensor {
  if (x.shape.length === 4 && x.shape[2] === size[0] && x.shape[3] === size[1]) return x
  return x.recorder.apply(resizeOp, [x], { size, mode, antialias })
}

export function resizeShape(name: string, { size }: ResizeArgs, x: Shape): Shape {
  expectShape(
    x.length === 4 && size.every((n, a) => Number.isInteger(n) && n > 0 && n * x[a + 2] < 2 ** 31),
    `${name}: x ${formatShape(x)} must be [N,C,H,W] and the size ${formatShape(size)} positive, with products of extents below 2^31`,
  )
  return [x[0], x[1], ...size]
}

/** How one axis is resampled. */
interface Axis {
  /** Pixels of the input and of the output. */
  extent: number
  outputs: number
  /** Factor by which the filter is widened. */
  width: number
  /** Input pixels to either side of a place that have a weight. */
  support: number
  /** Most input pixels that one output pixel reads. */
  taps: number
}

function axisOf({ mode, antialias }: ResizeArgs, extent: number, outputs: number): Axis {
  const radius = mode === 'bilinear' ? 1 : 2
  const width = antialias ? Math.max(1, extent / outputs) : 1
  const support = radius * width
  return { extent, outputs, width, support, taps: antialias ? 2 * Math.ceil(support) + 1 : 2 * radius }
}

const axisParams = (axis: Axis, count: number): Record<string, Param> => ({
  count: u32(count),
  extent: i32(axis.extent),
  outputs: i32(axis.outputs),
  taps: i32(axis.taps),
  support: f32(axis.support),
})

/** Elements of an axis' table: for every output its first input pixel, and the weights from there on. */
const tableSize = ({ outputs, taps }: Axis): number => outputs * (taps + 1)

/**
 * Writes an axis' table; it reads nothing, so it runs once. Places are whole pixels and a fraction of exact integers: the
 * weights are good to the last bits of f32 however large the image.
 */
function tableDispatch(name: string, { mode, antialias }: ResizeArgs, axis: Axis, table: BufferRef): Dispatch {
  const a = antialias ? -0.5 : -0.75
  const cubic = `
  if (d < 1.0) { return (${a + 2} * d - ${a + 3}) * d * d + 1.0; }
  if (d < 2.0) { return ((${a} * d - ${5 * a}) * d + ${8 * a}) * d - ${4 * a}; }
  return 0.0;`
  return {
    label: `${name}.weights`,
    code: `
fn weight(distance: f32) -> f32 {
  let d = abs(distance);
  ${mode === 'bilinear' ? 'return max(0.0, 1.0 - d);' : cubic}
}
${linearEntry(`  if (i >= p.count) { return; }
  let numerator = (2u * i + 1u) * u32(p.extent);
  let denominator = 2u * p.count;
  let pixel = i32(numerator / denominator);
  let fraction = f32(numerator % denominator) / f32(denominator);
  let start = clamp(pixel + i32(floor(fraction - p.support + 0.5)), 0, max(p.extent - p.taps, 0));
  let row = i32(i) * (p.taps + 1);
  table[row] = f32(start);
  for (var k = 1; k <= p.taps; k++) { table[row + k] = 0.0; }
  var total = 0.0;
  let end = i32(floor(fraction + p.support + 0.5));
  for (var t = i32(floor(fraction - p.support + 0.5)); t < end; t++) {
    let at = ${antialias ? 'pixel + t' : 'clamp(pixel + t, 0, p.extent - 1)'};
    ${antialias ? 'if (at < 0 || at >= p.extent) { continue; }' : ''}
    let w = weight((f32(t) + 0.5 - fraction) / p.width);
    total += w;
    table[row + 1 + at - start] += w;
  }
  for (var k = 1; k <= p.taps; k++) { table[row + k] /= total; }`)}`,
    reads: [],
    writes: [{ name: 'table', buffer: table }],
    params: { ...axisParams(axis, axis.outputs), width: f32(axis.width) },
    workgroups: linearGrid(axis.outputs),
  }
}

/** The axis of the adjoint: the input pixels as outputs, each made of the few output pixels that read it. */
const transposed = ({ extent, outputs, support, width }: Axis): Axis => ({
  extent: outputs,
  outputs: extent,
  width,
  support,
  // As many whole numbers as an open interval of that length can hold, and one for rounding.
  taps: Math.ceil((2 * support * outputs) / extent) + 1,
})

/** Writes the table of the transposed axis from that of the axis. Like that one it runs once. */
function transposedTable(axis: Axis, table: BufferRef, to: BufferRef): Dispatch {
  return {
    label: 'resize.dx.weights',
    code: `
fn weight(output: i32, at: i32) -> f32 {
  let row = output * (p.taps + 1);
  let k = at - i32(table[row]);
  if (k < 0 || k >= p.taps) { return 0.0; }
  return table[row + 1 + k];
}
${linearEntry(`  if (i >= p.count) { return; }
  let at = i32(i);
  // No output before this one reads the pixel; then on to the first that does.
  var start = clamp(i32(floor((f32(at) + 0.5 - p.support) * p.zoom - 0.75)), 0, p.outputs - 1);
  while (start < p.outputs - 1 && weight(start, at) == 0.0) { start++; }
  let row = at * (p.toTaps + 1);
  to[row] = f32(start);
  for (var k = 0; k < p.toTaps; k++) {
    let output = start + k;
    to[row + 1 + k] = select(0.0, weight(min(output, p.outputs - 1), at), output < p.outputs);
  }`)}`,
    reads: [{ name: 'table', buffer: table }],
    writes: [{ name: 'to', buffer: to }],
    params: {
      ...axisParams(axis, axis.extent),
      toTaps: i32(transposed(axis).taps),
      zoom: f32(axis.outputs / axis.extent),
    },
    workgroups: linearGrid(axis.extent),
  }
}

/** Resamples the middle axis of [outer, extent, inner] maps. */
function axisDispatch(
  name: string,
  axis: Axis,
  [outer, inner]: readonly [outer: number, inner: number],
  buffers: { x: BufferRef; table: BufferRef; y: BufferRef },
): Dispatch {
  const count = outer * axis.outputs * inner
  return {
    label: name,
    code: linearEntry(`  if (i >= p.count) { return; }
  let line = i / p.inner;
  let map = line / u32(p.outputs);
  let row = i32(line - map * u32(p.outputs)) * (p.taps + 1);
  let start = i32(table[row]);
  let taps = min(p.taps, p.extent - start);
  var at = (i32(map) * p.extent + start) * i32(p.inner) + i32(i - line * p.inner);
  var total = 0.0;
  for (var k = 1; k <= taps; k++) {
    total += table[row + k] * x[at];
    at += i32(p.inner);
  }
  y[i] = total;`),
    reads: [
      { name: 'x', buffer: buffers.x },
      { name: 'table', buffer: buffers.table },
    ],
    writes: [{ name: 'y', buffer: buffers.y }],
    params: { ...axisParams(axis, count), inner: u32(inner) },
    workgroups: linearGrid(count),
  }
}

/** Rows first: the image between the two passes is [N,C,H,w]. */
function geometry(args: ResizeArgs, x: Shape) {
  const rows = axisOf(args, x[3], args.size[1])
  const columns = axisOf(args, x[2], args.size[0])
  const planes = x[0] * x[1]
  return { rows, columns, planes, between: planes * x[2] * args.size[1] }
}

const resizeCost = (args: ResizeArgs, x: Shape) => {
  const { rows, columns, between } = geometry(args, x)
  const output = elements(resizeShape('resize', args, x))
  return { flop: 2 * (between * rows.taps + output * columns.taps), bytes: 4 * (elements(x) + 2 * between + output) }
}

export const resizeOp: Op<ResizeArgs> = {
  name: 'resize',
  inputs: ['x'],
  shape: (args, [x]) => resizeShape('resize', args, x),
  cost: (args, [x]) => resizeCost(args, x),
  kernels(args, [x]) {
    const { rows, columns, planes, between } = geometry(args, x)
    const [w, h] = [args.size[1], x[2]]
    return [
      {
        variant: 'separable',
        dispatches: [
          tableDispatch('resize', args, rows, 'scratch0'),
          tableDispatch('resize', args, columns, 'scratch1'),
          axisDispatch('resize.rows', rows, [planes * h, 1], { x: 0, table: 'scratch0', y: 'scratch2' }),
          axisDispatch('resize.columns', columns, [planes, w], { x: 'scratch2', table: 'scratch1', y: 'output' }),
        ],
        scratch: [tableSize(rows), tableSize(columns), between],
      },
    ]
  },
  backward({ args, inputs: [x], gradient }) {
    const [n, c, h, w] = x.shape
    return [gradient.recorder.apply(resizeGradientOp, [gradient], { ...args, shape: [n, c, h, w] })]
  },
}

interface ResizeGradientArgs extends ResizeArgs {
  /** Shape of x. */
  shape: readonly [number, number, number, number]
}

/** The adjoint of `resize`, axis by axis: every pixel of x collects from the output pixels that read it. */
export const resizeGradientOp: Op<ResizeGradientArgs> = {
  name: 'resize.dx',
  inputs: ['dy'],
  shape: ({ shape }) => shape,
  cost: ({ shape, ...args }) => resizeCost(args, shape),
  kernels({ shape, ...args }) {
    const { rows, columns, planes, between } = geometry(args, shape)
    const back = { rows: transposed(rows), columns: transposed(columns) }
    const [w, h] = [args.size[1], shape[2]]
    return [
      {
        variant: 'separable',
        dispatches: [
          tableDispatch('resize.dx', args, rows, 'scratch0'),
          tableDispatch('resize.dx', args, columns, 'scratch1'),
          transposedTable(rows, 'scratch0', 'scratch2'),
          transposedTable(columns, 'scratch1', 'scratch3'),
          axisDispatch('resize.dx.columns', back.columns, [planes, w], { x: 0, table: 'scratch3', y: 'scratch4' }),
          axisDispatch('resize.dx.rows', back.rows, [planes * h, 1], { x: 'scratch4', table: 'scratch2', y: 'output' }),
        ],
        scratch: [...[rows, columns, back.rows, back.columns].map(tableSize), between],
      },
    ]
  },
}
