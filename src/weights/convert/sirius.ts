/**
 * sirius-ai's MobileFaceNet (192 numbers) from its TensorFlow Lite export. The export has a batch of two fixed in its
 * shapes, spells PReLU as relu(x) + m (x - |x|), and ends with a reshape; what is kept is the chain of convolutions.
 * Two pairs of 1x1 convolutions with nothing between them are multiplied into one each.
 *
 * Forward pass, x [N,3,112,112] RGB, (255 c - 127.5) / 128. "same" at stride 2 is TensorFlow's: for an even size and a 3x3
 * filter NOTHING is padded at the top and left, one zero row and column at the bottom and right; at stride 1 it is 1 all around.
 *
 *     x = prelu(conv1(x))                   3x3 stride 2 same                             -> [N,64,56,56]
 *     x = prelu(conv2(x))                   depthwise 3x3 stride 1 same                   -> [N,64,56,56]
 *     for each block of `BLOCKS`:
 *       y = prelu(block.expand(x))          1x1
 *       y = prelu(block.depthwise(y))       depthwise 3x3, the block's stride, same
 *       y = block.project(y)                1x1, no activation
 *       x = x + y if the stride is 1, else y
 *     x = prelu(conv3(x))                   1x1                                           -> [N,512,7,7]
 *     x = conv4(x)                          depthwise 7x7, no padding, no activation      -> [N,512,1,1]
 *     embedding = linear(x)                 512 -> 192, not normalised
 */
import { WeightsError } from '../errors.ts'
import type { WeightTensor } from '../registry.ts'
import { readTflite, type TfliteGraph, type TfliteOperator } from '../tflite.ts'
import { permute, reshape, sameShape } from './layout.ts'
import { sourceFile } from './source.ts'

/** [in, expanded, out, stride] of each block. A block of stride 1 keeps its channels and has a shortcut. */
const BLOCKS: [from: number, expanded: number, to: number, stride: number][] = [
  [64, 128, 64, 2],
  ...Array.from({ length: 4 }, (): [number, number, number, number] => [64, 128, 64, 1]),
  [64, 256, 128, 2],
  ...Array.from({ length: 6 }, (): [number, number, number, number] => [128, 256, 128, 1]),
  [128, 512, 128, 2],
  ...Array.from({ length: 2 }, (): [number, number, number, number] => [128, 256, 128, 1]),
]

/** One convolution of the graph, in the order of the pass. Weights are OIHW, or [channels, 1, kh, kw] where depthwise. */
interface Layer {
  weight: WeightTensor
  bias: Float32Array
  slope?: Float32Array
}

/**
 * @param files by base name
 * @param file which of them it is
 * @throws WeightsError if the graph is not, operator by operator, the network described above
 */
export function convertSirius(
  files: ReadonlyMap<string, Uint8Array>,
  file = 'MobileFaceNet.tflite',
): Map<string, WeightTensor> {
  const chain = new Chain(readTflite(sourceFile(files, file), file), file)
  const out = new Map<string, WeightTensor>()
  const put = (name: string, { weight, bias, slope }: Layer): void => {
    out.set(`${name}.weight`, weight)
    out.set(`${name}.bias`, { shape: [bias.length], data: bias })
    if (slope) out.set(`${name}.prelu.weight`, { shape: [slope.length], data: slope })
  }

  put('conv1', chain.convolution([64, 3, 3, 3], 2, 'prelu'))
  put('conv2', chain.depthwise(64, 3, 1, 'prelu'))
  const stem = chain.convolution([64, 64, 1, 1], 1, 'linear')
  BLOCKS.forEach(([from, expanded, to, stride], i) => {
    const start = chain.at
    const expand = chain.convolution([expanded, from, 1, 1], 1, 'prelu')
    put(`blocks.${i}.expand`, i === 0 ? product(expand, stem) : expand)
    put(`blocks.${i}.depthwise`, chain.depthwise(expanded, 3, stride, 'prelu'))
    put(`blocks.${i}.project`, chain.convolution([to, expanded, 1, 1], 1, 'linear'))
    if (stride === 1) chain.shortcut(start)
  })
  put('conv3', chain.convolution([512, 128, 1, 1], 1, 'prelu'))
  put('conv4', chain.depthwise(512, 7, 1, 'linear', 'valid'))
  const logits = chain.convolution([512, 512, 1, 1], 1, 'linear', 'valid')
  const linear = product(chain.convolution([192, 512, 1, 1], 1, 'linear'), logits)
  put('linear', { ...linear, weight: reshape(linear.weight, [192, 512]) })
  chain.end()
  return out
}

/** Walks the operators of a graph that is one chain, and refuses whatever is not the next link. */
class Chain {
  readonly #graph: TfliteGraph
  readonly #file: string
  #next = 0
  /** The tensor that the chain has come to. */
  at: number

  constructor(graph: TfliteGraph, file: string) {
    this.#graph = graph
    this.#file = file
    if (graph.inputs.length !== 1 || graph.outputs.length !== 1) this.#fail('has not one input and one output')
    this.at = graph.inputs[0]
    const { shape } = graph.tensors[this.at]
    // Where the exporter fixed the batch at 2; any other number would do as well, the operators do not depend on it.
    if (!sameShape(shape.slice(1), [112, 112, 3])) this.#fail(`takes [${shape}], not images of 112x112x3`)
  }

