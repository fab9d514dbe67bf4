/** Every operation: functions that record them, and the list that drives tests and benchmarks. One line a file. */
export * from './elementwise.ts'
export * from './reduce.ts'
export * from './reshape.ts'

import { elementwiseOps } from './elementwise.ts'
import type { Op } from './op.ts'
import { expandOp, maxOp, meanOp, sumOp } from './reduce.ts'
import { reshapeOp } from './reshape.ts'

// biome-ignore lint/suspicious/noExplicitAny: each operation has argument types of its own
export const operations: readonly Op<any>[] = [...elementwiseOps, sumOp, meanOp, maxOp, expandOp, reshapeOp]
