/** Activations. */
import { broadcastShape } from '../../kernels/broadcast.ts'
import {
  affine,
  clip,
  leakyRelu,
  logSoftmax,
  mul,
  prelu,
  relu,
  reshape,
  sigmoid,
  softmax,
  tanh,
} from '../../kernels/index.ts'
import { elements, type Shape, sameShape, type Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'

/** The largest f32, where a bound is left out. */
const HUGE = 3.4028234663852886e38

const simple = (record: (x: Tensor, call: Call) => Tensor): Operator => ({
  inputs: [1, 1],
  since: 6,
  build: (call) => record(call.tensor(0), call),
})

/** Bounds are attributes until version 10, inputs from 11 on. */
const clipOperator: Operator = {
  inputs: [1, 3],
  since: 6,
  parameters: [1, 2],
  build(call) {
    const x = call.tensor(0)
    if (call.opset < 11 && call.has(1)) call.fail('takes bounds as inputs, which version 11 introduced')
    const [low, high] = call.opset < 11 ? [call.float('min'), call.float('max')] : [call.number(1), call.number(2)]
    const bound = (value: number) => Math.min(Math.max(value, -HUGE), HUGE)
    return clip(x, bound(low ?? -HUGE), bound(high ?? HUGE))
  },
}

const broadcastsTo = (from: Shape, to: Shape): boolean => {
  try {
    return sameShape(broadcastShape([from, to]), to)
  } catch {
    return false
  }
}

/**
 * The slope broadcasts to x. MXNet's exporter wrote one slope a channel as [C], which does not, unless by accident: other runtimes
 * take that for channels, and so does this one.
 */
function preluOperator(call: Call): Tensor {
  const x = call.tensor(0)
  const slope = call.tensor(1)
  if (broadcastsTo(slope.shape, x.shape)) return prelu(x, slope)
  if (slope.shape.length === 1 && slope.shape[0] === x.shape[1])
    return prelu(x, reshape(slope, [slope.shape[0], ...x.shape.slice(2).map(() => 1)]))
  return call.failList('its slopes do not fit x', slope.shape)
}

/** Until version 12 the axes from `axis` on are one, from 13 on it is that axis alone. */
const overAxis =
  (compute: (x: Tensor, axis: number) => Tensor) =>
  (x: Tensor, call: Call): Tensor => {
    const rank = x.shape.length
    if (call.opset >= 13) return compute(x, call.axis(call.int('axis', -1), rank))
    const axis = call.axis(call.int('axis', 1), rank)
    const rows = elements(x.shape.slice(0, axis))
    return reshape(compute(reshape(x, [rows, elements(x.shape) / rows]), 1), x.shape)
  }

/** max(0, min(1, alpha x + beta)). */
const hardSigmoid = (x: Tensor, alpha: number, beta: number): Tensor => clip(affine(x, alpha, beta), 0, 1)

export const activations: { [op: string]: Operator } = {
  Relu: simple(relu),
  LeakyRelu: simple((x, call) => leakyRelu(x, call.float('alpha', 0.01))),
  PRelu: { inputs: [2, 2], build: preluOperator },
  Clip: clipOperator,
  Sigmoid: simple(sigmoid),
  Tanh: simple(tanh),
  HardSigmoid: simple((x, call) => hardSigmoid(x, call.float('alpha', 0.2), call.float('beta', 0.5))),
  HardSwish: simple((x) => mul(x, hardSigmoid(x, 1 / 6, 0.5))),
  Softmax: simple(overAxis(softmax)),
  LogSoftmax: simple(overAxis(logSoftmax)),
}
