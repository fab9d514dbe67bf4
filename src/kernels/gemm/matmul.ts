/** The kernels of matrix products and linear layers. */
import { mergedDims, operandStrides } from '../broadcast.ts'
import {
  type BufferRef,
  type Dispatch,
  elements,
  type Kernel,
  type Param,
  type Shape,
  type Target,
  u32,
} from '../op.ts'
import { linearEntry, linearGrid } from '../wgsl.ts'
import { extents, type MatmulArgs } from './extents.ts'
import { productKernels } from './gpu.ts'
import { type Packing, pack, packedElements, round4 } from './pack.ts'
import { product, productLanes } from './product.ts'
import { areFew, type FewRows, fewRows } from './rows.ts'
import type { TiledProduct } from './tile.ts'

/** Best first for this adapter. */
export function matmulKernels(args: MatmulArgs, shapes: readonly Shape[], gpu: Target): Kernel[] {
  const { batch, m, n, k } = extents(args, shapes)
  const lanes = productLanes(gpu)
  const small = gpu.software && 2 * elements(batch) * m * n * k <= SMALL
  const tiled = productKernels(tiledMatmul(args, shapes), gpu, { faster: rowKernels(args, shapes, gpu) })
  const software = lanes > 0 ? productMatmul(args, shapes, lanes) : []
  return [small ? smallMatmul(args, shapes) : [], software, tiled].flat()
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

/** A matrix of rows by columns that may lie transposed, of the shape that it has in memory. */
const packingOf = (shape: Shape, rows: number, columns: number, transposed: boolean): Packing => ({
  rows,
  columns,
  rowStep: transposed ? 1 : columns,
  columnStep: transposed ? rows : 1,
  batch: elements(shape.slice(0, -2)),
  batchStep: rows * columns,
})

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
  const panels = n % 4 === 0
  const aPacking = packingOf(a, m, k, args.transposeA)
  const bPacking = { ...packingOf(b, k, n, args.transposeB), panel: panels ? PANEL : undefined }
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
