/** Running sums along an axis. */
import { elements, expectShape, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface CumulativeSumArgs {
  axis: number
  /** From the end on. */
  reverse: boolean
}

/** Each element plus those before it along an axis (the last unless told). Throws ShapeError where there is no such axis. */
export const cumsum = (x: Tensor, axis = x.shape.length - 1, { reverse = false } = {}): Tensor =>
  x.recorder.apply(cumulativeSumOp, [x], { axis, reverse })

const extents = ({ axis }: CumulativeSumArgs, x: Shape) => ({ count: x[axis], stride: elements(x.slice(axis + 1)) })

export const cumulativeSumOp: Op<CumulativeSumArgs> = {
  name: 'cumsum',
  inputs: ['x'],
  shape({ axis }, [x]) {
    expectShape(
      Number.isInteger(axis) && axis >= 0 && axis < x.length,
      `cumsum: x ${formatShape(x)} has no axis ${axis}`,
    )
    return x
  },
  cost: (args, [x]) => ({ flop: elements(x) * Math.sqrt(extents(args, x).count), bytes: 8 * elements(x) }),
  kernels(args, [x]) {
    const { count, stride } = extents(args, x)
    const rows = elements(x) / count
    return [
      {
        variant: args.reverse ? 'backward' : 'forward',
        dispatches: [
          {
            label: 'cumsum',
            code: linearEntry(`  if (i >= p.rows) { return; }
  let outer = i / p.stride;
  let start = outer * p.length * p.stride + i - outer * p.stride;
  var total = 0.0;
  for (var k = 0u; k < p.length; k++) {
    let at = start + ${args.reverse ? '(p.length - 1u - k)' : 'k'} * p.stride;
    total += x[at];
    store(at, 0u, total);
  }`),
            reads: [{ name: 'x', buffer: 0 }],
            writes: [{ name: 'y', buffer: 'output' }],
            params: { rows: u32(rows), length: u32(count), stride: u32(stride) },
            workgroups: linearGrid(rows),
            stores: 'f32',
            flat: true,
          },
        ],
      },
    ]
  },
  backward: ({ args: { axis, reverse }, gradient }) => [cumsum(gradient, axis, { reverse: !reverse })],
  reference(args, [x], [shape]) {
    const { count, stride } = extents(args, shape)
    return x.map((_, i) => {
      const place = Math.floor(i / stride) % count
      let total = 0
      for (let k = 0; k < count; k++) if (args.reverse ? k >= place : k <= place) total += x[i + (k - place) * stride]
      return total
    })
  },
  cases: [
    { shapes: [[3, 7]], args: { axis: 1, reverse: false } },
    { shapes: [[5, 4, 3]], args: { axis: 0, reverse: true } },
    { shapes: [[2, 300]], args: { axis: 1, reverse: false } },
    { shapes: [[1]], args: { axis: 0, reverse: false } },
  ],
}
