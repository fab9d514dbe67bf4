/** Vectors of length one: the last axis divided by its Euclidean norm. */
import { elements, expectShape, f32, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { LINEAR, laneSum, rowEntry, rowGrid } from './wgsl.ts'

export interface NormalizeArgs {
  epsilon: number
}

/**
 * x / max(||x||, epsilon) along the last axis, as PyTorch's `normalize` (whose epsilon is 1e-12). Throws ShapeError for a
 * scalar x.
 */
export const normalize = (x: Tensor, epsilon = 1e-12): Tensor => x.recorder.apply(normalizeOp, [x], { epsilon })

/** The reciprocal of max(norm, epsilon), where `square` is the squared norm. */
const RECIPROCAL = '1.0 / max(sqrt(square), p.epsilon)'

export const normalizeOp: Op<NormalizeArgs> = {
  name: 'normalize',
  inputs: ['x'],
  shape(_, [x]) {
    expectShape(x.length > 0, `normalize: x ${formatShape(x)} has no last axis`)
    return x
  },
  cost: (_, [x]) => ({ flop: 3 * elements(x), bytes: 8 * elements(x) }),
  kernels: ({ epsilon }, [x]) => [
    {
      variant: 'workgroup',
      dispatches: [
        {
          label: 'normalize',
          code: `${laneSum('sum')}
${rowEntry(`  let end = (row + 1u) * p.count;
  var part = 0.0;
  for (var at = row * p.count + lane; at < end; at += ${LINEAR}u) { part += x[at] * x[at]; }
  let square = sum(lane, part);
  let scale = ${RECIPROCAL};
  for (var at = row * p.count + lane; at < end; at += ${LINEAR}u) { store(at, 0u, x[at] * scale); }`)}`,
          reads: [{ name: 'x', buffer: 0 }],
          writes: [{ name: 'y', buffer: 'output' }],
          stores: 'f32',
          flat: true,
          ...rowsOf(x, epsilon),
        },
      ],
    },
  ],
  backward: ({ args, inputs: [x], gradient }) => [x.recorder.apply(normalizeGradientOp, [x, gradient], args)],
}

/** dx = (dy - y (y . dy)) / ||x||, and dy / epsilon where the norm is below epsilon. */
export const normalizeGradientOp: Op<NormalizeArgs> = {
  name: 'normalize.dx',
  inputs: ['x', 'dy'],
  shape: (_, [x]) => x,
  cost: (_, [x]) => ({ flop: 8 * elements(x), bytes: 12 * elements(x) }),
  kernels: ({ epsilon }, [x]) => [
    {
      variant: 'workgroup',
      dispatches: [
        {
          label: 'normalize.dx',
          code: `${laneSum('sum', 'vec2f')}
${rowEntry(`  let end = (row + 1u) * p.count;
  var part = vec2f(0);
  for (var at = row * p.count + lane; at < end; at += ${LINEAR}u) { part += x[at] * vec2f(x[at], dy[at]); }
  let total = sum(lane, part);
  let square = total.x;
  let scale = ${RECIPROCAL};
  let along = select(total.y * scale * scale, 0.0, sqrt(square) < p.epsilon);
  for (var at = row * p.count + lane; at < end; at += ${LINEAR}u) { store(at, 0u, (dy[at] - x[at] * along) * scale); }`)}`,
          reads: [
            { name: 'x', buffer: 0 },
            { name: 'dy', buffer: 1 },
          ],
          writes: [{ name: 'dx', buffer: 'output' }],
          stores: 'f32',
          flat: true,
          ...rowsOf(x, epsilon),
        },
      ],
    },
  ],
}

const rowsOf = (x: Shape, epsilon: number) => {
  const count = x.at(-1)!
  const rows = elements(x) / count
  return {
    params: { rows: u32(rows), count: u32(count), epsilon: f32(epsilon) },
    workgroups: rowGrid(rows),
  }
}
