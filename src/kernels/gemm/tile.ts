/**
 * Matrix products for real GPUs. A workgroup computes a tile of the result, 4x4 to 8x8 of its elements a thread, stepping
 * through the sums sixteen at a time with both operands in workgroup memory, twice: while one half is multiplied, the next
 * step is fetched into registers and then put into the other. The left matrix is packed into tiles first (once, where it is
 * weights). The right one is stored nowhere: code given by the operation finds its elements (implicit GEMM).
 *
 * Everything is read and kept as vec4 along the sums. Threads that are neighbours take neighbouring columns, also when they
 * load (one column a thread, so that its position is worked out once) and store: loads and stores of a row are consecutive,
 * and no two lanes meet in a bank of workgroup memory.
 */
import type { Capabilities } from '../../device/gpu.ts'
import { type Binding, type BufferRef, type Dispatch, f32, type Kernel, type Param, type Target, u32 } from '../op.ts'
import { linearEntry, linearGrid, range, usedParams } from '../wgsl.ts'

/** Steps of the sums in workgroup memory at a time, in units of four. */
const STEP4 = 4

export interface TiledProduct {
  label: string
  /** Rows and columns of every section. */
  rows: number
  columns: number
  /** Length of the longest sum in units of four. */
  fours: number
  /** Independent products, `z` in the code. */
  sections: number
  /** What the left matrix is computed from, how many there are, and which of them belongs to `z` (its own unless told). */
  left: { reads: readonly Binding[]; matrices: number; ofSection?: string }
  reads: readonly Binding[]
  params: Readonly<Record<string, Param>>
  /** Where the result goes; the output unless told. */
  result?: BufferRef
  /**
   * WGSL for the left matrix: `fn leftFour(q: u32, row: u32, matrix: u32) -> vec4f`, elements 4q to 4q + 3 of a row, zeros
   * beyond its end.
   */
  leftCode: string
  /**
   * WGSL: `struct Column` with `to`, where its result in row 0 goes (`NOWHERE`: it has none);
   * `fn column(j: u32, z: u32) -> Column`; and `fn four(q: u32, c: Column) -> vec4f`, elements 4q to 4q + 3 of a column.
   */
  code: string
  /** WGSL with `z`: length of its sums in units of four; `p.fours` unless told. */
  foursOf?: string
  /** Distance between rows of the result, in elements. */
  rowTo: number
  /** Elements of the output, and what lies along its axis 1: element i belongs to channel i / plane % channels. */
  elements: number
  plane: number
  channels: number
  /** WGSL with `row`, `j` (the column) and `z`: the same channel. */
  channel: string
  bias: boolean
  /** `channel` is the output's axis 1: others may be fused into the stores. */
  fusible: boolean
}

/** Numbers below this are divided exactly by `quotient`. */
export const QUOTIENT_LIMIT = 2 ** 21
/** WGSL: floor(n / d) for n below the limit, with `inverse` 1 / d: the half keeps the rounding of f32 away from the integers. */
const QUOTIENT = 'fn quotient(n: u32, inverse: f32) -> u32 { return u32((f32(n) + 0.5) * inverse); }\n'
export const inverse = (d: number): Param => f32(1 / d)

const NOWHERE = 'const NOWHERE = 0xffffffffu;\n'

interface Tile {
  rows: number
  columns: number
  /** Rows and columns of one thread. */
  perThread: readonly [number, number]
  /** Share of the arithmetic's peak that the tile can reach: loads from workgroup memory a multiply-add decide. A guess. */
  speed: number
}

const TILES: readonly Tile[] = [
  { rows: 128, columns: 64, perThread: [8, 8], speed: 1 },
  { rows: 64, columns: 64, perThread: [8, 4], speed: 0.85 },
  { rows: 32, columns: 32, perThread: [4, 4], speed: 0.5 },
]
const SAFE = TILES[TILES.length - 1]

