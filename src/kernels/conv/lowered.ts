/** conv2d and its gradients as unfolding, matrix products and folding, for adapters that are the processor itself. */

import { pack, packedElements, round4 } from '../gemm/pack.ts'
import { product } from '../gemm/product.ts'
import type { BufferRef, Dispatch, Kernel } from '../op.ts'
import type { Geometry } from './geometry.ts'
import { fold, pixels4, unfold } from './unfold.ts'

/** Elements of the largest buffer of columns (32 MiB, a processor's cache); larger ones are computed in parts. */
const COLUMNS = 2 ** 23

/** Each output pixel sees one input pixel, its own. */
const isPointwise = ({ kh, kw, stride, padding }: Geometry): boolean =>
  kh * kw === 1 && stride[0] * stride[1] === 1 && padding.every((p) => p === 0)

/** y = weights [K, C kh kw] times the unfolded image. */
export function productForward(g: Geometry, bias: boolean, lanes: number): Kernel {
  const dispatches: Dispatch[] = []
  const scratch: number[] = []
  const rows = g.k / g.groups
  const inner = (g.c / g.groups) * g.kh * g.kw
  let a: BufferRef = 1
  if (inner % 4 !== 0) {
    const packing = { rows: g.k, columns: inner, rowStep: inner, columnStep: 1 }
    dispatches.push(pack(packing, 1, (a = 'scratch0')))
    scratch.push(packedElements(packing))
  }
  const pixels = g.oh * g.ow
  const p4 = pixels4(g)
  const common = {
    label: 'conv2d',
    a,
    y: 'output' as const,
    bias: bias ? 2 : undefined,
    rows,
    inner,
    width: pixels,
    ySection: g.k * pixels,
    yRow: pixels,
  }
  const batch = (b: number) => [{ extent: g.groups, a: rows * round4(inner), b, y: rows * pixels }]
  if (isPointwise(g) && pixels % 4 === 0) {
    const geometry = {
      whole: true,
      b: 0,
      count: g.n * p4,
      bSection: g.c * pixels,
      bRow: pixels,
      batch: batch(inner * pixels),
    }
    return { variant: 'product', dispatches: [...dispatches, product({ ...common, ...geometry }, lanes)], scratch }
  }
  const columns: BufferRef = `scratch${scratch.length}`
  const part = Math.max(1, Math.min(g.n * p4, Math.floor(COLUMNS / (4 * inner * g.groups))))
  scratch.push(inner * g.groups * part * 4)
  for (let first = 0; first < g.n * p4; first += part) {
    const count = Math.min(part, g.n * p4 - first)
    const row = count * 4
    dispatches.push(unfold(g, 0, columns, first, count))
    const geometry = {
      whole: part >= g.n * p4,
      b: columns,
      first,
      count,
      bSkip: first * 4,
      bSection: p4 * 4,
      bRow: row,
      batch: batch(inner * row),
    }
    dispatches.push(product({ ...common, ...geometry }, lanes))
  }
  return { variant: 'product', dispatches, scratch }
}

/** Whether productTranspose applies: dilated taps are not folded, and one image's columns must fit. */
export const canFold = (g: Geometry): boolean =>
  g.dilation.every((d) => d === 1) && g.c * g.kh * g.kw * pixels4(g) * 4 <= 4 * COLUMNS

/** x = the folded product of the transposed weights [C kh kw, K] and y. */
export function productTranspose(g: Geometry, bias: boolean, lanes: number): Kernel {
  const inner = g.k / g.groups
  const rows = (g.c / g.groups) * g.kh * g.kw
  const pixels = g.oh * g.ow
  const p4 = pixels4(g)
  const weights = { rows, columns: inner, rowStep: 1, columnStep: rows, batch: g.groups, batchStep: inner * rows }
  const dispatches = [pack(weights, 1, 'scratch0')]
  const scratch = [packedElements(weights)]
  // Rows of y that are not whole vec4 are filled up, each image's by itself.
  let y: BufferRef = 0
  if (pixels % 4 !== 0) {
    const packing = { rows: g.n * g.k, columns: pixels, rowStep: pixels, columnStep: 1 }
    dispatches.push(pack(packing, 0, (y = 'scratch1')))
    scratch.push(packedElements(packing))
  }
  const common = {
    label: 'conv_transpose2d',
    a: 'scratch0' as const,
    b: y,
    rows,
    inner,
    bSection: g.k * p4 * 4,
    bRow: p4 * 4,
  }
  const batch = (yBatch: number) => [{ extent: g.groups, a: rows * round4(inner), b: inner * p4 * 4, y: yBatch }]
  if (isPointwise(g)) {
    const result = {
      whole: true,
      y: 'output' as const,
      bias: bias ? 2 : undefined,
      width: pixels,
      count: g.n * p4,
      ySection: g.c * pixels,
      yRow: pixels,
    }
    dispatches.push(product({ ...common, ...result, batch: batch(rows * pixels) }, lanes))
    return { variant: 'product', dispatches, scratch }
  }
  const columns: BufferRef = `scratch${scratch.length}`
  const perImage = g.groups * rows * p4 * 4
  const part = Math.max(1, Math.min(g.n, Math.floor(COLUMNS / perImage)))
  scratch.push(part * perImage)
  for (let start = 0; start < g.n; start += part) {
    const images = Math.min(part, g.n - start)
    const row = images * p4 * 4
    // Columns of one image keep the filling up of its last vec4.
    const part4 = { first: start * p4, count: images * p4, width: p4 * 4, ySection: p4 * 4, yRow: row }
    dispatches.push(
      product({ ...common, ...part4, y: columns, ySkip: start * p4 * 4, batch: batch(rows * row) }, lanes),
    )
    dispatches.push(fold(g, columns, 'output', start, images, bias ? 2 : undefined))
  }
  return { variant: 'product', dispatches, scratch }
}

/** Whether productWeightGradient applies: one group, and all images' columns in one binding of `maxBytes`. */
export const canUnfoldAll = (g: Geometry, maxBytes: number): boolean =>
  g.groups === 1 && 16 * g.c * g.kh * g.kw * g.n * pixels4(g) <= maxBytes

/** The unfolded images, [C kh kw, pixels], times the transposed dy, [pixels, K], stored transposed. */
export function productWeightGradient(g: Geometry, lanes: number): Kernel {
  const rows = g.c * g.kh * g.kw
  const p4 = pixels4(g)
  const pixels = g.oh * g.ow
  const inner = g.n * p4 * 4
  const packing = {
    rows: p4 * 4,
    sourceRows: pixels,
    columns: g.k,
    rowStep: 1,
    columnStep: pixels,
    batch: g.n,
    batchStep: g.k * pixels,
  }
  const geometry = { rows, inner, width: g.k, count: Math.ceil(g.k / 4), bSection: 0, bRow: round4(g.k) }
  const result = { y: 'output' as const, ySection: 0, yRow: 1, yColumn: rows }
  return {
    variant: 'product',
    dispatches: [
      unfold(g, 0, 'scratch0', 0, g.n * p4),
      pack(packing, 1, 'scratch1'),
      product({ label: 'conv2d_weight_gradient', a: 'scratch0', b: 'scratch1', ...geometry, ...result }, lanes),
    ],
    scratch: [rows * inner, packedElements(packing)],
  }
}
