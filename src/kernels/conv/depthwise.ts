/**
 * Convolutions with one input channel a group: a thread has the window of pixels that a small tile of results needs, and the
 * taps, in registers, and computes the tile from them. Also for the transpose where channels map one to one.
 *
 * On adapters that are the processor itself, loads are what costs (bench/NOTES.md). There the lanes of a subgroup lie along
 * the rows of one channel; each loads vectors of its own columns and has those next to them from its neighbours' registers.
 */
import { type Binding, type Kernel, u32 } from '../op.ts'
import { linearEntry, linearGrid, range } from '../wgsl.ts'
import type { Geometry } from './geometry.ts'

/** One axis of a tile: which pixel and tap contribute to each of its results. */
interface Axis {
  /** Pixels that the window moves by from tile to tile. */
  step: number
  /** The window's first pixel, relative to `step` times the tile's number, and the one behind its last. */
  begin: number
  end: number
  /** [pixel in the window, tap] of every result. */
  taps: (readonly [number, number])[][]
}

function axis(g: Geometry, a: 0 | 1, tile: number, transposed: boolean): Axis | undefined {
  const [stride, dilation, padding] = [g.stride[a], g.dilation[a], g.padding[a]]
  const pairs = range(tile).map((i) =>
    range([g.kh, g.kw][a])
      .map((r): [number, number] => [
        transposed ? (i + padding - r * dilation) / stride : i * stride + r * dilation - padding,
        r,
      ])
      .filter(([at]) => at % 1 === 0),
  )
  const step = transposed ? tile / stride : tile * stride
  if (step % 1 > 0 || pairs.some((p) => p.length === 0)) return undefined
  const positions = pairs.flatMap((p) => p.map(([at]) => at))
  const begin = Math.min(...positions)
  return {
    step,
    begin,
    end: Math.max(...positions) + 1,
    taps: pairs.map((p) => p.map(([at, r]) => [at - begin, r])),
  }
}

/** Pixels and taps of one thread; more compile too slowly and would not stay in registers. */
const LARGEST_WINDOW = 72
/** The kernel whose threads have a tile of so many results each; undefined where they do not suit the geometry. */
function tiled(g: Geometry, bias: boolean, transposed: boolean, rows: number, columns: number): Kernel | undefined {
  const y = axis(g, 0, rows, transposed)
  const x = axis(g, 1, columns, transposed)
  if (!y || !x || Math.max((y.end - y.begin) * (x.end - x.begin), g.kh * g.kw) > LARGEST_WINDOW) return undefined
  const [h, w, oh, ow] = transposed ? [g.oh, g.ow, g.h, g.w] : [g.h, g.w, g.oh, g.ow]
  const across = Math.ceil(ow / columns)
  const down = Math.ceil(oh / rows)
  const count = g.n * g.k * across * down
  const lines = range(g.kh * g.kw).map((t) => `let w${t} = weights[k * ${g.kh * g.kw}u + ${t}u];`)
  for (const j of range(x.end - x.begin)) lines.push(`let c${j} = tx * ${x.step}u + ${(x.begin + j) >>> 0}u;`)
  for (const i of range(y.end - y.begin)) {
    lines.push(`let r${i} = ty * ${y.step}u + ${(y.begin + i) >>> 0}u;`)
    for (const j of range(x.end - x.begin)) lines.push(`let x${i}_${j} = ${pixel('f32', `r${i}`, `c${j}`)};`)
  }
  // Threads beyond the last store nothing: behind a return lavapipe compiles all code for longer.
  const code = linearEntry(`  let job = min(i, p.count - 1u);
  let tx = job % p.across;
  let ty = job / p.across % p.down;
  let channel = job / p.across / p.down;
  let k = channel % p.K;
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  let plane = channel / ${g.k / g.c}u * p.H * p.W;
  ${lines.join('\n  ')}
  // A loop, though sums are then read back from memory: code fused into the store would be compiled for every pixel otherwise.
  var sums = array<f32, ${rows * columns}>(${sumsOf(g, y, x).flat()});
  let end = select(0u, min(${rows}u, p.OH - ty * ${rows}u), i < p.count);
  for (var a = 0u; a < end; a++) {
    let to = (channel * p.OH + ty * ${rows}u + a) * p.OW + tx * ${columns}u;
    for (var b = 0u; b < min(${columns}u, p.OW - tx * ${columns}u); b++) {
      store(to + b, k, sums[a * ${columns}u + b]${bias ? ' + bias[k]' : ''});
    }
  }`)
  const params = { count, across, down, K: g.k, H: h, W: w, OH: oh, OW: ow }
  return kernel({ bias, transposed, code, params, count, source: 'f32', stores: 'f32' })
}

