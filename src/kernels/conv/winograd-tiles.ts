/**
 * 3x3 convolutions of stride 1 by Winograd's minimal filtering on real GPUs: the products between the transforms are tiles,
 * whose columns are the tiles of pixels. See winograd.ts, which does the same on processors.
 */

import { bestTile } from '../gemm/tile.ts'
import { type Binding, type Dispatch, type Kernel, type Param, type Target, u32 } from '../op.ts'
import { linearEntry, linearGrid, range, usedParams } from '../wgsl.ts'
import type { Geometry } from './geometry.ts'
import { FOUR, sandwich, type Transforms, TWO } from './winograd-transforms.ts'

/** Channels of a group from which on it is worth a trial: below, the transforms' traffic outweighs the saved arithmetic. */
const LEAST_CHANNELS = 32

/** Tiles of pixels from which on the products fill tiles of the result. */
const MANY_TILES = 64

/**
 * Kernels with tiles of 4x4 and of 2x2 pixels: those likely to be faster than plain products, and the others. None where the
 * algorithm does not apply or its buffers do not fit.
 */
export function winogradTiles(
  g: Geometry,
  bias: boolean,
  transposed: boolean,
  gpu: Target,
): { faster: Kernel[]; others: Kernel[] } {
  const [h, w] = transposed ? [g.h, g.w] : [g.oh, g.ow]
  const of = (many: boolean) =>
    [FOUR, TWO].flatMap((transforms) => {
      const tiles = g.n * Math.ceil(h / transforms.out) * Math.ceil(w / transforms.out)
      return tiles >= MANY_TILES === many ? (winogradTile(g, bias, transposed, transforms, gpu) ?? []) : []
    })
  return { faster: of(true), others: of(false) }
}

/** WGSL: four channels of a sum from 4q on, clamped, and which of them there are. */
const CHANNELS = `
  let c = vec4u(0u, 1u, 2u, 3u) + q * 4u;
  let there = c < vec4u(p.C);
  let channel = min(c, vec4u(p.C - 1u));`

function winogradTile(
  g: Geometry,
  bias: boolean,
  transposed: boolean,
  transforms: Transforms,
  gpu: Target,
): Kernel | undefined {
  const { groups } = g
  const plain = [...g.stride, ...g.dilation].every((e) => e === 1) && g.kh === 3 && g.kw === 3
  if (!plain || Math.min(g.c, g.k) < LEAST_CHANNELS * groups) return undefined
  // The transpose is a convolution as well, with flipped weights.
  const [c, k] = transposed ? [g.k / groups, g.c / groups] : [g.c / groups, g.k / groups]
  const [h, w, oh, ow] = transposed ? [g.oh, g.ow, g.h, g.w] : [g.h, g.w, g.oh, g.ow]
  const [top, left] = g.padding.slice(0, 2).map((padding) => (transposed ? 2 - padding : padding))
  const { out } = transforms
  const positions = (out + 2) ** 2
  const [tilesY, tilesX] = [Math.ceil(oh / out), Math.ceil(ow / out)]
  const tiles = g.n * tilesY * tilesX
  const weights = groups * c * k
  const values = groups * c * tiles
  const products = groups * k * tiles
  const scratch = [weights, values, products].map((n) => positions * n)
  if (4 * Math.max(...scratch) > gpu.maxBindingBytes) return undefined
  const params: Record<string, Param> = {
    weights: u32(weights),
    values: u32(values),
    products: u32(products),
    positions: u32(positions),
    groups: u32(groups),
    C: u32(c),
    K: u32(k),
    H: u32(h),
    W: u32(w),
    OH: u32(oh),
    OW: u32(ow),
    // Unsigned, of the border above and to the left.
    top: u32(top),
    left: u32(left),
    tiles: u32(tiles),
    tilesX: u32(tilesX),
    tilesY: u32(tilesY),
  }
  const label = transposed ? 'conv_transpose2d' : 'conv2d'
  const multiply = bestTile(
    {
      label,
      rows: k,
      columns: tiles,
      fours: Math.ceil(c / 4),
      sections: positions * groups,
      left: { reads: [{ name: 'weights', buffer: 'scratch0' }], matrices: positions * groups },
      reads: [{ name: 'values', buffer: 'scratch1' }],
      params: { C: u32(c), K: u32(k), tiles: u32(tiles) },
      result: 'scratch2',
      leftCode: `fn leftFour(q: u32, row: u32, matrix: u32) -> vec4f {${CHANNELS}
  let at = (channel + matrix * p.C) * p.K + row;
  return select(vec4f(), vec4f(weights[at.x], weights[at.y], weights[at.z], weights[at.w]), there);
}`,
      code: `struct Column { to: u32, at: u32 }
fn column(j: u32, z: u32) -> Column { return Column(z * p.rows * p.tiles + j, z * p.C * p.tiles + j); }
fn four(q: u32, own: Column) -> vec4f {${CHANNELS}
  let at = channel * p.tiles + own.at;
  return select(vec4f(), vec4f(values[at.x], values[at.y], values[at.z], values[at.w]), there);
}`,
      rowTo: tiles,
      elements: scratch[2],
      plane: tiles,
      channels: k,
      channel: 'row',
      bias: false,
      fusible: false,
    },
    gpu,
    scratch.length,
  )
  return {
    variant: `winograd ${out}x${out}`,
    dispatches: [
      transformWeights(transforms, params, weights, transposed),
      transformInput(transforms, params, values),
      ...multiply.dispatches,
      transformOutput(transforms, params, products, label, bias),
    ],
    scratch: [...scratch, ...(multiply.scratch ?? [])],
  }
}

