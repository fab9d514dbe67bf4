/** Mirroring along an axis. */
import { elements, expectShape, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface FlipArgs {
  /** The axis whose order is turned round. */
  axis: number
}

/** `x` with the order along `axis` turned round; the last axis mirrors images. Throws ShapeError where x has no such axis. */
export const flip = (x: Tensor, axis: number): Tensor => x.recorder.apply(flipOp, [x], { axis })

/** Elements between neighbours along the axis. */
export const strideOf = ({ axis }: FlipArgs, x: Shape): number => elements(x.slice(axis + 1))

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
}
