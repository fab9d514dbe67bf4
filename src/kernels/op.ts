/**
 * The contract of an operation: one file holds its shape rule, cost, WGSL and backward rule. Its float64 reference and cases are in
 * test/operations, so that no program carries them.
 * Nothing here knows of a graph: a `Recorder` (implemented by src/graph) is reached through the tensors themselves.
 */
import type { Capabilities } from '../device/gpu.ts'
import type { Expression } from './expression.ts'

/** Extents of a tensor, outermost first; row-major ("C") order, f32 elements. `[]` is a scalar. */
export type Shape = readonly number[]

/** Anything an operation can take or give. Where the value lives is the recorder's business. */
export interface Tensor {
  readonly shape: Shape
  readonly name: string
  readonly recorder: Recorder
}

/** A tensor, or a number that stands for a scalar. */
export type Operand = Tensor | number

/** Records operations; src/graph implements it. */
export interface Recorder {
  /** Appends `op(inputs)`; throws ShapeError naming the operation, the node and the shapes. */
  apply<A>(op: Op<A>, inputs: readonly Tensor[], args: A, name?: string): Tensor
  /** A scalar or tensor whose value is known while recording. */
  constant(data: Float32Array | readonly number[], shape: Shape, name?: string): Tensor
  /** Names of what is recorded inside `record` start with `name.`; they appear in errors and profiles. */
  scope<T>(name: string, record: () => T): T
}

/** Arithmetic (multiply and add count as two) and least memory traffic in bytes. */
export interface Cost {
  flop: number
  bytes: number
}

/**
 * `f16`: products of convolutions and matrices may round their operands to f16 (11 bits, 6e-8 to 65504) where the adapter has it.
 * They are summed in f32. How tensors are kept between operations is none of a kernel's business, see `Binding.half`.
 */
export type Precision = 'f32' | 'f16'

/** What kernels are chosen by: the adapter's facts, and how exact the caller wants products. */
export interface Target extends Capabilities {
  /** f32 unless told. */
  readonly products?: Precision
}

/** What a dispatch binds: an input of the operation by position, its output, or a scratch buffer of the kernel. */
export type BufferRef = number | 'output' | `scratch${number}`

export interface Binding {
  /** Name in the WGSL code. */
  name: string
  buffer: BufferRef
  /** Element type of the bound array; f32 unless told. */
  type?: 'f32' | 'vec2f' | 'vec4f' | 'u32' | 'f16' | 'vec4h'
  /** The buffer holds f16 in place of f32, which the code knows nothing of: its accesses are converted (see `shaderSource`). */
  half?: boolean
}

/** A field of the uniform struct `p`. Values are per dispatch, so pipelines are shared between shapes. */
export interface Param {
  type: 'u32' | 'i32' | 'f32'
  value: number
}
export const u32 = (value: number): Param => ({ type: 'u32', value })
export const i32 = (value: number): Param => ({ type: 'i32', value })
export const f32 = (value: number): Param => ({ type: 'f32', value })

/** One compute dispatch. The code holds everything but the bindings, which are generated from `reads`, `writes`, `params`. */
export interface Dispatch {
  label: string
  /** WGSL extensions that the code needs (`subgroups`, `f16`): kernels that use one are offered where the adapter has it. */
  enable?: readonly string[]
  code: string
  reads: readonly Binding[]
  writes: readonly Binding[]
  params?: Readonly<Record<string, Param>>
  workgroups: readonly [number, number, number]
  /**
   * The code writes the output, the only buffer in `writes`, through `store(i, c, value)` alone, with values of this type: the i-th
   * element (or four elements, the binding then being vec4f), which belongs to channel c (index along axis 1). The function is
   * generated, and pointwise operations that follow are computed in it.
   */
  stores?: 'f32' | 'vec4f'
  /** The code gives 0 as `c` and knows no channels. */
  flat?: boolean
  /** The generated `store`, where something is fused into it. */
  storeCode?: string
  /**
   * Name among `reads` of a buffer that the code reads through `load(i)` alone, an f32 that is needed once. The function is generated, and
   * pointwise operations before are computed in it.
   */
  loads?: string
  /** The generated `load`, where something is fused into it. */
  loadCode?: string
}

