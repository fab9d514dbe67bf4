/** Powers, element by element. */
import { type Operand, type Tensor, tensorsOf } from './op.ts'
import { type Expression, pointwise } from './pointwise.ts'

/**
 * x to the power e in WGSL, whose own pow is only good for x > 0: below 0 it is |x| to that power with its sign where e is a whole
 * number, and NaN (as the root of a negative number) where it is not; x to the power 0 is 1.
 */
const wgslPower = (x: string, e: string): string => {
  const size = `select(pow(abs(${x}), ${e}), T(1), ${e} == T(0))`
  const odd = `(fract(abs(${e}) * T(0.5)) == T(0.5))`
  const signed = `select(${size}, -(${size}), (${x} < T(0)) & ${odd})`
  return `select(${signed}, sqrt(${x}), (${x} < T(0)) & (fract(${e}) != T(0)))`
}

const power: Expression = { wgsl: wgslPower('x', 'e'), js: ({ x, e }) => x ** e }

const pairs = [
  {
    shapes: [
      [2, 3, 5, 7],
      [2, 3, 5, 7],
    ],
  },
  { shapes: [[3, 8], [8]] },
  { shapes: [[2, 3, 4], []] },
]

export const powOp = pointwise('pow', {
  inputs: ['x', 'e'],
  forward: power,
  backward: {
    x: {
      wgsl: `select(dy * e * ${wgslPower('x', '(e - T(1))')}, T(0), e == T(0))`,
      js: ({ x, e, dy }) => (e === 0 ? 0 : dy * e * x ** (e - 1)),
    },
  },
  flop: 16,
  cases: [
    ...pairs.map((pair) => ({ ...pair, args: {}, fill: ['positive' as const, 'symmetric' as const] })),
    ...[2, 3, 1, 0].map((e) => ({ shapes: [[4, 5], []], args: {}, fill: ['distinct' as const, Float32Array.of(e)] })),
    ...[-1, -3, 0.5].map((e) => ({ shapes: [[4, 5], []], args: {}, fill: ['positive' as const, Float32Array.of(e)] })),
    { shapes: [[4], [4]], args: {}, fill: [Float32Array.of(0, 0, -2, -2), Float32Array.of(2, 0, 0, -3)] },
  ],
})

/** x to the power e, with broadcasting; NaN where x < 0 and e is no whole number. Numbers are scalars. There is no gradient for e. */
export function pow(x: Operand, e: Operand): Tensor {
  const operands = tensorsOf('pow', [x, e])
  return operands[0].recorder.apply(powOp, operands, {})
}
