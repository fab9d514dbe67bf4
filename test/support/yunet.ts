/** A network of YuNet's form that takes a moment, as the tests of YuNet use it. */

import { yunetStrides } from '../../src/faces/yunet.ts'
import { storeYunet } from '../../src/models/yunet.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { readOnnx } from '../../src/weights/onnx.ts'
import { type ManifestEntry, type Weights, weightsOf } from '../../src/weights/registry.ts'
import { writeSafetensors } from '../../src/weights/safetensors.ts'
import { testGpu } from './gpu.ts'
import { type Constant, onnxFile, type WrittenModel } from './onnx.ts'
import { uniform } from './random.ts'

export const gpu = await testGpu()

export const blank = (width: number, height: number): Pixels => ({
  width,
  height,
  rgb: new Uint8Array(3 * width * height),
})

export const HEADS = { cls: 1, obj: 1, bbox: 4, kps: 10 }

export const headNames = yunetStrides.flatMap((stride) => Object.keys(HEADS).map((head) => `${head}_${stride}`))

/** A network of YuNet's outputs that takes a moment: every head is a 1x1 convolution of the means of the cells. */
export function small({ input = ['batch', 3, 'height', 'width'] as readonly (number | string)[], seed = 1 } = {}) {
  const nodes: WrittenModel['nodes'][number][] = []
  const constants: Record<string, Constant> = {}
  for (const [k, stride] of yunetStrides.entries()) {
    const side = k === 0 ? stride : 2
    const attributes = { kernel_shape: [side, side], strides: [side, side] }
    nodes.push({ op: 'AveragePool', inputs: k === 0 ? 'input' : `p${stride / 2}`, outputs: `p${stride}`, attributes })
    for (const [head, columns] of Object.entries(HEADS)) {
      const [key, name] = [seed++, `${head}_${stride}`]
      constants[`w_${name}`] = ['float32', [columns, 3, 1, 1], [...uniform(key, 3 * columns, -0.01, 0.01)]]
      constants[`s_${columns}`] = ['int64', [3], [0, -1, columns]]
      const isProbability = columns === 1
      nodes.push(
        { op: 'Conv', inputs: `p${stride} w_${name}`, outputs: `c_${name}` },
        { op: 'Transpose', inputs: `c_${name}`, outputs: `t_${name}`, attributes: { perm: [0, 2, 3, 1] } },
        { op: 'Reshape', inputs: `t_${name} s_${columns}`, outputs: isProbability ? `r_${name}` : name },
      )
      if (isProbability) nodes.push({ op: 'Sigmoid', inputs: `r_${name}`, outputs: name })
    }
  }
  return { inputs: { input }, nodes, constants, outputs: headNames.join(' ') } satisfies WrittenModel
}

export const modelOf = (model: WrittenModel) => readOnnx(onnxFile(model), 'small.onnx')

/** A network as it is loaded. */
export function stored(model: WrittenModel): Weights {
  const { tensors, metadata } = storeYunet(modelOf(model))
  const entry = { id: 'small', file: 'small.safetensors', architecture: 'yunet' } as ManifestEntry
  return weightsOf(entry, writeSafetensors(tensors, { ...metadata }, entry.file), entry.file)
}
