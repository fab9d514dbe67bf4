/** ONNX models as recognisers: an image in, an embedding out, in batches of any size. */
import { type GraphTensor, graph } from '../../graph/index.ts'
import { concat, reshape, slice, transpose } from '../../kernels/index.ts'
import { elements, formatShape, ShapeError, type Tensor } from '../../kernels/op.ts'
import { readOnnx } from '../../weights/onnx.ts'
import type { OnnxModel, OnnxValueInfo } from '../../weights/onnx-model.ts'
import { loadOnnx, type OnnxSource, type StoredOnnx, storeOnnx } from '../../weights/onnx-store.ts'
import { type ExternalData, isFloat, OnnxError } from '../../weights/onnx-tensor.ts'
import type { NetworkInput } from '../../weights/registry.ts'
import { onnxNetwork } from './network.ts'

/** A network that makes embeddings of faces. */
export interface FaceNetwork {
  /** Of the image it takes, in pixels. */
  size: readonly [height: number, width: number]
  /** Length of the embedding. */
  embedding: number
  /** Name of the output that is the embedding. */
  output: string
  /**
   * Records the network.
   * @param x images [N,3,height,width], with the pixels it wants
   * @returns embeddings [N,embedding], not normalised
   * @throws OnnxError for another shape, naming the node that it does not fit
   */
  build(x: Tensor): Tensor
}

type Size = readonly [height: number, width: number]

/** Where neither model nor caller says: what nearly every recogniser takes. */
const USUAL_SIZE: Size = [112, 112]

/** More pixels a side than any recogniser of faces takes. */
const LARGEST_SIDE = 4096

/** Numbers of samples that show whether a model takes batches: more than one, and such as extents seldom are, both at once never. */
const TRIALS = [5, 7]

/**
 * A model as a network of faces. Models that were written for one image at a time take more where every operation keeps samples apart;
 * of the others each sample is computed by itself.
 *
 * @param options `output`, the embedding's name, to be told where there are several; `size` of the image in pixels where the model
 *   leaves it open (112x112 unless told)
 * @throws OnnxError where there is not one image to take or not one embedding to give, or a node cannot be computed
 */
export function faceNetwork(model: OnnxModel, options: { output?: string; size?: Size } = {}): FaceNetwork {
  const { file } = model
  const output = options.output ?? onlyOutput(model)
  const network = onnxNetwork(model, { outputs: [output] })
  const [image, ...others] = network.inputs
  if (!image || others.length > 0)
    throw new OnnxError(file, `takes ${quoted(network.inputs.map(({ name }) => name))}: a recogniser takes one image`)
  const { size, channelsLast } = imageOf(file, image, options.size ?? USUAL_SIZE)
  const record = (x: Tensor) => network.build(channelsLast ? transpose(x, [0, 2, 3, 1]) : x)

  const { y } = attempt(1)
  const embedding = elements(y.shape)
  const isBatched = takesBatches()
  return {
    size,
    embedding,
    output,
    build(x) {
      const samples = x.shape[0]
      if (String(x.shape.slice(1)) !== String([3, ...size]))
        throw new OnnxError(file, `takes images [N,3,${size}], not ${formatShape(x.shape)}`)
      if (isBatched || samples === 1) return reshape(record(x), [samples, embedding])
      const single = Array.from({ length: samples }, (_, i) => reshape(record(slice(x, 0, i, i + 1)), [1, embedding]))
      return concat(single, 0)
    },
  }

  /** Records the network without a device. */
  function attempt(samples: number): { y: Tensor; nodes: readonly GraphTensor[] } {
    const g = graph()
    const y = record(g.input('x', [samples, 3, ...size]))
    return { y, nodes: g.nodes }
  }

  function takesBatches(): boolean {
    try {
      return TRIALS.every((samples) => {
        const { y, nodes } = attempt(samples)
        const isWhole = y.shape[0] === samples && elements(y.shape) === samples * embedding
        return isWhole && !nodes.some((node) => joinsSamples(node, samples))
      })
    } catch (error) {
      if (error instanceof OnnxError || error instanceof ShapeError) return false
      throw error
    }
  }
}

/** Whether an operation computes one number of several samples. */
function joinsSamples({ op, args, inputs, rate }: GraphTensor, samples: number): boolean {
  if (!op || rate === 'constant' || inputs[0].shape[0] !== samples) return false
  const { axes, axis } = args as { axes?: readonly number[]; axis?: number }
  const isReduction = op.name === 'sum' || op.name === 'mean' || op.name === 'max'
  if (isReduction) return axes?.includes(0) ?? false
  if (op.name === 'softmax' || op.name === 'log_softmax') return axis === 0
  return op.name === 'normalize' && inputs[0].shape.length === 1
}

