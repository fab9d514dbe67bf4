/**
 * Matrix products for real GPUs: a workgroup of 16x16 threads computes 64 or 128 rows by 64 columns, stepping through the
 * sums 16 at a time with both operands in workgroup memory. Columns are not stored anywhere: code given by the operation
 * finds their elements (implicit GEMM).
 */
import { type Binding, type BufferRef, type Dispatch, type Kernel, type Param, u32 } from '../op.ts'
import { usedParams } from '../wgsl.ts'
import type { Geometry } from './geometry.ts'
import { pack, packedElements } from './pack.ts'

/** Columns of a tile, and elements of the sums in workgroup memory at a time. */
const COLUMNS = 64
const STEP = 16

export interface TiledProduct {
  label: string
  rows: number
  inner: number
  columns: number
  /** Independent products, `z` in the code. */
  batch: number
  /** The left matrix [batch][rows][inner], by distances in elements; it is packed into tiles first. */
  left: {
    buffer: BufferRef
    rowStep: number
    innerStep: number
    innerSplit?: { extent: number; step: number }
    batchStep: number
    /** Number of left matrices and WGSL for which of them belongs to `z`; one for each unless told. */
    batch?: number
    ofBatch?: string
  }
  reads: readonly Binding[]
  params: Readonly<Record<string, Param>>
  /**
   * WGSL: `struct Column` with `to`, where its result in row 0 goes; `fn column(j: u32, z: u32) -> Column`; and
   * `fn element(i: u32, column: Column) -> f32`, the i-th element of a column.
   */
  code: string
  /** Distance between rows of the result, in elements. */
  rowTo: number
  bias?: 'row' | 'column'
  /** Rows of all batches are the output's axis 1: others may be fused into the stores. */
  fusible: boolean
}

export function tiledProduct(t: TiledProduct): Kernel {
  const fours = t.rows > 64 ? 2 : 1
  const tileRows = fours * 64
  const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
  const packing = {
    rows: Math.ceil(t.inner / STEP) * STEP,
    sourceRows: t.inner,
    columns: t.rows,
    rowStep: t.left.innerStep,
    rowSplit: t.left.innerSplit,
    columnStep: t.left.rowStep,
    panel: tileRows,
    batch: t.left.batch ?? t.batch,
    batchStep: t.left.batchStep,
  }
  const bias = (e: number) =>
    t.bias === 'row'
      ? ' + bias[z * p.rows + row]'
      : t.bias === 'column'
        ? ` + bias[firstColumn + local.x * 4u + ${e}u]`
        : ''
  const stores = range(fours * 4).map((r) =>
    range(4)
      .map((e) => {
        const value = `s${r}.${'xyzw'[e]}${bias(e)}`
        const write = t.fusible
          ? `store(to${e} + row * p.rowTo, z * p.rows + row, ${value});`
          : `result[to${e} + row * p.rowTo] = ${value};`
        return `if (live${e}) { ${write} }`
      })
      .join(' '),
  )
  const code = `var<workgroup> left: array<vec4f, ${fours * 16 * STEP}>;
var<workgroup> right: array<vec4f, ${16 * STEP}>;
${t.code}
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u,
    @builtin(local_invocation_index) index: u32) {
  let z = group.z;
  let firstRow = group.y * ${tileRows}u;
  let firstColumn = group.x * ${COLUMNS}u;
${range(4)
  .map((e) => `  let column${e} = column(min(firstColumn + index % 16u * 4u + ${e}u, p.columns - 1u), z);`)
  .join('\n')}
${range(fours * 4)
  .map((r) => `  var s${r} = vec4f();`)
  .join('\n')}
  var at = (${t.left.ofBatch ?? 'z'} * p.panels + group.y) * p.steps * ${fours * 16 * STEP}u + index;
  for (var step = 0u; step < p.steps; step++) {
${range(fours)
  .map((f) => `    left[index + ${f * 256}u] = packed[at + ${f * 256}u];`)
  .join('\n')}
    at += ${fours * 16 * STEP}u;
    let i = step * ${STEP}u + index / 16u;
    var value = vec4f();
    if (i < p.inner) {
      value = vec4f(element(i, column0), element(i, column1), element(i, column2), element(i, column3));
    }
    right[index] = value;
    workgroupBarrier();
    for (var k = 0u; k < ${STEP}u; k++) {
      let b = right[k * 16u + local.x];
${range(fours)
  .map((f) => {
    const sums = range(4).map((r) => `s${f * 4 + r} = fma(vec4f(a${f}.${'xyzw'[r]}), b, s${f * 4 + r});`)
    return `      let a${f} = left[k * ${fours * 16}u + local.y * ${fours}u + ${f}u];\n      ${sums.join(' ')}`
  })
  .join('\n')}
    }
    workgroupBarrier();
  }
${range(4)
  .map((e) => {
    const j = `firstColumn + local.x * 4u + ${e}u`
    return `  let live${e} = ${j} < p.columns;\n  let to${e} = column(min(${j}, p.columns - 1u), z).to;`
  })
  .join('\n')}
${stores
  .map((line, r) => `  { let row = firstRow + local.y * ${fours * 4}u + ${r}u; if (row < p.rows) { ${line} } }`)
  .join('\n')}
}
`
  const reads: Binding[] = [{ name: 'packed', buffer: 'scratch0', type: 'vec4f' }, ...t.reads]
  const dispatch: Dispatch = {
    label: t.label,
    code,
    reads,
    writes: [{ name: 'result', buffer: 'output' }],
    params: usedParams(code, {
      rows: u32(t.rows),
      inner: u32(t.inner),
      columns: u32(t.columns),
      panels: u32(Math.ceil(t.rows / tileRows)),
      steps: u32(packing.rows / STEP),
      rowTo: u32(t.rowTo),
      ...t.params,
    }),
    workgroups: [Math.ceil(t.columns / COLUMNS), Math.ceil(t.rows / tileRows), t.batch],
    stores: t.fusible ? 'f32' : undefined,
  }
  return {
    variant: 'tile',
    dispatches: [pack(packing, t.left.buffer, 'scratch0'), dispatch],
    scratch: [packedElements(packing)],
  }
}

