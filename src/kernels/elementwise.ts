/** The table of pointwise operations. A row is an expression; see expression.ts and pointwise.ts. */
import { type Op, type Operand, type Tensor, tensorsOf } from './op.ts'
import { type PointwiseArgs, pointwise } from './pointwise.ts'

// Each by itself and marked as pure, so that bundlers leave out those that are not used.
const addOp = /* @__PURE__ */ pointwise('add', {
  inputs: ['a', 'b'],
  value: ['add', 'a', 'b'],
})
const subOp = /* @__PURE__ */ pointwise('sub', {
  inputs: ['a', 'b'],
  value: ['sub', 'a', 'b'],
})
const mulOp = /* @__PURE__ */ pointwise('mul', {
  inputs: ['a', 'b'],
  value: ['mul', 'a', 'b'],
})
const divOp = /* @__PURE__ */ pointwise('div', {
  inputs: ['a', 'b'],
  value: ['div', 'a', 'b'],
  exact: true,
})
const maximumOp = /* @__PURE__ */ pointwise('maximum', {
  inputs: ['a', 'b'],
  value: ['max', 'a', 'b'],
})
const minimumOp = /* @__PURE__ */ pointwise('minimum', {
  inputs: ['a', 'b'],
  value: ['min', 'a', 'b'],
})
const lessOp = /* @__PURE__ */ pointwise('less', {
  inputs: ['a', 'b'],
  value: ['where', ['lt', 'a', 'b'], 1, 0],
})
const lessEqualOp = /* @__PURE__ */ pointwise('less_equal', {
  inputs: ['a', 'b'],
  value: ['where', ['le', 'a', 'b'], 1, 0],
})
const greaterOp = /* @__PURE__ */ pointwise('greater', {
  inputs: ['a', 'b'],
  value: ['where', ['gt', 'a', 'b'], 1, 0],
})
const greaterEqualOp = /* @__PURE__ */ pointwise('greater_equal', {
  inputs: ['a', 'b'],
  value: ['where', ['ge', 'a', 'b'], 1, 0],
})
const equalOp = /* @__PURE__ */ pointwise('equal', {
  inputs: ['a', 'b'],
  value: ['where', ['eq', 'a', 'b'], 1, 0],
})
const affineOp = /* @__PURE__ */ pointwise('affine', {
  inputs: ['x'],
  params: ['scale', 'offset'],
  value: ['add', ['mul', 'x', 'scale'], 'offset'],
})
const reluOp = /* @__PURE__ */ pointwise('relu', {
  inputs: ['x'],
  value: ['relu', 'x'],
})
const relu6Op = /* @__PURE__ */ pointwise('relu6', {
  inputs: ['x'],
  value: ['relu6', 'x'],
})
const preluOp = /* @__PURE__ */ pointwise('prelu', {
  inputs: ['x', 'slope'],
  value: ['mul', 'x', ['where', ['gt', 'x', 0], 1, 'slope']],
})
const leakyReluOp = /* @__PURE__ */ pointwise('leaky_relu', {
  inputs: ['x'],
  params: ['slope'],
  value: ['mul', 'x', ['where', ['gt', 'x', 0], 1, 'slope']],
})
const clipOp = /* @__PURE__ */ pointwise('clip', {
  inputs: ['x'],
  params: ['low', 'high'],
  value: ['clamp', 'x', 'low', 'high'],
})
const absOp = /* @__PURE__ */ pointwise('abs', {
  inputs: ['x'],
  value: ['abs', 'x'],
})
const signOp = /* @__PURE__ */ pointwise('sign', {
  inputs: ['x'],
  value: ['sign', 'x'],
})
const floorOp = /* @__PURE__ */ pointwise('floor', {
  inputs: ['x'],
  value: ['floor', 'x'],
})
const sqrtOp = /* @__PURE__ */ pointwise('sqrt', {
  inputs: ['x'],
  value: ['sqrt', 'x'],
})
const squareOp = /* @__PURE__ */ pointwise('square', {
  inputs: ['x'],
  value: ['mul', 'x', 'x'],
  exact: true,
})
const expOp = /* @__PURE__ */ pointwise('exp', {
  inputs: ['x'],
  value: ['exp', 'x'],
  exact: true,
})
const expm1Op = /* @__PURE__ */ pointwise('expm1', {
  inputs: ['x'],
  value: ['expm1', 'x'],
  exact: true,
})
const logOp = /* @__PURE__ */ pointwise('log', {
  inputs: ['x'],
  value: ['log', 'x'],
})
const sinOp = /* @__PURE__ */ pointwise('sin', {
  inputs: ['x'],
  value: ['sin', 'x'],
})
const cosOp = /* @__PURE__ */ pointwise('cos', {
  inputs: ['x'],
  value: ['cos', 'x'],
})
const erfOp = /* @__PURE__ */ pointwise('erf', {
  inputs: ['x'],
  value: ['erf', 'x'],
})
const sigmoidOp = /* @__PURE__ */ pointwise('sigmoid', {
  inputs: ['x'],
  value: ['sigmoid', 'x'],
})
const tanhOp = /* @__PURE__ */ pointwise('tanh', {
  inputs: ['x'],
  value: ['tanh', 'x'],
})
const siluOp = /* @__PURE__ */ pointwise('silu', {
  inputs: ['x'],
  value: ['mul', 'x', ['sigmoid', 'x']],
})
const geluOp = /* @__PURE__ */ pointwise('gelu', {
  inputs: ['x'],
  value: ['mul', ['mul', 0.5, 'x'], ['add', 1, ['erf', ['mul', Math.SQRT1_2, 'x']]]],
})
const whereOp = /* @__PURE__ */ pointwise('where', {
  inputs: ['condition', 'a', 'b'],
  value: ['where', ['eq', 'condition', 0], 'b', 'a'],
})
const movingAverageOp = /* @__PURE__ */ pointwise('moving_average', {
  inputs: ['average', 'value'],
  params: ['momentum', 'scale'],
  value: ['add', ['mul', 'average', ['sub', 1, 'momentum']], ['mul', 'value', ['mul', 'momentum', 'scale']]],
})
const signedStepOp = /* @__PURE__ */ pointwise('signed_step', {
  inputs: ['x', 'g'],
  params: ['step'],
  value: ['add', 'x', ['mul', 'step', ['sign', 'g']]],
})
const powOp = /* @__PURE__ */ pointwise('pow', {
  inputs: ['x', 'e'],
  value: ['pow', 'x', 'e'],
})

