/** Operations that compute every element by itself: rows of forward and backward expressions, broadcasting included. */
import { broadcastShape, forEachBroadcast, mergedDims, operandStrides } from './broadcast.ts'
import { type Backward, type Case, elements, f32, type Kernel, type Op, type Param, type Shape, u32 } from './op.ts'
import { sumTo } from './reduce.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

/** An expression twice: for the GPU, over the type `T` (f32 or vec4f: constants are written `T(0)`), and in float64. */
export interface Expression {
  wgsl: string
  js: (operands: Readonly<Record<string, number>>) => number
}

export interface Row<In extends string> {
  inputs: readonly In[]
  /** Names of numeric arguments, `p.NAME` in WGSL and `NAME` in the float64 expression. */
  params?: readonly string[]
  forward: Expression
  /** Per input: its gradient in terms of the inputs, the output `y` and the gradient `dy`. */
  backward?: Partial<Record<NoInfer<In>, Expression>>
  /** Arithmetic per element, one unless told. */
  flop?: number
  /** Values are soon beyond f16 where the inputs are not, so the output is never kept so. */
  exact?: boolean
  cases: readonly Case<PointwiseArgs>[]
}

export type PointwiseArgs = Readonly<Record<string, number>>

/** Makes the operation of a row; its gradients are rows of their own, `NAME.dINPUT`, summed over broadcast axes. */
export function pointwise<In extends string>(name: string, row: Row<In>): Op<PointwiseArgs> {
  const gradients = new Map<string, { op: Op<PointwiseArgs>; uses: string[] }>()
  for (const [input, expression] of Object.entries<Expression | undefined>(row.backward ?? {})) {
    if (!expression) continue
    const uses = [...row.inputs, 'y', 'dy'].filter((id) => new RegExp(`\\b${id}\\b`).test(expression.wgsl))
    const op = pointwiseOp(`${name}.d${input}`, { inputs: uses, params: row.params, forward: expression, cases: [] })
    gradients.set(input, { op, uses })
  }
  const op = pointwiseOp(name, row)
  if (gradients.size === 0) return op
  return {
    ...op,
    backward({ args, inputs, output, gradient, wanted }: Backward<PointwiseArgs>) {
      return row.inputs.map((input, k) => {
        const rule = wanted[k] ? gradients.get(input) : undefined
        if (!rule) return undefined
        // The gradient of a sum is the gradient itself.
        if (rule.op.expression?.wgsl === 'dy') return sumTo(gradient, inputs[k].shape)
        const operands = rule.uses.map((id) => {
          if (id === 'y') return output
          if (id === 'dy') return gradient
          return inputs[row.inputs.indexOf(id as In)]
        })
        return sumTo(gradient.recorder.apply(rule.op, operands, args), inputs[k].shape)
      })
    },
  }
}

function pointwiseOp(name: string, row: Row<string>): Op<PointwiseArgs> {
  const shape = (_: PointwiseArgs, shapes: readonly Shape[]): Shape => broadcastShape(shapes)
  return {
    name,
    inputs: row.inputs,
    expression: { wgsl: row.forward.wgsl, params: row.params ?? [] },
    half: row.exact ? undefined : 'follows',
    shape,
    cost(args, shapes) {
      const count = elements(shape(args, shapes))
      return { flop: count * (row.flop ?? 1), bytes: 4 * (count + shapes.reduce((n, s) => n + elements(s), 0)) }
    },
    kernels: (args, shapes) => [pointwiseKernel(name, row, args, shapes)],
    reference(args, inputs, shapes) {
      const output = shape(args, shapes)
      const y = new Float64Array(elements(output))
      forEachBroadcast(output, shapes, (index, at) => {
        const operands: Record<string, number> = { ...args }
        row.inputs.forEach((id, k) => {
          operands[id] = inputs[k][at[k]]
        })
        y[index] = row.forward.js(operands)
      })
      return y
    },
    cases: row.cases,
  }
}

function pointwiseKernel(name: string, row: Row<string>, args: PointwiseArgs, shapes: readonly Shape[]): Kernel {
  const output = broadcastShape(shapes)
  const dims = mergedDims(output, shapes)
  const inner = dims.at(-1)!
  // Four neighbours at a time where the innermost dimension allows: on software adapters a vec4 load costs half of four loads.
  const wide = inner.extent % 4 === 0
  const count = elements(output) / (wide ? 4 : 1)
  const params: Record<string, Param> = { count: u32(count) }
  for (const id of row.params ?? []) params[id] = f32(args[id])
  const lines: string[] = []
  const full = row.inputs.map((_, k) => dims.every((d) => d.varies[k]))
  if (!full.every(Boolean)) {
    lines.push('var rest = i;')
    for (let d = dims.length - 1; d > 0; d--) {
      params[`e${d}`] = u32(wide && d === dims.length - 1 ? dims[d].extent / 4 : dims[d].extent)
      lines.push(`let i${d} = rest % p.e${d}; rest = rest / p.e${d};`)
    }
    lines.push('let i0 = rest;')
  }
  const reads = row.inputs.map((id, k) => {
    const vector = wide && inner.varies[k]
    let index = 'i'
    if (!full[k]) {
      const terms = operandStrides(dims, k).flatMap((stride, d) => {
        if (stride === 0) return []
        const step = vector && d < dims.length - 1 ? stride / 4 : stride
        if (step === 1) return [`i${d}`]
        params[`s${k}_${d}`] = u32(step)
        return [`i${d} * p.s${k}_${d}`]
      })
      index = terms.length > 0 ? terms.join(' + ') : '0u'
    }
    lines.push(`let ${id} = T(${id}_[${index}]);`)
    return { name: `${id}_`, buffer: k, type: vector ? ('vec4f' as const) : ('f32' as const) }
  })
  const code = `alias T = ${wide ? 'vec4f' : 'f32'};
${linearEntry(`  if (i >= p.count) { return; }
  ${lines.join('\n  ')}
  out_[i] = ${row.forward.wgsl};`)}`
  return {
    variant: wide ? 'vec4' : 'scalar',
    dispatches: [
      {
        label: name,
        code,
        reads,
        writes: [{ name: 'out_', buffer: 'output', type: wide ? 'vec4f' : 'f32' }],
        params,
        workgroups: linearGrid(count),
      },
    ],
  }
}
