/**
 * Convolutions with one input channel a group: a thread loads the window of pixels that a small tile of results needs
 * once, and its taps, and computes the tile from registers. Also for the transpose where channels map one to one.
 */
import { type Binding, type Kernel, u32 } from '../op.ts'
import { linearEntry, linearGrid } from '../wgsl.ts'
import type { Geometry } from './geometry.ts'

/** One axis of a tile: which window position and tap contribute to result `a` of the tile. */
interface Axis {
  tile: number
  /** The window's first position, relative to that of the tile, and its length. */
  begin: number
  length: number
  /** Positions that the window moves by from tile to tile. */
  step: number
  /** [position in the window, tap] of every result. */
  taps: (readonly [number, number])[][]
}

function axis(tile: number, taps: number, stride: number, dilation: number, transposed: boolean): Axis {
  const pairs = Array.from({ length: tile }, (_, a) =>
    Array.from({ length: taps }, (_, r): [number, number] => [
      transposed ? (a - r) / stride : a * stride + r * dilation,
      r,
    ]).filter(([at]) => Number.isInteger(at)),
  )
  const positions = pairs.flatMap((p) => p.map(([at]) => at))
  const begin = Math.min(...positions)
  return {
    tile,
    begin,
    length: Math.max(...positions) - begin + 1,
    step: transposed ? tile / stride : tile * stride,
    taps: pairs.map((p) => p.map(([at, r]) => [at - begin, r])),
  }
}

/** Loads of one thread; more compile too slowly and would not stay in registers. */
const LARGEST_WINDOW = 64

function axes(g: Geometry, transposed: boolean): [Axis, Axis] | undefined {
  if (transposed && (g.dilation[0] > 1 || g.dilation[1] > 1)) return undefined
  for (const [rows, columns] of [
    [4, 4],
    [2, 4],
    [2, 2],
  ]) {
    if (transposed && (rows % g.stride[0] !== 0 || columns % g.stride[1] !== 0)) continue
    const y = axis(rows, g.kh, g.stride[0], g.dilation[0], transposed)
    const x = axis(columns, g.kw, g.stride[1], g.dilation[1], transposed)
    const everyTile = [...y.taps, ...x.taps].every((t) => t.length > 0)
    if (everyTile && y.length * x.length <= LARGEST_WINDOW && g.kh * g.kw <= LARGEST_WINDOW) return [y, x]
  }
  return undefined
}

/** The kernel of conv2d, or of its transpose, on one input channel a group; undefined where its window would be too large. */
export function depthwise(g: Geometry, bias: boolean, transposed: boolean): Kernel | undefined {
  if (g.c !== g.groups || (transposed && g.k !== g.c)) return undefined
  const found = axes(g, transposed)
  if (!found) return undefined
  const [y, x] = found
  const [inH, inW, outH, outW] = transposed ? [g.oh, g.ow, g.h, g.w] : [g.h, g.w, g.oh, g.ow]
  // Tiles of the transpose begin at the padding, where the phase of the stride is known.
  const [shiftY, shiftX] = transposed ? [g.padding[0], g.padding[1]] : [0, 0]
  const [padY, padX] = transposed ? [0, 0] : [g.padding[0], g.padding[1]]
  const tilesY = Math.ceil((outH + shiftY) / y.tile)
  const tilesX = Math.ceil((outW + shiftX) / x.tile)
  const count = g.n * g.k * tilesY * tilesX
  const lines: string[] = []
  for (let r = 0; r < g.kh; r++) {
    for (let s = 0; s < g.kw; s++) lines.push(`let w${r}_${s} = weights[first + ${r * g.kw + s}u];`)
  }
  for (let j = 0; j < x.length; j++) lines.push(`let c${j} = left + ${j}u; let inX${j} = c${j} < p.W;`)
  for (let i = 0; i < y.length; i++) {
    lines.push(`let r${i} = top + ${i}u; let inY${i} = r${i} < p.H; let line${i} = plane + r${i} * p.W;`)
    for (let j = 0; j < x.length; j++) {
      lines.push(
        `let x${i}_${j} = select(0.0, source[select(0u, line${i} + c${j}, inY${i} && inX${j})], inY${i} && inX${j});`,
      )
    }
  }
  const sums = y.taps.flatMap((rows) =>
    x.taps.map((columns) => rows.flatMap(([i, r]) => columns.map(([j, s]) => `x${i}_${j} * w${r}_${s}`)).join(' + ')),
  )
  const code = linearEntry(`  if (i >= p.count) { return; }
  let tx = i % p.tilesX;
  let ty = i / p.tilesX % p.tilesY;
  let channel = i / (p.tilesX * p.tilesY);
  let k = channel % p.K;
  let first = k * ${g.kh * g.kw}u;
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  let plane = channel / ${g.k / g.c}u * p.H * p.W;
  let top = ty * ${y.step}u - p.top;
  let left = tx * ${x.step}u - p.left;
  let toY = ty * ${y.tile}u - p.shiftY;
  let toX = tx * ${x.tile}u - p.shiftX;
  ${lines.join('\n  ')}
  // A loop, though sums are then read back from memory: code fused into the store would be compiled for every pixel otherwise.
  var sums = array<f32, ${sums.length}>(
    ${sums.join(',\n    ')});
  let endY = min(${y.tile}u, p.OH - toY);
  let endX = min(${x.tile}u, p.OW - toX);
  for (var a = 0u; a < endY; a++) {
    for (var b = 0u; b < endX; b++) {
      let oy = toY + a;
      let ox = toX + b;
      if (oy < p.OH && ox < p.OW) {
        store((channel * p.OH + oy) * p.OW + ox, k, sums[a * ${x.tile}u + b]${bias ? ' + bias[k]' : ''});
      }
    }
  }`)
  const reads: Binding[] = [
    { name: 'source', buffer: 0 },
    { name: 'weights', buffer: 1 },
  ]
  if (bias) reads.push({ name: 'bias', buffer: 2 })
  return {
    variant: 'depthwise',
    dispatches: [
      {
        label: transposed ? 'conv_transpose2d' : 'conv2d',
        code,
        reads,
        writes: [{ name: 'result', buffer: 'output' }],
        params: {
          count: u32(count),
          tilesX: u32(tilesX),
          tilesY: u32(tilesY),
          K: u32(g.k),
          H: u32(inH),
          W: u32(inW),
          OH: u32(outH),
          OW: u32(outW),
          top: u32(padY - y.begin),
          left: u32(padX - x.begin),
          shiftY: u32(shiftY),
          shiftX: u32(shiftX),
        },
        workgroups: linearGrid(count),
        stores: 'f32',
      },
    ],
  }
}
