/** The cases of an operation, which its tests run on, as something to be timed. */
import type { Graph } from '../src/graph/index.ts'
import { elements, formatShape, type Op, type Shape, type Tensor } from '../src/kernels/op.ts'
import type { Case, Fill } from '../test/operations/check.ts'
import { checks } from '../test/operations/index.ts'
import { filled } from './peers/problem.ts'

/** A case of an operation, and how to record it on inputs x0, x1 and so on. */
export interface CaseRow {
  op: string
  shape: string
  record(g: Graph): Tensor
  /** The inputs' values, in order. */
  values: Float32Array[]
}

/** Names of the operations that have cases. */
export const caseNames = (): string[] => checks.map(({ op }) => op.name)

/** All cases of the operations of this name. */
export const casesOf = (name: string): CaseRow[] =>
  checks.filter(({ op }) => op.name === name).flatMap(({ op, cases }) => cases.map((c) => rowOf(op, c)))

function rowOf(op: Op, { shapes, args, fill }: Case<unknown>): CaseRow {
  const given = JSON.stringify(args) ?? '{}'
  return {
    op: op.name,
    shape: `${shapes.map(formatShape).join(' ')}${given === '{}' ? '' : ` ${given}`}`,
    record: (g) =>
      g.apply(
        op,
        shapes.map((shape, k) => g.input(`x${k}`, shape)),
        args,
      ),
    values: shapes.map((shape, k) => valuesOf(fill?.[k] ?? 'symmetric', shape)),
  }
}

/** As `Fill` says; no speed depends on whether numbers are `distinct`. */
function valuesOf(fill: Fill, shape: Shape): Float32Array {
  if (fill instanceof Float32Array) return fill
  const values = filled(shape)
  if (values.length !== elements(shape)) throw new RangeError(`${values.length} values for ${formatShape(shape)}`)
  return fill === 'positive' ? values.map((value) => 0.7 + value / 2) : values
}
