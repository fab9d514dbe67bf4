/** Matrix products, batched, and linear layers. */
import { broadcastShape, forEachBroadcast, mergedDims, operandStrides } from './broadcast.ts'
import { productKernels } from './gemm/gpu.ts'
import { type Packing, pack, packedElements, round4 } from './gemm/pack.ts'
import { product, productLanes } from './gemm/product.ts'
import { areFew, type FewRows, fewRows } from './gemm/rows.ts'
import type { TiledProduct } from './gemm/tile.ts'
import {
  type BufferRef,
  type Case,
  type Dispatch,
  elements,
  expectShape,
  formatShape,
  type Kernel,
  type Op,
  type Param,
  type Shape,
  type Target,
  type Tensor,
  u32,
} from './op.ts'
import { sum, sumTo } from './reduce.ts'
import { reshape } from './reshape.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface MatmulArgs {
  /** a is [..,K,M] instead of [..,M,K]. */
  transposeA: boolean
  /** b is [..,N,K] instead of [..,K,N]. */
  transposeB: boolean
}

/**
 * The matrix product of the last two axes; the axes before them broadcast.
 * @param a [..,M,K], or [..,K,M] with transposeA
 * @param b [..,K,N], or [..,N,K] with transposeB
 * @returns [..,M,N]
 * @throws ShapeError where the inner extents differ or the leading axes do not broadcast.
 */
export const matmul = (
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false }: Partial<MatmulArgs> = {},
): Tensor => a.recorder.apply(matmulOp, [a, b], { transposeA, transposeB })

/**
 * A linear layer, x W^T + bias: PyTorch's linear.
 * @param x [..,in]
 * @param weights [out,in]
 * @param bias [out], none if left out
 * @returns [..,out]
 * @throws ShapeError where the extents do not fit.
 */
export function linear(x: Tensor, weights: Tensor, bias?: Tensor): Tensor {
  const lead = x.shape.slice(0, -1)
  const rows = reshape(x, [elements(lead), x.shape.at(-1) ?? 1])
  const args = { transposeA: false, transposeB: true }
  const y = x.recorder.apply(matmulOp, bias ? [rows, weights, bias] : [rows, weights], args, 'linear')
  return reshape(y, [...lead, y.shape[1]])
}

interface Extents {
  batch: Shape
  m: number
  n: number
  k: number
}

function extents({ transposeA, transposeB }: MatmulArgs, [a, b]: readonly Shape[]): Extents {
  expectShape(a.length >= 2 && b.length >= 2, `matmul: needs matrices, got ${formatShape(a)} and ${formatShape(b)}`)
  const [m, k] = transposeA ? [a.at(-1)!, a.at(-2)!] : [a.at(-2)!, a.at(-1)!]
  const [inner, n] = transposeB ? [b.at(-1)!, b.at(-2)!] : [b.at(-2)!, b.at(-1)!]
  expectShape(
    k === inner,
    `matmul: rows of ${k} do not fit columns of ${inner}: ${formatShape(a)}${transposeA ? '^T' : ''} by ${formatShape(b)}${transposeB ? '^T' : ''}`,
  )
  return { batch: broadcastShape([a.slice(0, -2), b.slice(0, -2)]), m, n, k }
}

