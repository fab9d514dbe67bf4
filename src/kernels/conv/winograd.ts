/**
 * 3x3 convolutions of stride 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, Fast Algorithms for Convolutional
 * Neural Networks, CVPR 2016): 6x6 input pixels give 4x4 output pixels with 36 multiplications a channel instead of 144. The
 * transformed weights are constants; the products between the transforms are 36 independent matrix products.
 */
import { type Binding, type BufferRef, type Dispatch, type Kernel, u32 } from '../op.ts'
import { linearEntry, linearGrid } from '../wgsl.ts'
import type { Geometry } from './geometry.ts'
import { product } from './product.ts'

/** Output and input pixels along one side of a tile. */
const OUT = 4
const IN = 6
const POSITIONS = IN * IN

/**
 * The polynomials are interpolated at 0, ±a, ±b and infinity. The paper's ±1, ±2 lose two to seven times more of f32 than
 * these, with which the error is that of plain summation (bench/NOTES.md; for the choice of points see Barabasz et al., Error
 * Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks, 2020).
 */
const [A, B] = [Math.SQRT1_2, Math.SQRT2]
const [A2, B2] = [1 / 2, 2]

/** B^T, G and A^T of the paper for these points. */
const INPUT = [
  [A2 * B2, 0, -(A2 + B2), 0, 1, 0],
  [0, -A * B2, -B2, A, 1, 0],
  [0, A * B2, -B2, -A, 1, 0],
  [0, -B * A2, -A2, B, 1, 0],
  [0, B * A2, -A2, -B, 1, 0],
  [0, A2 * B2, 0, -(A2 + B2), 0, 1],
]
const WEIGHTS = [
  [1 / (A2 * B2), 0, 0],
  ...[A, -A].map((point) => [1, point, A2].map((power) => power / (2 * A2 * (A2 - B2)))),
  ...[B, -B].map((point) => [1, point, B2].map((power) => power / (2 * B2 * (B2 - A2)))),
  [0, 0, 1],
]
const OUTPUT = [
  [1, 1, 1, 1, 1, 0],
  [0, A, -A, B, -B, 0],
  [0, A2, A2, B2, B2, 0],
  [0, A * A2, -A * A2, B * B2, -B * B2, 1],
]

/** Columns of a panel of the transformed weights; see product.ts. */
const PANEL = 32

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

/** WGSL for matrix * x * matrix^T, where x is `x0`, `x1`, .. row by row; gives the elements' expressions row by row. */
function sandwich(matrix: readonly (readonly number[])[], prefix: string): { lines: string[]; elements: string[] } {
  const n = matrix[0].length
  const combine = (row: readonly number[], operand: (i: number) => string): string =>
    row
      .flatMap((factor, i) => {
        if (factor === 0) return []
        const sign = factor < 0 ? '- ' : '+ '
        const size = Math.abs(factor)
        return [sign + (size === 1 ? operand(i) : `${size} * ${operand(i)}`)]
      })
      .join(' ')
      .replace(/^\+ /, '')
      .replace(/^- /, '-')
  const lines = matrix.flatMap((row, u) =>
    range(n).map((j) => `let ${prefix}${u}_${j} = ${combine(row, (i) => `x${i * n + j}`)};`),
  )
  return { lines, elements: matrix.flatMap((_, u) => matrix.map((row) => combine(row, (j) => `${prefix}${u}_${j}`))) }
}

/** A convolution as Winograd's algorithm sees it: the transpose is one as well, with flipped weights. */
interface Filtering {
  n: number
  c: number
  h: number
  w: number
  k: number
  oh: number
  ow: number
  top: number
  left: number
  transposed: boolean
}

const filtering = (g: Geometry, transposed: boolean): Filtering =>
  transposed
    ? {
        n: g.n,
        c: g.k,
        h: g.oh,
        w: g.ow,
        k: g.c,
        oh: g.h,
        ow: g.w,
        top: 2 - g.padding[0],
        left: 2 - g.padding[1],
        transposed,
      }
    : { n: g.n, c: g.c, h: g.h, w: g.w, k: g.k, oh: g.oh, ow: g.ow, top: g.padding[0], left: g.padding[1], transposed }

const tilesOf = ({ n, oh, ow }: Filtering): number => n * Math.ceil(oh / OUT) * Math.ceil(ow / OUT)

/** Channels from which on the products outweigh the transforms; folding, the transpose's other way, costs more than unfolding. */
const FORWARD_CHANNELS = 32
const TRANSPOSED_CHANNELS = 16

/** Whether the algorithm applies and pays: 3x3, stride and dilation 1, one group, whole vec4 of channels, buffers of `maxBytes`. */
export function canFilter(g: Geometry, transposed: boolean, maxBytes: number): boolean {
  const plain = g.groups === 1 && [...g.stride, ...g.dilation].every((e) => e === 1) && g.kh === 3 && g.kw === 3
  const least = transposed ? TRANSPOSED_CHANNELS : FORWARD_CHANNELS
  const largest = POSITIONS * tilesOf(filtering(g, transposed)) * Math.max(g.c, g.k) * 4
  return plain && [g.c, g.k].every((e) => e % 4 === 0 && e >= least) && largest <= maxBytes
}

