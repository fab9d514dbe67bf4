/** Steps of optimisers for all parameters of a loss at once, as `updates` of `compile`. */
import { type AdamOptions, adam } from '../kernels/adam.ts'
import { add } from '../kernels/elementwise.ts'
import { ShapeError, type Tensor } from '../kernels/op.ts'
import { type SgdOptions, sgd } from '../kernels/sgd.ts'
import { grad } from './gradient.ts'
import type { GraphTensor } from './graph.ts'

/** For `compile`: inputs and what they are after each run. */
export type Updates = [input: Tensor, value: Tensor][]

/**
 * A step of Adam for each parameter, down the gradient of the loss. The averages and the number of the step are states of the graph, named
 * after the parameters (`NAME.mean`, `NAME.variance`) and `adam.step`; they begin by themselves.
 * @param parameters inputs or states that the loss depends on
 * @param rate a number, or a scalar input where it changes between steps
 * @throws ShapeError as `grad` does, and for a parameter that is no input
 */
export function adamUpdates(
  loss: Tensor,
  parameters: readonly Tensor[],
  rate: Tensor | number,
  options: AdamOptions = {},
): Updates {
  const learned = inputsOf('adamUpdates', parameters)
  const step = (loss as GraphTensor).recorder.state('adam.step', [], 1)
  const updates = eachUpdated(loss, learned, (parameter, gradient) => {
    const { recorder: g, name, shape } = parameter
    const state = { mean: g.state(`${name}.mean`, shape), variance: g.state(`${name}.variance`, shape) }
    const next = adam(parameter, gradient, state, step, rate, options)
    return [
      [parameter, next.parameter],
      [state.mean, next.mean],
      [state.variance, next.variance],
    ]
  })
  return [...updates, [step, add(step, 1)]]
}

/**
 * A step of gradient descent with momentum for each parameter. The velocities are states of the graph, `NAME.velocity`; they begin with 0.
 * @throws ShapeError as `adamUpdates` does
 */
export function sgdUpdates(
  loss: Tensor,
  parameters: readonly Tensor[],
  rate: Tensor | number,
  options: SgdOptions = {},
): Updates {
  return eachUpdated(loss, inputsOf('sgdUpdates', parameters), (parameter, gradient) => {
    const velocity = parameter.recorder.state(`${parameter.name}.velocity`, parameter.shape)
    const next = sgd(parameter, gradient, velocity, rate, options)
    return [
      [parameter, next.parameter],
      [velocity, next.velocity],
    ]
  })
}

/** What the optimiser makes of each parameter and its gradient. */
function eachUpdated(
  loss: Tensor,
  parameters: readonly GraphTensor[],
  update: (parameter: GraphTensor, gradient: Tensor) => Updates,
): Updates {
  const gradients = grad(loss, parameters)
  return parameters.flatMap((parameter, i) => update(parameter, gradients[i]))
}

function inputsOf(name: string, parameters: readonly Tensor[]): GraphTensor[] {
  const nodes = parameters as readonly GraphTensor[]
  const wrong = nodes.find(({ op, rate }) => op || rate !== 'step')
  if (wrong) throw new ShapeError(`${name}: ${wrong.name} is no state or input of the graph, so it cannot be learned`)
  return [...nodes]
}