export const matmulOp: Op<MatmulArgs> = {
  name: 'matmul',
  inputs: ['a', 'b', 'bias?'],
  shape(args, shapes) {
    const { batch, m, n } = extents(args, shapes)
    const bias = shapes[2]
    expectShape(
      !bias || (bias.length === 1 && bias[0] === n),
      `matmul: the bias must be [${n}], not ${formatShape(bias ?? [])}`,
    )
    return [...batch, m, n]
  },
  cost(args, shapes) {
    const { batch, m, n, k } = extents(args, shapes)
    const count = elements(batch) * m * n
    return { flop: 2 * count * k, bytes: 4 * (count + shapes.reduce((e, s) => e + elements(s), 0)) }
  },
  kernels(args, shapes, gpu) {
    const lanes = productLanes(gpu)
    const { flop } = matmulOp.cost(args, shapes)
    const tiled = productKernels(tiledMatmul(args, shapes), gpu, { faster: rowKernels(args, shapes, gpu) })
    const software = lanes > 0 ? productMatmul(args, shapes, lanes) : []
    return [flop <= SMALL && gpu.software ? smallMatmul(args, shapes) : [], software, tiled].flat()
  },
  backward({ args: { transposeA, transposeB }, inputs: [a, b, bias], gradient, wanted }) {
    // y = a b; da = dy b^T and db = a^T dy, each written for the layout that a and b came in.
    const da = () =>
      transposeA
        ? matmul(b, gradient, { transposeA: transposeB, transposeB: true })
        : matmul(gradient, b, { transposeB: !transposeB })
    const db = () =>
      transposeB
        ? matmul(gradient, a, { transposeA: true, transposeB: transposeA })
        : matmul(a, gradient, { transposeA: !transposeA })
    const gradients = [wanted[0] ? sumTo(da(), a.shape) : undefined, wanted[1] ? sumTo(db(), b.shape) : undefined]
    if (!bias) return gradients
    const rows = gradient.shape.slice(0, -1).map((_, axis) => axis)
    return [...gradients, wanted[2] ? reshape(sum(gradient, rows), bias.shape) : undefined]
  },
  reference(args, [a, b, bias], shapes) {
    const { batch, m, n, k } = extents(args, shapes)
    const y = new Float64Array(elements(batch) * m * n)
    const leads = shapes.slice(0, 2).map((s) => s.slice(0, -2))
    forEachBroadcast(batch, leads, (index, [ai, bi]) => {
      for (let row = 0; row < m; row++) {
        for (let column = 0; column < n; column++) {
          let total = bias?.[column] ?? 0
          for (let i = 0; i < k; i++) {
            const left = a[ai * m * k + (args.transposeA ? i * m + row : row * k + i)]
            const right = b[bi * k * n + (args.transposeB ? column * k + i : i * n + column)]
            total += left * right
          }
          y[(index * m + row) * n + column] = total
        }
      }
    })
    return y
  },
  cases: [
    ...casesOf(false, false, '1,1 1,1', '3,5 5,7', '16,32 32,24', '2,3,4,5 5,6', '2,8,16 2,16,12', '37,67 67,41'),
    ...casesOf(true, false, '5,3 5,7'),
    ...casesOf(false, true, '3,5 7,5', '3,1,4,5 2,6,5', '1,2309 11,2309 11', '4,320 64,320 64', '1,7 1,7 1'),
    ...casesOf(true, true, '5,3 7,5'),
  ],
}

/** Cases of shapes written as text. */
function casesOf(transposeA: boolean, transposeB: boolean, ...texts: readonly string[]): Case<MatmulArgs>[] {
  return texts.map((text) => ({
    shapes: text.split(' ').map((shape) => shape.split(',').map(Number)),
    args: { transposeA, transposeB },
  }))
}

/** The loops around the matrices, merged: extents, and distances of a, b and y counted in matrices. */
function batchLoops(batch: Shape, [a, b]: readonly Shape[]): { extent: number; a: number; b: number; y: number }[] {
  const operands = [a.slice(0, -2), b.slice(0, -2), batch]
  const dims = mergedDims(batch, operands)
  const [ofA, ofB, ofY] = operands.map((_, k) => operandStrides(dims, k))
  return dims.map(({ extent }, d) => ({ extent, a: ofA[d], b: ofB[d], y: ofY[d] }))
}

/** Arithmetic below which a processor takes longer to bring matrices into another layout than to multiply them as they are. */
const SMALL = 16384

