/**
 * Matrix products for adapters that are the processor itself: lavapipe, SwiftShader.
 *
 * What their generated code likes was read from its disassembly (bench/NOTES.md). A load costs as much as 40 multiply-adds
 * of a whole vector, whether its address is uniform or not, and four components cost less than two loads of one. Barriers
 * send every variable to memory. Broadcasting a lane's register costs next to nothing. So no workgroup memory: a subgroup
 * loads 16 rows of A, one row a lane, and one vec4 column of B a lane, and forms their outer product by broadcasts.
 */
import type { Capabilities } from '../../device/gpu.ts'
import { type Binding, type BufferRef, type Dispatch, type Param, u32 } from '../op.ts'
import { range, usedParams } from '../wgsl.ts'
import { round4 } from './pack.ts'

/** y[row, column] = bias + sum over i of a[row, i] * b[i, column], for every index of the batch. */
export interface Product {
  label: string
  a: BufferRef
  b: BufferRef
  y: BufferRef
  /** One value a row of every batch, or one a column. */
  bias?: BufferRef
  biasOf?: 'row' | 'column'
  /** The dispatch writes the whole output of an operation, whose axis 1 are the rows of all batches: others may be fused into it. */
  whole?: boolean
  /** Axis 1 of the output is another: those that are fused know no channel. */
  flat?: boolean
  rows: number
  /** Length of the sums. Rows of `a` are padded with zeros to a multiple of four; `b` needs no padding. */
  inner: number
  /**
   * Columns come in sections (images of a batch, panels of a packed matrix) of `width`; in `b` each starts at a multiple of
   * four elements. Only sections' columns `first` to `first + count`, in units of four over all sections, are computed.
   */
  width: number
  first?: number
  count: number
  /** Elements at the beginning that `b` or `y` leaves out, because it holds the columns from `first` on only. */
  bSkip?: number
  ySkip?: number
  /** Distances in `b`, in elements (multiples of four): between sections and between rows. */
  bSection: number
  bRow: number
  /** Distances in `y`, in elements. */
  ySection: number
  yRow: number
  /** Between columns; 1 unless told. */
  yColumn?: number
  /** Loops around it all, outermost first, with distances in elements (multiples of four in `a` and `b`). */
  batch?: readonly { extent: number; a: number; b: number; y: number }[]
}

/** Lanes of a subgroup where the adapter is a processor whose subgroups all have one size, else 0: no such kernel. */
export const productLanes = ({ software, subgroups, subgroupMinSize, subgroupMaxSize }: Capabilities): number =>
  software && subgroups && subgroupMinSize === subgroupMaxSize && [4, 8, 16].includes(subgroupMaxSize)
    ? subgroupMaxSize
    : 0

/** Threads of a workgroup: its subgroups take neighbouring tiles of rows and so find their columns in the cache. */
const THREADS = 64

