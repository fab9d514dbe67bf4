/**
 * YuNet, a detector of faces in one pass, from the ONNX file that its authors publish (github.com/ShiqiYu/libfacedetection.train), and a
 * runner that serves the detection pipeline. The file brings the layers; here is what is known of its inputs and outputs.
 */
import type { Gpu } from '../device/gpu.ts'
import { type YunetNetworks, yunetMultiple, yunetStrides } from '../faces/yunet.ts'
import { compile, graph } from '../graph/index.ts'
import { PlanCache } from '../graph/plan-cache.ts'
import { concat } from '../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../kernels/op.ts'
import type { OnnxModel } from '../weights/onnx-model.ts'
import { loadOnnx, type StoredOnnx, storeOnnx } from '../weights/onnx-store.ts'
import { isFloat, OnnxError } from '../weights/onnx-tensor.ts'
import type { NetworkInput, Weights } from '../weights/registry.ts'
import { onnxNetwork } from './onnx/network.ts'
import { isKnown } from './onnx/values.ts'

/** What entries call it. */
export const YUNET = 'yunet'

/** B, G, R in 0..255 as they are. */
export const yunetInput: NetworkInput = {
  width: null,
  height: null,
  colours: 'BGR',
  range: [0, 255],
  mean: [0, 0, 0],
  std: [1, 1, 1],
}

/** What the network gives of every layer, `cls_8` for example, and how many numbers a cell; in the order of `YunetNetworks`. */
const HEADS = Object.entries({ cls: 1, obj: 1, bbox: 4, kps: 10 })

const outputNames = yunetStrides.flatMap((stride) => HEADS.map(([head]) => `${head}_${stride}`))

/** Whether a model is a YuNet, by the names of what it gives. */
export function isYunet({ outputs }: OnnxModel): boolean {
  const names = new Set(outputs.map(({ name }) => name))
  return outputNames.every((name) => names.has(name))
}

/**
 * What a YuNet needs, to be written into a safetensors file, once it is known that it can be computed and gives what a YuNet gives.
 * One that was exported for images of one size is taken for any, as long as no size stands inside of its graph.
 *
 * @throws OnnxError where it takes or gives something else, a node cannot be computed here, or a constant is not finite
 */
export function storeYunet(model: OnnxModel): StoredOnnx & { parameters: number } {
  const { file } = model
  const [image, ...others] = model.inputs
  if (!image || others.length > 0 || !image.type || !isFloat(image.type) || !isColourImage(image.shape))
    throw new OnnxError(file, `gives what YuNet gives, but does not take one image of three colours`)
  const inputs = [{ ...image, shape: ['batch', 3, 'height', 'width'] }]
  const stored = storeOnnx({ ...model, inputs }, outputNames)
  for (const [name, { data }] of stored.tensors) {
    if (!data.every(Number.isFinite))
      throw new OnnxError(file, `has a constant "${name}" with numbers that are not finite`)
  }
  const record = yunetRecorder(loadOnnx({ ...stored, tensor: (name) => stored.tensors.get(name)! }, file))
  // Two sizes show what is fixed.
  for (const [height, width] of [
    [64, 96],
    [96, 32],
  ] as const)
    record(graph().input('x', [1, 3, height, width]))
  const parameters = [...stored.tensors.values()].reduce((sum, { data }) => sum + data.length, 0)
  return { ...stored, parameters }
}

const isColourImage = (shape: readonly (number | string)[] | undefined): boolean =>
  shape === undefined || (shape.length === 4 && (shape[1] === 3 || typeof shape[1] === 'string'))

/**
 * Prepares a YuNet; the function returned records it.
 *
 * @returns x [1,3,height,width] as `yunetInput` says, sides multiples of 32 -> rows [1,cells,16], see `YunetNetworks`
 * @throws OnnxError naming the file where a node cannot be computed or the model gives something else
 */
export function yunetRecorder(model: OnnxModel): (x: Tensor) => Tensor {
  const { file } = model
  const network = onnxNetwork(model, { outputs: outputNames })
  return (x) => {
    const [, , height, width] = x.shape
    const values = network.record(x.recorder, new Map(network.inputs.map(({ name }) => [name, x])))
    const layers = yunetStrides.map((stride) => {
      const cells = Math.floor(height / stride) * Math.floor(width / stride)
      const heads = HEADS.map(([head, columns]) => {
        const name = `${head}_${stride}`
        const value = values.get(name)!
        const wanted = [1, cells, columns]
        if (isKnown(value) || String(value.shape) !== String(wanted))
          throw new OnnxError(
            file,
            `is no YuNet: of an image of ${width}x${height} pixels "${name}" is ${formatShape(value.shape)}, not ${formatShape(wanted)}`,
          )
        return value
      })
      return concat(heads, 2)
    })
    return concat(layers, 1)
  }
}

/** Compiled networks that are kept, for the next photo of the same size. */
const KEPT_PLANS = 16

/**
 * The network on a device, for `detectFacesYunet`. Plans are compiled for each size of image, in steps of 32 pixels; the least recently used
 * ones are freed. Dispose it to free all.
 *
 * @param weights of an imported YuNet
 * @throws OnnxError where they are those of another network
 */
export async function yunetNetworks(gpu: Gpu, weights: Weights): Promise<YunetNetworks & Disposable> {
  const record = yunetRecorder(loadOnnx(weights, weights.entry.file))
  const plans = new PlanCache(KEPT_PLANS)
  const planFor = (height: number, width: number) =>
    plans.get(`${height}x${width}`, () => {
      const x = graph().input('x', [1, 3, height, width])
      // As with MTCNN: small layers of many sizes, a run or few each. Trials would cost more than they gain.
      return compile(gpu, { rows: record(x) }, { tuning: false })
    })
  // Pipelines are compiled, and wrong weights found, before the first photo.
  await planFor(yunetMultiple, yunetMultiple)
  return {
    async heads(image, height, width) {
      expectShape(
        [height, width].every((side) => side > 0 && side % yunetMultiple === 0),
        `yunet: an image of ${width}x${height} pixels; both sides must be multiples of ${yunetMultiple}`,
      )
      const plan = await planFor(height, width)
      plan.write('x', image)
      plan.run()
      return plan.read('rows')
    },
    [Symbol.dispose]: () => plans.clear(),
  }
}
