/**
 * The language of pointwise operations. An expression is data: a number, the name of a value, or a function of expressions. WGSL for f32
 * and vec4f, the value in float64 and the derivative follow from it.
 */

/** For example `['mul', 'x', ['add', 1, 'y']]`. */
export type Expression = number | string | readonly [name: FunctionName, ...Expression[]]

export type FunctionName =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'neg'
  | 'abs'
  | 'sign'
  | 'floor'
  | 'sqrt'
  | 'exp'
  | 'expm1'
  | 'log'
  | 'sin'
  | 'cos'
  | 'erf'
  | 'sigmoid'
  | 'tanh'
  | 'relu'
  | 'relu6'
  | 'max'
  | 'min'
  | 'clamp'
  | 'pow'
  | 'lt'
  | 'le'
  | 'gt'
  | 'ge'
  | 'eq'
  | 'and'
  | 'where'

interface PointwiseFunction {
  /** WGSL over the type `T`, whose arguments are names, constants and calls of that type. */
  wgsl(T: string, ...x: string[]): string
  /**
   * What the arguments get of a gradient `dy` where the function is `y` of `x`: 0 where it is flat, undefined where there is no derivative.
   * Flat everywhere if left out.
   */
  back?(dy: Expression, y: Expression, ...x: Expression[]): (Expression | undefined)[]
  /** Arithmetic, where it is not one operation. */
  flop?: number
}

const infix = (sign: string) => (_: string, a: string, b: string) => `(${a} ${sign} ${b})`
const call =
  (name: string) =>
  (_: string, ...x: string[]) =>
    `${name}(${x.join(', ')})`

const add = (a: Expression, b: Expression): Expression => (a === 0 ? b : b === 0 ? a : ['add', a, b])
const neg = (a: Expression): Expression => (typeof a === 'number' ? 0 - a : ['neg', a])
const mul = (a: Expression, b: Expression): Expression => {
  if (a === 0 || b === 0) return 0
  return a === 1 ? b : b === 1 ? a : ['mul', a, b]
}
/** `dy` where a condition holds. */
const where = (condition: Expression, dy: Expression): Expression => (dy === 0 ? 0 : ['where', condition, dy, 0])

/** Whether x is NaN, by its bits: compilers of shaders take x != x for false. */
export const wgslIsNaN = (T: string, x: string): string => {
  const bits = T === 'f32' ? 'u32' : 'vec4u'
  return `((bitcast<${bits}>(${x}) << ${bits}(1u)) > ${bits}(0xff000000u))`
}

/**
 * x to the power e, where WGSL's own pow is only good for x > 0: below 0 it is |x| to that power with its sign where e is a whole number,
 * and NaN (as the root of a negative number) where it is not; x to the power 0 is 1.
 */
function wgslPower(T: string, x: string, e: string): string {
  const size = `select(pow(abs(${x}), ${e}), ${T}(1), ${e} == ${T}(0))`
  const odd = `(fract(abs(${e}) * ${T}(0.5)) == ${T}(0.5))`
  const signed = `select(${size}, -(${size}), (${x} < ${T}(0)) & ${odd})`
  return `select(${signed}, sqrt(${x}), (${x} < ${T}(0)) & (fract(${e}) != ${T}(0)))`
}

/** exp(x) - 1: close to 0 the exponential's series takes the place of a difference in which most digits would cancel. */
const wgslExpm1 = (T: string, x: string): string =>
  `select(exp(${x}) - ${T}(1), ${[2, 3, 4, 5, 6].reduceRight((rest, k) => `(${T}(1) + ${x} / ${T}(${k}) * ${rest})`, `${T}(1)`)} * ${x}, abs(${x}) < ${T}(0.25))`

/** Abramowitz and Stegun 7.1.26 for |x|, wrong by 1.5e-7 at most; its series close to 0, where that would be much. */
const wgslErf = (T: string, x: string): string => {
  const t = `(${T}(1) / (${T}(1) + ${T}(0.3275911) * abs(${x})))`
  const sum = [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429].reduceRight(
    (rest, k) => `(${T}(${k}) + ${t} * ${rest})`,
    `${T}(0)`,
  )
  const near = `${x} * (${T}(1.1283792) - ${x} * ${x} * (${T}(0.37612639) - ${x} * ${x} * ${T}(0.11283792)))`
  return `select(sign(${x}) * (${T}(1) - ${t} * ${sum} * exp(-${x} * ${x})), ${near}, abs(${x}) < ${T}(0.3))`
}

/**
 * NaN goes through all of them as in PyTorch: `relu`, `max`, `min` and `clamp` compare and choose, where WGSL's own max may give either
 * operand. A comparison with NaN is false.
 */
