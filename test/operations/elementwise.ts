/** Cases of the table of pointwise operations, by their names. */
import { elementwiseOps } from '../../src/kernels/elementwise.ts'
import type { PointwiseArgs } from '../../src/kernels/pointwise.ts'
import { type Case, type Fill, pointwiseCheck } from './check.ts'

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

/** What WGSL lets sine and cosine be off by within ±pi; SwiftShader is off by 2e-4. */
const ANGLE_ERROR = 2 ** -11

const cases: Readonly<Record<string, Cases>> = {
  add: pairs(),
  sub: pairs(),
  mul: pairs(),
  div: pairs('positive'),
  maximum: pairs('distinct', 'symmetric'),
  minimum: pairs('distinct', 'symmetric'),
  less: pairs('distinct', 'positive'),
  less_equal: pairs('distinct', 'positive'),
  greater: pairs('distinct', 'positive'),
  greater_equal: pairs('distinct', 'positive'),
  equal: pairs('distinct', 'positive'),
  affine: singles('symmetric', { scale: 1.5, offset: -0.25 }),
  relu: singles('distinct'),
  relu6: [...singles('distinct'), ...filled(['2,13,53'], 'distinct')],
  prelu: filled(['2,3,5,7 3,1,1', '2,8,4,4 8,1,1', '3,10 10', '3,10 1'], 'distinct', 'symmetric'),
  leaky_relu: singles('distinct', { slope: 0.1 }),
  clip: singles('distinct', { low: -0.25, high: 0.5 }),
  abs: singles('distinct'),
  sign: singles('distinct'),
  floor: singles('distinct'),
  sqrt: singles('positive'),
  square: singles(),
  exp: singles(),
  expm1: [...singles(), values([-30, -5, -0.2501, -0.2499, -1e-3, 1e-6, 0.3, 2])],
  log: singles('positive'),
  sin: [...singles(), values([-3, 3, 1.5, -1.5])].map((c) => ({ ...c, tolerance: ANGLE_ERROR })),
  cos: [...singles(), values([-3, 3, 1.5, -1.5])].map((c) => ({ ...c, tolerance: ANGLE_ERROR })),
  erf: [...singles(), values([-9, -2, -0.5, -0.31, -0.29, 0.01, 1, 3])],
  sigmoid: [...singles(), values([-200, -20, 20, 200])],
  tanh: [...singles(), values([-200, -20, 20, 200])],
  silu: [...singles(), values([-20, -3, 3, 20])],
  gelu: [...singles(), values([-9, -2, 2, 9])],
  where: [
    ...filled(['2,3 2,3 2,3'], Float32Array.of(0, 1, 1, 0, 2, -1), 'symmetric'),
    ...filled(['2,1 1,4 []'], Float32Array.of(0, 1), 'symmetric'),
  ],
  moving_average: [
    ...filled(['7 7'], 'symmetric', 'symmetric', { momentum: 0.1, scale: 1.5 }),
    ...filled(['2,4 2,4'], 'symmetric', 'symmetric', { momentum: 0.001, scale: 1 }),
  ],
  signed_step: [
    ...filled(['1,3,5,7 1,3,5,7'], 'symmetric', 'distinct', { step: 0.0025 }),
    ...filled(['4 4'], new Float32Array(4), Float32Array.of(1, -2, 1e-3, -1), { step: 0.5 }),
  ],
  pow: [
    ...filled(['2,3,5,7 2,3,5,7', '3,8 8', '2,3,4 []'], 'positive', 'symmetric'),
    ...[2, 3, 1, 0].flatMap((e) => filled(['4,5 []'], 'distinct', Float32Array.of(e))),
    ...[-1, -3, 0.5].flatMap((e) => filled(['4,5 []'], 'positive', Float32Array.of(e))),
    ...filled(['4 4'], Float32Array.of(0, 0, -2, -2), Float32Array.of(2, 0, 0, -3)),
  ],
}

export const elementwiseChecks = elementwiseOps.map((op) => pointwiseCheck(op, cases[op.name] ?? []))