const sizes = (g: Geometry): Record<string, Param> => ({
  C: u32(g.c),
  H: u32(g.h),
  W: u32(g.w),
  K: u32(g.k),
  OH: u32(g.oh),
  OW: u32(g.ow),
  CG: u32(g.c / g.groups),
  KG: u32(g.k / g.groups),
  PT: u32(g.padding[0]),
  PL: u32(g.padding[1]),
})

/** Input pixel that tap `tap` of the output pixel at `top`, `left` falls on; unsigned, so that all outside is beyond the end. */
const inputPixel = ({ kw, dilation }: Geometry): string =>
  `let iy = top + tap / ${kw}u * ${dilation[0]}u; let ix = left + tap % ${kw}u * ${dilation[1]}u;`

const biasReads = (bias: boolean): Binding[] => (bias ? [{ name: 'bias', buffer: 2 }] : [])

/** conv2d: columns are output pixels of all images, their elements input pixels. */
export function tiledForward(g: Geometry, bias: boolean): Kernel {
  const taps = g.kh * g.kw
  const inner = (g.c / g.groups) * taps
  const rows = g.k / g.groups
  return tiledProduct({
    label: 'conv2d',
    rows,
    inner,
    columns: g.n * g.oh * g.ow,
    batch: g.groups,
    left: { buffer: 1, rowStep: inner, innerStep: 1, batchStep: rows * inner },
    reads: [{ name: 'x', buffer: 0 }, ...biasReads(bias)],
    params: sizes(g),
    code: `struct Column { to: u32, plane: u32, top: u32, left: u32 }
fn column(j: u32, z: u32) -> Column {
  let pixels = p.OH * p.OW;
  let n = j / pixels;
  let pixel = j - n * pixels;
  let oy = pixel / p.OW;
  let ox = pixel - oy * p.OW;
  return Column((n * p.K + z * p.rows) * pixels + pixel, (n * p.C + z * p.CG) * p.H * p.W,
    oy * ${g.stride[0]}u - p.PT, ox * ${g.stride[1]}u - p.PL);
}
fn element(i: u32, c: Column) -> f32 {
  let tap = i % ${taps}u;
  let top = c.top; let left = c.left;
  ${inputPixel(g)}
  if (iy >= p.H || ix >= p.W) { return 0.0; }
  return x[c.plane + (i / ${taps}u * p.H + iy) * p.W + ix];
}`,
    rowTo: g.oh * g.ow,
    bias: bias ? 'row' : undefined,
    fusible: true,
  })
}

