/** Pointwise operations written into one kernel, one after another: into its `store`, into its `load`, or as a kernel of their own. */
import { mergedDims, operandStrides } from './broadcast.ts'
import { wgslOf } from './expression.ts'
import {
  type Binding,
  elements,
  f32,
  type Kernel,
  type Param,
  type PointwiseForm,
  type Shape,
  sameShape,
  u32,
} from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

/** One operation of several. */
export interface FusedOperation {
  form: PointwiseForm
  args: Readonly<Record<string, number>>
  /** Of the value; all operations have as many elements, and the i-th is made of the i-th. */
  shape: Shape
  /** The number of an earlier value, or what is read from a buffer and broadcasts to `shape`. */
  operands: readonly (number | FusedOperand)[]
}

export interface FusedOperand {
  buffer: number
  shape: Shape
}

/** Where the operations are written. */
export interface FusedPlace {
  /** Of what is computed at a time: the i-th element, or four from 4 i on. */
  type: 'f32' | 'vec4f'
  /** Value 0, where the kernel itself gives it. */
  given?: string
  /** Shape of the kernel's output, where `c` is the index along its axis 1. */
  channels?: Shape
  /** Goes before the names of buffers and parameters, where a kernel has two such places. */
  prefix?: string
}

export interface FusedCode {
  /** WGSL that computes all values of the `i`-th element. */
  lines: string[]
  /** The names of the values, the given one first. */
  values: string[]
  reads: Binding[]
  params: Record<string, Param>
}

const isChannel = (operand: Shape, output: Shape): boolean => {
  const lead = output.length - operand.length
  return lead <= 1 && operand.every((extent, i) => extent === (i + lead === 1 ? output[1] : 1))
}

/** Whether an operand can be read four elements at a time, or once for four. */
export function isWide(operand: Shape, shape: Shape): boolean {
  if (elements(operand) === elements(shape)) return elements(shape) % 4 === 0
  return elements(operand) === 1 || mergedDims(shape, [operand]).at(-1)!.extent % 4 === 0
}

/** How an operand is read, as kernels differ by it. */
export function accessOf(operand: Shape, shape: Shape, channels?: Shape): string {
  if (elements(operand) === elements(shape)) return 'element'
  if (elements(operand) === 1) return 'single'
  if (channels && sameShape(channels, shape) && isChannel(operand, shape)) return 'channel'
  return mergedDims(shape, [operand])
    .map(({ varies }) => (varies[0] ? 'v' : '-'))
    .join('')
}

/** Writes the operations. Names: `operand0`, ... for buffers, `value0`, ... for values, `q0`, ... for parameters, each after the prefix. */
export function fusedCode(
  operations: readonly FusedOperation[],
  { type, given, channels, prefix = '' }: FusedPlace,
): FusedCode {
  const lines: string[] = []
  const reads: Binding[] = []
  const params: Record<string, Param> = {}
  const values = given === undefined ? [] : [given]
  const unit = type === 'vec4f' ? 4 : 1
  const known = new Map<string, string>()
  /** The name of what a line computes; the same line again is the same name. */
  const once = (wgsl: string): string => {
    let name = known.get(wgsl)
    if (!name) {
      known.set(wgsl, (name = `t${prefix}${known.size}`))
      lines.push(`let ${name} = ${wgsl};`)
    }
    return name
  }
  const param = (value: Param): string => {
    const name = `${prefix}q${Object.keys(params).length}`
    params[name] = value
    return `p.${name}`
  }
  const extents = new Map<string, { index: string; vector: boolean }>()
  /** The index of a broadcast operand, by the extents and strides of the dimensions in which it goes on or stays. */
  const indexOf = (operand: Shape, shape: Shape): { index: string; vector: boolean } => {
    const dims = mergedDims(shape, [operand])
    const key = JSON.stringify(dims)
    const before = extents.get(key)
    if (before) return before
    const strides = operandStrides(dims, 0)
    const vector = dims.at(-1)!.varies[0]
    const terms: string[] = []
    let rest = 'i'
    for (let d = dims.length - 1; d >= 0; d--) {
      const extent = d === dims.length - 1 ? dims[d].extent / unit : dims[d].extent
      const scaled = vector && d < dims.length - 1 ? strides[d] / unit : strides[d]
      const divisor = d > 0 ? param(u32(extent)) : ''
      if (dims[d].varies[0]) {
        const own = d > 0 ? `${rest} % ${divisor}` : rest
        terms.push(scaled === 1 ? own : `(${own}) * ${param(u32(scaled))}`)
      }
      if (d > 0) rest = once(`${rest} / ${divisor}`)
    }
    const found = { index: terms.length > 0 ? once(terms.join(' + ')) : '0u', vector: vector && unit === 4 }
    extents.set(key, found)
    return found
  }
  const bound = (buffer: number, as: 'f32' | 'vec4f'): string => {
    const before = reads.find((read) => read.buffer === buffer && read.type === as)
    if (before) return before.name
    const name = `${prefix}operand${reads.length}`
    reads.push({ name, buffer, type: as })
    return name
  }
  const read = ({ buffer, shape: operand }: FusedOperand, shape: Shape): string => {
    const access = accessOf(operand, shape, channels)
    if (access === 'element') return once(`${bound(buffer, type)}[i]`)
    if (access === 'single') return once(`${type}(${bound(buffer, 'f32')}[0])`)
    if (access === 'channel') return once(`${type}(${bound(buffer, 'f32')}[c])`)
    const { index, vector } = indexOf(operand, shape)
    return once(`${type}(${bound(buffer, vector ? 'vec4f' : 'f32')}[${index}])`)
  }
  for (const { form, args, shape, operands } of operations) {
    const names: Record<string, string> = {}
    form.inputs.forEach((input, k) => {
      const operand = operands[k]
      names[input] = typeof operand === 'number' ? values[operand] : read(operand, shape)
    })
    for (const name of form.params) names[name] = `${type}(${param(f32(args[name]))})`
    const name = `${prefix}value${values.length}`
    lines.push(`let ${name} = ${wgslOf(form.value, type, names, once)};`)
    values.push(name)
  }
  return { lines, values, reads, params }
}

/** A kernel of pointwise operations alone; `written` are the numbers of the operations whose values others need, the output last. */
export function pointwiseKernel(
  label: string,
  operations: readonly FusedOperation[],
  written: readonly number[] = [0],
  buffers: readonly (number | 'output')[] = ['output'],
): Kernel {
  const { shape } = operations[0]
  // Four neighbours at a time where the innermost dimensions allow: on software adapters a vec4 load costs half of four loads.
  const wide =
    elements(shape) % 4 === 0 &&
    operations.every((operation) =>
      operation.operands.every((each) => typeof each === 'number' || isWide(each.shape, operation.shape)),
    )
  const type = wide ? 'vec4f' : 'f32'
  const count = elements(shape) / (wide ? 4 : 1)
  const { lines, values, reads, params } = fusedCode(operations, { type })
  const stores = written.map((operation, k) => `written${k}[i] = ${values[operation]};`)
  return {
    variant: wide ? 'vec4' : 'scalar',
    dispatches: [
      {
        label,
        code: linearEntry(`  if (i >= p.count) { return; }\n  ${[...lines, ...stores].join('\n  ')}`),
        reads,
        writes: written.map((_, k) => ({ name: `written${k}`, buffer: buffers[k], type })),
        params: { count: u32(count), ...params },
        workgroups: linearGrid(count),
      },
    ],
  }
}
