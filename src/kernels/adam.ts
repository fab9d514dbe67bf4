/** Adam (Kingma and Ba, ICLR 2015). */
import { movingAverage } from './elementwise.ts'
import type { Op, Tensor } from './op.ts'
import { type PointwiseArgs, pointwise } from './pointwise.ts'
import { expectScalar, expectState, rateOf } from './sgd.ts'

/** Moving averages of the gradient and of its square, element by element; zeros before the first step. */
export interface AdamState {
  mean: Tensor
  variance: Tensor
}

export interface AdamOptions {
  /** What remains of the averages of the gradient and of its square from step to step; the paper's 0.9 and 0.999 unless told. */
  betas?: readonly [number, number]
  /** Added to the root of the variance; the paper's 1e-8 unless told. */
  epsilon?: number
}

/**
 * One step of Adam. What is returned are the new values; hand them to `compile` as `updates` of the inputs that hold the
 * old ones.
 * @param state averages of the parameter's shape
 * @param step a scalar tensor: the number of this step, counted from 1. `affine(step, 1, 1)` updates it
 * @param learningRate a number, or a scalar tensor where it changes between steps
 * @throws ShapeError where a tensor is not of the parameter's shape, or step or learningRate no scalar.
 */
export function adam(
  parameter: Tensor,
  gradient: Tensor,
  state: AdamState,
  step: Tensor,
  learningRate: Tensor | number,
  { betas: [beta1, beta2] = [0.9, 0.999], epsilon = 1e-8 }: AdamOptions = {},
): AdamState & { parameter: Tensor } {
  const { recorder } = parameter
  expectState('adam', parameter, { gradient, mean: state.mean, variance: state.variance })
  expectScalar('adam', 'step', step)
  const mean = movingAverage(state.mean, gradient, 1 - beta1)
  const variance = recorder.apply(varianceOp, [state.variance, gradient], { keep: beta2, take: 1 - beta2 })
  const share = (beta: number): Tensor => recorder.apply(shareOp, [step], { logBeta: Math.log(beta) })
  const inputs = [parameter, mean, variance, share(beta1), share(beta2), rateOf('adam', learningRate, parameter)]
  return { parameter: recorder.apply(adamOp, inputs, { epsilon }), mean, variance }
}

const shapes = [[2, 3, 5], [16], [1]]

const varianceOp = pointwise('adam.variance', {
  inputs: ['variance', 'gradient'],
  params: ['keep', 'take'],
  forward: {
    wgsl: 'p.keep * variance + p.take * gradient * gradient',
    js: ({ variance, gradient, keep, take }) => keep * variance + take * gradient * gradient,
  },
  flop: 4,
  cases: shapes.map((shape) => ({ shapes: [shape, shape], args: { keep: 0.999, take: 0.001 } })),
})

/**
 * 1 - beta^step: how much weight an average that began with 0 has so far. Close to 0 the exponential's series takes the
 * place of a difference in which most digits would cancel (1 - 0.999 at the first step).
 */
const shareOp = pointwise('adam.share', {
  inputs: ['step'],
  params: ['logBeta'],
  forward: {
    wgsl: `select(
    T(1) - exp(step * p.logBeta),
    -step * p.logBeta * (T(1) + ${[2, 3, 4, 5, 6].reduceRight((rest, k) => `step * p.logBeta / ${k}.0 * (T(1) + ${rest})`, 'T(0)')}),
    step * p.logBeta > T(-0.25))`,
    js: ({ step, logBeta }) => -Math.expm1(step * logBeta),
  },
  flop: 40,
  cases: [
    { shapes: [[7]], args: { logBeta: Math.log(0.9) }, fill: [Float32Array.of(1, 2, 3, 5, 30, 300, 30000)] },
    ...[1, 10, 249, 251, 5000].map((step) => ({
      shapes: [[]],
      args: { logBeta: Math.log(0.999) },
      fill: [Float32Array.of(step)],
    })),
  ],
})

const adamOp = pointwise('adam', {
  inputs: ['parameter', 'mean', 'variance', 'meanShare', 'varianceShare', 'rate'],
  params: ['epsilon'],
  forward: {
    wgsl: 'parameter - rate * mean / meanShare / (sqrt(variance / varianceShare) + p.epsilon)',
    js: ({ parameter, mean, variance, meanShare, varianceShare, rate, epsilon }) =>
      parameter - (rate * mean) / meanShare / (Math.sqrt(variance / varianceShare) + epsilon),
  },
  flop: 12,
  cases: shapes.map((shape) => ({
    shapes: [shape, shape, shape, [], [], []],
    args: { epsilon: 1e-8 },
    fill: ['symmetric', 'symmetric', 'positive', 'positive', 'positive', 'positive'],
  })),
})

export const adamOps: readonly Op<PointwiseArgs>[] = [varianceOp, shareOp, adamOp]
