/** LowKey's loop in TensorFlow.js: eager operations in its own layout (NHWC), gradients by its own tape. */
import type { Gpu } from '../../src/device/gpu.ts'
import type { Prepared } from './engine.ts'
import {
  ALEXNET,
  blurMatrix,
  CROP,
  FED,
  type LoopProblem,
  LPIPS_EPSILON,
  LPIPS_OFFSET,
  LPIPS_SCALE,
  STRIDES,
  type StoredTensor,
  samplingTaps,
  type Taps,
} from './loop.ts'
import { transpose } from './problem.ts'

/** What is used of it, written down here so that types are checked without the package. */
export interface TfTensor {
  readonly shape: number[]
  data(): Promise<Float32Array>
  dispose(): void
}
type Numbers = readonly number[]
export interface TfLoop {
  tensor(values: Float32Array | Int32Array | Numbers, shape: Numbers, dtype?: 'float32' | 'int32'): TfTensor
  add(a: TfTensor, b: TfTensor | number): TfTensor
  sub(a: TfTensor, b: TfTensor): TfTensor
  mul(a: TfTensor, b: TfTensor | number): TfTensor
  div(a: TfTensor, b: TfTensor): TfTensor
  square(x: TfTensor): TfTensor
  sqrt(x: TfTensor): TfTensor
  relu(x: TfTensor): TfTensor
  prelu(x: TfTensor, slopes: TfTensor): TfTensor
  sum(x: TfTensor, axis?: number | Numbers, keepDims?: boolean): TfTensor
  clipByValue(x: TfTensor, low: number, high: number): TfTensor
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor
  conv2d(x: TfTensor, w: TfTensor, strides: number, pad: 'same' | 'valid' | number): TfTensor
  depthwiseConv2d(x: TfTensor, w: TfTensor, strides: number, pad: 'same' | 'valid'): TfTensor
  maxPool(x: TfTensor, size: number, strides: number, pad: 'valid'): TfTensor
  gather(x: TfTensor, indices: TfTensor): TfTensor
  concat(tensors: TfTensor[], axis: number): TfTensor
  slice(x: TfTensor, begin: Numbers, size: Numbers): TfTensor
  reverse(x: TfTensor, axis: number): TfTensor
  reshape(x: TfTensor, shape: Numbers): TfTensor
  transpose(x: TfTensor, perm: Numbers): TfTensor
  customGrad(f: (x: TfTensor) => { value: TfTensor; gradFunc: (dy: TfTensor) => TfTensor }): (x: TfTensor) => TfTensor
  valueAndGrad(f: (x: TfTensor) => TfTensor): (x: TfTensor) => { value: TfTensor; grad: TfTensor }
  /** Exempts a tensor from the scope of `tidy`. */
  keep(x: TfTensor): TfTensor
  tidy<T extends TfTensor | TfTensor[] | { value: TfTensor; grad: TfTensor }>(f: () => T): T
}

const NCHW_TO_NHWC = [0, 2, 3, 1]