/** The kernel for images that have one result a channel: a loop over its taps, which compiles in a tenth of the time of 49 unrolled. */
function single(g: Geometry, bias: boolean): Kernel {
  const count = g.n * g.k
  const code = linearEntry(`  let channel = min(i, p.count - 1u);
  let k = channel % p.K;
  let plane = channel / ${g.k / g.c}u * p.H * p.W;
  var sum = 0.0;
  for (var r = 0u; r < p.KH; r++) {
    for (var s = 0u; s < p.KW; s++) {
      // Unsigned: what is above or left of the image wraps around to beyond its end.
      let row = r * p.DH - p.PT;
      let column = s * p.DW - p.PL;
      let x = ${pixel('f32', 'row', 'column')};
      sum += x * weights[(k * p.KH + r) * p.KW + s];
    }
  }
  if (i < p.count) { store(channel, k, sum${bias ? ' + bias[k]' : ''}); }`)
  const { kh: KH, kw: KW } = g
  const [DH, DW, PT, PL] = [...g.dilation, ...g.padding]
  const params = { count, K: g.k, H: g.h, W: g.w, KH, KW, DH, DW, PT, PL }
  return kernel({ bias, transposed: false, code, params, count, source: 'f32', stores: 'f32' })
}

/** The kernel for the transpose of that: a result has one tap at most. A thread makes a row of a channel, so divisions are few. */
function spread(g: Geometry, bias: boolean): Kernel {
  const [DH, DW, PT, PL] = [...g.dilation, ...g.padding]
  const count = g.n * g.c * g.h
  const code = linearEntry(`  let job = min(i, p.count - 1u);
  let channel = job / p.H;
  let k = channel % p.K;
  let x = source[channel];
  let y = job % p.H + ${PT}u;
  let r = y / ${DH}u;
  let down = y % ${DH}u == 0u && r < p.KH;
  let taps = (k * p.KH + min(r, p.KH - 1u)) * p.KW;
  ${bias ? 'let shift = bias[k];' : ''}
  for (var column = 0u; column < select(0u, p.W, i < p.count); column++) {
    let s = (column + ${PL}u) / ${DW}u;
    let reached = down && (column + ${PL}u) % ${DW}u == 0u && s < p.KW;
    store(job * p.W + column, k, select(0.0, x * weights[taps + min(s, p.KW - 1u)], reached)${bias ? ' + shift' : ''});
  }`)
  const params = { count, K: g.k, H: g.h, W: g.w, KH: g.kh, KW: g.kw }
  return kernel({ bias, transposed: true, code, params, count, source: 'f32', stores: 'f32' })
}

/** WGSL of the source's elements at a row and column of `plane`, zeros outside the image. */
function pixel(type: string, row: string, column: string): string {
  const inside = `(${row} < p.H) & (${column} < p.W)`
  return `select(${type}(), source[select(0u, plane + ${row} * p.W + ${column}, ${inside})], ${inside})`
}

/** WGSL of the results of a tile, row by row, from pixels `x{row}_{column}` of the window and taps `w{tap}`. */
const sumsOf = (g: Geometry, y: Axis, x: Axis): string[][] =>
  y.taps.map((down) =>
    x.taps.map((across) =>
      down.flatMap(([i, r]) => across.map(([j, s]) => `x${i}_${j} * w${r * g.kw + s}`)).join(' + '),
    ),
  )

