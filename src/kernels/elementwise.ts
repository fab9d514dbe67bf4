/** The table of pointwise operations. A row is forward and backward expressions and cases; see pointwise.ts. */
import { type Op, type Operand, type Tensor, tensorsOf } from './op.ts'
import { type PointwiseArgs, pointwise } from './pointwise.ts'

const same = [
  { shapes: [[2, 3, 5, 7]], args: {} },
  { shapes: [[1]], args: {} },
  { shapes: [[4, 16]], args: {} },
]
const pairs = [
  {
    shapes: [
      [2, 3, 4],
      [2, 3, 4],
    ],
    args: {},
  },
  {
    shapes: [
      [2, 3, 5, 7],
      [3, 1, 1],
    ],
    args: {},
  },
  {
    shapes: [
      [2, 3, 4, 8],
      [2, 3, 1, 1],
    ],
    args: {},
  },
  {
    shapes: [
      [5, 1, 3],
      [1, 7, 3],
    ],
    args: {},
  },
  { shapes: [[3, 4], []], args: {} },
]
const positive = <C extends { shapes: readonly (readonly number[])[] }>(cases: readonly C[]) =>
  cases.map((c) => ({ ...c, fill: c.shapes.map(() => 'positive' as const) }))
const kinked = <C extends { shapes: readonly (readonly number[])[] }>(cases: readonly C[]) =>
  cases.map((c) => ({ ...c, fill: ['distinct' as const, ...c.shapes.slice(1).map(() => 'symmetric' as const)] }))