export function prepareTfLoop(tf: TfLoop, gpu: Gpu, problem: LoopProblem): Prepared {
  const { height, width } = problem
  const owned: TfTensor[] = []
  /** Weights are made where they are first used: in a tidy scope, which would dispose of them. */
  const own = (x: TfTensor): TfTensor => {
    owned.push(x)
    return tf.keep(x)
  }
  /** Planes [3,height,width] as an image [1,height,width,3]. */
  const image = (planes: Float32Array) =>
    own(tf.tensor(transpose(planes, [1, 3, height, width], NCHW_TO_NHWC), [1, height, width, 3]))
  /** OIHW to HWIO; a depthwise kernel [C,1,h,w] to [h,w,C,1]. */
  const kernel = ({ shape, data }: StoredTensor, depthwise = false) => {
    const order = depthwise ? [2, 3, 0, 1] : [2, 3, 1, 0]
    return own(
      tf.tensor(
        transpose(data, shape, order),
        order.map((axis) => shape[axis]),
      ),
    )
  }
  const vector = ({ data }: StoredTensor) => own(tf.tensor(data, [data.length]))
  const table = ({ rows, taps, indices, weights }: Taps) => {
    const [index, weight] = [tf.tensor(indices, [rows * taps], 'int32'), tf.tensor(weights, [rows, taps, 1])]
    own(index)
    own(weight)
    return (x: TfTensor) => tf.sum(tf.mul(tf.reshape(tf.gather(x, index), [rows, taps, 3]), weight), 1)
  }

  const { forward, adjoint } = samplingTaps(problem)
  const [sample, spread] = [table(forward), table(adjoint)]
  const crop = tf.customGrad((x) => ({
    value: tf.reshape(sample(tf.reshape(x, [height * width, 3])), [1, CROP, CROP, 3]),
    gradFunc: (dy) => tf.reshape(spread(tf.reshape(dy, [CROP * CROP, 3])), [1, height, width, 3]),
  }))

  const down = own(tf.tensor(blurMatrix(height, problem.blur), [height, height]))
  const across = own(tf.tensor(blurMatrix(width, problem.blur), [1, width, width]))
  const blur = (x: TfTensor) => {
    const columns = tf.reshape(tf.matMul(down, tf.reshape(x, [height, width * 3])), [height, width, 3])
    const rows = tf.matMul(across, columns)
    return tf.reshape(rows, [1, height, width, 3])
  }

  const layers = new Map<string, (x: TfTensor) => TfTensor>()
  const layer = (key: string, make: () => (x: TfTensor) => TfTensor) => (x: TfTensor) => {
    let known = layers.get(key)
    if (!known) layers.set(key, (known = make()))
    return known(x)
  }
  const { recogniser, lpips } = problem
  const slopes = (key: string) => {
    const stored = recogniser[`${key}.prelu.weight`]
    const alpha = stored && vector(stored)
    return (x: TfTensor) => (alpha ? tf.prelu(x, alpha) : x)
  }
  const convolution = (key: string, stride = 1) =>
    layer(key, () => {
      const [w, b] = [kernel(recogniser[`${key}.weight`]), vector(recogniser[`${key}.bias`])]
      const activate = slopes(key)
      return (x) => activate(tf.add(tf.conv2d(x, w, stride, 'same'), b))
    })
  const depthwise = (key: string, stride = 1, pad: 'same' | 'valid' = 'same') =>
    layer(key, () => {
      const [w, b] = [kernel(recogniser[`${key}.weight`], true), vector(recogniser[`${key}.bias`])]
      const activate = slopes(key)
      return (x) => activate(tf.add(tf.depthwiseConv2d(x, w, stride, pad), b))
    })
  const linear = layer('linear', () => {
    const { shape, data } = recogniser['linear.weight']
    const [w, b] = [own(tf.tensor(data, shape)), vector(recogniser['linear.bias'])]
    return (x) => tf.add(tf.matMul(x, w, false, true), b)
  })
  const embed = (crops: TfTensor): TfTensor => {
    const n = crops.shape[0]
    const views = tf.concat([crops, tf.reverse(crops, 2)], 0)
    let y = convolution('conv1', 2)(tf.add(tf.mul(views, FED.scale), FED.offset))
    y = depthwise('conv2')(y)
    for (const [i, stride] of STRIDES.entries()) {
      let z = convolution(`blocks.${i}.expand`)(y)
      z = depthwise(`blocks.${i}.depthwise`, stride)(z)
      z = convolution(`blocks.${i}.project`)(z)
      y = stride === 1 ? tf.add(y, z) : z
    }
    y = depthwise('conv4', 1, 'valid')(convolution('conv3')(y))
    const e = linear(tf.reshape(y, [2 * n, 512]))
    const length = e.shape[1]
    const sums = tf.add(tf.slice(e, [0, 0], [n, length]), tf.slice(e, [n, 0], [n, length]))
    return tf.div(sums, tf.sqrt(tf.sum(tf.square(sums), 1, true)))
  }

  const colours = [LPIPS_SCALE, LPIPS_OFFSET].map((values) => own(tf.tensor(values, [3])))
  const alex = (index: number, stride: number, padding: number) =>
    layer(`features.${index}`, () => {
      const [w, b] = [kernel(lpips[`features.${index}.weight`]), vector(lpips[`features.${index}.bias`])]
      return (x) => tf.relu(tf.add(tf.conv2d(x, w, stride, padding), b))
    })
  /** Features of unit length at every layer. */
  const taps = (x: TfTensor): TfTensor[] => {
    let y = tf.add(tf.mul(x, colours[0]), colours[1])
    return ALEXNET.map(({ index, stride, padding, pooled }) => {
      y = alex(index, stride, padding)(pooled ? tf.maxPool(y, 3, 2, 'valid') : y)
      const length = tf.sqrt(tf.add(tf.sum(tf.square(y), 3, true), LPIPS_EPSILON ** 2))
      return tf.div(y, tf.add(length, LPIPS_EPSILON))
    })
  }
  const lins = ALEXNET.map((_, k) => vector(lpips[`lin${k}.model.1.weight`]))
  const distance = (a: TfTensor[], b: TfTensor[]): TfTensor =>
    a
      .map((features, k) => {
        const pixels = features.shape[1] * features.shape[2]
        return tf.mul(tf.sum(tf.mul(tf.square(tf.sub(features, b[k])), lins[k])), 1 / pixels)
      })
      .reduce((x, y) => tf.add(x, y))

  const clean = image(problem.clean)
  const mask = own(tf.tensor(problem.mask, [1, height, width, 1]))
  const kept = (make: () => TfTensor[]): TfTensor[] => tf.tidy(make).map(own)
  const [target] = kept(() => [embed(crop(clean))])
  const cropTaps = kept(() => taps(crop(clean)))
  const photoTaps = kept(() => taps(clean))
  const objective = (delta: TfTensor): TfTensor => {
    const x = tf.add(clean, tf.mul(delta, mask))
    const plain = crop(x)
    const features = embed(tf.concat([crop(blur(x)), plain], 0))
    const feature = tf.mul(tf.sum(tf.square(tf.sub(features, target))), 1 / (2 * problem.divisor))
    const visible = tf.mul(tf.add(distance(cropTaps, taps(plain)), distance(photoTaps, taps(x))), 0.5)
    return tf.sub(feature, tf.mul(visible, problem.lpipsWeight))
  }
  const gradient = tf.valueAndGrad(objective)
  /** tfjs' WebGPU backend has no sign. */
  const sign = (x: TfTensor) => tf.clipByValue(tf.mul(x, 1e30), -1, 1)
  const first = image(problem.start)
  let delta = tf.add(first, 0)
  return {
    async run(times) {
      for (let i = 0; i < times; i++) {
        const [next] = tf.tidy(() => [tf.add(delta, tf.mul(sign(gradient(delta).grad), problem.stepSize))])
        delta.dispose()
        delta = next
      }
      // Reading one value submits what is pending and waits for it.
      const value = tf.slice(delta, [0, 0, 0, 0], [1, 1, 1, 1])
      await gpu.settle(value.data())
      value.dispose()
    },
    async result() {
      const { value, grad } = tf.tidy(() => gradient(first))
      const planes = tf.transpose(grad, [0, 3, 1, 2])
      const numbers = await gpu.settle(Promise.all([value.data(), planes.data()]))
      await gpu.wait() // throws what went wrong on the device
      for (const x of [value, grad, planes]) x.dispose()
      return Float32Array.from([numbers[0][0], ...numbers[1]])
    },
    async release() {
      for (const x of [...owned, delta]) x.dispose()
    },
  }
}
