/** The table of pointwise operations. A row is an expression and cases; see expression.ts and pointwise.ts. */
import { type Case, type Fill, type Op, type Operand, type Tensor, tensorsOf } from './op.ts'
import { type PointwiseArgs, pointwise } from './pointwise.ts'

/** Shapes of operands; those of two are alike, per channel in two layouts, crossed, and with a scalar. */
const SINGLES = ['2,3,5,7', '1', '4,16']
const PAIRS = ['2,3,4 2,3,4', '2,3,5,7 3,1,1', '2,3,4,8 2,3,1,1', '5,1,3 1,7,3', '3,4 []']

type Cases = readonly Case<PointwiseArgs>[]
/** Cases of these shapes: the first operand is filled one way, the others another. */
const filled = (shapes: readonly string[], first: Fill, others: Fill = first, args: PointwiseArgs = {}): Cases =>
  shapes.map((text) => {
    const each = text.split(' ').map((shape) => (shape === '[]' ? [] : shape.split(',').map(Number)))
    return { shapes: each, args, fill: each.map((_, k) => (k === 0 ? first : others)) }
  })
const singles = (fill: Fill = 'symmetric', args: PointwiseArgs = {}): Cases => filled(SINGLES, fill, fill, args)
const pairs = (fill: Fill = 'symmetric', others: Fill = fill): Cases => filled(PAIRS, fill, others)
/** These values. */
const values = (numbers: readonly number[]): Case<PointwiseArgs> =>
  filled([`${numbers.length}`], Float32Array.from(numbers))[0]
// Each by itself and marked as pure, so that bundlers leave out those that are not used.
const addOp = /* @__PURE__ */ pointwise('add', {
  inputs: ['a', 'b'],
  value: ['add', 'a', 'b'],
  cases: pairs(),
})
const subOp = /* @__PURE__ */ pointwise('sub', {
  inputs: ['a', 'b'],
  value: ['sub', 'a', 'b'],
  cases: pairs(),
})
const mulOp = /* @__PURE__ */ pointwise('mul', {
  inputs: ['a', 'b'],
  value: ['mul', 'a', 'b'],
  cases: pairs(),
})
const divOp = /* @__PURE__ */ pointwise('div', {
  inputs: ['a', 'b'],
  value: ['div', 'a', 'b'],
  exact: true,
  cases: pairs('positive'),
})
const maximumOp = /* @__PURE__ */ pointwise('maximum', {
  inputs: ['a', 'b'],
  value: ['max', 'a', 'b'],
  cases: pairs('distinct', 'symmetric'),
})
const minimumOp = /* @__PURE__ */ pointwise('minimum', {
  inputs: ['a', 'b'],
  value: ['min', 'a', 'b'],
  cases: pairs('distinct', 'symmetric'),
})
const lessOp = /* @__PURE__ */ pointwise('less', {
  inputs: ['a', 'b'],
  value: ['where', ['lt', 'a', 'b'], 1, 0],
  cases: pairs('distinct', 'positive'),
})
const lessEqualOp = /* @__PURE__ */ pointwise('less_equal', {
  inputs: ['a', 'b'],
  value: ['where', ['le', 'a', 'b'], 1, 0],
  cases: pairs('distinct', 'positive'),
})
const greaterOp = /* @__PURE__ */ pointwise('greater', {
  inputs: ['a', 'b'],
  value: ['where', ['gt', 'a', 'b'], 1, 0],
  cases: pairs('distinct', 'positive'),
})
const greaterEqualOp = /* @__PURE__ */ pointwise('greater_equal', {
  inputs: ['a', 'b'],
  value: ['where', ['ge', 'a', 'b'], 1, 0],
  cases: pairs('distinct', 'positive'),
})
const equalOp = /* @__PURE__ */ pointwise('equal', {
  inputs: ['a', 'b'],
  value: ['where', ['eq', 'a', 'b'], 1, 0],
  cases: pairs('distinct', 'positive'),
})
const affineOp = /* @__PURE__ */ pointwise('affine', {
  inputs: ['x'],
  params: ['scale', 'offset'],
  value: ['add', ['mul', 'x', 'scale'], 'offset'],
  cases: singles('symmetric', { scale: 1.5, offset: -0.25 }),
})
const reluOp = /* @__PURE__ */ pointwise('relu', {
  inputs: ['x'],
  value: ['relu', 'x'],
  cases: singles('distinct'),
})
const relu6Op = /* @__PURE__ */ pointwise('relu6', {
  inputs: ['x'],
  value: ['relu6', 'x'],
  cases: [...singles('distinct'), ...filled(['2,13,53'], 'distinct')],
})
const preluOp = /* @__PURE__ */ pointwise('prelu', {
  inputs: ['x', 'slope'],
  value: ['mul', 'x', ['where', ['gt', 'x', 0], 1, 'slope']],
  cases: filled(['2,3,5,7 3,1,1', '2,8,4,4 8,1,1', '3,10 10', '3,10 1'], 'distinct', 'symmetric'),
})
const leakyReluOp = /* @__PURE__ */ pointwise('leaky_relu', {
  inputs: ['x'],
  params: ['slope'],
  value: ['mul', 'x', ['where', ['gt', 'x', 0], 1, 'slope']],
  cases: singles('distinct', { slope: 0.1 }),
})
const clipOp = /* @__PURE__ */ pointwise('clip', {
  inputs: ['x'],
  params: ['low', 'high'],
  value: ['clamp', 'x', 'low', 'high'],
  cases: singles('distinct', { low: -0.25, high: 0.5 }),
})
const absOp = /* @__PURE__ */ pointwise('abs', {
  inputs: ['x'],
  value: ['abs', 'x'],
  cases: singles('distinct'),
})
const signOp = /* @__PURE__ */ pointwise('sign', {
  inputs: ['x'],
  value: ['sign', 'x'],
  cases: singles('distinct'),
})
const floorOp = /* @__PURE__ */ pointwise('floor', {
  inputs: ['x'],
  value: ['floor', 'x'],
  cases: singles('distinct'),
})
const sqrtOp = /* @__PURE__ */ pointwise('sqrt', {
  inputs: ['x'],
  value: ['sqrt', 'x'],
  cases: singles('positive'),
})
const squareOp = /* @__PURE__ */ pointwise('square', {
  inputs: ['x'],
  value: ['mul', 'x', 'x'],
  exact: true,
  cases: singles(),
})
const expOp = /* @__PURE__ */ pointwise('exp', {
  inputs: ['x'],
  value: ['exp', 'x'],
  exact: true,
  cases: singles(),
})
const expm1Op = /* @__PURE__ */ pointwise('expm1', {
  inputs: ['x'],
  value: ['expm1', 'x'],
  exact: true,
  cases: [...singles(), values([-30, -5, -0.2501, -0.2499, -1e-3, 1e-6, 0.3, 2])],
})
const logOp = /* @__PURE__ */ pointwise('log', {
  inputs: ['x'],
  value: ['log', 'x'],
  cases: singles('positive'),
})
/** What WGSL lets sine and cosine be off by within ±pi; SwiftShader is off by 2e-4. */
const ANGLE_ERROR = 2 ** -11