  #fail(problem: string): never {
    throw new WeightsError(this.#file, `${problem}: it is not the MobileFaceNet that is known here`)
  }

  /** The next operator, which must be of this kind and take the given tensors (undefined: any constant). */
  #take(kind: TfliteOperator['kind'], inputs: (number | undefined)[]): TfliteOperator {
    const operator = this.#graph.operators[this.#next]
    const where = `operator ${this.#next}`
    if (operator?.kind !== kind) this.#fail(`${where} is ${operator?.kind ?? 'missing'}, not ${kind}`)
    const wired = inputs.every((tensor, i) =>
      tensor === undefined ? this.#graph.tensors[operator.inputs[i]]?.data : operator.inputs[i] === tensor,
    )
    if (!wired || operator.inputs.length !== inputs.length || operator.outputs.length !== 1) {
      this.#fail(`${where} (${kind}) is wired to other tensors`)
    }
    this.#next++
    return operator
  }

  #constant(index: number, shape: readonly number[]): WeightTensor {
    const { name, shape: actual, data } = this.#graph.tensors[index]
    if (!(data instanceof Float32Array) || !sameShape(actual, shape))
      this.#fail(`"${name}" is [${actual}], not [${shape}]`)
    if (!data.every(Number.isFinite)) this.#fail(`"${name}" is not finite`)
    return { shape, data }
  }

  /** A convolution with weights of the given OIHW shape; TensorFlow Lite stores them as OHWI. */
  convolution(
    shape: [number, number, number, number],
    stride: number,
    activation: 'prelu' | 'linear',
    padding?: 'valid',
  ): Layer {
    const [to, from, height, width] = shape
    return this.#layer('conv2d', [to, height, width, from], [0, 3, 1, 2], stride, activation, padding)
  }

  /** A depthwise convolution; TensorFlow Lite stores its weights as [1, height, width, channels]. */
  depthwise(
    channels: number,
    kernel: number,
    stride: number,
    activation: 'prelu' | 'linear',
    padding?: 'valid',
  ): Layer {
    return this.#layer('depthwiseConv2d', [1, kernel, kernel, channels], [3, 0, 1, 2], stride, activation, padding)
  }

  #layer(
    kind: 'conv2d' | 'depthwiseConv2d',
    stored: number[],
    axes: number[],
    stride: number,
    activation: 'prelu' | 'linear',
    padding: 'same' | 'valid' = 'same',
  ): Layer {
    const operator = this.#take(kind, [this.at, undefined, undefined])
    if (!('strides' in operator) || operator.padding !== padding || operator.strides.some((s) => s !== stride)) {
      return this.#fail(`operator ${this.#next - 1} (${kind}) has another stride or padding`)
    }
    const weight = permute(this.#constant(operator.inputs[1], stored), axes)
    const bias = this.#constant(operator.inputs[2], [weight.shape[0]]).data
    this.at = operator.outputs[0]
    const slope = activation === 'prelu' ? this.#prelu(weight.shape[0]) : undefined
    return { weight, bias, slope }
  }

  /** relu(x) + m (x - |x|): for x < 0 that is 2 m x, so the slope is 2 m. */
  #prelu(channels: number): Float32Array {
    const x = this.at
    const [relu] = this.#take('relu', [x]).outputs
    const [abs] = this.#take('abs', [x]).outputs
    const [sub] = this.#take('sub', [x, abs]).outputs
    const mul = this.#take('mul', [undefined, sub])
    this.at = this.#take('add', [relu, mul.outputs[0]]).outputs[0]
    return this.#constant(mul.inputs[0], [channels]).data.map((m) => 2 * m)
  }

  shortcut(from: number): void {
    this.at = this.#take('add', [this.at, from]).outputs[0]
  }

  end(): void {
    const [embedding] = this.#take('reshape', [this.at, undefined]).outputs
    if (this.#next !== this.#graph.operators.length) this.#fail('goes on after its embedding')
    if (embedding !== this.#graph.outputs[0]) this.#fail('returns something else than its embedding')
  }
}

/** `outer` after `inner`, both 1x1 without activation between them, as one layer (computed in f64, rounded once). */
function product(outer: Layer, inner: Layer): Layer {
  const [to, middle] = outer.weight.shape
  const from = inner.weight.shape[1]
  const weight = new Float32Array(to * from)
  const bias = new Float32Array(to)
  for (let o = 0; o < to; o++) {
    const row = new Float64Array(from)
    let constant = outer.bias[o]
    for (let m = 0; m < middle; m++) {
      const factor = outer.weight.data[o * middle + m]
      for (let i = 0; i < from; i++) row[i] += factor * inner.weight.data[m * from + i]
      constant += factor * inner.bias[m]
    }
    weight.set(row, o * from)
    bias[o] = constant
  }
  return { ...outer, weight: { shape: [to, from, 1, 1], data: weight }, bias }
}