/** Every row, for the tests and the benchmark. */
export const elementwiseOps: readonly Op<PointwiseArgs>[] = [
  addOp,
  subOp,
  mulOp,
  divOp,
  maximumOp,
  minimumOp,
  lessOp,
  lessEqualOp,
  greaterOp,
  greaterEqualOp,
  equalOp,
  affineOp,
  reluOp,
  relu6Op,
  preluOp,
  leakyReluOp,
  clipOp,
  absOp,
  signOp,
  floorOp,
  sqrtOp,
  squareOp,
  expOp,
  expm1Op,
  logOp,
  sinOp,
  cosOp,
  erfOp,
  sigmoidOp,
  tanhOp,
  siluOp,
  geluOp,
  whereOp,
  movingAverageOp,
  signedStepOp,
  powOp,
]

const isTensor = (x: Operand): x is Tensor => typeof x === 'object' && x !== null

/** What an operation that does not mind the order is for a number and a tensor; undefined for two tensors and for two numbers. */
function numberAndTensor(a: Operand, b: Operand, record: (n: number, x: Tensor) => Tensor): Tensor | undefined {
  if (typeof a === 'number' && isTensor(b)) return record(a, b)
  if (typeof b === 'number' && isTensor(a)) return record(b, a)
  return undefined
}

const one =
  (op: Op<PointwiseArgs>) =>
  (x: Tensor): Tensor =>
    tensorsOf(op.name, [x])[0].recorder.apply(op, [x], {})
const two =
  (op: Op<PointwiseArgs>) =>
  (a: Operand, b: Operand): Tensor => {
    const operands = tensorsOf(op.name, [a, b])
    return operands[0].recorder.apply(op, operands, {})
  }
const addition = /* @__PURE__ */ two(addOp)
const subtraction = /* @__PURE__ */ two(subOp)
const multiplication = /* @__PURE__ */ two(mulOp)

/** a + b; a number is a scalar. */
export const add = (a: Operand, b: Operand): Tensor =>
  numberAndTensor(a, b, (n, x) => affine(x, 1, n)) ?? addition(a, b)
