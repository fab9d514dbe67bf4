/** Adadelta (Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv 1212.5701). */
import { affine, div, movingAverage, mul, sqrt, square, sub } from './elementwise.ts'
import type { Tensor } from './op.ts'
import { expectState, rateOf } from './sgd.ts'

/** Moving averages of the squares of gradients and of steps, element by element; zeros before the first step. */
export interface AdadeltaState {
  gradientSquare: Tensor
  stepSquare: Tensor
}

export interface AdadeltaOptions {
  /** What remains of the averages from step to step; the paper's 0.95 unless told. */
  decay?: number
  /** Added to both averages under the root; 1e-7 unless told, as in Keras (the paper has 1e-6). */
  epsilon?: number
}

/**
 * One step of Adadelta (algorithm 1 of the paper): with G and S the averages of squared gradients and steps,
 * G' = decay G + (1 - decay) g^2, step = sqrt(S + epsilon) / sqrt(G' + epsilon) g, S' = decay S + (1 - decay) step^2. The parameter
 * falls by learningRate * step; the paper's rate is 1. What is returned are the new values; hand them to `compile` as `updates` of the
 * inputs that hold the old ones.
 * @param state averages of the parameter's shape
 * @param learningRate a number, or a scalar tensor where it changes between steps
 * @throws ShapeError where a tensor is not of the parameter's shape, or learningRate no scalar.
 */
export function adadelta(
  parameter: Tensor,
  gradient: Tensor,
  state: AdadeltaState,
  learningRate: Tensor | number,
  { decay = 0.95, epsilon = 1e-7 }: AdadeltaOptions = {},
): AdadeltaState & { parameter: Tensor } {
  expectState('adadelta', parameter, { gradient, ...state })
  const rate = rateOf('adadelta', learningRate, parameter)
  const gradientSquare = movingAverage(state.gradientSquare, square(gradient), 1 - decay)
  const scale = sqrt(div(affine(state.stepSquare, 1, epsilon), affine(gradientSquare, 1, epsilon)))
  const step = mul(scale, gradient)
  const stepSquare = movingAverage(state.stepSquare, square(step), 1 - decay)
  return { parameter: sub(parameter, mul(rate, step)), gradientSquare, stepSquare }
}
