/** The symbolic graph: recorded once, differentiated by `grad`, compiled by `compile` (plan.ts). */
import {
  elements,
  expectShape,
  formatShape,
  inputName,
  type Op,
  type Recorder,
  type Shape,
  ShapeError,
  sameShape,
  type Tensor,
} from '../kernels/op.ts'
import { fnv1a } from './hash.ts'
import { floatsOf, type Numbers } from './numbers.ts'

/**
 * How often a value changes. `constant`: never (weights). `fixed`: the same for many steps, until it is written again (the clean
 * photo). `step`: may change with every run.
 */
export type Rate = 'constant' | 'fixed' | 'step'
export const RATES: readonly Rate[] = ['constant', 'fixed', 'step']

/** A tensor of a graph: a leaf (input or constant) or the result of an operation. */
export class GraphTensor implements Tensor {
  readonly id: number
  readonly name: string
  readonly shape: Shape
  readonly recorder: Graph
  readonly rate: Rate
  /** Undefined for leaves. */
  readonly op: Op<never> | undefined
  readonly inputs: readonly GraphTensor[]
  readonly args: unknown
  /** Value of a constant leaf; what a state begins with. */
  readonly data: Float32Array | undefined

  constructor(
    graph: Graph,
    id: number,
    fields: Pick<GraphTensor, 'name' | 'shape' | 'rate'> &
      Partial<Pick<GraphTensor, 'op' | 'inputs' | 'args' | 'data'>>,
  ) {
    this.recorder = graph
    this.id = id
    this.name = fields.name
    this.shape = fields.shape
    this.rate = fields.rate
    this.op = fields.op
    this.inputs = fields.inputs ?? []
    this.args = fields.args
    this.data = fields.data
  }
}

/** The node whose memory a node shows: itself, or what a view is of. */
export const memoryOf = (node: GraphTensor): GraphTensor => (node.op?.view ? memoryOf(node.inputs[0]) : node)

/** Constants of at most this many elements are copied, and compared by value. */
const SHORT = 4096

/** Records operations in order. One graph may hold several networks, losses and their gradients. */
export class Graph implements Recorder {
  readonly nodes: GraphTensor[] = []
  private readonly known = new Map<string, GraphTensor>()
  /** Long constants by the memory that their arrays are views of, and what those held. */
  private readonly constants = new Map<ArrayBufferLike, GraphTensor[]>()
  private readonly sums = new Map<GraphTensor, number>()
  /** Short constants by a hash of their bits. */
  private readonly short = new Map<number, GraphTensor[]>()
  private prefix = ''

  /** A value that changes from run to run; `plan.run({ name })` or `plan.write(name)` gives it. */
  input(name: string, shape: Shape): GraphTensor {
    return this.leaf(name, shape, 'step')
  }

  /** A value that is the same for many runs; what depends on it and on constants alone is computed once after it was written. */
  fixed(name: string, shape: Shape): GraphTensor {
    return this.leaf(name, shape, 'fixed')
  }

  /**
   * An input that a plan's `updates` carry from run to run: a parameter, an average, a counter of steps. It need not be written.
   * @param start what it begins with; a number is for all elements. The array is copied.
   */
  state(name: string, shape: Shape, start: Numbers = 0): GraphTensor {
    const where = `${this.prefix}${name}`
    const values = typeof start === 'number' ? new Float32Array(elements(shape)).fill(start) : floatsOf(start, where)
    expectShape(values.length === elements(shape), `${where}: ${values.length} values for shape ${formatShape(shape)}`)
    return this.leaf(name, shape, 'step', values === start ? values.slice() : values)
  }

  /**
   * A weight or another value known now. Long arrays of f32 are not copied, and must stay as they are until the last `compile` of the
   * graph; it refuses one that was changed. The same array under the same shape, or another view of the same numbers, is one node, however
   * often it is recorded (a network applied to several images has its weights once); so are short arrays of the same values.
   */
  constant(data: Numbers, shape: Shape, name = 'constant'): GraphTensor {
    const where = `${this.prefix}${name}`
    const given = floatsOf(data, where)
    expectShape(given.length === elements(shape), `${where}: ${given.length} values for shape ${formatShape(shape)}`)
    const short = given.length <= SHORT
    const known = short ? this.alike(given) : (this.constants.get(given.buffer) ?? [])
    const isSame = short ? sameBits : sameView
    const before = known.find((node) => sameShape(node.shape, shape) && isSame(node.data!, given))
    if (before) return before
    const values = short && given === data ? given.slice() : given
    const node = this.leaf(name, shape, 'constant', values)
    known.push(node)
    if (!short) {
      this.constants.set(given.buffer, known)
      this.sums.set(node, checksum(given))
    }
    return node
  }

  /** Throws an Error where the array of a constant was changed after it was recorded. */
  expectUnchanged(node: GraphTensor): void {
    const sum = this.sums.get(node)
    if (sum === undefined || checksum(node.data!) === sum) return
    throw new Error(`${node.name}: its array was changed after it was recorded as a constant; record a copy of it`)
  }