const functions: Readonly<Record<FunctionName, PointwiseFunction>> = {
  add: { wgsl: infix('+'), back: (dy) => [dy, dy] },
  sub: { wgsl: infix('-'), back: (dy) => [dy, neg(dy)] },
  mul: { wgsl: infix('*'), back: (dy, _, a, b) => [mul(b, dy), mul(a, dy)] },
  div: {
    wgsl: infix('/'),
    back: (dy, _, a, b) => [
      ['div', dy, b],
      ['div', mul(neg(dy), a), mul(b, b)],
    ],
    flop: 4,
  },
  neg: { wgsl: (_, x) => `(-${x})`, back: (dy) => [neg(dy)] },
  abs: { wgsl: call('abs'), back: (dy, _, x) => [mul(['sign', x], dy)] },
  sign: { wgsl: call('sign') },
  floor: { wgsl: call('floor') },
  sqrt: { wgsl: call('sqrt'), back: (dy, y) => [['div', mul(0.5, dy), y]], flop: 4 },
  exp: { wgsl: call('exp'), back: (dy, y) => [mul(y, dy)], flop: 8 },
  expm1: { wgsl: wgslExpm1, back: (dy, y) => [mul(add(y, 1), dy)], flop: 24 },
  log: { wgsl: call('log'), back: (dy, _, x) => [['div', dy, x]], flop: 8 },
  sin: { wgsl: call('sin'), back: (dy, _, x) => [mul(['cos', x], dy)], flop: 8 },
  cos: { wgsl: call('cos'), back: (dy, _, x) => [mul(neg(['sin', x]), dy)], flop: 8 },
  erf: {
    wgsl: wgslErf,
    back: (dy, _, x) => [mul(mul(2 / Math.sqrt(Math.PI), ['exp', neg(mul(x, x))]), dy)],
    flop: 32,
  },
  /** 1 / (1 + exp(-x)), by way of exp(-|x|), which cannot overflow. */
  sigmoid: {
    wgsl: (T, x) => `(select(exp(-abs(${x})), ${T}(1), ${x} >= ${T}(0)) / (${T}(1) + exp(-abs(${x}))))`,
    back: (dy, y) => [mul(mul(y, ['sub', 1, y]), dy)],
    flop: 12,
  },
  /** Beyond 10 tanh is 1 in f32; some drivers' own tanh overflows further out. */
  tanh: {
    wgsl: (T, x) => `tanh(select(select(${x}, ${T}(10), ${x} > ${T}(10)), ${T}(-10), ${x} < ${T}(-10)))`,
    back: (dy, y) => [mul(['sub', 1, mul(y, y)], dy)],
    flop: 12,
  },
  /** By the output, which is kept anyway, as the next layer reads it. */
  relu: {
    wgsl: (T, x) => `select(${x}, ${T}(0), ${x} < ${T}(0))`,
    back: (dy, y) => [where(['gt', y, 0], dy)],
  },
  relu6: {
    wgsl: (T, x) => `select(select(${x}, ${T}(6), ${x} > ${T}(6)), ${T}(0), ${x} < ${T}(0))`,
    back: (dy, y) => [where(['and', ['gt', y, 0], ['lt', y, 6]], dy)],
    flop: 2,
  },
  /** Where both are equal the gradient goes to the first. */
  max: {
    wgsl: (T, a, b) => `select(${b}, ${a}, (${a} >= ${b}) | ${wgslIsNaN(T, a)})`,
    back: (dy, _, a, b) => [where(['ge', a, b], dy), where(['gt', b, a], dy)],
  },
  min: {
    wgsl: (T, a, b) => `select(${b}, ${a}, (${a} <= ${b}) | ${wgslIsNaN(T, a)})`,
    back: (dy, _, a, b) => [where(['le', a, b], dy), where(['lt', b, a], dy)],
  },
  /** The gradient passes where nothing was cut off, the bounds themselves included. */
  clamp: {
    wgsl: (_, x, low, high) => `select(select(${x}, ${high}, ${x} > ${high}), ${low}, ${x} < ${low})`,
    back: (dy, _, x, low, high) => [where(['and', ['ge', x, low], ['le', x, high]], dy), undefined, undefined],
    flop: 2,
  },
  /** There is no gradient for the exponent. */
  pow: {
    wgsl: wgslPower,
    back: (dy, _, x, e) => [['where', ['eq', e, 0], 0, mul(mul(dy, e), ['pow', x, add(e, -1)])], undefined],
    flop: 16,
  },
  /** Conditions are for `where` and `and` alone. */
  lt: { wgsl: infix('<') },
  le: { wgsl: infix('<=') },
  gt: { wgsl: infix('>') },
  ge: { wgsl: infix('>=') },
  eq: { wgsl: infix('==') },
  and: { wgsl: infix('&') },
  where: {
    wgsl: (_, condition, yes, no) => `select(${no}, ${yes}, ${condition})`,
    back: (dy, _, condition) => [undefined, where(condition, dy), dy === 0 ? 0 : ['where', condition, 0, dy]],
  },
}