/** The transpose: columns are input pixels of all images, their elements the output pixels that see them. */
export function tiledTranspose(g: Geometry, bias: boolean): Kernel {
  const taps = g.kh * g.kw
  const rows = g.c / g.groups
  const inner = (g.k / g.groups) * taps
  const [sh, sw] = g.stride
  return tiledProduct({
    label: 'conv_transpose2d',
    rows,
    inner,
    columns: g.n * g.h * g.w,
    batch: g.groups,
    left: {
      buffer: 1,
      rowStep: taps,
      innerStep: 1,
      innerSplit: { extent: taps, step: rows * taps },
      batchStep: rows * inner,
    },
    reads: [{ name: 'y', buffer: 0 }, ...biasReads(bias)],
    params: sizes(g),
    code: `struct Column { to: u32, plane: u32, top: u32, left: u32 }
fn column(j: u32, z: u32) -> Column {
  let pixels = p.H * p.W;
  let n = j / pixels;
  let pixel = j - n * pixels;
  let iy = pixel / p.W;
  let ix = pixel - iy * p.W;
  return Column((n * p.C + z * p.rows) * pixels + pixel, (n * p.K + z * p.KG) * p.OH * p.OW, iy + p.PT, ix + p.PL);
}
fn element(i: u32, c: Column) -> f32 {
  let tap = i % ${taps}u;
  let ty = c.top - tap / ${g.kw}u * ${g.dilation[0]}u;
  let tx = c.left - tap % ${g.kw}u * ${g.dilation[1]}u;
  let oy = ty / ${sh}u;
  let ox = tx / ${sw}u;
  if (oy * ${sh}u != ty || ox * ${sw}u != tx || oy >= p.OH || ox >= p.OW) { return 0.0; }
  return y[c.plane + (i / ${taps}u * p.OH + oy) * p.OW + ox];
}`,
    rowTo: g.h * g.w,
    bias: bias ? 'row' : undefined,
    fusible: true,
  })
}

/** The gradient of the weights: rows are output channels, columns a tap of an input channel, sums go over all output pixels. */
export function tiledWeightGradient(g: Geometry): Kernel {
  const taps = g.kh * g.kw
  const rows = g.k / g.groups
  const pixels = g.oh * g.ow
  const columns = (g.c / g.groups) * taps
  return tiledProduct({
    label: 'conv2d_weight_gradient',
    rows,
    inner: g.n * pixels,
    columns,
    batch: g.groups,
    left: {
      buffer: 1,
      rowStep: pixels,
      innerStep: 1,
      innerSplit: { extent: pixels, step: g.k * pixels },
      batchStep: rows * pixels,
    },
    reads: [{ name: 'x', buffer: 0 }],
    params: sizes(g),
    code: `struct Column { to: u32, channel: u32, top: u32, left: u32 }
fn column(j: u32, z: u32) -> Column {
  let tap = j % ${taps}u;
  return Column(z * p.rows * p.columns + j, z * p.CG + j / ${taps}u,
    tap / ${g.kw}u * ${g.dilation[0]}u - p.PT, tap % ${g.kw}u * ${g.dilation[1]}u - p.PL);
}
fn element(i: u32, c: Column) -> f32 {
  let pixels = p.OH * p.OW;
  let n = i / pixels;
  let pixel = i - n * pixels;
  let oy = pixel / p.OW;
  let iy = oy * ${g.stride[0]}u + c.top;
  let ix = (pixel - oy * p.OW) * ${g.stride[1]}u + c.left;
  if (iy >= p.H || ix >= p.W) { return 0.0; }
  return x[((n * p.C + c.channel) * p.H + iy) * p.W + ix];
}`,
    rowTo: columns,
    fusible: false,
  })
}
