/** Normalisations in inference. */
import { abs, batchNorm, div, normalize, sqrt, square, sum } from '../../kernels/index.ts'
import type { Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'

/** What batch normalisation has learned of its channels, each [C]. */
export interface Norm {
  weight: Tensor
  bias: Tensor
  mean: Tensor
  variance: Tensor
  epsilon: number
}

/** The parameters of BatchNormalization. Throws for one that is being trained. */
export function normOf(call: Call): Norm {
  call.ignore('momentum')
  if (call.flag('training_mode', false)) call.fail('is in training mode')
  if (!call.flag('spatial', true)) call.fail('has statistics for every pixel (spatial 0)')
  if (call.node.outputs.slice(1).some((output) => output !== ''))
    call.fail('gives statistics of its batch, as in training')
  return {
    weight: call.tensor(1),
    bias: call.tensor(2),
    mean: call.tensor(3),
    variance: call.tensor(4),
    epsilon: call.float('epsilon', 1e-5),
  }
}

function norm(call: Call): Tensor {
  const { weight, bias, mean, variance, epsilon } = normOf(call)
  return batchNorm(call.tensor(0), weight, bias, mean, variance, epsilon)
}

/** x by its norm of order 1 or 2 along an axis. */
function lpNorm(call: Call): Tensor {
  const x = call.tensor(0)
  const axis = call.axis(call.int('axis', -1), x.shape.length)
  const order = call.int('p', 2)
  if (order !== 1 && order !== 2) call.fail(`has a norm of order ${order}; there are 1 and 2`)
  if (order === 2 && axis === x.shape.length - 1) return normalize(x)
  return div(x, order === 1 ? sum(abs(x), [axis]) : sqrt(sum(square(x), [axis])))
}

export const normalisations: { [op: string]: Operator } = {
  BatchNormalization: { inputs: [5, 5], build: norm },
  LpNormalization: { inputs: [1, 1], since: 1, build: lpNorm },
}