const threads = ({ rows, columns, perThread }: Tile): number => (rows * columns) / (perThread[0] * perThread[1])
const memoryBytes = (tile: Tile, half: boolean): number => 2 * STEP4 * (tile.rows + tile.columns) * (half ? 8 : 16)

/** One way to compute a product. */
interface TilePlan {
  tile: Tile
  /** The sums are cut into so many parts, each computed by workgroups of its own. */
  parts: number
}

/**
 * Multiprocessors (NVIDIA's word), compute units or cores: WebGPU does not tell, so these are typical numbers of each vendor.
 * They only decide what is tried first.
 */
const MULTIPROCESSORS: Readonly<Record<string, number>> = { nvidia: 80, amd: 48, apple: 16, intel: 24 }
const multiprocessors = ({ vendor }: Capabilities): number => MULTIPROCESSORS[vendor.toLowerCase()] ?? 16

/** Multiply-adds of one part's tile are done at this cost in the time of the whole; see `estimate`. */
const SPLIT_OVERHEAD = 1.1
/** Workgroups that one multiprocessor needs to hide latencies, and steps that a part of a sum must have to be worth it. */
const PER_MULTIPROCESSOR = 2
const LEAST_STEPS = 4
const MOST_PARTS = 16

const workgroups = (t: TiledProduct, tile: Pick<Tile, 'rows' | 'columns'>): number =>
  Math.ceil(t.rows / tile.rows) * Math.ceil(t.columns / tile.columns) * t.sections

/** Time in arbitrary units: rounds of workgroups over the multiprocessors, each as long as its tile's share of the sums. */
function estimate(t: TiledProduct, { tile, parts }: TilePlan, slots: number): number {
  const rounds = Math.ceil((workgroups(t, tile) * parts) / slots)
  const steps = Math.ceil(t.fours / STEP4 / parts)
  return ((rounds * steps * tile.rows * tile.columns) / tile.speed) * (parts > 1 ? SPLIT_OVERHEAD : 1)
}

/** Plans whose estimate is so many times the least are not worth a trial. */
const TOO_SLOW = 3

/** The plans that the adapter can run and that are worth a trial, the one that should be fastest first. */
function plans(t: TiledProduct, gpu: Target, half: boolean): TilePlan[] {
  const slots = multiprocessors(gpu) * PER_MULTIPROCESSOR
  const fits = (tile: Tile): boolean =>
    memoryBytes(tile, half) <= gpu.maxWorkgroupStorage && threads(tile) <= gpu.maxInvocations
  const all = TILES.filter(fits)
    .flatMap((tile) => splitsOf(t, tile, STEP4, gpu).map((parts): TilePlan => ({ tile, parts })))
    .map((plan) => ({ plan, time: estimate(t, plan, slots) }))
    .sort((a, b) => a.time - b.time)
  return all.filter(({ time }) => time <= TOO_SLOW * all[0].time).map(({ plan }) => plan)
}

/** In how many parts the sums may be cut: whole, and where tiles are too few for the adapter, in as many as give it work. */
export function splitsOf(
  t: TiledProduct,
  tile: Pick<Tile, 'rows' | 'columns'>,
  step4: number,
  gpu: Capabilities,
): number[] {
  const steps = Math.ceil(t.fours / step4)
  const most = Math.min(
    Math.floor((multiprocessors(gpu) * PER_MULTIPROCESSOR) / workgroups(t, tile)),
    Math.floor(steps / LEAST_STEPS),
    MOST_PARTS,
    Math.floor(gpu.maxBindingBytes / (4 * t.elements)),
  )
  // Of equal length, none of them empty.
  const parts = Math.ceil(steps / Math.ceil(steps / Math.max(1, most)))
  return parts > 1 ? [1, parts] : [1]
}

/** Kernels for GPUs, the one that should be fastest first; with `half` the operands are kept as f16. */
export const tileKernels = (t: TiledProduct, gpu: Target, half = false): Kernel[] =>
  plans(t, gpu, half).map((plan) => kernel(t, plan, half))

