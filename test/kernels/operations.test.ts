/** Every operation of the library, on all its cases. See support/check-operation.ts for what is checked. */

import type { Op } from '../../src/kernels/op.ts'
import { operations } from '../../src/kernels/operations.ts'
import { describeOperation } from '../support/check-operation.ts'
import { testGpu } from '../support/gpu.ts'

const gpu = await testGpu()

for (const op of operations as readonly Op<unknown>[]) describeOperation(gpu, op)
