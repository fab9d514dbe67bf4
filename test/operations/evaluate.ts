/** Pointwise expressions in float64. */
import { argumentsOf, type Expression, type FunctionName, isCall } from '../../src/kernels/expression.ts'

/** erf by a series whose terms are all positive; it is 1 to 16 digits beyond 6. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let [term, total] = [x, x]
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) total += term *= (2 * x * x) / (2 * n + 1)
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total
}

const truth = (compare: (a: number, b: number) => boolean) => (a: number, b: number) => Number(compare(a, b))

const functions: Readonly<Record<FunctionName, (...x: number[]) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  sqrt: Math.sqrt,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  sin: Math.sin,
  cos: Math.cos,
  erf: erf,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  relu: (x) => (x < 0 ? 0 : x),
  relu6: (x) => (x < 0 ? 0 : x > 6 ? 6 : x),
  max: Math.max,
  min: Math.min,
  clamp: (x, low, high) => (x < low ? low : x > high ? high : x),
  pow: (x, e) => x ** e,
  lt: truth((a, b) => a < b),
  le: truth((a, b) => a <= b),
  gt: truth((a, b) => a > b),
  ge: truth((a, b) => a >= b),
  eq: truth((a, b) => a === b),
  and: (a, b) => a & b,
  where: (condition, yes, no) => (condition ? yes : no),
}

/** The value in float64 as a function of the values by name. */
export function evaluator(e: Expression): (values: Readonly<Record<string, number>>) => number {
  if (typeof e === 'number') return () => e
  if (!isCall(e)) return (values) => values[e as string]
  const js = functions[e[0]]
  const [a, b, c] = argumentsOf(e).map(evaluator)
  if (c) return (values) => js(a(values), b(values), c(values))
  return b ? (values) => js(a(values), b(values)) : (values) => js(a(values))
}