interface Written {
  bias: boolean
  transposed: boolean
  code: string
  params: Record<string, number>
  /** Threads. */
  count: number
  source: 'f32' | 'vec4f'
  stores: 'f32' | 'vec4f'
  subgroups?: boolean
}

function kernel({ bias, transposed, code, params, count, source, stores, subgroups }: Written): Kernel {
  const reads: Binding[] = [
    { name: 'source', buffer: 0, type: source },
    { name: 'weights', buffer: 1 },
  ]
  if (bias) reads.push({ name: 'bias', buffer: 2 })
  return {
    variant: 'depthwise',
    dispatches: [
      {
        label: transposed ? 'conv_transpose2d' : 'conv2d',
        enable: subgroups ? ['subgroups'] : [],
        code,
        reads,
        writes: [{ name: 'result', buffer: 'output', type: stores }],
        params: Object.fromEntries(Object.entries(params).map(([name, value]) => [name, u32(value)])),
        workgroups: linearGrid(count),
        stores,
      },
    ],
  }
}

/** Subgroups from which on two cores and more are busy; fewer share the rows of a channel between them. */
const LEAST_JOBS = 256

/**
 * The kernel whose subgroups go down the rows of a channel, `columns` results a lane in every row, and keep the rows that the next
 * results need as well: each row is loaded once, and the code of one row serves images of all heights. (Rows unrolled took driver
 * and processor one to two seconds for each height.) Undefined where that does not suit the geometry.
 */