export const isCall = (e: Expression): e is readonly [FunctionName, ...Expression[]] => typeof e === 'object'

export const argumentsOf = (e: Expression): readonly Expression[] => (isCall(e) ? (e.slice(1) as Expression[]) : [])

/** Whether two expressions are written alike. */
const alike = (a: Expression, b: Expression): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

/** Names that occur in an expression. */
export function namesIn(e: Expression): Set<string> {
  if (!isCall(e)) return new Set(typeof e === 'string' ? [e] : [])
  return new Set(argumentsOf(e).flatMap((x) => [...namesIn(x)]))
}

/** The expression with another in the place of every part that is written like `part`. */
export function replaced(e: Expression, part: Expression, by: Expression): Expression {
  if (alike(e, part)) return by
  return isCall(e) ? [e[0], ...argumentsOf(e).map((x) => replaced(x, part, by))] : e
}

/** Arithmetic of one evaluation. */
export const flopOf = (e: Expression): number =>
  isCall(e) ? argumentsOf(e).reduce((n: number, x) => n + flopOf(x), functions[e[0]].flop ?? 1) : 0

/**
 * What a value `name` gets of a gradient `dy` of the expression: 0 where it has no part in it. Undefined where a function on the way has no
 * derivative for it.
 */
export function derivative(e: Expression, name: string, dy: Expression): Expression | undefined {
  if (e === name) return dy
  if (!isCall(e) || dy === 0) return 0
  const x = argumentsOf(e)
  const { back } = functions[e[0]]
  const parts = back?.(dy, e, ...x)
  let total: Expression = 0
  for (const [k, argument] of x.entries()) {
    // Conditions and flat functions hand nothing on, which is right also where the value is part of them.
    const seed = parts ? parts[k] : 0
    if (seed === undefined && !isCondition(argument) && namesIn(argument).has(name)) return undefined
    const part = seed === undefined ? 0 : derivative(argument, name, seed)
    if (part === undefined) return undefined
    total = add(total, part)
  }
  return total
}

const CONDITIONS: readonly string[] = ['lt', 'le', 'gt', 'ge', 'eq', 'and'] satisfies FunctionName[]
const isCondition = (e: Expression): boolean => isCall(e) && CONDITIONS.includes(e[0])

/** A number as WGSL has it, without a type. */
const literal = (x: number): string =>
  Object.is(x, -0) ? '-0.0' : Number.isInteger(x) && Math.abs(x) < 1e6 ? `${x}.0` : `${x}`

/**
 * WGSL of an expression over the type `T`. Parts that occur several times are computed once.
 * @param names what stands for the values
 * @param declare takes a part's WGSL and gives a name for it
 */
export function wgslOf(
  e: Expression,
  T: string,
  names: Readonly<Record<string, string>>,
  declare: (wgsl: string) => string,
): string {
  const times = new Map<string, number>()
  const count = (x: Expression): void => {
    if (!isCall(x)) return
    const key = JSON.stringify(x)
    const before = times.get(key) ?? 0
    times.set(key, before + 1)
    if (before === 0) argumentsOf(x).forEach(count)
  }
  count(e)
  const known = new Map<string, string>()
  const write = (x: Expression): string => {
    if (typeof x === 'number') return `${T}(${literal(x)})`
    if (!isCall(x)) return names[x as string]
    const key = JSON.stringify(x)
    const before = known.get(key)
    if (before) return before
    // Whatever WGSL mentions twice is named: an argument of a function that writes it several times, too.
    const parts = argumentsOf(x).map((argument) => {
      const wgsl = write(argument)
      return isCall(argument) && !isCondition(argument) && !INFIX.includes(x[0]) && !known.has(JSON.stringify(argument))
        ? declare(wgsl)
        : wgsl
    })
    const wgsl = functions[x[0]].wgsl(T, ...parts)
    if (times.get(key) === 1 || isCondition(x)) return wgsl
    const name = declare(wgsl)
    known.set(key, name)
    return name
  }
  return write(e)
}

/** Functions whose WGSL mentions each argument once. */
const INFIX: readonly string[] = [
  'add',
  'sub',
  'mul',
  'div',
  'neg',
  'lt',
  'le',
  'gt',
  'ge',
  'eq',
  'and',
  'where',
  'abs',
  'sign',
  'floor',
  'sqrt',
  'exp',
  'log',
  'sin',
  'cos',
] satisfies FunctionName[]
