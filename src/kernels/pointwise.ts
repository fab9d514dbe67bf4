/** Operations that compute every element by itself: an expression each, broadcasting included. */
import { broadcastShape } from './broadcast.ts'
import { derivative, type Expression, flopOf, namesIn, replaced } from './expression.ts'
import { pointwiseKernel } from './fused.ts'
import { type Backward, elements, type Op, type PointwiseForm, type Shape, type Tensor } from './op.ts'

export type PointwiseArgs = Readonly<Record<string, number>>

export interface Row {
  inputs: readonly string[]
  /** Names of numeric arguments. */
  params?: readonly string[]
  /** Of the inputs and arguments. */
  value: Expression
  /** Values are soon beyond f16 where the inputs are not, so the output is never kept so. */
  exact?: boolean
  /** No gradient flows through it. */
  detached?: boolean
}

/** Makes the operation of a row. Its gradients are operations of the same kind, made when they are asked for; so are theirs. */
export function pointwise(name: string, { inputs, params = [], value, exact, detached }: Row): Op<PointwiseArgs> {
  const form: PointwiseForm = { value, inputs, params }
  const shape = (_: PointwiseArgs, shapes: readonly Shape[]): Shape => broadcastShape(shapes)
  const gradients = new Map<string, Gradient | undefined>()
  const gradientFor = (input: string): Gradient | undefined => {
    if (!gradients.has(input)) gradients.set(input, gradientOf(name, form, input))
    return gradients.get(input)
  }
  return {
    name,
    inputs,
    pointwise: form,
    half: exact ? undefined : 'follows',
    shape,
    cost(args, shapes) {
      const count = elements(shape(args, shapes))
      return { flop: count * flopOf(value), bytes: 4 * (count + shapes.reduce((n, s) => n + elements(s), 0)) }
    },
    kernels(args, shapes) {
      const step = {
        form,
        args,
        shape: shape(args, shapes),
        operands: shapes.map((s, buffer) => ({ buffer, shape: s })),
      }
      return [pointwiseKernel(name, [step])]
    },
    detached,
    backward: detached
      ? undefined
      : (b) => inputs.map((input, k) => (b.wanted[k] ? recordGradient(gradientFor(input), b, form) : undefined)),
  }
}

/** A gradient as an operation of some of the inputs, the output and the output's gradient; 0 where there is none. */
type Gradient = 0 | { op: Op<PointwiseArgs>; uses: readonly string[]; output: string; seed: string }

function gradientOf(name: string, { value, inputs, params }: PointwiseForm, input: string): Gradient | undefined {
  const unused = (wish: string): string => (inputs.includes(wish) ? unused(`${wish[0]}${wish}`) : wish)
  const [output, seed] = [unused('y'), unused('dy')]
  const found = derivative(value, input, seed)
  if (found === undefined || found === 0) return found
  // What the forward pass has computed is not computed again.
  const expression = typeof value === 'object' ? replaced(found, value, output) : found
  const names = namesIn(expression)
  const uses = [...inputs, output, seed].filter((each) => names.has(each))
  const row = { inputs: uses, params: params.filter((each) => names.has(each)), value: expression }
  return { op: pointwise(`${name}.d${input}`, row), uses, output, seed }
}

function recordGradient(
  found: Gradient | undefined,
  { args, inputs, output, gradient }: Backward<PointwiseArgs>,
  form: PointwiseForm,
): Tensor | 0 | undefined {
  if (!found) return found
  // The gradient of a sum is the gradient itself.
  if (found.op.pointwise?.value === found.seed) return gradient
  const operands = found.uses.map((name) => {
    if (name === found.output) return output
    return name === found.seed ? gradient : inputs[form.inputs.indexOf(name)]
  })
  const used = Object.fromEntries(found.op.pointwise!.params.map((name) => [name, args[name]]))
  return gradient.recorder.apply(found.op, operands, used)
}