/** One way to compute an operation on an adapter. */
export interface Kernel {
  /** Its name, other than those of the operation's other kernels. */
  variant: string
  /**
   * No fact of the adapter says whether it is faster than the kernel before it in the list: where both are at the top, a measured
   * trial may decide (src/graph/tune.ts). Rivals are timed alone, so either all of them have `stores` or none.
   */
  rival?: boolean
  /**
   * It has not run on the adapters that it is for: where trials are made it is only used after one, also without a rival, and the list's
   * last kernel in its place where there was none.
   */
  experimental?: boolean
  /** `f16`: it rounds its operands so, and is offered where the caller allows it (`Target.products`). */
  precision?: Precision
  dispatches: readonly Dispatch[]
  /** Elements (f32) of each scratch buffer. */
  scratch?: readonly number[]
}

/**
 * What a backward rule sees. It records other operations and returns one gradient per input, of the input's shape or of one that this
 * broadcasts to, over which it is then summed; 0 where the output does not change with the input, undefined where there is no gradient.
 */
export interface Backward<A> {
  args: A
  inputs: readonly Tensor[]
  output: Tensor
  /** Gradient of the loss with respect to `output`; same shape. */
  gradient: Tensor
  /** Which inputs need a gradient; the rest may be left undefined. */
  wanted: readonly boolean[]
}

/** An expression and the names in it: inputs of the operation, and numbers among its arguments. */
export interface PointwiseForm {
  readonly value: Expression
  readonly inputs: readonly string[]
  readonly params: readonly string[]
}

export interface Op<A = unknown> {
  readonly name: string
  /**
   * Input names for error messages; a trailing `?` marks one that may be left out, a trailing `...` on the last one that any
   * number of tensors, but at least one, may be given for it.
   */
  readonly inputs: readonly string[]
  /** Shape of the output. Throws ShapeError. */
  shape(args: A, shapes: readonly Shape[]): Shape
  cost(args: A, shapes: readonly Shape[]): Cost
  /**
   * Best first for this adapter; the last one runs everywhere (256 invocations, 16 KiB, f32). Empty for a view. A promise where the code
   * that writes them is imported when it is needed, as bundlers then make a file of it that a page need not load to begin with.
   */
  kernels(args: A, shapes: readonly Shape[], gpu: Target): Kernel[] | Promise<Kernel[]>
  /** The output is the first input's memory with another shape: no kernel runs. */
  readonly view?: boolean
  /**
   * Every element of the output is this expression of the same element of the inputs, which broadcast to the output: the operation can be
   * computed in the kernels before and after it.
   */
  readonly pointwise?: PointwiseForm
  /**
   * Whether the output may be kept in f16, where the caller wants that: `always`, or where the largest inputs are, which is to say
   * that the operation moves, scales or compares what others have computed. Never unless told.
   */
  readonly half?: 'always' | 'follows'
  /** No gradient flows to the inputs: for differentiation the output is a constant. */
  readonly detached?: boolean
  backward?(b: Backward<A>): readonly (Tensor | 0 | undefined)[]
}

/** Shapes that do not fit an operation, or sizes that are no positive integers. */
export class ShapeError extends Error {
  override name = 'ShapeError'
}

export const elements = (shape: Shape): number => shape.reduce((n, extent) => n * extent, 1)

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((extent, i) => extent === b[i])

/**
 * The tensors among operands and numbers, the numbers as scalars of the same graph.
 * Throws TypeError where there is no tensor among them, or something else is.
 */
export function tensorsOf(operation: string, operands: readonly Operand[]): Tensor[] {
  const wrong = operands.find((x) => typeof x !== 'number' && typeof x?.recorder !== 'object')
  if (wrong !== undefined || operands.includes(undefined as never))
    throw new TypeError(`${operation}: takes tensors and numbers, got ${wrong === null ? 'null' : typeof wrong}`)
  const first = operands.find((x) => typeof x !== 'number')
  if (!first) throw new TypeError(`${operation}: takes at least one tensor, got the numbers ${operands.join(', ')}`)
  return operands.map((x) => (typeof x === 'number' ? first.recorder.constant([x], [], `${x}`) : x))
}

export const formatShape = (shape: Shape): string => `[${shape.join(',')}]`

/** Name of the k-th tensor given for `op.inputs`; those of a variadic input `x...` are called x0, x1, and so on. */
export function inputName(inputs: readonly string[], k: number): string {
  const last = inputs.length - 1
  if (k >= last && inputs[last]?.endsWith('...')) return `${inputs[last].slice(0, -3)}${k - last}`
  return inputs[k]?.replace('?', '') ?? '?'
}

/** Throws ShapeError with `message` unless the condition holds. */
export function expectShape(condition: boolean, message: string): asserts condition {
  if (!condition) throw new ShapeError(message)
}
