/**
 * 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, Fast Algorithms for Convolutional
 * Neural Networks, CVPR 2016): 6x6 input pixels give 4x4 output pixels with 36 multiplications a channel instead of 144. The
 * transformed weights are constants; the products between the transforms are 36 independent matrix products.
 */

import { product } from '../gemm/product.ts'
import { type Binding, type BufferRef, type Dispatch, type Kernel, u32 } from '../op.ts'
import { linearEntry, linearGrid, range } from '../wgsl.ts'
import type { Geometry } from './geometry.ts'
import { FOUR, sandwich } from './winograd-transforms.ts'

/** Output and input pixels along one side of a tile. */
const OUT = FOUR.out
const IN = OUT + 2
const POSITIONS = IN * IN

/** Columns of a panel of the transformed weights; see product.ts. */
const PANEL = 32

// Threads beyond the last compute what the last does, and store nothing: behind a return lavapipe compiles all code for longer.

/** A convolution as Winograd's algorithm sees it: the transpose is one as well, with flipped weights. */
interface Filtering {
  n: number
  groups: number
  /** Input and output channels of one group. */
  c: number
  k: number
  h: number
  w: number
  oh: number
  ow: number
  top: number
  left: number
  transposed: boolean
}

function filtering(g: Geometry, transposed: boolean): Filtering {
  const { n, groups } = g
  const [c, k] = [g.c / groups, g.k / groups]
  return transposed
    ? {
        n,
        groups,
        c: k,
        k: c,
        h: g.oh,
        w: g.ow,
        oh: g.h,
        ow: g.w,
        top: 2 - g.padding[0],
        left: 2 - g.padding[1],
        transposed,
      }
    : { n, groups, c, k, h: g.h, w: g.w, oh: g.oh, ow: g.ow, top: g.padding[0], left: g.padding[1], transposed }
}

/** Tiles of one image. */
const tilesOf = ({ oh, ow }: Filtering): number => Math.ceil(oh / OUT) * Math.ceil(ow / OUT)

/** Elements of one position of a group's transformed weights. */
const panelElements = ({ c, k }: Filtering): number => Math.ceil(k / PANEL) * PANEL * c

/** Channels from which on the products outweigh the transforms; folding, the transpose's other way, costs more than unfolding. */
const FORWARD_CHANNELS = 32
const TRANSPOSED_CHANNELS = 16

/** Groups and images that are computed at once: everything, unless the buffers between the transforms would be too large. */
interface Part {
  group: number
  groups: number
  image: number
  images: number
}

/** As few parts as buffers of `maxBytes` allow; none where one group of one image is too large. */
function partsOf(f: Filtering, maxBytes: number): Part[] {
  const bytes = 4 * POSITIONS
  const image = bytes * tilesOf(f) * Math.max(f.c, f.k)
  const groups = evenly(f.groups, maxBytes / Math.max(image, bytes * panelElements(f)))
  const images = evenly(f.n, maxBytes / (image * groups))
  if (groups === 0) return []
  const starts = (extent: number, step: number) => range(Math.ceil(extent / step)).map((i) => i * step)
  return starts(f.groups, groups).flatMap((group) =>
    starts(f.n, images).map((first) => ({
      group,
      groups: Math.min(groups, f.groups - group),
      image: first,
      images: Math.min(images, f.n - first),
    })),
  )
}

/** How many of `count` are in the largest of as few even parts as possible of at most `most`; 0 where `most` is below 1. */
const evenly = (count: number, most: number): number =>
  most < 1 ? 0 : Math.ceil(count / Math.ceil(count / Math.floor(most)))

/** Whether the algorithm applies and pays: 3x3, stride and dilation 1, whole vec4 of a group's channels, buffers of `maxBytes`. */
export function canFilter(g: Geometry, transposed: boolean, maxBytes: number): boolean {
  const plain = [...g.stride, ...g.dilation].every((e) => e === 1) && g.kh === 3 && g.kw === 3
  const least = transposed ? TRANSPOSED_CHANNELS : FORWARD_CHANNELS
  const f = filtering(g, transposed)
  return plain && [f.c, f.k].every((e) => e % 4 === 0 && e >= least) && partsOf(f, maxBytes).length > 0
}

