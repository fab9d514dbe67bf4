/** Operators that compute shapes and constants: all of them are done while the network is recorded. */
import { elements } from '../../kernels/op.ts'
import { isFloat, type OnnxType, typeOf } from '../../weights/onnx-tensor.ts'
import type { Call, Operator } from './call.ts'
import { castTo, type Known, known, type OnnxValue } from './values.ts'

/** The extents of x, or of some of its axes (from version 15 on). */
function shapeOf(call: Call): Known {
  const { shape } = call.value(0)
  const extents = shape.slice(call.int('start', 0), call.int('end', shape.length))
  return known('int64', [extents.length], Float64Array.from(extents))
}

function castType(call: Call): OnnxType {
  call.ignore('saturate')
  const code = call.int('to') ?? call.fail('has no type')
  return typeOf(code) ?? call.fail(`makes elements of type ${code}, which is not supported`)
}

function castKnown(call: Call): Known {
  const { shape, data } = call.known(0)
  const type = castType(call)
  const to = call.numbers(type, data.length)
  for (let i = 0; i < to.length; i++) to[i] = castTo(type, data[i])
  return known(type, shape, to)
}

/** Between floats nothing happens: all of them are computed as f32. */
function cast(call: Call): OnnxValue {
  const type = castType(call)
  return isFloat(type) ? call.tensor(0) : call.fail(`makes ${type} of what depends on the image, which has no gradient`)
}

function constantOfShape(call: Call): Known {
  const shape = call.integers(0) ?? []
  if (shape.some((extent) => extent < 0)) call.failList('would have the shape', shape)
  const value = call.constant('value') ?? known('float32', [1], Float32Array.of(0))
  if (value.data.length !== 1) call.failList('repeats a value of', value.shape)
  return known(value.type, shape, call.numbers(value.type, elements(shape)).fill(value.data[0]))
}

function range(call: Call): Known {
  const [start, limit, delta] = [0, 1, 2].map((k) => call.number(k) ?? call.fail(`has no input ${k}`))
  const { type } = call.known(0)
  const count = Math.max(0, Math.ceil((limit - start) / delta))
  if (Number.isNaN(count)) call.fail(`would count from ${start} to ${limit} by ${delta}`)
  const data = call.numbers(type, count)
  for (let i = 0; i < count; i++) data[i] = castTo(type, start + i * delta)
  return known(type, [count], data)
}

const folded = (
  since: number,
  inputs: Operator['inputs'],
  fold: (call: Call) => Known,
  parameters?: number[],
): Operator => ({
  since,
  inputs,
  parameters,
  fold,
  build: fold,
})

export const shapes: { [op: string]: Operator } = {
  Shape: folded(1, [1, 1], shapeOf),
  Cast: { inputs: [1, 1], since: 6, fold: castKnown, build: cast },
  ConstantOfShape: folded(9, [1, 1], constantOfShape, [0]),
  Range: folded(11, [3, 3], range, [0, 1, 2]),
}