  /** Names of nodes recorded inside `record` start with `name.`; they appear in errors and profiles. */
  scope<T>(name: string, record: () => T): T {
    const outer = this.prefix
    this.prefix = `${outer}${name}.`
    try {
      return record()
    } finally {
      this.prefix = outer
    }
  }

  /** Appends an operation; the same operation on the same tensors is recorded once. */
  apply<A>(op: Op<A>, inputs: readonly Tensor[], args: A, name = op.name): GraphTensor {
    const nodes = inputs.map((t) => this.own(t, `${op.name}(${this.prefix}${name})`))
    const key = `${op.name}|${nodes.map((n) => n.id).join()}|${JSON.stringify(args, exactNumber)}`
    const before = this.known.get(key)
    if (before && before.op === (op as Op<never>)) return before
    const required = op.inputs.filter((i) => !i.endsWith('?')).length
    const most = op.inputs.at(-1)?.endsWith('...') ? Number.POSITIVE_INFINITY : op.inputs.length
    const shapes = nodes.map((n) => n.shape)
    const at = `${op.name}(${this.prefix}${name})`
    const given = `(${shapes.map((s, i) => `${inputName(op.inputs, i)} ${formatShape(s)}`).join(', ')})`
    expectShape(
      nodes.length >= required && nodes.length <= most,
      `${at}: takes ${op.inputs.join(', ')}, got ${nodes.length} tensors ${given}`,
    )
    let shape: Shape
    try {
      shape = op.shape(args, shapes)
    } catch (error) {
      if (error instanceof ShapeError) throw new ShapeError(`${at}: ${stripName(error.message, op.name)} ${given}`)
      throw error
    }
    expectShape(
      shape.every((extent) => Number.isInteger(extent) && extent > 0),
      `${at}: the output would be ${formatShape(shape)}; every extent must be a positive integer ${given}`,
    )
    const rate = RATES[Math.max(0, ...nodes.map((n) => RATES.indexOf(n.rate)))]
    const node = this.push({
      name: `${this.prefix}${name}`,
      shape,
      rate,
      op: op as unknown as Op<never>,
      inputs: nodes,
      args,
    })
    this.known.set(key, node)
    return node
  }

  /** Constants of the same hash; others like these values are added to the list. */
  private alike(values: Float32Array): GraphTensor[] {
    const hash = fnv1a(bitsOf(values))
    const nodes = this.short.get(hash) ?? []
    this.short.set(hash, nodes)
    return nodes
  }

  private leaf(name: string, shape: Shape, rate: Rate, data?: Float32Array): GraphTensor {
    expectShape(
      shape.every((extent) => Number.isInteger(extent) && extent > 0),
      `${this.prefix}${name}: ${formatShape(shape)} has an extent that is not a positive integer`,
    )
    return this.push({ name: `${this.prefix}${name}`, shape, rate, data })
  }

  private push(fields: ConstructorParameters<typeof GraphTensor>[2]): GraphTensor {
    const node = new GraphTensor(this, this.nodes.length, fields)
    this.nodes.push(node)
    return node
  }

  private own(tensor: Tensor, where: string): GraphTensor {
    if (tensor?.recorder === this) return tensor as GraphTensor
    if (tensor?.recorder) throw new ShapeError(`${where}: ${tensor.name} belongs to another graph`)
    throw new TypeError(`${where}: takes tensors, got ${tensor === null ? 'null' : typeof tensor}`)
  }
}

/** An empty graph. */
export const graph = (): Graph => new Graph()

/** JSON takes infinities and NaN for null and -0 for 0; nodes must not be taken for one by that. */
export const exactNumber = (_: string, value: unknown): unknown =>
  typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)) ? String(value) : value

const bitsOf = ({ buffer, byteOffset, length }: Float32Array): Uint32Array =>
  new Uint32Array(buffer, byteOffset, length)

/**
 * A number that changes with any one value and nearly always with several: four sums of 32 bits side by side, each weighted by place, as
 * one would wait for each multiplication.
 */
export function checksum(values: Float32Array): number {
  const words = bitsOf(values)
  const whole = words.length & ~3
  let [a, b, c, d] = [1, 2, 3, 4]
  for (let i = 0; i < whole; i += 4) {
    a = Math.imul(a, 0x01000193) ^ words[i]
    b = Math.imul(b, 0x01000193) ^ words[i + 1]
    c = Math.imul(c, 0x01000193) ^ words[i + 2]
    d = Math.imul(d, 0x01000193) ^ words[i + 3]
  }
  for (let i = whole; i < words.length; i++) a = Math.imul(a, 0x01000193) ^ words[i]
  return [b, c, d].reduce((sum, part) => Math.imul(sum, 0x01000193) ^ part, a) >>> 0
}

const sameView = (a: Float32Array, b: Float32Array): boolean => a.byteOffset === b.byteOffset && a.length === b.length

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const other = bitsOf(b)
  return a.length === b.length && bitsOf(a).every((word, i) => word === other[i])
}

const stripName = (message: string, op: string): string =>
  message.startsWith(`${op}: `) ? message.slice(op.length + 2) : message
