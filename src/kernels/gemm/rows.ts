/**
 * Products of few rows with a large matrix, for real GPUs: every element of the matrix is needed once or a few times, so its
 * loads decide. The threads of a workgroup share a sum, and add their parts in a tree.
 */
import { type Binding, type BufferRef, type Dispatch, type Kernel, u32 } from '../op.ts'
import { linearEntry, linearGrid, range, usedParams } from '../wgsl.ts'

/**
 * y [batch, rows, columns] = a [batch, rows, inner] b + bias, with b as [batch, columns, inner] (`transposed`) or
 * [batch, inner, columns].
 */
export interface FewRows {
  batch: number
  rows: number
  columns: number
  inner: number
  transposed: boolean
  bias: boolean
  /** The output is [rows, columns]: others may be fused into the stores. */
  fusible: boolean
}

/** Rows from which on tiles are better, and rows of one workgroup. */
const MOST_ROWS = 16
const ROWS = 4
const THREADS = 128
/** Vec4 of columns of a workgroup, where b is [inner, columns]: their loads are consecutive. */
const ACROSS = 16

/** Whether there is a kernel: rows of both matrices are whole vec4. */
export const areFew = ({ rows, columns, inner, transposed }: FewRows): boolean =>
  rows <= MOST_ROWS && inner % 4 === 0 && (transposed || columns % 4 === 0)

/** With `half` a copy of b in f16 is read, made once where b is constant. */
export function fewRows(f: FewRows, half: boolean): Kernel {
  const b: BufferRef = half ? 'scratch0' : 1
  const fours = (f.batch * f.inner * f.columns) / 4
  return {
    variant: half ? 'rows f16' : 'rows',
    ...(half ? { precision: 'f16' } : {}),
    dispatches: [half ? copyHalf(fours) : [], f.transposed ? alongRows(f, b, half) : acrossColumns(f, b, half)].flat(),
    scratch: half ? [fours * 2] : [],
  }
}

function copyHalf(count: number): Dispatch {
  return {
    label: 'pack',
    enable: ['f16'],
    code: linearEntry('  if (i < p.count) { packed[i] = vec4h(source[i]); }'),
    reads: [{ name: 'source', buffer: 1, type: 'vec4f' }],
    writes: [{ name: 'packed', buffer: 'scratch0', type: 'vec4h' }],
    params: { count: u32(count) },
    workgroups: linearGrid(count),
  }
}

/** Rows of a workgroup that a thread holds sums of, `s0`, `s1`, ..; rows beyond the last are computed like the last and not stored. */
const rowsOf = (f: FewRows): number[] => range(Math.min(ROWS, f.rows))

const rowTiles = (f: FewRows): number => Math.ceil(f.rows / rowsOf(f).length)

/** WGSL: first row, and begin of the batch's matrices in a, b and y; a and b in vec4. */
const begin = (rows: readonly number[]): string => `
  let z = group.z / p.tiles;
  let first = group.z % p.tiles * ${rows.length}u;
  let beginB = z * p.columns * p.inner4;
  let beginY = z * p.rows * p.columns;
  ${rows.map((r) => `var s${r} = vec4f(); let a${r} = (z * p.rows + min(first + ${r}u, p.rows - 1u)) * p.inner4;`).join('\n  ')}`

const write = (f: FewRows, at: string, channel: string, value: string): string => {
  const sum = `${value}${f.bias ? ` + bias[${channel}]` : ''}`
  return f.fusible ? `store(${at}, ${channel}, ${sum});` : `result[${at}] = ${sum};`
}

/** Adds `sums[r][thread]` in a tree over `threads` halves down to `stop` threads. */
const tree = (rows: readonly number[], stop: number): string => `
  for (var half = ${THREADS / 2}u; half >= ${stop}u; half >>= 1u) {
    workgroupBarrier();
    if (index < half) { ${rows.map((r) => `sums[${r * THREADS}u + index] += sums[${r * THREADS}u + index + half];`).join(' ')} }
  }
  workgroupBarrier();`

