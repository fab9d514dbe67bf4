/** What an operator is, and one use of it: a node with its inputs, attributes and errors. */
import { formatShape, type Recorder, type Tensor } from '../../kernels/op.ts'
import { nodeError, type OnnxAttributes, type OnnxNode } from '../../weights/onnx-model.ts'
import { isFloat, type OnnxNumbers, type OnnxType } from '../../weights/onnx-tensor.ts'
import { isKnown, type Known, numbersOf, type OnnxValue } from './values.ts'

/** How an operator of ONNX becomes operations of ours. */
export interface Operator {
  /** Fewest and most inputs. */
  inputs: readonly [fewest: number, most: number]
  /** Inputs that say how to compute (axes, sizes, bounds), by position: they must be known while the network is recorded. */
  parameters?: readonly number[]
  /** First version of ONNX' operators in which it is what is understood here; 7 unless told, which changed how numbers broadcast. */
  since?: number
  /** The last such version; unless told, the newest that is known. */
  until?: number
  /** The result on the processor, where all inputs are known. */
  fold?(call: Call): Known
  /** Records the operation. Gives one value for each of the node's outputs, or a single one for the first. */
  build(call: Call): OnnxValue | readonly OnnxValue[]
}

/** Samples that are computed together. */
export interface Batch {
  /** How many of them the network is recorded for. */
  samples: number
  /** How many the model was written for, where that is fixed. */
  fixed: number | undefined
}

/** Where a node is: what is the same for all nodes of a network that is being recorded. */
export interface Place {
  file: string
  opset: number
  recorder: Recorder
  batch: Batch
  values: ReadonlyMap<string, OnnxValue>
  work: Work
}

/**
 * Numbers that may still be computed on the processor while the network is recorded. Shapes and indices have a handful; but a file of a
 * few bytes must not be able to ask for gigabytes, nor for hours.
 */
export interface Work {
  left: number
}

export const newWork = (): Work => ({ left: 2 ** 22 })

/** Most numbers in a list of axes, sizes or the like, and most that a message shows. */
const LIST_LIMIT = 64

export class Call {
  readonly node: OnnxNode
  readonly place: Place
  readonly #read = new Set<string>()

  constructor(node: OnnxNode, place: Place) {
    this.node = node
    this.place = place
  }

  get opset(): number {
    return this.place.opset
  }

  fail(problem: string): never {
    throw nodeError(this.place.file, this.node, problem)
  }

  /** What stands in the way of a shape or another list of numbers. */
  failList(what: string, list: readonly number[]): never {
    return this.fail(`${what} ${list.length > LIST_LIMIT ? `${list.length} numbers` : formatShape(list)}`)
  }

  /** Whether the node is given its k-th input. */
  has(k: number): boolean {
    return (this.node.inputs[k] ?? '') !== ''
  }

  value(k: number): OnnxValue {
    return this.place.values.get(this.node.inputs[k] ?? '') ?? this.fail(`its input ${k} is missing`)
  }

  /** The k-th input as a tensor of the graph; what is known becomes a constant of it. */
  tensor(k: number): Tensor {
    return this.tensorOf(this.value(k), this.node.inputs[k])
  }

  tensorOf(value: OnnxValue, name: string): Tensor {
    if (!isKnown(value)) return value
    if (!isFloat(value.type)) this.fail(`takes "${name}" of type ${value.type}: only floats are computed on the GPU`)
    return this.place.recorder.constant(value.singles, value.shape, name)
  }

  optionalTensor(k: number): Tensor | undefined {
    return this.has(k) ? this.tensor(k) : undefined
  }

  known(k: number): Known {
    const value = this.value(k)
    return isKnown(value)
      ? value
      : this.fail(`its input ${k} "${this.node.inputs[k]}" depends on the image: it must be a constant`)
  }

