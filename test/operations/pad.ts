/** The operations of src/kernels/pad.ts in float64, and their cases. */
import { elements, type Shape } from '../../src/kernels/op.ts'
import { type PadArgs, padGradientOp, padOp, padShape } from '../../src/kernels/pad.ts'
import { type Case, check } from './check.ts'

/** Calls `visit` with the flat indices of every padded element that comes from x and of the element it comes from. */
function forEachSource(args: PadArgs, shape: Shape, visit: (to: number, from: number) => void): void {
  const padded = padShape('pad', args, shape)
  const count = elements(padded)
  for (let to = 0; to < count; to++) {
    let rest = to
    let from = 0
    let stride = 1
    let inside = true
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const extent = shape[axis]
      let at = (rest % padded[axis]) - args.before[axis]
      rest = Math.floor(rest / padded[axis])
      if (args.mode === 'reflect' && at < 0) at = -at
      if (args.mode === 'reflect' && at >= extent) at = 2 * (extent - 1) - at
      inside &&= at >= 0 && at < extent
      from += at * stride
      stride *= extent
    }
    if (inside) visit(to, from)
  }
}

export const padCheck = check(padOp, {
  reference(args, [x], [shape]) {
    const y = new Float64Array(elements(padShape('pad', args, shape))).fill(args.value)
    forEachSource(args, shape, (to, at) => {
      y[to] = x[at]
    })
    return y
  },
  cases: [
    { mode: 'constant' as const, value: 0 },
    { mode: 'constant' as const, value: -1.5 },
    { mode: 'reflect' as const, value: 0 },
  ].flatMap((how): Case<PadArgs>[] => [
    { shapes: [[2, 3, 5, 7]], args: { before: [0, 0, 1, 2], after: [0, 0, 3, 0], ...how } },
    { shapes: [[2, 3, 4, 5]], args: { before: [0, 2, 0, 4], after: [0, 1, 0, 4], ...how } },
    { shapes: [[2, 3, 4]], args: { before: [1, 0, 0], after: [1, 0, 0], ...how } },
    { shapes: [[2, 2]], args: { before: [1, 1], after: [1, 1], ...how } },
    { shapes: [[3]], args: { before: [0], after: [0], ...how } },
    { shapes: [[]], args: { before: [], after: [], ...how } },
  ]),
})

export const padGradientCheck = check(padGradientOp, {
  reference({ shape, ...args }, [dy]) {
    const dx = new Float64Array(elements(shape))
    forEachSource(args, shape, (to, at) => {
      dx[at] += dy[to]
    })
    return dx
  },
  cases: padCheck.cases.map(({ shapes: [x], args }) => ({
    shapes: [padOp.shape(args, [x])],
    args: { ...args, shape: x },
  })),
})
