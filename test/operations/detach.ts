/** The operations of src/kernels/detach.ts in float64, and their cases. */
import { detachOp } from '../../src/kernels/detach.ts'
import { check } from './check.ts'

export const detachCheck = check(detachOp, {
  reference: (_, [x]) => x,
  cases: [{ shapes: [[2, 3]], args: {} }],
})