function dispatch(f: FewRows, code: string, b: BufferRef, half: boolean, groups: number): Dispatch {
  const reads: Binding[] = [
    { name: 'a', buffer: 0, type: 'vec4f' },
    { name: 'b', buffer: b, type: half ? 'vec4h' : 'vec4f' },
  ]
  if (f.bias) reads.push({ name: 'bias', buffer: 2 })
  const x = Math.min(groups, 32768)
  const params = {
    tiles: u32(rowTiles(f)),
    rows: u32(f.rows),
    columns: u32(f.columns),
    inner: u32(f.inner),
    inner4: u32(f.inner / 4),
  }
  return {
    label: 'matmul',
    enable: half ? ['f16'] : undefined,
    code,
    reads,
    writes: [{ name: 'result', buffer: 'output' }],
    params: usedParams(code, params),
    workgroups: [x, Math.ceil(groups / x), rowTiles(f) * f.batch],
    stores: f.fusible ? 'f32' : undefined,
  }
}

const ENTRY = `@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) index: u32) {
  let own = group.y * groups.x + group.x;`

/** One column a workgroup: its threads take the vec4 of that row of b in turn. */
function alongRows(f: FewRows, b: BufferRef, half: boolean): Dispatch {
  const rows = rowsOf(f)
  const code = `var<workgroup> sums: array<f32, ${rows.length * THREADS}>;
${ENTRY}
  if (own >= p.columns) { return; }
  ${begin(rows)}
  for (var i = index; i < p.inner4; i += ${THREADS}u) {
    let w = vec4f(b[beginB + own * p.inner4 + i]);
    ${rows.map((r) => `s${r} = fma(a[a${r} + i], w, s${r});`).join(' ')}
  }
  ${rows.map((r) => `sums[${r * THREADS}u + index] = s${r}.x + s${r}.y + (s${r}.z + s${r}.w);`).join(' ')}
  ${tree(rows, 1)}
  let row = first + index;
  if (index < ${rows.length}u && row < p.rows) {
    ${write(f, 'beginY + row * p.columns + own', 'own', `sums[index * ${THREADS}u]`)}
  }
}
`
  return dispatch(f, code, b, half, f.columns)
}

/** ACROSS vec4 of columns a workgroup: groups of so many threads take the rows of b in turn. */
function acrossColumns(f: FewRows, b: BufferRef, half: boolean): Dispatch {
  const rows = rowsOf(f)
  const code = `var<workgroup> sums: array<vec4f, ${rows.length * THREADS}>;
${ENTRY}
  let columns4 = p.columns / 4u;
  if (own * ${ACROSS}u >= columns4) { return; }
  let column = own * ${ACROSS}u + index % ${ACROSS}u;
  let at = min(column, columns4 - 1u);
  ${begin(rows)}
  for (var i = index / ${ACROSS}u; i < p.inner4; i += ${THREADS / ACROSS}u) {
    ${range(4)
      .map((e) => `let w${e} = vec4f(b[beginB + (i * 4u + ${e}u) * columns4 + at]);`)
      .join(' ')}
    ${rows
      .map((r) => {
        const steps = range(4).map((e) => `s${r} = fma(vec4f(v${r}.${'xyzw'[e]}), w${e}, s${r});`)
        return `let v${r} = a[a${r} + i]; ${steps.join(' ')}`
      })
      .join('\n    ')}
  }
  ${rows.map((r) => `sums[${r * THREADS}u + index] = s${r};`).join(' ')}
  ${tree(rows, ACROSS)}
  if (index < ${ACROSS}u && column < columns4) {
    for (var r = 0u; r < min(${rows.length}u, p.rows - first); r++) {
      let total = sums[r * ${THREADS}u + index];
      for (var e = 0u; e < 4u; e++) {
        let j = column * 4u + e;
        ${write(f, 'beginY + (first + r) * p.columns + j', 'j', 'total[e]')}
      }
    }
  }
}
`
  return dispatch(f, code, b, half, Math.ceil(f.columns / 4 / ACROSS))
}
