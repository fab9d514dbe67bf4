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

export const extents = ({ axis }: CumulativeSumArgs, x: Shape) => ({
  count: x[axis],
  stride: elements(x.slice(axis + 1)),
})

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
}
