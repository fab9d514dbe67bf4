/** Elements by their index along an axis: gather, and with it embeddings. */
import { elements, expectShape, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { reshape } from './reshape.ts'
import { LINEAR, linearEntry, linearGrid } from './wgsl.ts'

export interface GatherArgs {
  axis: number
}

/**
 * The elements of x with these indices along an axis: y[o,j,i] = x[o, indices[j], i], as PyTorch's index_select.
 * @param x any tensor; the axes before `axis` are its rows o
 * @param indices whole numbers in f32, [M], or [B,M] with one list for each of B equal parts of the rows. What is no index is cut off to one.
 * @returns the shape of x with M along the axis. The gradient for the indices is 0
 * @throws ShapeError where the shapes do not fit.
 */
export const gather = (x: Tensor, indices: Tensor, axis = 0): Tensor =>
  x.recorder.apply(gatherOp, [x, indices], { axis })

/**
 * Rows of a table: [...,D] for indices [...] and a table [V,D], as PyTorch's embedding.
 * @throws ShapeError where the table is no matrix.
 */
export function embedding(indices: Tensor, table: Tensor): Tensor {
  expectShape(table.shape.length === 2, `embedding: the table ${formatShape(table.shape)} is no matrix [V,D]`)
  const list = reshape(indices, [elements(indices.shape)])
  return reshape(gather(table, list), [...indices.shape, table.shape[1]])
}

interface Layout {
  outer: number
  n: number
  inner: number
  m: number
  lists: number
}

export function layoutOf({ axis }: GatherArgs, [x, indices]: readonly Shape[]): Layout {
  const outer = elements(x.slice(0, axis))
  const lists = indices.length === 2 ? indices[0] : 1
  expectShape(Number.isInteger(axis) && axis >= 0 && axis < x.length, `gather: x ${formatShape(x)} has no axis ${axis}`)
  expectShape(
    (indices.length === 1 || indices.length === 2) && outer % lists === 0,
    `gather: indices ${formatShape(indices)} are no list [M], nor lists [B,M] for parts of the ${outer} rows of x ${formatShape(x)}`,
  )
  return { outer, n: x[axis], inner: elements(x.slice(axis + 1)), m: indices[indices.length - 1], lists }
}

const paramsOf = ({ outer, n, inner, m, lists }: Layout, count: number) => ({
  count: u32(count),
  n: u32(n),
  inner: u32(inner),
  m: u32(m),
  rows: u32(outer / lists),
})

/** Of the thread's element: row, place along the axis, place within. */
const placed = (extent: string): string => `  if (i >= p.count) { return; }
  let line = i / p.inner;
  let within = i - line * p.inner;
  let row = line / p.${extent};
  let along = line - row * p.${extent};
  let list = row / p.rows * p.m;`

const indexAt = (at: string): string => `u32(clamp(indices[${at}], 0.0, f32(p.n - 1u)))`

export const gatherOp: Op<GatherArgs> = {
  name: 'gather',
  inputs: ['x', 'indices'],
  shape: (args, shapes) => shapes[0].with(args.axis, layoutOf(args, shapes).m),
  cost: (args, shapes) => ({ flop: 0, bytes: 8 * elements(gatherOp.shape(args, shapes)) }),
  kernels(args, shapes) {
    const count = elements(gatherOp.shape(args, shapes))
    return [
      {
        variant: 'element',
        dispatches: [
          {
            label: 'gather',
            code: linearEntry(`${placed('m')}
  store(i, 0u, x[(row * p.n + ${indexAt('list + along')}) * p.inner + within]);`),
            reads: ['x', 'indices'].map((name, buffer) => ({ name, buffer })),
            writes: [{ name: 'y', buffer: 'output' }],
            params: paramsOf(layoutOf(args, shapes), count),
            workgroups: linearGrid(count),
            stores: 'f32',
            flat: true,
          },
        ],
      },
    ]
  },
  backward: ({ args, inputs: [x, indices], gradient, wanted }) => [
    wanted[0] ? x.recorder.apply(scatterOp, [gradient, indices], { ...args, extent: x.shape[args.axis] }) : undefined,
    0,
  ],
}

export interface ScatterArgs extends GatherArgs {
  /** Along the axis of the result. */
  extent: number
}

/**
 * Gradient of gather: every element is the sum of those that were taken from it, in their order, by way of a chain through them for each
 * index: where it occurs first, and after each place the next one. Its own gradient is gather.
 */
export const scatterOp: Op<ScatterArgs> = {
  name: 'gather.dx',
  inputs: ['dy', 'indices'],
  shape: ({ axis, extent }, [dy]) => dy.with(axis, extent),
  cost: (args, [dy]) => ({
    flop: elements(dy),
    bytes: 4 * (elements(dy) + elements(scatterOp.shape(args, [dy]))),
  }),
  kernels(args, [dy, indices]) {
    const shape = scatterOp.shape(args, [dy])
    const count = elements(shape)
    const layout = layoutOf(args, [shape, indices])
    const { n, m, lists } = layout
    return [
      {
        variant: 'chains',
        scratch: [lists * n, lists * m],
        dispatches: [
          {
            // A thread has a part of the values, and goes over all indices from the last to the first: nobody else writes there.
            label: 'gather.chains',
            code: linearEntry(`  let list = i / ${LINEAR}u;
  if (list >= p.lists) { return; }
  let begin = lane * p.part;
  let end = min(begin + p.part, p.n);
  for (var v = begin; v < end; v++) { first[list * p.n + v] = p.m; }
  for (var j = p.m; j > 0u; j--) {
    let at = list * p.m + j - 1u;
    let v = ${indexAt('at')};
    if (v < begin || v >= end) { continue; }
    next[at] = first[list * p.n + v];
    first[list * p.n + v] = j - 1u;
  }`),
            reads: [{ name: 'indices', buffer: 1 }],
            writes: [
              { name: 'first', buffer: 'scratch0', type: 'u32' },
              { name: 'next', buffer: 'scratch1', type: 'u32' },
            ],
            params: { lists: u32(lists), n: u32(n), m: u32(m), part: u32(Math.ceil(n / LINEAR)) },
            workgroups: linearGrid(lists * LINEAR),
          },
          {
            label: 'gather.dx',
            code: linearEntry(`${placed('n')}
  var total = 0.0;
  for (var j = first[row / p.rows * p.n + along]; j < p.m; j = next[list + j]) {
    total += dy[(row * p.m + j) * p.inner + within];
  }
  store(i, 0u, total);`),
            reads: [
              { name: 'dy', buffer: 0 },
              { name: 'first', buffer: 'scratch0', type: 'u32' },
              { name: 'next', buffer: 'scratch1', type: 'u32' },
            ],
            writes: [{ name: 'dx', buffer: 'output' }],
            params: paramsOf(layout, count),
            workgroups: linearGrid(count),
            stores: 'f32',
            flat: true,
          },
        ],
      },
    ]
  },
  backward: ({ args: { axis }, inputs: [, indices], gradient }) => [gather(gradient, indices, axis), 0],
}