/** A thread an element, without any preparation. */
function smallMatmul(args: MatmulArgs, shapes: readonly Shape[]): Kernel {
  const { batch, m, n, k } = extents(args, shapes)
  const params: Record<string, Param> = { count: u32(elements(batch) * m * n), m: u32(m), n: u32(n), k: u32(k) }
  const bias = shapes.length > 2
  const loops = batchLoops(batch, shapes)
    .toReversed()
    .map((loop, i) => {
      params[`e${i}`] = u32(loop.extent)
      params[`a${i}`] = u32(loop.a * m * k)
      params[`b${i}`] = u32(loop.b * k * n)
      return `{ let z = rest % p.e${i}; rest = rest / p.e${i}; atA += z * p.a${i}; atB += z * p.b${i}; }`
    })
  const code = linearEntry(`  if (i >= p.count) { return; }
  let line = i / p.n;
  let column = i - line * p.n;
  var rest = line / p.m;
  let row = line - rest * p.m;
  var atA = row${args.transposeA ? '' : ' * p.k'};
  var atB = column${args.transposeB ? ' * p.k' : ''};
  ${loops.join(' ')}
  var total = ${bias ? 'bias[column]' : '0.0'};
  for (var q = 0u; q < p.k; q++) { total += a[atA + q${args.transposeA ? ' * p.m' : ''}] * b[atB + q${args.transposeB ? '' : ' * p.n'}]; }
  store(i, column, total);`)
  return {
    variant: 'small',
    dispatches: [
      {
        label: 'matmul',
        code,
        reads: ['a', 'b', 'bias'].slice(0, shapes.length).map((name, buffer) => ({ name, buffer })),
        writes: [{ name: 'y', buffer: 'output' }],
        params,
        workgroups: linearGrid(elements(batch) * m * n),
        stores: 'f32',
        flat: batch.length > 0,
      },
    ],
  }
}

/** For real GPUs, where matrices of few rows are multiplied, each with its own. */
function rowKernels(args: MatmulArgs, shapes: readonly Shape[], gpu: Target): Kernel[] {
  const { batch, m, n, k } = extents(args, shapes)
  const f: FewRows = {
    batch: elements(batch),
    rows: m,
    columns: n,
    inner: k,
    transposed: args.transposeB,
    bias: shapes.length > 2,
    fusible: batch.length === 0,
  }
  const broadcast = shapes.slice(0, 2).some((s) => elements(s.slice(0, -2)) < f.batch)
  if (broadcast || args.transposeA || !areFew(f)) return []
  return [fewRows(f, false), ...(gpu.products === 'f16' && gpu.f16 ? [fewRows(f, true)] : [])]
}

/** For real GPUs: a is packed into tiles, b read where it is. */
function tiledMatmul(args: MatmulArgs, shapes: readonly Shape[]): TiledProduct {
  const { batch, m, n, k } = extents(args, shapes)
  const [a, , bias] = shapes
  const params: Record<string, Param> = { matrixA: u32(m * k), matrixB: u32(k * n), m: u32(m), n: u32(n), k: u32(k) }
  const loops = batchLoops(batch, shapes).toReversed()
  const matrix = (name: string, step: (loop: (typeof loops)[number]) => number): string => {
    const lines = loops.map((loop, i) => {
      params[`e${i}`] = u32(loop.extent)
      params[`${name}${i}`] = u32(step(loop))
      return `at += rest % p.e${i} * p.${name}${i}; rest = rest / p.e${i};`
    })
    return `fn ${name}Matrix(z: u32) -> u32 { var at = 0u; var rest = z; ${lines.join(' ')} return at; }`
  }
  // Four along the sums of a column at once, where they lie next to each other at whole vec4.
  const wide = args.transposeB && k % 4 === 0
  const four = (buffer: string, first: string, step: string): string => `
  let i = vec4u(0u, 1u, 2u, 3u) + q * 4u;
  let at = min(i, vec4u(p.k - 1u)) * ${step} + ${first};
  return select(vec4f(), vec4f(${['x', 'y', 'z', 'w'].map((e) => `${buffer}[at.${e}]`)}), i < vec4u(p.k));`
  return {
    label: 'matmul',
    rows: m,
    columns: n,
    fours: Math.ceil(k / 4),
    sections: elements(batch),
    left: { reads: [{ name: 'a', buffer: 0 }], matrices: elements(a.slice(0, -2)), ofSection: 'leftMatrix(z)' },
    reads: [{ name: 'b', buffer: 1, type: wide ? 'vec4f' : 'f32' }, ...(bias ? [{ name: 'bias', buffer: 2 }] : [])],
    params,
    leftCode: `fn leftFour(q: u32, row: u32, matrix: u32) -> vec4f {
${four('a', `matrix * p.matrixA + row${args.transposeA ? '' : ' * p.k'}`, args.transposeA ? 'p.m' : '1u')}
}`,
    code: `${matrix('left', (loop) => loop.a)}
${matrix('right', (loop) => loop.b)}
struct Column { to: u32, at: u32 }
fn column(j: u32, z: u32) -> Column {
  return Column(z * p.m * p.n + j, rightMatrix(z) * p.matrixB + ${args.transposeB ? 'j * p.k' : 'j'});
}
fn four(q: u32, c: Column) -> vec4f {
${wide ? '  return b[c.at / 4u + q];' : four('b', 'c.at', args.transposeB ? '1u' : 'p.n')}
}`,
    rowTo: n,
    elements: elements(batch) * m * n,
    plane: 1,
    channels: n,
    channel: 'j',
    bias: bias !== undefined,
    fusible: batch.length === 0,
  }
}

