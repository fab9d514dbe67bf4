/** Which tensors each network consists of, by the names and shapes under which files hold them. */
import type { Shape } from '../kernels/op.ts'
import type { IrArchitecture } from './ir.ts'

export type TensorShapes = ReadonlyMap<string, Shape>

/** Collects the tensors of layers. */
class Layers {
  readonly tensors = new Map<string, Shape>()

  /** A convolution of square kernels, without bias unless told; depthwise ones have one input channel. */
  convolution(key: string, outputs: number, inputs: number, kernel: number, bias = false): void {
    this.tensors.set(`${key}.weight`, [outputs, inputs, kernel, kernel])
    if (bias) this.tensors.set(`${key}.bias`, [outputs])
  }

  linear(key: string, outputs: number, inputs: number, bias = true): void {
    this.tensors.set(`${key}.weight`, [outputs, inputs])
    if (bias) this.tensors.set(`${key}.bias`, [outputs])
  }

  norm(key: string, channels: number): void {
    for (const part of ['weight', 'bias', 'running_mean', 'running_var']) this.tensors.set(`${key}.${part}`, [channels])
  }

  prelu(key: string, channels: number): void {
    this.tensors.set(`${key}.weight`, [channels])
  }
}

/** face.evoLVe's backbone/model_irse.py for images of 112x112, in the order of its state dictionary. */
export function irTensors({ units, channels, embedding, squeezeExcitation }: IrArchitecture): TensorShapes {
  const layers = new Layers()
  layers.convolution('input_layer.0', channels[0], 3, 3)
  layers.norm('input_layer.1', channels[0])
  layers.prelu('input_layer.2', channels[0])
  layers.norm('output_layer.0', channels[3])
  layers.linear('output_layer.3', embedding, channels[3] * 7 * 7)
  layers.norm('output_layer.4', embedding)
  let from = channels[0]
  let index = 0
  units.forEach((count, stage) => {
    for (let i = 0; i < count; i++) {
      const [to, key] = [channels[stage], `body.${index++}`]
      const layer = (k: number) => `${key}.res_layer.${k}`
      if (from !== to) {
        layers.convolution(`${key}.shortcut_layer.0`, to, from, 1)
        layers.norm(`${key}.shortcut_layer.1`, to)
      }
      layers.norm(layer(0), from)
      layers.convolution(layer(1), to, from, 3)
      layers.prelu(layer(2), to)
      layers.convolution(layer(3), to, to, 3)
      layers.norm(layer(4), to)
      if (squeezeExcitation) {
        layers.convolution(`${layer(5)}.fc1`, Math.floor(to / 16), to, 1)
        layers.convolution(`${layer(5)}.fc2`, to, Math.floor(to / 16), 1)
      }
      from = to
    }
  })
  return layers.tensors
}

/** face.evoLVe's backbone/model_resnet.py for images of 112x112, in the order of its state dictionary. */
export function resnetTensors(blocks: readonly number[]): TensorShapes {
  const layers = new Layers()
  layers.convolution('conv1', 64, 3, 7)
  layers.norm('bn1', 64)
  let from = 64
  blocks.forEach((count, stage) => {
    const width = 64 * 2 ** stage
    for (let i = 0; i < count; i++) {
      const key = `layer${stage + 1}.${i}`
      layers.convolution(`${key}.conv1`, width, from, 1)
      layers.norm(`${key}.bn1`, width)
      layers.convolution(`${key}.conv2`, width, width, 3)
      layers.norm(`${key}.bn2`, width)
      layers.convolution(`${key}.conv3`, 4 * width, width, 1)
      layers.norm(`${key}.bn3`, 4 * width)
      if (i === 0) {
        layers.convolution(`${key}.downsample.0`, 4 * width, from, 1)
        layers.norm(`${key}.downsample.1`, 4 * width)
      }
      from = 4 * width
    }
  })
  layers.norm('bn_o1', from)
  layers.linear('fc', 512, from * 4 * 4)
  layers.norm('bn_o2', 512)
  return layers.tensors
}

/** Channels of MobileFaceNet's blocks: expanded, and after the block. */
const BOTTLENECKS: readonly (readonly [expanded: number, to: number])[] = [
  ...Array.from({ length: 5 }, () => [128, 64] as const),
  ...Array.from({ length: 7 }, () => [256, 128] as const),
  [512, 128],
  ...Array.from({ length: 2 }, () => [256, 128] as const),
]

/** github.com/foamliu/MobileFaceNet, mobilefacenet.py. */
export function foamliuTensors(): TensorShapes {
  const layers = new Layers()
  layers.convolution('conv1.0', 64, 3, 3)
  layers.norm('conv1.1', 64)
  layers.convolution('dw_conv.depthwise', 64, 1, 3)
  layers.convolution('dw_conv.pointwise', 64, 64, 1)
  layers.norm('dw_conv.bn1', 64)
  layers.norm('dw_conv.bn2', 64)
  let from = 64
  for (const [i, [expanded, to]] of BOTTLENECKS.entries()) {
    const block = `features.${i}.conv`
    layers.convolution(`${block}.0.0`, expanded, from, 1)
    layers.norm(`${block}.0.1`, expanded)
    layers.convolution(`${block}.1.0`, expanded, 1, 3)
    layers.norm(`${block}.1.1`, expanded)
    layers.convolution(`${block}.2`, to, expanded, 1)
    layers.norm(`${block}.3`, to)
    from = to
  }
  layers.convolution('conv2.0', 512, from, 1)
  layers.norm('conv2.1', 512)
  layers.convolution('gdconv.depthwise', 512, 1, 7)
  layers.norm('gdconv.bn', 512)
  layers.convolution('conv3', 128, 512, 1, true)
  layers.norm('bn', 128)
  return layers.tensors
}

