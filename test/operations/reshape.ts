/** The operations of src/kernels/reshape.ts in float64, and their cases. */
import { reshapeOp } from '../../src/kernels/reshape.ts'
import { check } from './check.ts'

export const reshapeCheck = check(reshapeOp, {
  reference: (_, [x]) => x,
  cases: [
    { shapes: [[2, 3, 4]], args: { shape: [6, 4] } },
    { shapes: [[5]], args: { shape: [1, 5, 1] } },
  ],
})