/** The kernel that runs on every adapter. */
export const safeTile = (t: TiledProduct): Kernel => kernel(t, { tile: SAFE, parts: 1 }, false, 0, 'tile')

/** The dispatches of the plan that should be fastest, as a part of a larger kernel whose buffers begin at `scratch`. */
export const bestTile = (t: TiledProduct, gpu: Target, scratch: number): Kernel =>
  kernel(t, { ...plans(t, gpu, false)[0], parts: 1 }, false, scratch)

const name = ({ tile, parts }: TilePlan, half: boolean): string =>
  `tile ${tile.rows}x${tile.columns}${parts > 1 ? ' split' : ''}${half ? ' f16' : ''}`

function kernel(
  t: TiledProduct,
  plan: TilePlan,
  half: boolean,
  firstScratch = 0,
  variant: string = name(plan, half),
): Kernel {
  const packed: BufferRef = `scratch${firstScratch}`
  const sums: BufferRef = `scratch${firstScratch + 1}`
  const split = plan.parts > 1
  let made: readonly Dispatch[] | undefined
  return {
    variant,
    precision: half ? 'f16' : 'f32',
    // Written when it is asked for: of the kernels that are offered few are used, and MTCNN's pyramid has new shapes with each photo.
    get dispatches() {
      made ??= [
        packLeft(t, plan.tile.rows, STEP4, half, packed),
        multiplyTiles(t, plan, half, packed, sums),
        ...(split ? [addParts(t, plan.parts, sums)] : []),
      ]
      return made
    },
    scratch: [packedTileElements(t, plan.tile.rows, STEP4, half), ...(split ? [plan.parts * t.elements] : [])],
  }
}

/** Elements (of four bytes) of the packed left matrices, for tiles of `tileRows` rows and `step4` * 4 steps at a time. */
export const packedTileElements = (t: TiledProduct, tileRows: number, step4: number, half: boolean): number =>
  (t.left.matrices * Math.ceil(t.rows / tileRows) * tileRows * Math.ceil(t.fours / step4) * step4 * 4) / (half ? 2 : 1)

/** packed[matrix][tile of rows][four][row in the tile], zeros where a row or a sum has ended. */
export function packLeft(t: TiledProduct, tileRows: number, step4: number, half: boolean, to: BufferRef): Dispatch {
  const panels = Math.ceil(t.rows / tileRows)
  const fours = Math.ceil(t.fours / step4) * step4
  const count = t.left.matrices * panels * fours * tileRows
  const code = `${QUOTIENT}${t.leftCode}
${linearEntry(`  if (i >= p.count) { return; }
  let q = i / ${tileRows}u % p.steps4;
  let panel = i / (${tileRows}u * p.steps4);
  let row = panel % p.panels * ${tileRows}u + i % ${tileRows}u;
  var value = vec4f();
  if (row < p.rows && q < p.fours) { value = leftFour(q, row, panel / p.panels); }
  packed[i] = ${half ? 'vec4h(value)' : 'value'};`)}`
  return {
    label: 'pack',
    enable: half ? ['f16'] : undefined,
    code,
    reads: t.left.reads,
    writes: [{ name: 'packed', buffer: to, type: half ? 'vec4h' : 'vec4f' }],
    params: usedParams(code, {
      ...t.params,
      count: u32(count),
      steps4: u32(fours),
      panels: u32(panels),
      rows: u32(t.rows),
      fours: u32(t.fours),
    }),
    workgroups: linearGrid(count),
  }
}

/** Columns of workgroups along x at most; further ones go along y. */
const ACROSS = 32768

