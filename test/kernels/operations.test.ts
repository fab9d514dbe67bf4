/** Every operation of the library, on all its cases. See support/check-operation.ts for what is checked. */
import { checks } from '../operations/index.ts'
import { describeOperation } from '../support/check-operation.ts'
import { testGpu } from '../support/gpu.ts'

const gpu = await testGpu()

for (const each of checks) describeOperation(gpu, each)
