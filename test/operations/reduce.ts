/** The operations of src/kernels/reduce.ts in float64, and their cases. */
import { forEachBroadcast } from '../../src/kernels/broadcast.ts'
import { elements, type Op } from '../../src/kernels/op.ts'
import { expandOp, maxOp, meanOp, type ReduceArgs, sumOp } from '../../src/kernels/reduce.ts'
import { type Case, type Check, check, type Fill } from './check.ts'

const cases: Case<ReduceArgs>[] = [
  { shapes: [[3, 5, 7]], args: { axes: [1] } },
  { shapes: [[3, 5, 7]], args: { axes: [0, 2] } },
  { shapes: [[2, 3, 4, 5]], args: { axes: [1, 2, 3] } },
  { shapes: [[2, 17, 13, 11]], args: { axes: [2, 3] } },
  { shapes: [[1, 1, 1]], args: { axes: [0, 1, 2] } },
  { shapes: [[5, 6]], args: { axes: [] } },
  { shapes: [[3, 331, 113]], args: { axes: [0, 1, 2] } },
  { shapes: [[4, 1009]], args: { axes: [1] } },
  { shapes: [[1009, 4]], args: { axes: [0] } },
]

function reduceCheck(op: Op<ReduceArgs>, combine: (values: number[]) => number, fill: Fill): Check<ReduceArgs> {
  return check(op, {
    reference(args, [x], [shape]) {
      const output = op.shape(args, [shape])
      const groups: number[][] = Array.from({ length: elements(output) }, () => [])
      const strides = output.map((_, i) => elements(output.slice(i + 1)))
      x.forEach((value, index) => {
        let rest = index
        let at = 0
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          if (output[axis] !== 1) at += (rest % shape[axis]) * strides[axis]
          rest = Math.floor(rest / shape[axis])
        }
        groups[at].push(value)
      })
      return Float64Array.from(groups, combine)
    },
    cases: cases.map((c) => ({ ...c, fill: [fill] })),
  })
}

const total = (values: number[]): number => values.reduce((sum, x) => sum + x, 0)

export const sumCheck = reduceCheck(sumOp, total, 'symmetric')
export const meanCheck = reduceCheck(meanOp, (values) => total(values) / values.length, 'symmetric')
export const maxCheck = reduceCheck(maxOp, (values) => values.reduce((most, x) => Math.max(most, x)), 'distinct')

export const expandCheck = check(expandOp, {
  reference({ shape, scale }, [x], [from]) {
    const y = new Float64Array(elements(shape))
    forEachBroadcast(shape, [from], (index, [at]) => {
      y[index] = x[at] * scale
    })
    return y
  },
  cases: [
    { shapes: [[3, 1, 5]], args: { shape: [3, 4, 5], scale: 1 } },
    { shapes: [[7]], args: { shape: [2, 3, 7], scale: 0.5 } },
    { shapes: [[1]], args: { shape: [1], scale: 1 } },
    { shapes: [[2, 3, 1, 1]], args: { shape: [2, 3, 5, 7], scale: 1 } },
  ],
})