/** What every kernel on packed tiles begins with, and its grid and parameters. */
export function tileFrame(t: TiledProduct, tile: Pick<Tile, 'rows' | 'columns'>, step4: number, parts: number) {
  const panels = Math.ceil(t.rows / tile.rows)
  const across = Math.ceil(t.columns / tile.columns)
  const steps = Math.ceil(t.fours / step4)
  const params: Record<string, Param> = {
    rows: u32(t.rows),
    columns: u32(t.columns),
    fours: u32(t.fours),
    panels: u32(panels),
    steps: u32(steps),
    parts: u32(parts),
    partSteps: u32(Math.ceil(steps / parts)),
    elements: u32(t.elements),
    rowTo: u32(t.rowTo),
    ...t.params,
  }
  // `own` is the column that the thread loads; its sums go over steps `begin` to `end`.
  const begin = `  let z = group.z / p.parts;
  let part = group.z % p.parts;
  let panel = group.y % p.panels;
  let firstRow = panel * ${tile.rows}u;
  let firstColumn = (group.x + group.y / p.panels * ${ACROSS}u) * ${tile.columns}u;
  if (firstColumn >= p.columns) { return; }
  let own = column(min(firstColumn + index % ${tile.columns}u, p.columns - 1u), z);
  let fours = ${t.foursOf ?? 'p.fours'};
  let begin = part * p.partSteps;
  let end = min(begin + p.partSteps, (fours + ${step4 - 1}u) / ${step4}u);
  var at = ((${t.left.ofSection ?? 'z'} * p.panels + panel) * p.steps + begin) * ${step4 * tile.rows}u + index;`
  const grid: [number, number, number] = [
    Math.min(across, ACROSS),
    panels * Math.ceil(across / ACROSS),
    t.sections * parts,
  ]
  return { params, begin, grid, head: `${NOWHERE}${QUOTIENT}${t.code}` }
}

