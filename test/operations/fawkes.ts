/** The operations of src/attack/fawkes-objective.ts in float64, and their cases. */
import { keepOp, sideOp, weightOp } from '../../src/attack/fawkes-objective.ts'
import type { PointwiseArgs } from '../../src/kernels/pointwise.ts'
import { type Case, pointwiseCheck } from './check.ts'

const states: readonly Case<PointwiseArgs>[] = [-1, 0, 1].flatMap((side) =>
  [256, 128, 1, 1 / 128, 1 / 256].map((weight) => ({
    shapes: [[1], [1], [5]],
    args: { low: 0.009, high: 0.011 },
    fill: [Float32Array.of(weight), Float32Array.of(side), Float32Array.of(0, 0.0089, 0.0101, 0.0111, 0.5)],
  })),
)

export const fawkesChecks = [
  pointwiseCheck(weightOp, states),
  pointwiseCheck(sideOp, states),
  pointwiseCheck(
    keepOp,
    [
      [0.3, 0.4, 0.01],
      [0.4, 0.3, 0.01],
      [0.3, 0.4, 0.012],
    ].flatMap(([best, feature, dssim]) =>
      [[1, 3, 5, 7], [1, 3, 4, 8], [1]].map((shape) => ({
        shapes: [shape, shape, [1], [1], [1]],
        args: { high: 0.011 },
        fill: ['symmetric', 'positive', ...[best, feature, dssim].map((v) => Float32Array.of(v))] as const,
      })),
    ),
  ),
]