/** conv2d, or its transpose, by input transform, products and output transform, in buffers of `maxBytes` at most. */
export function winograd(g: Geometry, bias: boolean, transposed: boolean, lanes: number, maxBytes: number): Kernel {
  const f = filtering(g, transposed)
  const { c, k } = f
  const panels = panelElements(f)
  const label = transposed ? 'conv_transpose2d' : 'conv2d'
  const parts = partsOf(f, maxBytes)
  const [{ groups, images }] = parts
  const perGroup = POSITIONS * images * tilesOf(f)
  const scratch = [perGroup * groups * c, perGroup * groups * k]
  const dispatches = parts.flatMap((part) => {
    const rows = part.images * tilesOf(f)
    const positions = {
      extent: POSITIONS,
      a: part.groups * rows * c,
      b: part.groups * panels,
      y: rows * part.groups * k,
    }
    const ofGroups = { extent: part.groups, a: rows * c, b: panels, y: k }
    // Parts of the same groups share the transformed weights.
    const transform = part.image === 0
    if (transform) scratch.push(POSITIONS * part.groups * panels)
    const weights: BufferRef = `scratch${scratch.length - 1}`
    return [
      ...(transform ? [transformWeights(f, part, weights)] : []),
      transformInput(f, part, 'scratch0'),
      product(
        {
          label,
          a: 'scratch0',
          b: weights,
          y: 'scratch1',
          rows,
          inner: c,
          width: PANEL,
          count: k / 4,
          bSection: c * PANEL,
          bRow: PANEL,
          ySection: PANEL,
          yRow: part.groups * k,
          batch: part.groups > 1 ? [positions, ofGroups] : [positions],
        },
        lanes,
      ),
      transformOutput(f, part, 'scratch1', bias, parts.length === 1),
    ]
  })
  return { variant: 'winograd', dispatches, scratch }
}

/** weights[position][group][panel][c][k in panel] = G w G^T. */
function transformWeights(f: Filtering, { group, groups }: Part, to: BufferRef): Dispatch {
  const { c, k, transposed } = f
  const { lines, elements } = sandwich(FOUR.weights, 't')
  const code = linearEntry(`  let job = min(i, p.count - 1u);
  let k = job % p.K;
  let c = job / p.K % p.C;
  let own = job / (p.K * p.C);
  let g = p.group + own;
  let first = ${transposed ? '(g * p.C + c) * p.K + k' : '(g * p.K + k) * p.C + c'};
  ${range(9)
    .map((tap) => `let x${tap} = source[first * 9u + ${transposed ? 8 - tap : tap}u];`)
    .join('\n  ')}
  ${lines.join('\n  ')}
  var values = array<f32, ${POSITIONS}>(${elements.join(', ')});
  var at = own * p.panels + (k / ${PANEL}u * p.C + c) * ${PANEL}u + k % ${PANEL}u;
  let end = select(0u, p.positions, i < p.count);
  for (var position = 0u; position < end; position++) {
    weights[at] = values[position];
    at += p.step;
  }`)
  return {
    label: 'winograd.weights',
    code,
    reads: [{ name: 'source', buffer: 1 }],
    writes: [{ name: 'weights', buffer: to }],
    params: {
      count: u32(groups * c * k),
      C: u32(c),
      K: u32(k),
      group: u32(group),
      panels: u32(panelElements(f)),
      positions: u32(POSITIONS),
      step: u32(groups * panelElements(f)),
    },
    workgroups: linearGrid(groups * c * k),
  }
}

