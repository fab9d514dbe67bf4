/** Operators between numbers, with NumPy's broadcasting (ONNX 7 and later). */
import { broadcastShape, forEachBroadcast } from '../../kernels/broadcast.ts'
import { abs, add, affine, div, exp, log, maximum, minimum, mul, pow, sqrt, square, sub } from '../../kernels/index.ts'
import { elements, type Tensor } from '../../kernels/op.ts'
import { isFloat } from '../../weights/onnx-tensor.ts'
import type { Call, Operator } from './call.ts'
import { castTo, type Known, known } from './values.ts'

type Record = (a: Tensor, b: Tensor) => Tensor
type Compute = (a: number, b: number) => number

function foldPair(call: Call, a: Known, b: Known, compute: Compute): Known {
  if (isFloat(a.type) !== isFloat(b.type) && call.node.op !== 'Pow') call.fail(`mixes ${a.type} and ${b.type}`)
  const shape = broadcastShape([a.shape, b.shape])
  const data = call.numbers(a.type, elements(shape))
  forEachBroadcast(shape, [a.shape, b.shape], (i, [j, k]) => {
    data[i] = castTo(a.type, compute(a.data[j], b.data[k]))
  })
  return known(a.type, shape, data)
}

/** An operator of two numbers. */
const pair = (record: Record, compute: Compute): Operator => ({
  inputs: [2, 2],
  fold: (call) => foldPair(call, call.known(0), call.known(1), compute),
  build: (call) => record(call.tensor(0), call.tensor(1)),
})

/** An operator of any number of tensors that joins two at a time. */
const joined = (record: Record, compute: Compute): Operator => ({
  inputs: [1, Number.POSITIVE_INFINITY],
  since: 6,
  fold: (call) => call.node.inputs.map((_, k) => call.known(k)).reduce((a, b) => foldPair(call, a, b, compute)),
  build: (call) => call.node.inputs.map((_, k) => call.tensor(k)).reduce(record),
})

const single = (record: (x: Tensor) => Tensor, compute: (x: number) => number): Operator => ({
  inputs: [1, 1],
  since: 6,
  fold(call) {
    const { type, shape, data } = call.known(0)
    const results = call.numbers(type, data.length)
    for (let i = 0; i < results.length; i++) results[i] = castTo(type, compute(data[i]))
    return known(type, shape, results)
  },
  build: (call) => record(call.tensor(0)),
})

const onlyKnown = (compute: (x: number) => number): Operator => ({
  ...single((x) => x, compute),
  parameters: [0],
  build: (call) => call.fail(`is only computed of constants: it has no gradient`),
})

/** Exponents for which there is something cheaper, and better for x <= 0, than logarithms. */
const powers = new Map<number, (x: Tensor) => Tensor>([
  [0.5, sqrt],
  [1, (x) => x],
  [2, square],
  [3, (x) => mul(square(x), x)],
])

const power: Operator = {
  inputs: [2, 2],
  parameters: [1],
  fold: (call) => foldPair(call, call.known(0), call.known(1), (x, e) => x ** e),
  build(call) {
    const x = call.tensor(0)
    const exponent = call.known(1)
    const easy = exponent.data.length === 1 && exponent.shape.length <= x.shape.length && powers.get(exponent.data[0])
    if (easy) return easy(x)
    // Integers may be exponents of floats.
    const floats = isFloat(exponent.type)
      ? exponent
      : known('float64', exponent.shape, Float64Array.from(exponent.data))
    return pow(x, call.tensorOf(floats, call.node.inputs[1]))
  },
}

/** Integers are divided towards zero. */
const quotient: Operator = {
  ...pair(div, (a, b) => a / b),
  fold(call) {
    const divisor = call.known(1)
    if (!isFloat(divisor.type) && divisor.data.includes(0)) call.fail('divides an integer by zero')
    return foldPair(call, call.known(0), divisor, (a, b) => a / b)
  },
}

export const arithmetic: { [op: string]: Operator } = {
  Add: pair(add, (a, b) => a + b),
  Sub: pair(sub, (a, b) => a - b),
  Mul: pair(mul, (a, b) => a * b),
  Div: quotient,
  Pow: power,
  Sum: joined(add, (a, b) => a + b),
  Max: joined(maximum, Math.max),
  Min: joined(minimum, Math.min),
  Sqrt: single(sqrt, Math.sqrt),
  Neg: single(
    (x) => affine(x, -1, 0),
    (x) => -x,
  ),
  Abs: single(abs, Math.abs),
  Exp: single(exp, Math.exp),
  Log: single(log, Math.log),
  Reciprocal: single(
    (x) => div(x.recorder.constant([1], [], 'one'), x),
    (x) => 1 / x,
  ),
  Floor: onlyKnown(Math.floor),
  Ceil: onlyKnown(Math.ceil),
}
