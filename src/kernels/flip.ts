/** Mirroring along an axis. */
import { type Case, elements, expectShape, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface FlipArgs {
  /** The axis whose order is turned round. */
  axis: number
}

/** `x` with the order along `axis` turned round; the last axis mirrors images. Throws ShapeError where x has no such axis. */
export const flip = (x: Tensor, axis: number): Tensor => x.recorder.apply(flipOp, [x], { axis })

/** Elements between neighbours along the axis. */
const strideOf = ({ axis }: FlipArgs, x: Shape): number => elements(x.slice(axis + 1))

export const flipOp: Op<FlipArgs> = {
  name: 'flip',
  inputs: ['x'],
  half: 'follows',
  shape({ axis }, [x]) {
    expectShape(Number.isInteger(axis) && axis >= 0 && axis < x.length, `flip: x ${formatShape(x)} has no axis ${axis}`)
    return x
  },
  cost: (_, [x]) => ({ flop: 0, bytes: 8 * elements(x) }),
  kernels(args, [x]) {
    const stride = strideOf(args, x)
    // Four neighbours at a time where the axis does not reach into them.
    const wide = stride % 4 === 0
    const count = elements(x) / (wide ? 4 : 1)
    const type = wide ? ('vec4f' as const) : ('f32' as const)
    return [
      {
        variant: wide ? 'vec4' : 'scalar',
        dispatches: [
          {
            label: 'flip',
            code: linearEntry(`  if (i >= p.count) { return; }
  let at = i / p.stride % p.extent;
  store(i, 0u, x[i - at * p.stride + (p.extent - 1u - at) * p.stride]);`),
            reads: [{ name: 'x', buffer: 0, type }],
            writes: [{ name: 'y', buffer: 'output', type }],
            params: { count: u32(count), extent: u32(x[args.axis]), stride: u32(wide ? stride / 4 : stride) },
            workgroups: linearGrid(count),
            stores: type,
            flat: true,
          },
        ],
      },
    ]
  },
  backward: ({ args, gradient }) => [flip(gradient, args.axis)],
  reference(args, [x], [shape]) {
    const stride = strideOf(args, shape)
    const extent = shape[args.axis]
    return x.map((_, i) => x[i + (extent - 1 - 2 * (Math.floor(i / stride) % extent)) * stride])
  },
  cases: [
    { shapes: [[2, 3, 5, 7]], args: { axis: 3 } },
    { shapes: [[2, 3, 4, 8]], args: { axis: 3 } },
    { shapes: [[2, 3, 5, 7]], args: { axis: 0 } },
    { shapes: [[3, 5, 12]], args: { axis: 1 } },
    { shapes: [[1]], args: { axis: 0 } },
  ] satisfies Case<FlipArgs>[],
}