/** The dispatch of a product; `lanes` from `productLanes`. */
export function product(p: Product, lanes: number): Dispatch {
  const tile = p.rows > 8 ? 16 : p.rows > 4 ? 8 : 4
  // With four lanes, SwiftShader's, four steps at once are so much code that an Intel core decodes it anew in every iteration: 0.55 of the speed.
  const steps = lanes === 4 ? 2 : 4
  const batch = p.batch ?? []
  // Whole vec4 can be stored where every row of y starts at a multiple of four.
  const wide =
    (p.yColumn ?? 1) === 1 && [p.width, p.ySection, p.yRow, ...batch.map((d) => d.y)].every((n) => n % 4 === 0)
  const loads = Math.ceil(tile / lanes)
  const rowTiles = Math.ceil(p.rows / tile)
  const tiles = rowTiles * Math.ceil(p.count / lanes)
  const unit = wide ? 4 : 1
  const params: Record<string, Param> = {
    tiles: u32(tiles),
    rowTiles: u32(rowTiles),
    rows: u32(p.rows),
    inner: u32(p.inner),
    aRow: u32(round4(p.inner) / steps),
    width: u32(p.width),
    width4: u32(Math.ceil(p.width / 4)),
    first: u32(p.first ?? 0),
    count: u32(p.count),
    bSkip: u32((p.bSkip ?? 0) / 4),
    bSection: u32(p.bSection / 4),
    bRow: u32(p.bRow / 4),
    ySkip: u32((p.ySkip ?? 0) / unit),
    ySection: u32(p.ySection / unit),
    yRow: u32(p.yRow / unit),
    yColumn: u32(p.yColumn ?? 1),
  }
  const offsets = batch.toReversed().map((d, i) => {
    Object.assign(params, {
      [`e${i}`]: u32(d.extent),
      [`a${i}`]: u32(d.a / steps),
      [`b${i}`]: u32(d.b / 4),
      [`y${i}`]: u32(d.y / unit),
    })
    return `  { let i = rest % p.e${i}; rest = rest / p.e${i}; aAt += i * p.a${i}; bAt += i * p.b${i}; yAt += i * p.y${i}; }`
  })
  const sums = range(tile).map((q) => {
    const weight = (u: number) => `subgroupBroadcast(w${Math.floor(q / lanes)}.${'xyzw'[u]}, ${q % lanes}u)`
    return range(steps)
      .map((u) => `s${q} = fma(vec4f(${weight(u)}), x${u}, s${q});`)
      .join(' ')
  })
  const biases = range(4).map((i) => `bias[min(fours * 4u + ${i}u, p.width - 1u)]`)
  const columnBias =
    p.bias === undefined || p.biasOf !== 'column' ? 'vec4f()' : wide ? 'bias[fours]' : `vec4f(${biases})`
  // A loop, though sums are then read back from memory: code fused into the store would be compiled for every row otherwise.
  const rowBias = p.bias !== undefined && p.biasOf !== 'column' ? ' + bias[channel]' : ''
  const write = (at: string, v: string) => (p.whole ? `store(${at}, channel, ${v});` : `y[${at}] = ${v};`)
  const store = wide
    ? write('at', 'value')
    : `for (var e = 0u; e < min(4u, p.width - column * 4u); e++) { ${write('at + e * p.yColumn', 'value[e]')} }`
  const code = `@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) index: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = (group.y * groups.x + group.x) * ${THREADS / lanes}u + index / ${lanes}u;
  let first = tile % p.rowTiles * ${tile}u;
  let own = tile / p.rowTiles * ${lanes}u + lane;
  let fours = p.first + min(own, p.count - 1u);
  let column = fours % p.width4;
  var rest = group.z;
  var aAt = 0u;
  var bAt = fours / p.width4 * p.bSection + column - p.bSkip;
  var yAt = fours / p.width4 * p.ySection + column${wide ? '' : ' * 4u * p.yColumn'} - p.ySkip;
${offsets.join('\n')}
${range(loads)
  .map((j) => `  var a${j} = aAt + min(first + ${j * lanes}u + lane, p.rows - 1u) * p.aRow;`)
  .join('\n')}
${range(tile)
  .map((q) => `  var s${q} = ${columnBias};`)
  .join('\n')}
  for (var i = 0u; i < p.inner; i += ${steps}u) {
${range(loads)
  .map((j) => `    let w${j} = a[a${j}]; a${j}++;`)
  .join('\n')}
${range(steps)
  .map((u) => `    let x${u} = b[bAt + min(i + ${u}u, p.inner - 1u) * p.bRow];`)
  .join('\n')}
${sums.map((line) => `    ${line}`).join('\n')}
  }
  // No branch around it: lavapipe then compiles for five times as long.
  let end = select(0u, min(${tile}u, p.rows - first), tile < p.tiles && own < p.count);
  var sums = array<vec4f, ${tile}>(${range(tile).map((q) => `s${q}`)});
  for (var q = 0u; q < end; q++) {
    let channel = group.z * p.rows + first + q;
    let value = sums[q]${rowBias};
    let at = yAt + (first + q) * p.yRow;
    ${store}
  }
}
`
  const reads: Binding[] = [
    { name: 'a', buffer: p.a, type: steps === 4 ? 'vec4f' : 'vec2f' },
    { name: 'b', buffer: p.b, type: 'vec4f' },
  ]
  const biasType = wide && p.biasOf === 'column' ? 'vec4f' : 'f32'
  if (p.bias !== undefined) reads.push({ name: 'bias', buffer: p.bias, type: biasType })
  const groups = Math.ceil(tiles / (THREADS / lanes))
  const x = Math.min(groups, 32768)
  return {
    label: p.label,
    enable: ['subgroups'],
    code,
    reads,
    writes: [{ name: 'y', buffer: p.y, type: wide ? 'vec4f' : 'f32' }],
    params: usedParams(code, params),
    workgroups: [x, Math.ceil(groups / x), batch.reduce((n, d) => n * d.extent, 1)],
    stores: p.whole ? (wide ? 'vec4f' : 'f32') : undefined,
    flat: p.flat,
  }
}