const sinOp = /* @__PURE__ */ pointwise('sin', {
  inputs: ['x'],
  value: ['sin', 'x'],
  cases: [...singles(), values([-3, 3, 1.5, -1.5])].map((c) => ({ ...c, tolerance: ANGLE_ERROR })),
})
const cosOp = /* @__PURE__ */ pointwise('cos', {
  inputs: ['x'],
  value: ['cos', 'x'],
  cases: [...singles(), values([-3, 3, 1.5, -1.5])].map((c) => ({ ...c, tolerance: ANGLE_ERROR })),
})
const erfOp = /* @__PURE__ */ pointwise('erf', {
  inputs: ['x'],
  value: ['erf', 'x'],
  cases: [...singles(), values([-9, -2, -0.5, -0.31, -0.29, 0.01, 1, 3])],
})
const sigmoidOp = /* @__PURE__ */ pointwise('sigmoid', {
  inputs: ['x'],
  value: ['sigmoid', 'x'],
  cases: [...singles(), values([-200, -20, 20, 200])],
})
const tanhOp = /* @__PURE__ */ pointwise('tanh', {
  inputs: ['x'],
  value: ['tanh', 'x'],
  cases: [...singles(), values([-200, -20, 20, 200])],
})
const siluOp = /* @__PURE__ */ pointwise('silu', {
  inputs: ['x'],
  value: ['mul', 'x', ['sigmoid', 'x']],
  cases: [...singles(), values([-20, -3, 3, 20])],
})
const geluOp = /* @__PURE__ */ pointwise('gelu', {
  inputs: ['x'],
  value: ['mul', ['mul', 0.5, 'x'], ['add', 1, ['erf', ['mul', Math.SQRT1_2, 'x']]]],
  cases: [...singles(), values([-9, -2, 2, 9])],
})
const whereOp = /* @__PURE__ */ pointwise('where', {
  inputs: ['condition', 'a', 'b'],
  value: ['where', ['eq', 'condition', 0], 'b', 'a'],
  cases: [
    ...filled(['2,3 2,3 2,3'], Float32Array.of(0, 1, 1, 0, 2, -1), 'symmetric'),
    ...filled(['2,1 1,4 []'], Float32Array.of(0, 1), 'symmetric'),
  ],
})
const movingAverageOp = /* @__PURE__ */ pointwise('moving_average', {
  inputs: ['average', 'value'],
  params: ['momentum', 'scale'],
  value: ['add', ['mul', 'average', ['sub', 1, 'momentum']], ['mul', 'value', ['mul', 'momentum', 'scale']]],
  cases: [
    ...filled(['7 7'], 'symmetric', 'symmetric', { momentum: 0.1, scale: 1.5 }),
    ...filled(['2,4 2,4'], 'symmetric', 'symmetric', { momentum: 0.001, scale: 1 }),
  ],
})
const signedStepOp = /* @__PURE__ */ pointwise('signed_step', {
  inputs: ['x', 'g'],
  params: ['step'],
  value: ['add', 'x', ['mul', 'step', ['sign', 'g']]],
  cases: [
    ...filled(['1,3,5,7 1,3,5,7'], 'symmetric', 'distinct', { step: 0.0025 }),
    ...filled(['4 4'], new Float32Array(4), Float32Array.of(1, -2, 1e-3, -1), { step: 0.5 }),
  ],
})
const powOp = /* @__PURE__ */ pointwise('pow', {
  inputs: ['x', 'e'],
  value: ['pow', 'x', 'e'],
  cases: [
    ...filled(['2,3,5,7 2,3,5,7', '3,8 8', '2,3,4 []'], 'positive', 'symmetric'),
    ...[2, 3, 1, 0].flatMap((e) => filled(['4,5 []'], 'distinct', Float32Array.of(e))),
    ...[-1, -3, 0.5].flatMap((e) => filled(['4,5 []'], 'positive', Float32Array.of(e))),
    ...filled(['4 4'], Float32Array.of(0, 0, -2, -2), Float32Array.of(2, 0, 0, -3)),
  ],
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