/** Columns of a packed panel of b: what a subgroup of eight lanes takes, so that it reads memory in order. */
const PANEL = 32

/** Both matrices with rows of whole vec4, copied where they are not so already, and one product. */
function productMatmul(args: MatmulArgs, shapes: readonly Shape[], lanes: number): Kernel {
  const { batch, m, n, k } = extents(args, shapes)
  const [a, b, bias] = shapes
  const dispatches: Dispatch[] = []
  const scratch: number[] = []
  const packed = (packing: Packing, from: number): BufferRef => {
    const to: BufferRef = `scratch${scratch.length}`
    dispatches.push(pack(packing, from, to))
    scratch.push(packedElements(packing))
    return to
  }
  const leads = [a, b].map((s) => s.slice(0, -2))
  const aPacking: Packing = {
    rows: m,
    columns: k,
    rowStep: args.transposeA ? 1 : k,
    columnStep: args.transposeA ? m : 1,
    batch: elements(leads[0]),
    batchStep: m * k,
  }
  const panels = n % 4 === 0
  const bPacking: Packing = {
    rows: k,
    columns: n,
    rowStep: args.transposeB ? 1 : n,
    columnStep: args.transposeB ? k : 1,
    batch: elements(leads[1]),
    batchStep: k * n,
    panel: panels ? PANEL : undefined,
  }
  const aBuffer = args.transposeA || k % 4 !== 0 ? packed(aPacking, 0) : 0
  const bInPlace = !args.transposeB && panels
  const bBuffer = bInPlace ? 1 : packed(bPacking, 1)
  const bElements = bInPlace ? k * n : packedElements({ ...bPacking, batch: 1 })
  const inPanels = panels && !bInPlace
  const width = inPanels ? PANEL : n
  dispatches.push(
    product(
      {
        label: 'matmul',
        a: aBuffer,
        b: bBuffer,
        y: 'output',
        bias: bias ? 2 : undefined,
        biasOf: 'column',
        whole: true,
        flat: true,
        rows: m,
        inner: k,
        width,
        count: Math.ceil(n / 4),
        bSection: inPanels ? PANEL * k : 0,
        bRow: round4(width),
        ySection: inPanels ? PANEL : 0,
        yRow: n,
        batch: batchLoops(batch, shapes).map((loop) => ({
          extent: loop.extent,
          a: loop.a * m * round4(k),
          b: loop.b * bElements,
          y: loop.y * m * n,
        })),
      },
      lanes,
    ),
  )
  return { variant: 'product', dispatches, scratch }
}
