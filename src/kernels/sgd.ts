/** Stochastic gradient descent with momentum. */
import { add, mul, sub } from './elementwise.ts'
import { expectShape, formatShape, sameShape, type Tensor } from './op.ts'

export interface SgdOptions {
  /** What remains of the velocity from step to step; 0.9 unless told. */
  momentum?: number
  /** Factor of the parameter that is added to its gradient; 0 unless told. */
  weightDecay?: number
}

/**
 * One step of stochastic gradient descent, as PyTorch's SGD without dampening: `velocity` becomes
 * momentum * velocity + gradient + weightDecay * parameter, and the parameter falls by learningRate * velocity. What is
 * returned are the new values; hand them to `compile` as `updates` of the inputs that hold the old ones.
 * @param velocity zeros before the first step
 * @param learningRate a number, or a scalar tensor where it changes between steps
 * @throws ShapeError where gradient or velocity are not of the parameter's shape, or learningRate is no scalar.
 */
export function sgd(
  parameter: Tensor,
  gradient: Tensor,
  velocity: Tensor,
  learningRate: Tensor | number,
  { momentum = 0.9, weightDecay = 0 }: SgdOptions = {},
): { parameter: Tensor; velocity: Tensor } {
  expectState('sgd', parameter, { gradient, velocity })
  const pull = weightDecay === 0 ? gradient : add(gradient, mul(parameter, weightDecay))
  const next = add(mul(velocity, momentum), pull)
  return { parameter: sub(parameter, mul(next, rateOf('sgd', learningRate, parameter))), velocity: next }
}

/** Throws ShapeError unless every tensor has the parameter's shape. */
export function expectState(name: string, parameter: Tensor, tensors: Readonly<Record<string, Tensor>>): void {
  for (const [input, { shape }] of Object.entries(tensors)) {
    expectShape(
      sameShape(shape, parameter.shape),
      `${name}: ${input} ${formatShape(shape)} is not of the shape of ${parameter.name} ${formatShape(parameter.shape)}`,
    )
  }
}

/** A learning rate as a scalar tensor; throws ShapeError where it is a larger one. */
export function rateOf(name: string, learningRate: Tensor | number, parameter: Tensor): Tensor {
  if (typeof learningRate === 'number') return parameter.recorder.constant([learningRate], [], 'learningRate')
  expectScalar(name, 'learningRate', learningRate)
  return learningRate
}

/** Throws ShapeError unless the tensor is a scalar, []. */
export const expectScalar = (name: string, input: string, { shape }: Tensor): void =>
  expectShape(shape.length === 0, `${name}: ${input} ${formatShape(shape)} is no scalar []`)