/** values[position][group][tile][c] = B^T d B, of the 6x6 pixels d around each tile of 4x4 output pixels. */
function transformInput(f: Filtering, { group, groups, image, images }: Part, to: BufferRef): Dispatch {
  const { lines, elements } = sandwich(FOUR.input, 't')
  const tiles = images * tilesOf(f)
  const count = groups * tiles * f.c
  const loads = range(IN).flatMap((i) => [
    `let r${i} = top + ${i}u; let inside${i} = r${i} < p.H; let line${i} = plane + r${i} * p.W;`,
    ...range(IN).map((j) => {
      const inside = `inside${i} && insideX${j}`
      return `let x${i * IN + j} = select(0.0, source[select(0u, line${i} + c${j}, ${inside})], ${inside});`
    }),
  ])
  const code = linearEntry(`  let job = min(i, p.count - 1u);
  let own = job / (p.C * p.tiles);
  let channel = (p.group + own) * p.C + job % p.C;
  let tile = job / p.C - own * p.tiles;
  let tx = tile % p.tilesX;
  let ty = tile / p.tilesX % p.tilesY;
  let plane = ((p.image + tile / (p.tilesX * p.tilesY)) * p.channels + channel) * p.H * p.W;
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  let top = ty * ${OUT}u - p.top;
  let left = tx * ${OUT}u - p.left;
  ${range(IN)
    .map((j) => `let c${j} = left + ${j}u; let insideX${j} = c${j} < p.W;`)
    .join('\n  ')}
  ${loads.join('\n  ')}
  ${lines.join('\n  ')}
  var elements = array<f32, ${POSITIONS}>(
    ${elements.join(',\n    ')});
  var at = i;
  let end = select(0u, p.positions, i < p.count);
  for (var position = 0u; position < end; position++) {
    values[at] = elements[position];
    at += p.count;
  }`)
  return {
    label: 'winograd.input',
    code,
    reads: [{ name: 'source', buffer: 0 }],
    writes: [{ name: 'values', buffer: to }],
    params: {
      count: u32(count),
      positions: u32(POSITIONS),
      C: u32(f.c),
      channels: u32(f.groups * f.c),
      group: u32(group),
      image: u32(image),
      tiles: u32(tiles),
      H: u32(f.h),
      W: u32(f.w),
      tilesX: u32(Math.ceil(f.ow / OUT)),
      tilesY: u32(Math.ceil(f.oh / OUT)),
      top: u32(f.top),
      left: u32(f.left),
    },
    workgroups: linearGrid(count),
  }
}

/** result[n,k,tile of 4x4 pixels] = A^T m A of the products m[position][tile][k]. */
function transformOutput(
  f: Filtering,
  { group, groups, image, images }: Part,
  from: BufferRef,
  bias: boolean,
  whole: boolean,
): Dispatch {
  const { lines, elements } = sandwich(FOUR.output, 't')
  const channels = groups * f.k
  const count = images * tilesOf(f) * channels
  const value = `pixels[a * ${OUT}u + b]${bias ? ' + bias[channel]' : ''}`
  const at = 'plane + (toY + a) * p.OW + toX + b'
  const code = linearEntry(`  let job = min(i, p.count - 1u);
  let channel = p.first + job % p.K;
  let tile = job / p.K;
  let toX = tile % p.tilesX * ${OUT}u;
  let toY = tile / p.tilesX % p.tilesY * ${OUT}u;
  let plane = ((p.image + tile / (p.tilesX * p.tilesY)) * p.channels + channel) * p.OH * p.OW;
  ${range(POSITIONS)
    .map((position) => `let x${position} = products[job + ${position}u * p.count];`)
    .join('\n  ')}
  ${lines.join('\n  ')}
  var pixels = array<f32, ${OUT * OUT}>(
    ${elements.join(',\n    ')});
  let endY = select(0u, min(${OUT}u, p.OH - toY), i < p.count);
  let endX = min(${OUT}u, p.OW - toX);
  for (var a = 0u; a < endY; a++) {
    for (var b = 0u; b < endX; b++) {
      ${whole ? `store(${at}, channel, ${value})` : `result[${at}] = ${value}`};
    }
  }`)
  const reads: Binding[] = [{ name: 'products', buffer: from }]
  if (bias) reads.push({ name: 'bias', buffer: 2 })
  return {
    label: f.transposed ? 'conv_transpose2d' : 'conv2d',
    code,
    reads,
    writes: [{ name: 'result', buffer: 'output' }],
    params: {
      count: u32(count),
      K: u32(channels),
      channels: u32(f.groups * f.k),
      first: u32(group * f.k),
      image: u32(image),
      OH: u32(f.oh),
      OW: u32(f.ow),
      tilesX: u32(Math.ceil(f.ow / OUT)),
      tilesY: u32(Math.ceil(f.oh / OUT)),
    },
    workgroups: linearGrid(count),
    stores: whole ? 'f32' : undefined,
  }
}
