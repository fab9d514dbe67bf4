/** Copies of matrices with rows of whole vec4, transposed or cut into panels, as matrix products want them. */
import { type BufferRef, type Dispatch, u32 } from '../op.ts'
import { linearEntry, linearGrid } from '../wgsl.ts'

export interface Packing {
  rows: number
  columns: number
  /** Rows that the source has; those beyond are zeros. All unless told. */
  sourceRows?: number
  /** Distances in the source, in elements. */
  rowStep: number
  columnStep: number
  /** Columns of one panel, a multiple of four; one panel of all columns unless told. */
  panel?: number
  batch?: number
  batchStep?: number
}

/** Elements of the copy: panel after panel, in each row after row; columns beyond the last are zeros. */
export const packedElements = ({ rows, columns, panel = round4(columns), batch = 1 }: Packing): number =>
  batch * Math.ceil(columns / panel) * panel * rows

export const round4 = (n: number): number => Math.ceil(n / 4) * 4

export function pack(packing: Packing, from: BufferRef, to: BufferRef): Dispatch {
  const { rows, columns, rowStep, columnStep, sourceRows = rows, panel = round4(columns), batchStep = 0 } = packing
  const count = packedElements(packing) / 4
  const code = linearEntry(`  if (i >= p.count) { return; }
  let row = i / p.panel4 % p.rows;
  let panels = i / (p.panel4 * p.rows);
  let column = (panels % p.panels * p.panel4 + i % p.panel4) * 4u;
  let at = panels / p.panels * p.batchStep + row * p.rowStep + column * p.columnStep;
  var value = vec4f();
  for (var e = 0u; e < 4u; e++) {
    if (column + e < p.columns && row < p.sourceRows) { value[e] = source[at + e * p.columnStep]; }
  }
  packed[i] = value;`)
  return {
    label: 'pack',
    code,
    reads: [{ name: 'source', buffer: from }],
    writes: [{ name: 'packed', buffer: to, type: 'vec4f' }],
    params: {
      count: u32(count),
      rows: u32(rows),
      columns: u32(columns),
      sourceRows: u32(sourceRows),
      panel4: u32(panel / 4),
      panels: u32(Math.ceil(columns / panel)),
      rowStep: u32(rowStep),
      columnStep: u32(columnStep),
      batchStep: u32(batchStep),
    },
    workgroups: linearGrid(count),
  }
}
