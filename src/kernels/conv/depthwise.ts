/**
 * Convolutions with one input channel a group: a thread has the window of pixels that a small tile of results needs, and the
 * taps, in registers, and computes the tile from them. Also for the transpose where channels map one to one.
 *
 * On adapters that are the processor itself, loads are what costs (bench/NOTES.md). There the lanes of a subgroup lie along
 * the rows of one channel; each loads vectors of its own columns and has those next to them from its neighbours' registers.
 */
import { type Binding, type Kernel, u32 } from '../op.ts'
import { linearEntry, linearGrid } from '../wgsl.ts'
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

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

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
/** The kernel whose threads have so many results each; undefined where they do not suit the geometry. */
function tiled(
  g: Geometry,
  bias: boolean,
  transposed: boolean,
  lanes: number,
  rows: number,
  columns: number,
): Kernel | undefined {
  const y = axis(g, 0, rows, transposed)
  const x = axis(g, 1, columns, transposed)
  const [h, w, oh, ow] = transposed ? [g.oh, g.ow, g.h, g.w] : [g.h, g.w, g.oh, g.ow]
  // Lanes that share a row store whole vectors where they can, and do not load rows for results that are not there.
  if (!y || !x || (lanes && (ow % columns || rows > oh))) return undefined
  const loaded = (y.end - y.begin) * (lanes > 0 ? x.step : x.end - x.begin)
  // Lanes that only load for their neighbours, except at the ends of a row.
  const left = lanes && Math.max(0, -Math.floor(x.begin / x.step))
  const right = lanes && Math.max(0, Math.ceil(x.end / x.step) - 1)
  const sharing = Math.max(1, lanes)
  const inner = sharing - left - right
  const tiles = Math.ceil(ow / columns)
  const across = Math.max(tiles, lanes && Math.ceil(w / x.step))
  if ((across > lanes && inner < 1) || Math.max(loaded, g.kh * g.kw) > LARGEST_WINDOW) return undefined
  const sections = across > lanes ? Math.ceil((across - left - right) / inner) : 1
  const down = Math.ceil(oh / rows)
  const vector = lanes > 0 && (w | x.step) % 4 === 0 ? 4 : 1
  const wide = lanes > 0 && columns === 4
  const units = wide ? 1 : columns
  const stores = wide ? 'vec4f' : 'f32'
  const count = g.n * g.k * sections * down
  const type = vector > 1 ? 'vec4f' : 'f32'
  const chunks = x.step / vector
  const taps = g.kh * g.kw
  const lines: string[] = []
  for (const t of range(taps)) {
    const load = lanes > 0 ? `min(at + ${t}u, ${taps - 1}u)` : `${t}u`
    if (t % sharing === 0) lines.push(`let q${t} = weights[k * ${taps}u + ${load}];`)
    lines.push(`let w${t} = ${lanes > 0 ? `subgroupBroadcast(q${t - (t % lanes)}, ${t % lanes}u)` : `q${t}`};`)
  }
  // What a thread loads of a row: whole vectors of its own step, or all of its window.
  const loads = range(lanes > 0 ? chunks : x.end - x.begin)
  for (const j of loads) lines.push(`let c${j} = tile * ${chunks}u + ${(lanes > 0 ? j : x.begin + j) >>> 0}u;`)
  for (const i of range(y.end - y.begin)) {
    lines.push(`let r${i} = ty * ${y.step}u + ${(y.begin + i) >>> 0}u;`)
    for (const j of loads) {
      const inside = `(r${i} < p.H) & (c${j} < p.W)`
      const value = `select(${type}(), source[select(0u, plane + r${i} * p.W + c${j}, ${inside})], ${inside})`
      lines.push(`let ${lanes > 0 ? 'v' : 'x'}${i}_${j} = ${value};`)
    }
    for (const j of range(lanes && x.end - x.begin)) {
      const at = x.begin + j
      const lane = Math.floor(at / x.step)
      const e = at - lane * x.step
      const own = `v${i}_${Math.floor(e / vector)}${vector > 1 ? `.${'xyzw'[e % vector]}` : ''}`
      const other = `at + ${lane >>> 0}u`
      // Beyond the first and the last lane is the border of the image, or nothing that a result needs.
      const theirs = `select(0.0, subgroupShuffle(${own}, (${other}) % ${lanes}u), ${other} < ${lanes}u)`
      lines.push(`let x${i}_${j} = ${lane === 0 ? own : theirs};`)
    }
  }
  const sums = y.taps.map((down) => {
    const values = x.taps.map((across) =>
      down.flatMap(([i, r]) => across.map(([j, s]) => `x${i}_${j} * w${r * g.kw + s}`)).join(' + '),
    )
    return wide ? `vec4f(${values})` : values.join()
  })
  const code = linearEntry(`  let at = lane % ${sharing}u;
  let job = min(i / ${sharing}u, p.count - 1u);
  let section = job % p.sections;
  let ty = job / p.sections % p.down;
  let channel = job / p.sections / p.down;
  let k = channel % p.K;
  let tile = section * ${inner >>> 0}u + at;
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  let plane = channel / ${g.k / g.c}u * p.H * p.W;
  ${lines.join('\n  ')}
  // A loop, though sums are then read back from memory: code fused into the store would be compiled for every pixel otherwise.
  var sums = array<${stores}, ${rows * units}>(${sums});
  if (i / ${sharing}u >= p.count || tile * ${units}u >= p.OW || (at < ${left}u && section > 0u)
    || (at >= ${(sharing - right) >>> 0}u && section < p.sections - 1u)) { return; }
  for (var a = 0u; a < min(${rows}u, p.OH - ty * ${rows}u); a++) {
    let to = (channel * p.OH + ty * ${rows}u + a) * p.OW + tile * ${units}u;
    for (var b = 0u; b < min(${units}u, p.OW - tile * ${units}u); b++) {
      store(to + b, k, sums[a * ${units}u + b]${bias ? ' + bias[k]' : ''});
    }
  }`)
  const reads: Binding[] = [
    { name: 'source', buffer: 0, type },
    { name: 'weights', buffer: 1 },
  ]
  if (bias) reads.push({ name: 'bias', buffer: 2 })
  return {
    variant: 'depthwise',
    dispatches: [
      {
        label: transposed ? 'conv_transpose2d' : 'conv2d',
        enable: lanes > 0 ? ['subgroups'] : [],
        code,
        reads,
        writes: [{ name: 'result', buffer: 'output', type: stores }],
        params: {
          count: u32(count),
          sections: u32(sections),
          down: u32(down),
          K: u32(g.k),
          H: u32(h),
          W: u32(w / vector),
          OH: u32(oh),
          OW: u32(wide ? ow / 4 : ow),
        },
        workgroups: linearGrid(count * sharing),
        stores,
      },
    ],
  }
}

/**
 * The kernel of conv2d, or of its transpose, on one input channel a group; undefined where its window would be too large.
 * @param lanes from `productLanes`: those of a subgroup where they are to share their loads, else 0.
 */
export function depthwise(g: Geometry, bias: boolean, transposed: boolean, lanes: number): Kernel | undefined {
  if (transposed && g.k !== g.c) return undefined
  for (const columns of [4, 2, 1]) {
    for (const rows of lanes > 0 ? [14, 7, 4, 2, 1] : [4, 2]) {
      const kernel = tiled(g, bias, transposed, lanes, rows, columns)
      if (kernel) return kernel
    }
  }
  return undefined
}
