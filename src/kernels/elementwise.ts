/** The table of pointwise operations. A row is an expression and cases; see expression.ts and pointwise.ts. */
import type { Expression } from './expression.ts'
import { type Case, type Fill, type Op, type Operand, type Shape, type Tensor, tensorsOf } from './op.ts'
import { type PointwiseArgs, pointwise } from './pointwise.ts'

const SINGLES: readonly Shape[] = [[2, 3, 5, 7], [1], [4, 16]]
/** Shapes of two operands: alike, per channel in two layouts, crossed, and with a scalar. */
const PAIRS: readonly (readonly Shape[])[] = [
  '2,3,4 2,3,4',
  '2,3,5,7 3,1,1',
  '2,3,4,8 2,3,1,1',
  '5,1,3 1,7,3',
  '3,4 []',
].map((pair) => pair.split(' ').map((shape) => (shape === '[]' ? [] : shape.split(',').map(Number))))

type Cases = readonly Case<PointwiseArgs>[]
const filled = (
  shapes: readonly (readonly Shape[])[],
  fill: Fill,
  others: Fill = fill,
  args: PointwiseArgs = {},
): Cases => shapes.map((each) => ({ shapes: each, args, fill: each.map((_, k) => (k === 0 ? fill : others)) }))
const singles = (fill: Fill = 'symmetric', args: PointwiseArgs = {}): Cases =>
  filled(
    SINGLES.map((shape) => [shape]),
    fill,
    fill,
    args,
  )
const pairs = (fill: Fill = 'symmetric', others: Fill = fill): Cases => filled(PAIRS, fill, others)
/** These values, with the arguments. */
const values = (numbers: readonly number[], args: PointwiseArgs = {}): Case<PointwiseArgs> => ({
  shapes: [[numbers.length]],
  args,
  fill: [Float32Array.from(numbers)],
})

const unary = (name: string, value: Expression, cases: Cases, exact = false): Op<PointwiseArgs> =>
  pointwise(name, { inputs: ['x'], value, cases, exact })
const binary = (name: string, value: Expression, cases: Cases = pairs(), exact = false): Op<PointwiseArgs> =>
  pointwise(name, { inputs: ['a', 'b'], value, cases, exact })
/** 1 where the condition holds, else 0. No two values of a case are equal, as the derivative is taken there. */
const comparison = (name: string, condition: 'lt' | 'le' | 'gt' | 'ge' | 'eq'): Op<PointwiseArgs> =>
  binary(name, ['where', [condition, 'a', 'b'], 1, 0], pairs('distinct', 'positive'))