  /** A list of whole numbers as the k-th input; undefined where it is left out. */
  integers(k: number): number[] | undefined {
    if (!this.has(k)) return undefined
    const { type, shape } = this.known(k)
    if (isFloat(type)) this.fail(`its input ${k} is ${type} ${formatShape(shape)}, not a list of integers`)
    return this.#list(k)
  }

  /** A list of floats or integers as the k-th input; undefined where it is left out or empty. */
  numberList(k: number): number[] | undefined {
    const list = this.has(k) ? this.#list(k) : []
    return list.length > 0 ? list : undefined
  }

  /** A single number as the k-th input; undefined where it is left out. */
  number(k: number): number | undefined {
    if (!this.has(k)) return undefined
    const { shape, data } = this.known(k)
    return data.length === 1 ? data[0] : this.fail(`its input ${k} is ${formatShape(shape)}, not one number`)
  }

  int(name: string): number | undefined
  int(name: string, otherwise: number): number
  int(name: string, otherwise?: number): number | undefined {
    return this.#attribute(name, 'int') ?? otherwise
  }

  float(name: string): number | undefined
  float(name: string, otherwise: number): number
  float(name: string, otherwise?: number): number | undefined {
    return this.#attribute(name, 'float') ?? otherwise
  }

  ints(name: string): readonly number[] | undefined {
    return this.#attribute(name, 'ints')
  }

  floats(name: string): readonly number[] | undefined {
    return this.#attribute(name, 'floats')
  }

  constant(name: string): Known | undefined {
    return this.#attribute(name, 'tensor')
  }

  /** A text that is one of a few; the first of them where it is left out. */
  choice<T extends string>(name: string, ...among: readonly [T, ...T[]]): T {
    const value = this.#attribute(name, 'string') ?? among[0]
    return (
      among.find((each) => each === value) ?? this.fail(`${name} "${value}" is not supported, only ${among.join(', ')}`)
    )
  }

  flag(name: string, otherwise: boolean): boolean {
    return this.int(name, otherwise ? 1 : 0) !== 0
  }

  /** Attributes that make no difference to the result. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#read.add(name)
  }

  /** Throws for an attribute that nobody asked for: what it means is not known here. */
  end(): void {
    for (const name of this.node.attributes.keys())
      if (!this.#read.has(name)) this.fail(`its attribute "${name}" is not known in version ${this.opset}`)
  }

  /** Takes note of numbers that are computed on the processor. */
  spend(count: number): void {
    this.place.work.left -= count
    if (!(this.place.work.left >= 0)) this.fail(`asks for ${count} numbers, which is too much to compute beforehand`)
  }

  /** Room for numbers that are computed on the processor. */
  numbers(type: OnnxType, count: number): OnnxNumbers {
    this.spend(count)
    return numbersOf(type, count)
  }

  /** An axis of a shape; negative ones count from behind. */
  axis(axis: number, rank: number): number {
    const found = axis < 0 ? axis + rank : axis
    if (!(Number.isInteger(found) && found >= 0 && found < rank)) this.fail(`there is no axis ${axis} among ${rank}`)
    return found
  }

  /** Several different axes. */
  axes(axes: readonly number[], rank: number): number[] {
    if (axes.length > rank) this.fail(`names ${axes.length} of ${rank} axes`)
    const found = axes.map((axis) => this.axis(axis, rank))
    if (new Set(found).size !== found.length) this.fail(`names an axis twice: ${axes.join(', ')}`)
    return found
  }

  #list(k: number): number[] {
    const { shape, data } = this.known(k)
    if (shape.length > 1 || data.length > LIST_LIMIT)
      this.fail(`its input ${k} is ${formatShape(shape)}, not a short list`)
    return [...data]
  }

  #attribute<K extends keyof OnnxAttributes>(name: string, kind: K): OnnxAttributes[K] | undefined {
    this.#read.add(name)
    const attribute = this.node.attributes.get(name)
    if (!attribute) return undefined
    if (attribute.kind !== kind) this.fail(`its attribute "${name}" is of kind ${attribute.kind}, not ${kind}`)
    return attribute.value as OnnxAttributes[K]
  }
}