/** sirius-ai's network as src/weights/convert/sirius.ts makes it. */
export function mobilefacenetTensors(): TensorShapes {
  const layers = new Layers()
  const activated = (key: string, outputs: number, inputs: number, kernel: number) => {
    layers.convolution(key, outputs, inputs, kernel, true)
    layers.prelu(`${key}.prelu`, outputs)
  }
  activated('conv1', 64, 3, 3)
  activated('conv2', 64, 1, 3)
  let from = 64
  for (const [i, [expanded, to]] of BOTTLENECKS.entries()) {
    activated(`blocks.${i}.expand`, expanded, from, 1)
    activated(`blocks.${i}.depthwise`, expanded, 1, 3)
    layers.convolution(`blocks.${i}.project`, to, expanded, 1, true)
    from = to
  }
  activated('conv3', 512, from, 1)
  layers.convolution('conv4', 512, 1, 7, true)
  layers.linear('linear', 192, 512)
  return layers.tensors
}

/** dlib's network as src/weights/convert/dlib.ts makes it. */
export function dlibTensors(): TensorShapes {
  const layers = new Layers()
  layers.convolution('conv1', 32, 3, 7, true)
  const widths = [32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256]
  let from = 32
  for (const [i, to] of widths.entries()) {
    layers.convolution(`blocks.${i}.conv1`, to, from, 3, true)
    layers.convolution(`blocks.${i}.conv2`, to, to, 3, true)
    from = to
  }
  layers.linear('fc', 128, 256, false)
  return layers.tensors
}

/** The convolutions of torchvision's AlexNet. */
export function alexnetTensors(): TensorShapes {
  const layers = new Layers()
  layers.convolution('features.0', 64, 3, 11, true)
  layers.convolution('features.3', 192, 64, 5, true)
  layers.convolution('features.6', 384, 192, 3, true)
  layers.convolution('features.8', 256, 384, 3, true)
  layers.convolution('features.10', 256, 256, 3, true)
  return layers.tensors
}

/** Fire modules of SqueezeNet 1.1: place, channels before, squeezed, and of each of the two expansions. */
const FIRES: readonly (readonly [index: number, from: number, squeezed: number, expanded: number])[] = [
  [3, 64, 16, 64],
  [4, 128, 16, 64],
  [6, 128, 32, 128],
  [7, 256, 32, 128],
  [9, 256, 48, 192],
  [10, 384, 48, 192],
  [11, 384, 64, 256],
  [12, 512, 64, 256],
]

/** The convolutions of torchvision's SqueezeNet 1.1, without its classifier. */
export function squeezenetTensors(): TensorShapes {
  const layers = new Layers()
  layers.convolution('features.0', 64, 3, 3, true)
  for (const [index, from, squeezed, expanded] of FIRES) {
    layers.convolution(`features.${index}.squeeze`, squeezed, from, 1, true)
    layers.convolution(`features.${index}.expand1x1`, expanded, squeezed, 1, true)
    layers.convolution(`features.${index}.expand3x3`, expanded, squeezed, 3, true)
  }
  return layers.tensors
}

/** Channels of the layers that LPIPS compares, by its trunk. */
export const lpipsChannels = {
  alex: [64, 192, 384, 256, 256],
  squeeze: [64, 128, 256, 384, 384, 512, 512],
} as const

/** The weights of LPIPS v0.1 for the channels of a trunk. */
export function lpipsLinTensors(trunk: keyof typeof lpipsChannels): TensorShapes {
  return new Map(lpipsChannels[trunk].map((channels, k) => [`lin${k}.model.1.weight`, [1, channels, 1, 1]]))
}

/** MTCNN's networks: convolutions (each followed by PReLU), linear layers (the first of which is), and heads. */
const MTCNN = {
  pnet: {
    convolutions: [
      [10, 3, 3],
      [16, 10, 3],
      [32, 16, 3],
    ],
    heads: [
      ['conv4_1', 2, 32],
      ['conv4_2', 4, 32],
    ],
  },
  rnet: {
    convolutions: [
      [28, 3, 3],
      [48, 28, 3],
      [64, 48, 2],
    ],
    linear: [128, 576],
    heads: [
      ['conv5_1', 2, 128],
      ['conv5_2', 4, 128],
    ],
  },
  onet: {
    convolutions: [
      [32, 3, 3],
      [64, 32, 3],
      [64, 64, 3],
      [128, 64, 2],
    ],
    linear: [256, 1152],
    heads: [
      ['conv6_1', 2, 256],
      ['conv6_2', 4, 256],
      ['conv6_3', 10, 256],
    ],
  },
} as const

/** One of MTCNN's networks as `models/mtcnn.ts` takes it; see src/weights/convert/mtcnn.ts for the layout. */
export function mtcnnTensors(net: keyof typeof MTCNN): TensorShapes {
  const layers = new Layers()
  const { convolutions, heads } = MTCNN[net]
  const activated = (k: number, channels: number, record: (key: string) => void) => {
    record(`${net}.conv${k}`)
    layers.prelu(`${net}.prelu${k}`, channels)
  }
  convolutions.forEach(([to, from, kernel], i) => {
    activated(i + 1, to, (key) => layers.convolution(key, to, from, kernel, true))
  })
  const { linear } = MTCNN[net] as { linear?: readonly [number, number] }
  if (linear) activated(convolutions.length + 1, linear[0], (key) => layers.linear(key, ...linear))
  for (const [name, to, from] of heads) {
    if (linear) layers.linear(`${net}.${name}`, to, from)
    else layers.convolution(`${net}.${name}`, to, from, 1, true)
  }
  return layers.tensors
}