const ops = {
  add: binary('add', ['add', 'a', 'b']),
  sub: binary('sub', ['sub', 'a', 'b']),
  mul: binary('mul', ['mul', 'a', 'b']),
  div: binary('div', ['div', 'a', 'b'], pairs('positive'), true),
  maximum: binary('maximum', ['max', 'a', 'b'], pairs('distinct', 'symmetric')),
  minimum: binary('minimum', ['min', 'a', 'b'], pairs('distinct', 'symmetric')),
  less: comparison('less', 'lt'),
  lessEqual: comparison('less_equal', 'le'),
  greater: comparison('greater', 'gt'),
  greaterEqual: comparison('greater_equal', 'ge'),
  equal: comparison('equal', 'eq'),
  affine: pointwise('affine', {
    inputs: ['x'],
    params: ['scale', 'offset'],
    value: ['add', ['mul', 'x', 'scale'], 'offset'],
    cases: singles('symmetric', { scale: 1.5, offset: -0.25 }),
  }),
  relu: unary('relu', ['relu', 'x'], singles('distinct')),
  relu6: unary('relu6', ['relu6', 'x'], [...singles('distinct'), ...filled([[[2, 13, 53]]], 'distinct')]),
  prelu: pointwise('prelu', {
    inputs: ['x', 'slope'],
    value: ['mul', 'x', ['where', ['gt', 'x', 0], 1, 'slope']],
    cases: filled(
      [
        [
          [2, 3, 5, 7],
          [3, 1, 1],
        ],
        [
          [2, 8, 4, 4],
          [8, 1, 1],
        ],
        [[3, 10], [10]],
        [[3, 10], [1]],
      ],
      'distinct',
      'symmetric',
    ),
  }),
  leakyRelu: pointwise('leaky_relu', {
    inputs: ['x'],
    params: ['slope'],
    value: ['mul', 'x', ['where', ['gt', 'x', 0], 1, 'slope']],
    cases: singles('distinct', { slope: 0.1 }),
  }),
  clip: pointwise('clip', {
    inputs: ['x'],
    params: ['low', 'high'],
    value: ['clamp', 'x', 'low', 'high'],
    cases: singles('distinct', { low: -0.25, high: 0.5 }),
  }),
  abs: unary('abs', ['abs', 'x'], singles('distinct')),
  sign: unary('sign', ['sign', 'x'], singles('distinct')),
  sqrt: unary('sqrt', ['sqrt', 'x'], singles('positive')),
  square: unary('square', ['mul', 'x', 'x'], singles(), true),
  exp: unary('exp', ['exp', 'x'], singles(), true),
  expm1: unary('expm1', ['expm1', 'x'], [...singles(), values([-30, -5, -0.2501, -0.2499, -1e-3, 1e-6, 0.3, 2])], true),
  log: unary('log', ['log', 'x'], singles('positive')),
  sin: unary('sin', ['sin', 'x'], [...singles(), values([-3, 3, 1.5, -1.5])]),
  cos: unary('cos', ['cos', 'x'], [...singles(), values([-3, 3, 1.5, -1.5])]),
  erf: unary('erf', ['erf', 'x'], [...singles(), values([-9, -2, -0.5, -0.31, -0.29, 0.01, 1, 3])]),
  sigmoid: unary('sigmoid', ['sigmoid', 'x'], [...singles(), values([-200, -20, 20, 200])]),
  tanh: unary('tanh', ['tanh', 'x'], [...singles(), values([-200, -20, 20, 200])]),
  silu: unary('silu', ['mul', 'x', ['sigmoid', 'x']], [...singles(), values([-20, -3, 3, 20])]),
  gelu: unary(
    'gelu',
    ['mul', ['mul', 0.5, 'x'], ['add', 1, ['erf', ['mul', Math.SQRT1_2, 'x']]]],
    [...singles(), values([-9, -2, 2, 9])],
  ),
  where: pointwise('where', {
    inputs: ['condition', 'a', 'b'],
    value: ['where', ['eq', 'condition', 0], 'b', 'a'],
    cases: [
      {
        shapes: [
          [2, 3],
          [2, 3],
          [2, 3],
        ],
        args: {},
        fill: [Float32Array.of(0, 1, 1, 0, 2, -1), 'symmetric', 'symmetric'],
      },
      { shapes: [[2, 1], [1, 4], []], args: {}, fill: [Float32Array.of(0, 1), 'symmetric', 'symmetric'] },
    ],
  }),
  movingAverage: pointwise('moving_average', {
    inputs: ['average', 'value'],
    params: ['momentum', 'scale'],
    value: ['add', ['mul', 'average', ['sub', 1, 'momentum']], ['mul', 'value', ['mul', 'momentum', 'scale']]],
    cases: [
      { shapes: [[7], [7]], args: { momentum: 0.1, scale: 1.5 } },
      {
        shapes: [
          [2, 4],
          [2, 4],
        ],
        args: { momentum: 0.001, scale: 1 },
      },
    ],
  }),
  signedStep: pointwise('signed_step', {
    inputs: ['x', 'g'],
    params: ['step'],
    value: ['add', 'x', ['mul', 'step', ['sign', 'g']]],
    cases: [
      {
        shapes: [
          [1, 3, 5, 7],
          [1, 3, 5, 7],
        ],
        args: { step: 0.0025 },
        fill: ['symmetric', 'distinct'],
      },
      { shapes: [[4], [4]], args: { step: 0.5 }, fill: [new Float32Array(4), Float32Array.of(1, -2, 1e-3, -1)] },
    ],
  }),
  /** There is no gradient for the exponent. */
  pow: pointwise('pow', {
    inputs: ['x', 'e'],
    value: ['pow', 'x', 'e'],
    cases: [
      ...filled(
        [
          [
            [2, 3, 5, 7],
            [2, 3, 5, 7],
          ],
          [[3, 8], [8]],
          [[2, 3, 4], []],
        ],
        'positive',
        'symmetric',
      ),
      ...[2, 3, 1, 0].flatMap((e) => filled([[[4, 5], []]], 'distinct', Float32Array.of(e))),
      ...[-1, -3, 0.5].flatMap((e) => filled([[[4, 5], []]], 'positive', Float32Array.of(e))),
      ...filled([[[4], [4]]], Float32Array.of(0, 0, -2, -2), Float32Array.of(2, 0, 0, -3)),
    ],
  }),
} satisfies Record<string, Op<PointwiseArgs>>

