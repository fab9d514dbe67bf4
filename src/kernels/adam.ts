/** Adam (Kingma and Ba, ICLR 2015). */
import { add, div, expm1, movingAverage, mul, sqrt, square, sub } from './elementwise.ts'
import type { Tensor } from './op.ts'
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
  expectState('adam', parameter, { gradient, mean: state.mean, variance: state.variance })
  expectScalar('adam', 'step', step)
  const rate = rateOf('adam', learningRate, parameter)
  const mean = movingAverage(state.mean, gradient, 1 - beta1)
  const variance = movingAverage(state.variance, square(gradient), 1 - beta2)
  // How much weight an average that began with 0 has so far: 1 - beta^step.
  const share = (beta: number): Tensor => mul(expm1(mul(step, Math.log(beta))), -1)
  const root = sqrt(div(variance, share(beta2)))
  const down = div(div(mul(rate, mean), share(beta1)), add(root, epsilon))
  return { parameter: sub(parameter, down), mean, variance }
}