/** conv2d, or its transpose, by input transform, products and output transform. */
export function winograd(g: Geometry, bias: boolean, transposed: boolean, lanes: number): Kernel {
  const f = filtering(g, transposed)
  const tiles = tilesOf(f)
  const panels = Math.ceil(f.k / PANEL)
  const label = transposed ? 'conv_transpose2d' : 'conv2d'
  return {
    variant: 'winograd',
    dispatches: [
      transformWeights(f, 'scratch0'),
      transformInput(f, 'scratch1'),
      product(
        {
          label,
          a: 'scratch1',
          b: 'scratch0',
          y: 'scratch2',
          rows: tiles,
          inner: f.c,
          width: PANEL,
          count: f.k / 4,
          bSection: f.c * PANEL,
          bRow: PANEL,
          ySection: PANEL,
          yRow: f.k,
          batch: [{ extent: POSITIONS, a: tiles * f.c, b: panels * f.c * PANEL, y: tiles * f.k }],
        },
        lanes,
      ),
      transformOutput(f, 'scratch2', bias),
    ],
    scratch: [POSITIONS * panels * PANEL * f.c, POSITIONS * tiles * f.c, POSITIONS * tiles * f.k],
  }
}

/** weights[position][panel][c][k in panel] = G w G^T. */
function transformWeights({ c, k, transposed }: Filtering, to: BufferRef): Dispatch {
  const { lines, elements } = sandwich(WEIGHTS, 't')
  const first = transposed ? '(c * p.K + k) * 9u' : '(k * p.C + c) * 9u'
  const code = linearEntry(`  if (i >= p.C * p.K) { return; }
  let c = i / p.K;
  let k = i % p.K;
  ${range(9)
    .map((tap) => `let x${tap} = source[${first} + ${transposed ? 8 - tap : tap}u];`)
    .join('\n  ')}
  ${lines.join('\n  ')}
  var values = array<f32, ${POSITIONS}>(${elements.join(', ')});
  var at = (k / ${PANEL}u * p.C + c) * ${PANEL}u + k % ${PANEL}u;
  for (var position = 0u; position < p.positions; position++) {
    weights[at] = values[position];
    at += p.step;
  }`)
  return {
    label: 'winograd.weights',
    code,
    reads: [{ name: 'source', buffer: 1 }],
    writes: [{ name: 'weights', buffer: to }],
    params: { C: u32(c), K: u32(k), positions: u32(POSITIONS), step: u32(Math.ceil(k / PANEL) * PANEL * c) },
    workgroups: linearGrid(c * k),
  }
}

/** values[position][tile][c] = B^T d B, of the 6x6 pixels d around each tile of 4x4 output pixels. */
function transformInput(f: Filtering, to: BufferRef): Dispatch {
  const { lines, elements } = sandwich(INPUT, 't')
  const count = tilesOf(f) * f.c
  const loads = range(IN).flatMap((i) => [
    `let r${i} = top + ${i}u; let inside${i} = r${i} < p.H; let line${i} = plane + r${i} * p.W;`,
    ...range(IN).map((j) => {
      const inside = `inside${i} && insideX${j}`
      return `let x${i * IN + j} = select(0.0, source[select(0u, line${i} + c${j}, ${inside})], ${inside});`
    }),
  ])
  const code = linearEntry(`  if (i >= p.count) { return; }
  let channel = i % p.C;
  let tile = i / p.C;
  let tx = tile % p.tilesX;
  let ty = tile / p.tilesX % p.tilesY;
  let plane = (tile / (p.tilesX * p.tilesY) * p.C + channel) * p.H * p.W;
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
  for (var position = 0u; position < p.positions; position++) {
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
function transformOutput(f: Filtering, from: BufferRef, bias: boolean): Dispatch {
  const { lines, elements } = sandwich(OUTPUT, 't')
  const tiles = tilesOf(f)
  const code = linearEntry(`  if (i >= p.count) { return; }
  let channel = i % p.K;
  let tile = i / p.K;
  let toX = tile % p.tilesX * ${OUT}u;
  let toY = tile / p.tilesX % p.tilesY * ${OUT}u;
  let plane = (tile / (p.tilesX * p.tilesY) * p.K + channel) * p.OH * p.OW;
  ${range(POSITIONS)
    .map((position) => `let x${position} = products[i + ${position}u * p.count];`)
    .join('\n  ')}
  ${lines.join('\n  ')}
  var pixels = array<f32, ${OUT * OUT}>(
    ${elements.join(',\n    ')});
  let endY = min(${OUT}u, p.OH - toY);
  let endX = min(${OUT}u, p.OW - toX);
  for (var a = 0u; a < endY; a++) {
    for (var b = 0u; b < endX; b++) {
      store(plane + (toY + a) * p.OW + toX + b, channel, pixels[a * ${OUT}u + b]${bias ? ' + bias[channel]' : ''});
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
      count: u32(tiles * f.k),
      K: u32(f.k),
      OH: u32(f.oh),
      OW: u32(f.ow),
      tilesX: u32(Math.ceil(f.ow / OUT)),
      tilesY: u32(Math.ceil(f.oh / OUT)),
    },
    workgroups: linearGrid(tiles * f.k),
    stores: 'f32',
  }
}