const isTensor = (x: Operand): x is Tensor => typeof x === 'object' && x !== null

/** What an operation that does not mind the order is for a number and a tensor; undefined for two tensors and for two numbers. */
function numberAndTensor(a: Operand, b: Operand, record: (n: number, x: Tensor) => Tensor): Tensor | undefined {
  if (typeof a === 'number' && isTensor(b)) return record(a, b)
  if (typeof b === 'number' && isTensor(a)) return record(b, a)
  return undefined
}

/** Every row, for the tests and the benchmark. */
export const elementwiseOps: readonly Op<PointwiseArgs>[] = Object.values(ops)

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
const [addition, subtraction, multiplication] = [two(ops.add), two(ops.sub), two(ops.mul)]

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
export const div = two(ops.div)
export const relu = one(ops.relu)
export const relu6 = one(ops.relu6)
export const abs = one(ops.abs)
export const sqrt = one(ops.sqrt)
export const square = one(ops.square)
export const exp = one(ops.exp)
export const log = one(ops.log)
export const sigmoid = one(ops.sigmoid)
export const tanh = one(ops.tanh)
export const sin = one(ops.sin)
export const cos = one(ops.cos)
/** 1, -1 or 0; its gradient is 0. */
export const sign = one(ops.sign)
/** exp(x) - 1, exact close to 0. */
export const expm1 = one(ops.expm1)
/** The error function. */
export const erf = one(ops.erf)
/** x * sigmoid(x), also called swish. */
export const silu = one(ops.silu)
/** x * (1 + erf(x / sqrt(2))) / 2; Hendrycks and Gimpel 2016. */
export const gelu = one(ops.gelu)
/** 1 where a < b, else 0, with broadcasting; a number is a scalar. Its gradient is 0, as that of the other comparisons. */
export const less = two(ops.less)
export const lessEqual = two(ops.lessEqual)
export const greater = two(ops.greater)
export const greaterEqual = two(ops.greaterEqual)
/** 1 where a = b, else 0. */
export const equal = two(ops.equal)
/** a where the condition is not 0, else b, with broadcasting; numbers are scalars. */
export function where(condition: Operand, a: Operand, b: Operand): Tensor {
  const operands = tensorsOf('where', [condition, a, b])
  return operands[0].recorder.apply(ops.where, operands, {})
}
/** x to the power e; NaN where x < 0 and e is no whole number. There is no gradient for e. */
export const pow = two(ops.pow)
/** The larger of two, element by element; a number is a scalar. */
export const maximum = two(ops.maximum)
/** The smaller of two, element by element; a number is a scalar. */
export const minimum = two(ops.minimum)
/** x where positive, else slope * x (0.01 in PyTorch). */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => x.recorder.apply(ops.leakyRelu, [x], { slope })
/** x cut off below `low` and above `high`. Throws RangeError unless both are numbers and low <= high. */
export function clip(x: Tensor, low: number, high: number): Tensor {
  if (!(Number.isFinite(low) && Number.isFinite(high) && low <= high))
    throw new RangeError(`clip: ${low} to ${high} is no range`)
  return x.recorder.apply(ops.clip, [x], { low, high })
}
/** PReLU; `slope` broadcasts against x, so give per-channel slopes of an image as [C,1,1]. */
export const prelu = two(ops.prelu)
/** x * scale + offset with numbers known while recording. */
export const affine = (x: Tensor, scale: number, offset: number): Tensor =>
  x.recorder.apply(ops.affine, [x], { scale, offset })
/** average * (1 - momentum) + value * scale * momentum, an exponential moving average. */
export const movingAverage = (average: Tensor, value: Tensor, momentum: number, scale = 1): Tensor =>
  average.recorder.apply(ops.movingAverage, [average, value], { momentum, scale })
/** x + step * sign(g), the update of signed gradient ascent. */
export const signedStep = (x: Tensor, g: Tensor, step: number): Tensor =>
  x.recorder.apply(ops.signedStep, [x, g], { step })