/** The first names of a list. */
function quoted(names: readonly string[]): string {
  const shown = names.slice(0, 8).map((name) => `"${name}"`)
  if (names.length > shown.length) shown.push(`${names.length - shown.length} more`)
  return shown.join(', ') || 'nothing'
}

function onlyOutput({ file, outputs }: OnnxModel): string {
  if (outputs.length === 1) return outputs[0].name
  throw new OnnxError(file, `gives ${quoted(outputs.map(({ name }) => name))}: say which of them is the embedding`)
}

/** The image that a model takes; its channels come first or last. */
function imageOf(
  file: string,
  { name, type, shape }: OnnxValueInfo,
  open: Size,
): { size: Size; channelsLast: boolean } {
  const extents = shape ?? ['', 3, '', '']
  const channelsLast = extents[3] === 3 && extents[1] !== 3
  const [rows, columns] = channelsLast ? [extents[1], extents[2]] : [extents[2], extents[3]]
  const channels = channelsLast ? extents[3] : extents[1]
  if (!type || !isFloat(type) || extents.length !== 4 || (typeof channels === 'number' && channels !== 3))
    throw new OnnxError(file, `takes "${name}" ${type} [${extents.map((n) => n || '?')}], which is no colour image`)
  const extent = (given: number | string, otherwise: number) => (typeof given === 'number' ? given : otherwise)
  const size: Size = [extent(rows, open[0]), extent(columns, open[1])]
  if (Math.max(...size) > LARGEST_SIDE) throw new OnnxError(file, `takes images of ${size.join('x')} pixels: too many`)
  return { size, channelsLast }
}

/** What the network wants of the pixels is as in `NetworkInput`; v in -1..1 unless told, as InsightFace has it. */
export interface OnnxRecogniserOptions extends Partial<Omit<NetworkInput, 'width' | 'height'>> {
  /** The file's name, for messages. */
  file: string
  /** Files beside the model in which it keeps constants. */
  external?: ExternalData
  /** Name of the output that is the embedding, to be told where there are several. */
  output?: string
  /** Of the image in pixels where the model leaves it open; 112x112 unless told. */
  size?: Size
}

/** A model that was imported: what is to be written into a safetensors file, and what its entry has to say. */
export interface OnnxRecogniser extends StoredOnnx {
  input: NetworkInput
  embedding: number
  /** Numbers in the constants that the network uses. */
  parameters: number
  /** The network as it will be loaded; x is normalised as `input` says. */
  network: FaceNetwork
}

/**
 * Imports an ONNX file as a recogniser. Everything that its graph needs is checked: operators, attributes, shapes.
 *
 * @param bytes the file; it must not be written to afterwards
 * @throws OnnxError if the file cannot be read, is no recogniser, or has a node that cannot be computed here, which is named
 */
export function recogniserFromOnnx(bytes: Uint8Array, options: OnnxRecogniserOptions): OnnxRecogniser {
  const { file, external, colours = 'RGB', range = [-1, 1], mean = [0, 0, 0], std = [1, 1, 1] } = options
  const model = readOnnx(bytes, file, external)
  const { output } = faceNetwork(model, options)
  const { tensors, metadata } = storeOnnx(model, [output])
  for (const [name, { data }] of tensors) {
    if (data.some(Number.isNaN)) throw new OnnxError(file, `has a constant "${name}" with values that are no numbers`)
  }
  const network = storedFaceNetwork({ metadata, tensor: (name) => tensors.get(name)! }, file, options.size)
  const [height, width] = network.size
  return {
    tensors,
    metadata,
    network,
    embedding: network.embedding,
    parameters: [...tensors.values()].reduce((n, { data }) => n + data.length, 0),
    input: { width, height, colours, range, mean, std },
  }
}

/**
 * The network in a safetensors file that was made of an ONNX file's recogniser.
 *
 * @param file the file's name, for messages
 * @param size of the image in pixels, where the model left it open
 * @throws OnnxError if the file holds none
 */
export const storedFaceNetwork = (source: OnnxSource, file: string, size?: Size): FaceNetwork =>
  faceNetwork(loadOnnx(source, file), { size })
