/** The operations of src/kernels/cumulative-sum.ts in float64, and their cases. */
import { cumulativeSumOp, extents } from '../../src/kernels/cumulative-sum.ts'
import { check } from './check.ts'

export const cumulativeSumCheck = check(cumulativeSumOp, {
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
})