/** The tile's dispatch: into the result, or with `parts` above 1 each part of the sums into its own copy of it. */
function multiplyTiles(
  t: TiledProduct,
  { tile, parts }: TilePlan,
  half: boolean,
  packed: BufferRef,
  partial: BufferRef,
): Dispatch {
  const [tr, tc] = tile.perThread
  const tx = tile.columns / tc
  const ty = tile.rows / tr
  const count = tx * ty
  const leftLoads = (tile.rows * STEP4) / count
  const rightLoads = (tile.columns * STEP4) / count
  const [leftSize, rightSize] = [STEP4 * tile.rows, STEP4 * tile.columns]
  const type = half ? 'vec4h' : 'vec4f'
  const split = parts > 1
  const frame = tileFrame(t, tile, STEP4, parts)
  const fetch = [
    ...range(leftLoads).map((s) => `l${s} = packed[at + ${s * count}u];`),
    `at += ${leftSize}u;`,
    ...range(rightLoads).map((s) => {
      const q = `step * ${STEP4}u + index / ${tile.columns}u + ${(s * count) / tile.columns}u`
      return `{ let q = ${q}; r${s} = ${type}(); if (q < fours) { r${s} = ${type}(four(q, own)); } }`
    }),
  ].join('\n    ')
  const put = (buffer: string): string =>
    [
      ...range(leftLoads).map((s) => `left[${buffer} * ${leftSize}u + index + ${s * count}u] = l${s};`),
      ...range(rightLoads).map((s) => `right[${buffer} * ${rightSize}u + index + ${s * count}u] = r${s};`),
    ].join('\n    ')
  const sums = range(tr).flatMap((r) => [
    `let a${r} = ${half ? 'vec4f' : ''}(left[leftAt + ${r * ty}u]);`,
    ...range(4).flatMap((e) =>
      range(tc).map((c) => `s${r}_${c} = fma(a${r}.${'xyzw'[e]}, b${c}.${'xyzw'[e]}, s${r}_${c});`),
    ),
  ])
  const value = (r: number, c: number): string => `s${r}_${c}${t.bias && !split ? ' + bias[channel]' : ''}`
  const write = (r: number, c: number): string =>
    split
      ? `sums[part * p.elements + to + row * p.rowTo] = ${value(r, c)};`
      : t.fusible
        ? `store(to + row * p.rowTo, channel, ${value(r, c)});`
        : `result[to + row * p.rowTo] = ${value(r, c)};`
  const channel = split || !(t.fusible || t.bias) ? '' : `let channel = ${t.channel}; `
  const code = `var<workgroup> left: array<${type}, ${2 * leftSize}>;
var<workgroup> right: array<${type}, ${2 * rightSize}>;
${frame.head}
@compute @workgroup_size(${count})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
${frame.begin}
  let tx = index % ${tx}u;
  let ty = index / ${tx}u;
  ${range(leftLoads)
    .map((s) => `var l${s}: ${type};`)
    .join(' ')}
  ${range(rightLoads)
    .map((s) => `var r${s}: ${type};`)
    .join(' ')}
  ${range(tr)
    .flatMap((r) => range(tc).map((c) => `var s${r}_${c} = 0.0;`))
    .join(' ')}
  var step = begin;
  var buffer = 0u;
  if (step < end) {
    ${fetch}
    ${put('0u')}
  }
  workgroupBarrier();
  while (step < end) {
    step++;
    if (step < end) {
    ${fetch}
    }
    for (var q = 0u; q < ${STEP4}u; q++) {
      let leftAt = buffer * ${leftSize}u + q * ${tile.rows}u + ty;
      let rightAt = buffer * ${rightSize}u + q * ${tile.columns}u + tx;
      ${range(tc)
        .map((c) => `let b${c} = ${half ? 'vec4f' : ''}(right[rightAt + ${c * tx}u]);`)
        .join(' ')}
      ${sums.join('\n      ')}
    }
    buffer = 1u - buffer;
    if (step < end) {
    ${put('buffer')}
    }
    workgroupBarrier();
  }
${range(tc)
  .map((c) => {
    const rows = range(tr).map(
      (r) => `{ let row = firstRow + ty + ${r * ty}u; if (alive && row < p.rows) { ${channel}${write(r, c)} } }`,
    )
    return `  {
    let j = firstColumn + tx + ${c * tx}u;
    let to = column(min(j, p.columns - 1u), z).to;
    let alive = j < p.columns && to != NOWHERE;
    ${rows.join('\n    ')}
  }`
  })
  .join('\n')}
}
`
  const reads: Binding[] = [{ name: 'packed', buffer: packed, type }, ...t.reads]
  return {
    label: t.label,
    enable: half ? ['f16'] : undefined,
    code,
    reads: split ? reads.filter((b) => b.name !== 'bias') : reads,
    writes: [split ? { name: 'sums', buffer: partial } : { name: 'result', buffer: t.result ?? 'output' }],
    params: usedParams(code, frame.params),
    workgroups: frame.grid,
    stores: t.fusible && !split ? 'f32' : undefined,
  }
}

/** result = bias + the parts' sums, added in the same order on every run. */
export function addParts(t: TiledProduct, parts: number, sums: BufferRef): Dispatch {
  const value = `total${t.bias ? ' + bias[channel]' : ''}`
  const code = linearEntry(`  if (i >= p.elements) { return; }
  var total = 0.0;
  for (var part = 0u; part < p.parts; part++) { total += sums[part * p.elements + i]; }
  ${t.fusible || t.bias ? 'let channel = i / p.plane % p.channels;' : ''}
  ${t.fusible ? `store(i, channel, ${value})` : `result[i] = ${value}`};`)
  const params = { elements: u32(t.elements), parts: u32(parts), plane: u32(t.plane), channels: u32(t.channels) }
  return {
    label: t.label,
    code,
    reads: [{ name: 'sums', buffer: sums }, ...t.reads.filter((b) => b.name === 'bias')],
    writes: [{ name: 'result', buffer: 'output' }],
    params: usedParams(code, params),
    workgroups: linearGrid(t.elements),
    stores: t.fusible ? 'f32' : undefined,
  }
}