const ops = {
  add: pointwise('add', {
    inputs: ['a', 'b'],
    forward: { wgsl: 'a + b', js: ({ a, b }) => a + b },
    backward: { a: { wgsl: 'dy', js: ({ dy }) => dy }, b: { wgsl: 'dy', js: ({ dy }) => dy } },
    cases: pairs,
  }),
  sub: pointwise('sub', {
    inputs: ['a', 'b'],
    forward: { wgsl: 'a - b', js: ({ a, b }) => a - b },
    backward: { a: { wgsl: 'dy', js: ({ dy }) => dy }, b: { wgsl: '-dy', js: ({ dy }) => -dy } },
    cases: pairs,
  }),
  mul: pointwise('mul', {
    inputs: ['a', 'b'],
    forward: { wgsl: 'a * b', js: ({ a, b }) => a * b },
    backward: { a: { wgsl: 'b * dy', js: ({ b, dy }) => b * dy }, b: { wgsl: 'a * dy', js: ({ a, dy }) => a * dy } },
    cases: pairs,
  }),
  div: pointwise('div', {
    exact: true,
    inputs: ['a', 'b'],
    forward: { wgsl: 'a / b', js: ({ a, b }) => a / b },
    backward: {
      a: { wgsl: 'dy / b', js: ({ b, dy }) => dy / b },
      b: { wgsl: '-dy * a / (b * b)', js: ({ a, b, dy }) => (-dy * a) / (b * b) },
    },
    flop: 4,
    cases: positive(pairs),
  }),
  /** x * p.scale + p.offset */
  affine: pointwise('affine', {
    inputs: ['x'],
    params: ['scale', 'offset'],
    forward: { wgsl: 'x * p.scale + p.offset', js: ({ x, scale, offset }) => x * scale + offset },
    backward: { x: { wgsl: 'dy * p.scale', js: ({ dy, scale }) => dy * scale } },
    flop: 2,
    cases: same.map((c) => ({ ...c, args: { scale: 1.5, offset: -0.25 } })),
  }),
  relu: pointwise('relu', {
    inputs: ['x'],
    forward: { wgsl: 'max(x, T(0))', js: ({ x }) => Math.max(x, 0) },
    backward: { x: { wgsl: 'select(T(0), dy, y > T(0))', js: ({ y, dy }) => (y > 0 ? dy : 0) } },
    cases: kinked(same),
  }),
  /** max(x, 0), but at most 6; Krizhevsky 2010, the activation of MobileNets. */
  relu6: pointwise('relu6', {
    inputs: ['x'],
    forward: { wgsl: 'clamp(x, T(0), T(6))', js: ({ x }) => Math.min(Math.max(x, 0), 6) },
    backward: {
      x: { wgsl: 'select(T(0), dy, (y > T(0)) & (y < T(6)))', js: ({ y, dy }) => (y > 0 && y < 6 ? dy : 0) },
    },
    flop: 2,
    cases: kinked([...same, { shapes: [[2, 13, 53]], args: {} }]),
  }),
  /** x where positive, else slope * x; He et al. 2015. */
  prelu: pointwise('prelu', {
    inputs: ['x', 'slope'],
    forward: { wgsl: 'select(slope * x, x, x > T(0))', js: ({ x, slope }) => (x > 0 ? x : slope * x) },
    backward: {
      x: { wgsl: 'select(slope * dy, dy, x > T(0))', js: ({ x, slope, dy }) => (x > 0 ? dy : slope * dy) },
      slope: { wgsl: 'select(x * dy, T(0), x > T(0))', js: ({ x, dy }) => (x > 0 ? 0 : x * dy) },
    },
    flop: 2,
    cases: kinked([
      {
        shapes: [
          [2, 3, 5, 7],
          [3, 1, 1],
        ],
        args: {},
      },
      {
        shapes: [
          [2, 8, 4, 4],
          [8, 1, 1],
        ],
        args: {},
      },
      { shapes: [[3, 10], [10]], args: {} },
      { shapes: [[3, 10], [1]], args: {} },
    ]),
  }),
  abs: pointwise('abs', {
    inputs: ['x'],
    forward: { wgsl: 'abs(x)', js: ({ x }) => Math.abs(x) },
    backward: { x: { wgsl: 'sign(x) * dy', js: ({ x, dy }) => Math.sign(x) * dy } },
    cases: kinked(same),
  }),
  sqrt: pointwise('sqrt', {
    inputs: ['x'],
    forward: { wgsl: 'sqrt(x)', js: ({ x }) => Math.sqrt(x) },
    backward: { x: { wgsl: 'T(0.5) * dy / y', js: ({ y, dy }) => (0.5 * dy) / y } },
    flop: 4,
    cases: positive(same),
  }),
  square: pointwise('square', {
    exact: true,
    inputs: ['x'],
    forward: { wgsl: 'x * x', js: ({ x }) => x * x },
    backward: { x: { wgsl: 'T(2) * x * dy', js: ({ x, dy }) => 2 * x * dy } },
    cases: same,
  }),
  /** x where positive, else p.slope * x. */
  leakyRelu: pointwise('leaky_relu', {
    inputs: ['x'],
    params: ['slope'],
    forward: { wgsl: 'select(p.slope * x, x, x > T(0))', js: ({ x, slope }) => (x > 0 ? x : slope * x) },
    backward: {
      x: { wgsl: 'select(p.slope * dy, dy, x > T(0))', js: ({ x, slope, dy }) => (x > 0 ? dy : slope * dy) },
    },
    flop: 2,
    cases: kinked(same.map((c) => ({ ...c, args: { slope: 0.1 } }))),
  }),
  /** The gradient passes where nothing was cut off, the bounds themselves included. */
  clip: pointwise('clip', {
    inputs: ['x'],
    params: ['low', 'high'],
    forward: {
      wgsl: 'clamp(x, T(p.low), T(p.high))',
      js: ({ x, low, high }) => Math.min(Math.max(x, low), high),
    },
    backward: {
      x: {
        wgsl: 'select(T(0), dy, (x >= T(p.low)) & (x <= T(p.high)))',
        js: ({ x, low, high, dy }) => (x >= low && x <= high ? dy : 0),
      },
    },
    flop: 2,
    cases: kinked(same.map((c) => ({ ...c, args: { low: -0.25, high: 0.5 } }))),
  }),
  /** The larger of two; where they are equal the gradient goes to a. */
  maximum: pointwise('maximum', {
    inputs: ['a', 'b'],
    forward: { wgsl: 'max(a, b)', js: ({ a, b }) => Math.max(a, b) },
    backward: {
      a: { wgsl: 'select(T(0), dy, a >= b)', js: ({ a, b, dy }) => (a >= b ? dy : 0) },
      b: { wgsl: 'select(T(0), dy, b > a)', js: ({ a, b, dy }) => (b > a ? dy : 0) },
    },
    cases: kinked(pairs),
  }),
  /** The smaller of two; where they are equal the gradient goes to a. */
  minimum: pointwise('minimum', {
    inputs: ['a', 'b'],
    forward: { wgsl: 'min(a, b)', js: ({ a, b }) => Math.min(a, b) },
    backward: {
      a: { wgsl: 'select(T(0), dy, a <= b)', js: ({ a, b, dy }) => (a <= b ? dy : 0) },
      b: { wgsl: 'select(T(0), dy, b < a)', js: ({ a, b, dy }) => (b < a ? dy : 0) },
    },
    cases: kinked(pairs),
  }),
  log: pointwise('log', {
    inputs: ['x'],
    forward: { wgsl: 'log(x)', js: ({ x }) => Math.log(x) },
    backward: { x: { wgsl: 'dy / x', js: ({ x, dy }) => dy / x } },
    flop: 8,
    cases: positive(same),
  }),
  /** 1 / (1 + exp(-x)), by way of exp(-|x|), which cannot overflow. */
  sigmoid: pointwise('sigmoid', {
    inputs: ['x'],
    forward: {
      wgsl: 'select(exp(-abs(x)), T(1), x >= T(0)) / (T(1) + exp(-abs(x)))',
      js: ({ x }) => 1 / (1 + Math.exp(-x)),
    },
    backward: { x: { wgsl: 'y * (T(1) - y) * dy', js: ({ y, dy }) => y * (1 - y) * dy } },
    flop: 12,
    cases: [...same, { shapes: [[4]], args: {}, fill: [Float32Array.of(-200, -20, 20, 200)] }],
  }),
  /** Beyond 10 tanh is 1 in f32; some drivers' own tanh overflows further out. */
  tanh: pointwise('tanh', {
    inputs: ['x'],
    forward: { wgsl: 'tanh(clamp(x, T(-10), T(10)))', js: ({ x }) => Math.tanh(x) },
    backward: { x: { wgsl: '(T(1) - y * y) * dy', js: ({ y, dy }) => (1 - y * y) * dy } },
    flop: 12,
    cases: [...same, { shapes: [[4]], args: {}, fill: [Float32Array.of(-200, -20, 20, 200)] }],
  }),
  exp: pointwise('exp', {
    exact: true,
    inputs: ['x'],
    forward: { wgsl: 'exp(x)', js: ({ x }) => Math.exp(x) },
    backward: { x: { wgsl: 'y * dy', js: ({ y, dy }) => y * dy } },
    flop: 8,
    cases: same,
  }),
  /** Moves by `momentum` from the average towards p.scale * value. No gradient. */
  movingAverage: pointwise('moving_average', {
    inputs: ['average', 'value'],
    params: ['momentum', 'scale'],
    forward: {
      wgsl: 'average * (1.0 - p.momentum) + value * (p.momentum * p.scale)',
      js: ({ average, value, momentum, scale }) => average * (1 - momentum) + value * momentum * scale,
    },
    flop: 3,
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
  /** x + step * sign(g): one step of signed gradient ascent; sign(0) is 0. No gradient. */
  signedStep: pointwise('signed_step', {
    inputs: ['x', 'g'],
    params: ['step'],
    forward: { wgsl: 'x + p.step * sign(g)', js: ({ x, g, step }) => x + step * Math.sign(g) },
    flop: 2,
    cases: [
      {
        shapes: [
          [1, 3, 5, 7],
          [1, 3, 5, 7],
        ],
        args: { step: 0.0025 },
      },
      { shapes: [[4], [4]], args: { step: 0.5 }, fill: [new Float32Array(4), new Float32Array([0, -0, 1e-30, -1])] },
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
/** average * (1 - momentum) + value * scale * momentum, an exponential moving average; no gradient. */
export const movingAverage = (average: Tensor, value: Tensor, momentum: number, scale = 1): Tensor =>
  average.recorder.apply(ops.movingAverage, [average, value], { momentum, scale })
/** x + step * sign(g), the update of signed gradient ascent. */
export const signedStep = (x: Tensor, g: Tensor, step: number): Tensor =>
  x.recorder.apply(ops.signedStep, [x, g], { step })