function rolling(g: Geometry, bias: boolean, transposed: boolean, lanes: number, columns: number): Kernel | undefined {
  const rows = transposed ? g.stride[0] : 1
  const y = axis(g, 0, rows, transposed)
  const x = axis(g, 1, columns, transposed)
  const [h, w, oh, ow] = transposed ? [g.oh, g.ow, g.h, g.w] : [g.h, g.w, g.oh, g.ow]
  if (!y || !x || ow % columns) return undefined
  // Lanes that only load for their neighbours, except at the ends of a row.
  const left = Math.max(0, -Math.floor(x.begin / x.step))
  const right = Math.max(0, Math.ceil(x.end / x.step) - 1)
  const inner = lanes - left - right
  const across = Math.max(ow / columns, Math.ceil(w / x.step))
  const window = y.end - y.begin
  const taps = g.kh * g.kw
  if ((across > lanes && inner < 1) || Math.max(window * x.step, taps) > LARGEST_WINDOW) return undefined
  const sections = across > lanes ? Math.ceil((across - left - right) / inner) : 1
  const steps = Math.ceil(oh / rows)
  const bands = Math.min(steps, Math.ceil(LEAST_JOBS / (g.n * g.k * sections)))
  const down = Math.ceil(steps / bands)
  const vector = (w | x.step) % 4 === 0 ? 4 : 1
  const source = vector > 1 ? 'vec4f' : 'f32'
  const wide = columns === 4
  const units = wide ? 1 : columns
  const stores = wide ? 'vec4f' : 'f32'
  const chunks = x.step / vector
  const count = g.n * g.k * sections * bands
  const kept = range(Math.max(0, window - y.step))
  const width = range(x.end - x.begin)
  const weights = range(taps).flatMap((t) => [
    ...(t % lanes ? [] : [`let q${t} = weights[k * ${taps}u + min(at + ${t}u, ${taps - 1}u)];`]),
    `let w${t} = subgroupBroadcast(q${t - (t % lanes)}, ${t % lanes}u);`,
  ])
  /** A lane loads vectors of its own step, and has what its neighbours loaded from their registers. */
  const row = (i: number, declared: 'let' | 'var'): string[] => [
    `let r${i} = ty * ${y.step}u + ${(y.begin + i) >>> 0}u;`,
    ...range(chunks).map((j) => `let v${i}_${j} = ${pixel(source, `r${i}`, `c${j}`)};`),
    ...width.map((j) => {
      const at = x.begin + j
      const lane = Math.floor(at / x.step)
      const e = at - lane * x.step
      const own = `v${i}_${Math.floor(e / vector)}${vector > 1 ? `.${'xyzw'[e % vector]}` : ''}`
      const other = `at + ${lane >>> 0}u`
      // Beyond the first and the last lane is the border of the image, or nothing that a result needs.
      const theirs = `select(0.0, subgroupShuffle(${own}, (${other}) % ${lanes}u), ${other} < ${lanes}u)`
      return `${declared} x${i}_${j} = ${lane === 0 ? own : theirs};`
    }),
  ]
  const results = sumsOf(g, y, x).flatMap((values) => (wide ? [`vec4f(${values})`] : values))
  const value = (result: string) => (bias ? `${result} + ${stores}(shift)` : result)
  const write =
    results.length === 1
      ? `if (writes && ty < p.OH) { store((channel * p.OH + ty) * p.OW + tile, k, ${value(results[0])}); }`
      : `var sums = array<${stores}, ${results.length}>(${results});
    for (var a = 0u; a < ${results.length}u; a++) {
      let line = ty * ${rows}u + a / ${units}u;
      if (writes && line < p.OH) { store((channel * p.OH + line) * p.OW + tile * ${units}u + a % ${units}u, k, ${value('sums[a]')}); }
    }`
  const code = linearEntry(`  let at = lane % ${lanes}u;
  let job = min(i / ${lanes}u, p.count - 1u);
  let section = job % p.sections;
  let channel = job / p.sections / p.bands;
  let k = channel % p.K;
  let tile = section * p.inner + at;
  let writes = i / ${lanes}u < p.count && tile * ${units}u < p.OW && (at >= ${left}u || section == 0u)
    && (at < ${(lanes - right) >>> 0}u || section == p.sections - 1u);
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  let plane = channel / ${g.k / g.c}u * p.H * p.W;
  ${weights.join('\n  ')}
  ${bias ? 'let shift = bias[k];' : ''}
  ${range(chunks)
    .map((j) => `let c${j} = tile * ${chunks}u + ${j}u;`)
    .join('\n  ')}
  var ty = job / p.sections % p.bands * p.down;
  ${kept.flatMap((i) => row(i, 'var')).join('\n  ')}
  for (var step = 0u; step < p.down; step++) {
    ${range(window)
      .slice(kept.length)
      .flatMap((i) => row(i, 'let'))
      .join('\n    ')}
    ${write}
    ${kept.flatMap((i) => width.map((j) => `x${i}_${j} = x${i + y.step}_${j};`)).join(' ')}
    ty++;
  }`)
  const params = {
    count,
    sections,
    bands,
    down,
    inner: Math.max(0, inner),
    K: g.k,
    H: h,
    W: w / vector,
    OH: oh,
    OW: wide ? ow / 4 : ow,
  }
  return kernel({ bias, transposed, code, params, count: count * lanes, source, stores, subgroups: true })
}

/**
 * The kernel of conv2d, or of its transpose, on one input channel a group; undefined where its window would be too large.
 * @param lanes from `productLanes`: those of a subgroup where they are to share their loads, else 0.
 */
export function depthwise(g: Geometry, bias: boolean, transposed: boolean, lanes: number): Kernel | undefined {
  if (transposed && g.k !== g.c) return undefined
  if (g.oh * g.ow === 1) return transposed ? spread(g, bias) : single(g, bias)
  for (const columns of lanes > 0 ? [4, 2, 1] : []) {
    const found = rolling(g, bias, transposed, lanes, columns)
    if (found) return found
  }
  const [oh, ow] = transposed ? [g.h, g.w] : [g.oh, g.ow]
  // No tile is larger than the image: what lies outside is computed as well.
  const fitting = (extent: number): number[] => [4, 2, 1].filter((size) => size < 2 * extent)
  for (const columns of fitting(ow)) {
    for (const rows of fitting(oh)) {
      const found = tiled(g, bias, transposed, rows, columns)
      if (found) return found
    }
  }
  return undefined
}