/** a - b; a number is a scalar. */
export function sub(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && isTensor(a)) return affine(a, 1, -b)
  return numberAndTensor(a, b, (n, x) => affine(x, -1, n)) ?? subtraction(a, b)
}
/** a * b; a number is a scalar. */
export const mul = (a: Operand, b: Operand): Tensor =>
  // Zero is added with the sign that leaves products of zero their own.
  numberAndTensor(a, b, (n, x) => affine(x, n, -0)) ?? multiplication(a, b)
/** a / b; a number is a scalar. */
export const div = /* @__PURE__ */ two(divOp)
export const relu = /* @__PURE__ */ one(reluOp)
export const relu6 = /* @__PURE__ */ one(relu6Op)
export const abs = /* @__PURE__ */ one(absOp)
export const sqrt = /* @__PURE__ */ one(sqrtOp)
export const square = /* @__PURE__ */ one(squareOp)
export const exp = /* @__PURE__ */ one(expOp)
export const log = /* @__PURE__ */ one(logOp)
export const sigmoid = /* @__PURE__ */ one(sigmoidOp)
export const tanh = /* @__PURE__ */ one(tanhOp)
export const sin = /* @__PURE__ */ one(sinOp)
export const cos = /* @__PURE__ */ one(cosOp)
/** 1, -1 or 0; its gradient is 0. */
export const sign = /* @__PURE__ */ one(signOp)
/** The largest whole number up to x; its gradient is 0. */
export const floor = /* @__PURE__ */ one(floorOp)
/** exp(x) - 1, exact close to 0. */
export const expm1 = /* @__PURE__ */ one(expm1Op)
/** The error function. */
export const erf = /* @__PURE__ */ one(erfOp)
/** x * sigmoid(x), also called swish. */
export const silu = /* @__PURE__ */ one(siluOp)
/** x * (1 + erf(x / sqrt(2))) / 2; Hendrycks and Gimpel 2016. */
export const gelu = /* @__PURE__ */ one(geluOp)
/** 1 where a < b, else 0, with broadcasting; a number is a scalar. Its gradient is 0, as that of the other comparisons. */
export const less = /* @__PURE__ */ two(lessOp)
export const lessEqual = /* @__PURE__ */ two(lessEqualOp)
export const greater = /* @__PURE__ */ two(greaterOp)
export const greaterEqual = /* @__PURE__ */ two(greaterEqualOp)
/** 1 where a = b, else 0. */
export const equal = /* @__PURE__ */ two(equalOp)
/** a where the condition is not 0, else b, with broadcasting; numbers are scalars. */
export function where(condition: Operand, a: Operand, b: Operand): Tensor {
  const operands = tensorsOf('where', [condition, a, b])
  return operands[0].recorder.apply(whereOp, operands, {})
}
/** x to the power e; NaN where x < 0 and e is no whole number. There is no gradient for e. */
export const pow = /* @__PURE__ */ two(powOp)
/** The larger of two, element by element; a number is a scalar. */
export const maximum = /* @__PURE__ */ two(maximumOp)
/** The smaller of two, element by element; a number is a scalar. */
export const minimum = /* @__PURE__ */ two(minimumOp)
/** x where positive, else slope * x (0.01 in PyTorch). */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => x.recorder.apply(leakyReluOp, [x], { slope })
/** x cut off below `low` and above `high`. Throws RangeError unless both are numbers and low <= high. */
export function clip(x: Tensor, low: number, high: number): Tensor {
  if (!(Number.isFinite(low) && Number.isFinite(high) && low <= high))
    throw new RangeError(`clip: ${low} to ${high} is no range`)
  return x.recorder.apply(clipOp, [x], { low, high })
}
/** PReLU; `slope` broadcasts against x, so give per-channel slopes of an image as [C,1,1]. */
export const prelu = /* @__PURE__ */ two(preluOp)
/** x * scale + offset with numbers known while recording. */
export const affine = (x: Tensor, scale: number, offset: number): Tensor =>
  x.recorder.apply(affineOp, [x], { scale, offset })
/** average * (1 - momentum) + value * scale * momentum, an exponential moving average. */
export const movingAverage = (average: Tensor, value: Tensor, momentum: number, scale = 1): Tensor =>
  average.recorder.apply(movingAverageOp, [average, value], { momentum, scale })
/** x + step * sign(g), the update of signed gradient ascent. */
export const signedStep = (x: Tensor, g: Tensor, step: number): Tensor =>
  x.recorder.apply(signedStepOp, [x, g], { step })
