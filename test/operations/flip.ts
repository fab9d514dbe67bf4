/** The operations of src/kernels/flip.ts in float64, and their cases. */
import { type FlipArgs, flipOp, strideOf } from '../../src/kernels/flip.ts'
import { type Case, check } from './check.ts'

export const flipCheck = check(flipOp, {
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
})
