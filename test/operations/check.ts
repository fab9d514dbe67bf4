/**
 * What an operation is held to: its definition in float64, and cases to try it on. They drive the test of its numbers, that of its gradient
 * and the benchmark.
 */
import { forEachBroadcast } from '../../src/kernels/broadcast.ts'
import { elements, type Op, type Shape } from '../../src/kernels/op.ts'
import type { PointwiseArgs } from '../../src/kernels/pointwise.ts'
import { evaluator } from './evaluate.ts'

/** How test inputs are drawn: in (-1, 1); in (0.2, 1.2); or all different and at least 1/64 apart, for kinks and ties. */
export type Fill = 'symmetric' | 'positive' | 'distinct' | Float32Array

export interface Case<A> {
  shapes: readonly Shape[]
  args: A
  fill?: readonly Fill[]
  /** Largest absolute error relative to the largest value; derived from the number of accumulations if left out. */
  tolerance?: number
}

/** The forward computation in float64, for people to read. */
export type Reference<A> = (args: A, inputs: readonly Float64Array[], shapes: readonly Shape[]) => Float64Array

export interface Check<A> {
  readonly op: Op<A>
  readonly reference: Reference<A>
  readonly cases: readonly Case<A>[]
}

export const check = <A>(op: Op<A>, by: Pick<Check<A>, 'reference' | 'cases'>): Check<A> => ({ op, ...by })

/** The reference of a pointwise operation follows from its expression. */
export const pointwiseCheck = (op: Op<PointwiseArgs>, cases: readonly Case<PointwiseArgs>[]): Check<PointwiseArgs> =>
  check(op, { reference: pointwiseReference(op), cases })

export function pointwiseReference(op: Op<PointwiseArgs>): Reference<PointwiseArgs> {
  const { value, inputs } = op.pointwise!
  const of = evaluator(value)
  return (args, values, shapes) => {
    const output = op.shape(args, shapes)
    const y = new Float64Array(elements(output))
    const operands: Record<string, number> = { ...args }
    forEachBroadcast(output, shapes, (index, at) => {
      for (let k = 0; k < inputs.length; k++) operands[inputs[k]] = values[k][at[k]]
      y[index] = of(operands)
    })
    return y
  }
}
