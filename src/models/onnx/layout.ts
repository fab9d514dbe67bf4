/** Operators that leave the numbers as they are: other shapes, other orders, copies. */
import { broadcastShape } from '../../kernels/broadcast.ts'
import { expand, reshape, transpose } from '../../kernels/index.ts'
import { elements, type Shape } from '../../kernels/op.ts'
import { RANK_LIMIT } from '../../weights/onnx-tensor.ts'
import type { Call, Operator } from './call.ts'
import { known, type OnnxValue, reshaped } from './values.ts'

/** An operator that gives its first input another shape. */
const reshaping = (inputs: Operator['inputs'], shapeOf: (call: Call, x: Shape) => Shape, since = 1): Operator => ({
  inputs,
  since,
  parameters: [1],
  fold(call) {
    const x = call.known(0)
    const shape = shapeOf(call, x.shape)
    if (elements(shape) !== x.data.length) call.failList(`${x.data.length} elements do not have the shape`, shape)
    return reshaped(x, shape)
  },
  build(call) {
    const x = call.tensor(0)
    return reshape(x, shapeOf(call, x.shape))
  },
})

/**
 * Where the target has 0 the extent stays, one -1 takes what is left. A model written for a fixed batch has that number at the front of
 * its targets; where the batch is another one, its number takes that place.
 */
function target(call: Call, x: Shape): Shape {
  const shape = call.integers(1) ?? call.fail('has no shape')
  const keepZeros = call.flag('allowzero', false)
  if (shape.some((extent) => extent < -1) || shape.filter((extent) => extent === -1).length > 1)
    call.failList('is given the shape', shape)
  const whole = shape.map((extent, axis) => {
    if (extent !== 0 || keepZeros) return extent
    return x[axis] ?? call.failList(`keeps axis ${axis}, which is not there in x`, x)
  })
  const { samples, fixed } = call.place.batch
  if (samples !== fixed && whole[0] === fixed && x[0] === samples) whole[0] = samples
  const free = whole.indexOf(-1)
  if (free < 0) return whole
  const others = elements(whole.toSpliced(free, 1))
  const left = elements(x) / others
  if (!Number.isInteger(left)) call.failList(`cannot give ${elements(x)} elements the shape`, whole)
  return whole.with(free, left)
}

/** Axes that are an attribute before version 13, and from then on an input. */
function listedAxes(call: Call): readonly number[] | undefined {
  if (call.opset < 13 && call.has(1)) call.fail('takes axes as an input, which version 13 introduced')
  return call.opset < 13 ? call.ints('axes') : call.integers(1)
}

function squeezed(call: Call, x: Shape): Shape {
  const axes = listedAxes(call)
  const gone = axes ? call.axes(axes, x.length) : x.flatMap((extent, axis) => (extent === 1 ? [axis] : []))
  const long = gone.find((axis) => x[axis] !== 1)
  if (long !== undefined) call.failList(`axis ${long} cannot be dropped from`, x)
  return x.filter((_, axis) => !gone.includes(axis))
}

function unsqueezed(call: Call, x: Shape): Shape {
  const axes = listedAxes(call) ?? call.fail('has no axes')
  const rank = x.length + axes.length
  if (rank > RANK_LIMIT) call.fail(`makes ${rank} axes; ${RANK_LIMIT} are the most`)
  const added = call.axes(axes, rank)
  const rest = [...x]
  return Array.from({ length: rank }, (_, axis) => (added.includes(axis) ? 1 : rest.shift()!))
}

function flattened(call: Call, x: Shape): Shape {
  const given = call.int('axis', 1)
  const axis = given === x.length ? given : call.axis(given, x.length)
  return [elements(x.slice(0, axis)), elements(x.slice(axis))]
}

const identity: Operator = {
  inputs: [1, 1],
  since: 1,
  fold: (call) => call.known(0),
  build: (call) => call.tensor(0),
}

/** In inference x itself; the mask of what was kept is all ones. */
const dropout: Operator = {
  inputs: [1, 3],
  parameters: [1, 2],
  build(call): OnnxValue[] {
    call.ignore('ratio', 'seed')
    const x = call.tensor(0)
    if (call.number(2) && call.number(1) !== 0) call.fail('is in training mode')
    if (!call.node.outputs[1]) return [x]
    return [x, known('bool', x.shape, call.numbers('bool', elements(x.shape)).fill(1))]
  },
}

export const layout: { [op: string]: Operator } = {
  Reshape: reshaping([2, 2], target, 5),
  Squeeze: reshaping([1, 2], squeezed),
  Unsqueeze: reshaping([1, 2], unsqueezed),
  Flatten: reshaping([1, 1], flattened),
  Identity: identity,
  Dropout: dropout,
  Transpose: {
    inputs: [1, 1],
    since: 1,
    build(call) {
      const x = call.tensor(0)
      return transpose(x, call.ints('perm') ?? x.shape.map((_, axis) => axis).reverse())
    },
  },
  Expand: {
    inputs: [2, 2],
    since: 8,
    parameters: [1],
    build(call) {
      const x = call.tensor(0)
      return expand(x, broadcastShape([x.shape, call.integers(1) ?? call.fail('has no shape')]))
    },
  },
}