/** WGSL: writes one element of every position. */
const spread = (
  elements: readonly string[],
  to: string,
  step: string,
): string => `var elements = array<f32, ${elements.length}>(
    ${elements.join(',\n    ')});
  var at = i;
  for (var position = 0u; position < p.positions; position++) {
    ${to}[at] = elements[position];
    at += ${step};
  }`

/** weights[position][group][c][k] = G w G^T. */
function transformWeights(
  { weights }: Transforms,
  params: Record<string, Param>,
  count: number,
  transposed: boolean,
): Dispatch {
  const { lines, elements } = sandwich(weights, 't')
  const code = linearEntry(`  if (i >= p.weights) { return; }
  let k = i % p.K;
  let c = i / p.K % p.C;
  let g = i / (p.K * p.C);
  let first = (${transposed ? '(g * p.C + c) * p.K + k' : '(g * p.K + k) * p.C + c'}) * 9u;
  ${range(9)
    .map((tap) => `let x${tap} = source[first + ${transposed ? 8 - tap : tap}u];`)
    .join('\n  ')}
  ${lines.join('\n  ')}
  ${spread(elements, 'weights', 'p.weights')}`)
  return {
    label: 'winograd.weights',
    code,
    reads: [{ name: 'source', buffer: 1 }],
    writes: [{ name: 'weights', buffer: 'scratch0' }],
    params: usedParams(code, params),
    workgroups: linearGrid(count),
  }
}

/** values[position][group][c][tile] = B^T d B, of the pixels d around each tile. */
function transformInput({ out, input }: Transforms, params: Record<string, Param>, count: number): Dispatch {
  const { lines, elements } = sandwich(input, 't')
  const size = out + 2
  const loads = range(size).flatMap((i) => [
    `let r${i} = top + ${i}u; let inside${i} = r${i} < p.H; let line${i} = plane + r${i} * p.W;`,
    ...range(size).map((j) => {
      const inside = `inside${i} && insideX${j}`
      return `let x${i * size + j} = select(0.0, source[select(0u, line${i} + c${j}, ${inside})], ${inside});`
    }),
  ])
  const code = linearEntry(`  if (i >= p.values) { return; }
  let tile = i % p.tiles;
  let channel = i / p.tiles;
  let row = tile / p.tilesX;
  let image = row / p.tilesY;
  let plane = (image * p.C * p.groups + channel) * p.H * p.W;
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  let top = (row - image * p.tilesY) * ${out}u - p.top;
  let left = (tile - row * p.tilesX) * ${out}u - p.left;
  ${range(size)
    .map((j) => `let c${j} = left + ${j}u; let insideX${j} = c${j} < p.W;`)
    .join('\n  ')}
  ${loads.join('\n  ')}
  ${lines.join('\n  ')}
  ${spread(elements, 'values', 'p.values')}`)
  return {
    label: 'winograd.input',
    code,
    reads: [{ name: 'source', buffer: 0 }],
    writes: [{ name: 'values', buffer: 'scratch1' }],
    params: usedParams(code, params),
    workgroups: linearGrid(count),
  }
}

/** result[n,k,tile of pixels] = A^T m A of the products m[position][group][k][tile]. */
function transformOutput(
  { out, output }: Transforms,
  params: Record<string, Param>,
  count: number,
  label: string,
  bias: boolean,
): Dispatch {
  const { lines, elements } = sandwich(output, 't')
  const code = linearEntry(`  if (i >= p.products) { return; }
  let tile = i % p.tiles;
  let channel = i / p.tiles;
  let row = tile / p.tilesX;
  let image = row / p.tilesY;
  let toY = (row - image * p.tilesY) * ${out}u;
  let toX = (tile - row * p.tilesX) * ${out}u;
  let plane = (image * p.K * p.groups + channel) * p.OH * p.OW;
  ${range((out + 2) ** 2)
    .map((position) => `let x${position} = products[i + ${position}u * p.products];`)
    .join('\n  ')}
  ${lines.join('\n  ')}
  var pixels = array<f32, ${out * out}>(
    ${elements.join(',\n    ')});
  let endY = min(${out}u, p.OH - toY);
  let endX = min(${out}u, p.OW - toX);
  for (var a = 0u; a < endY; a++) {
    for (var b = 0u; b < endX; b++) {
      store(plane + (toY + a) * p.OW + toX + b, channel, pixels[a * ${out}u + b]${bias ? ' + bias[channel]' : ''});
    }
  }`)
  const reads: Binding[] = [{ name: 'products', buffer: 'scratch2' }]
  if (bias) reads.push({ name: 'bias', buffer: 2 })
  return {
    label,
    code,
    reads,
    writes: [{ name: 'result', buffer: 'output' }],
    params: usedParams(code, params),
    workgroups: linearGrid(count),
    stores: 'f32',
  }
}
