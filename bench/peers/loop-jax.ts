/** LowKey's loop in jax-js: a step is one jitted function, gradients are by its own differentiation. */
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

/** What is used of it, written down here so that types are checked without the package. Every operation consumes what it is given. */
export interface JaxLoopArray {
  /** A further reference. */
  readonly ref: JaxLoopArray
  readonly shape: number[]
  reshape(shape: readonly number[]): JaxLoopArray
  add(other: JaxLoopArray | number): JaxLoopArray
  sub(other: JaxLoopArray): JaxLoopArray
  mul(other: JaxLoopArray | number): JaxLoopArray
  div(other: JaxLoopArray): JaxLoopArray
  sum(axis?: number | number[], options?: { keepdims: boolean }): JaxLoopArray
  slice(...index: (number | readonly [] | readonly [number, number])[]): JaxLoopArray
  data(): Promise<Float32Array>
  blockUntilReady(): Promise<unknown>
  dispose(): void
}
type A = JaxLoopArray
type Fn = (...args: A[]) => A
export interface JaxLoop {
  jit(f: Fn): Fn & { dispose?: () => void }
  grad(f: Fn): Fn
  numpy: {
    array(data: Float32Array | Int32Array): A
    maximum(a: A, b: A | number): A
    greater(a: A, b: A | number): A
    where(condition: A, a: A, b: A | number): A
    sqrt(x: A): A
    sign(x: A): A
    max(x: A, axis?: number): A
    matmul(a: A, b: A): A
    take(x: A, indices: A, axis: number): A
    concatenate(xs: A[], axis: number): A
    flip(x: A, axis: number): A
    pad(x: A, width: readonly (readonly [number, number])[]): A
    transpose(x: A, perm?: readonly number[]): A
  }
  lax: {
    convGeneralDilated(
      x: A,
      weights: A,
      strides: number[],
      padding: [number, number][],
      options?: { featureGroupCount: number },
    ): A
    reduceWindow(x: A, computation: (x: A) => A, window: number[], strides: number[]): A
  }
}

export function prepareJaxLoop({ jit, grad, numpy: np, lax }: JaxLoop, gpu: Gpu, problem: LoopProblem): Prepared {
  const { height, width, recogniser, lpips } = problem
  const owned: A[] = []
  const make = (data: Float32Array | Int32Array, shape: readonly number[]): A => {
    const made = np.array(data).reshape(shape)
    owned.push(made)
    return made
  }
  const known = new Map<StoredTensor, A>()
  /**
   * A further reference to a stored tensor, under another shape where one is given. All are made by the embedding of the clean photo: what
   * is made while a function is traced belongs to the trace.
   */
  const stored = (tensor: StoredTensor, shape = tensor.shape): A => {
    let found = known.get(tensor)
    if (!found) known.set(tensor, (found = make(tensor.data, shape)))
    return found.ref
  }
  const square = (x: A): A => x.ref.mul(x)

  /** x [...,from] to [...,rows]: gathered and weighed. */
  const table = ({ rows, taps, indices, weights }: Taps) => {
    const [index, weight] = [make(indices, [rows * taps]), make(weights, [rows, taps])]
    return (x: A): A => {
      const [n, c] = x.shape
      return np.take(x, index.ref, 2).reshape([n, c, rows, taps]).mul(weight.ref).sum(3)
    }
  }
  const { forward, adjoint } = samplingTaps(problem)
  const [sample, spread] = [table(forward), table(adjoint)]
  const crop = (x: A): A => sample(x.reshape([1, 3, height * width])).reshape([1, 3, CROP, CROP])
  const uncrop = (x: A): A => spread(x.reshape([1, 3, CROP * CROP])).reshape([1, 3, height, width])

  const down = make(blurMatrix(height, problem.blur), [height, height])
  const across = make(blurMatrix(width, problem.blur), [width, width])
  /** Along the rows of x [1,3,h,w] with a matrix [w,w], then turned: [1,3,w,h]. Products are of two axes here. */
  const along = (x: A, matrix: A): A => {
    const [, c, h, w] = x.shape
    return np.transpose(np.matmul(x.reshape([c * h, w]), matrix).reshape([1, c, h, w]), [0, 1, 3, 2])
  }
  const blur = (x: A): A => along(along(x, np.transpose(across.ref)), np.transpose(down.ref))
  const unblur = (x: A): A => along(along(x, across.ref), down.ref)

  const activated = (x: A, key: string): A => {
    const slopes = recogniser[`${key}.prelu.weight`]
    const y = x.add(stored(recogniser[`${key}.bias`], [1, x.shape[1], 1, 1]))
    if (!slopes) return y
    return np.where(np.greater(y.ref, 0), y.ref, y.mul(stored(slopes, [1, x.shape[1], 1, 1])))
  }
  const convolution = (x: A, key: string, stride = 1): A => {
    const weights = recogniser[`${key}.weight`]
    // TensorFlow's SAME: with stride 2 the one missing row and column come at the end.
    const padding: [number, number] = weights.shape[2] === 1 ? [0, 0] : stride === 2 ? [0, 1] : [1, 1]
    return activated(lax.convGeneralDilated(x, stored(weights), [stride, stride], [padding, padding]), key)
  }
  const depthwise = (x: A, key: string, stride: number): A => {
    if (stride === 2) return activated(halved(x, recogniser[`${key}.weight`]), key)
    const weights = recogniser[`${key}.weight`]
    const padding: [number, number] = weights.shape[2] === 3 ? [1, 1] : [0, 0]
    const options = { featureGroupCount: x.shape[1] }
    return activated(lax.convGeneralDilated(x, stored(weights), [1, 1], [padding, padding], options), key)
  }
  const tapsOf = new Map<StoredTensor, A[]>()
  /** The nine taps of a depthwise kernel, [1,C,1,1] each. */
  const halvedTaps = (weights: StoredTensor): A[] => {
    let found = tapsOf.get(weights)
    if (!found) {
      const { shape, data } = weights
      found = Array.from({ length: 9 }, (_, tap) => {
        return make(
          Float32Array.from({ length: shape[0] }, (_, k) => data[9 * k + tap]),
          [1, shape[0], 1, 1],
        )
      })
      tapsOf.set(weights, found)
    }
    return found
  }
  /**
   * A depthwise 3x3 convolution with stride 2, one row and column of zeros at the end, as nine weighted parts of the image: the gradient
   * that jax-js has for its strided depthwise convolution is wrong.
   */
  const halved = (x: A, weights: StoredTensor): A => {
    const [n, c, h, w] = x.shape
    const [h2, w2] = [h / 2, w / 2]
    const padded = np
      .pad(x, [
        [0, 0],
        [0, 0],
        [0, 2],
        [0, 2],
      ])
      .reshape([n, c, h2 + 1, 2, w2 + 1, 2])
    const parts = halvedTaps(weights).map((tap, k) => {
      const [i, j] = [Math.floor(k / 3), k % 3]
      const part = padded.ref.slice([], [], [i >> 1, (i >> 1) + h2], i & 1, [j >> 1, (j >> 1) + w2], j & 1)
      return part.mul(tap.ref)
    })
    padded.dispose()
    return parts.reduce((sum, part) => sum.add(part))
  }
  const embed = (crops: A): A => {
    const [n] = crops.shape
    const views = np.concatenate([crops.ref, np.flip(crops, 3)], 0)
    let y = convolution(views.mul(FED.scale).add(FED.offset), 'conv1', 2)
    y = depthwise(y, 'conv2', 1)
    for (const [i, stride] of STRIDES.entries()) {
      let z = convolution(stride === 1 ? y.ref : y, `blocks.${i}.expand`)
      z = depthwise(z, `blocks.${i}.depthwise`, stride)
      z = convolution(z, `blocks.${i}.project`)
      y = stride === 1 ? y.add(z) : z
    }
    y = depthwise(convolution(y, 'conv3'), 'conv4', 1)
    const product = np.matmul(y.reshape([2 * n, 512]), np.transpose(stored(recogniser['linear.weight'])))
    const e = product.add(stored(recogniser['linear.bias']))
    const sums = e.ref.slice([0, n]).add(e.slice([n, 2 * n]))
    return sums.ref.div(np.sqrt(square(sums).sum(1, { keepdims: true })))
  }

  const colours = [LPIPS_SCALE, LPIPS_OFFSET].map((values) => make(Float32Array.from(values), [1, 3, 1, 1]))
  const pooled = (x: A): A => lax.reduceWindow(x, (window) => np.max(window), [3, 3], [2, 2])
  /** Features of unit length at every layer. */
  const taps = (x: A): A[] => {
    let y = x.mul(colours[0].ref).add(colours[1].ref)
    const found = ALEXNET.map(({ index, stride, padding, pooled: first }) => {
      const [weights, bias] = [lpips[`features.${index}.weight`], lpips[`features.${index}.bias`]]
      const sides: [number, number] = [padding, padding]
      const z = lax.convGeneralDilated(first ? pooled(y) : y, stored(weights), [stride, stride], [sides, sides])
      y = np.maximum(z.add(stored(bias, [1, weights.shape[0], 1, 1])), 0)
      const length = np.sqrt(
        square(y.ref)
          .sum(1, { keepdims: true })
          .add(LPIPS_EPSILON ** 2),
      )
      return y.ref.div(length.add(LPIPS_EPSILON))
    })
    y.dispose()
    return found
  }
  const lins = ALEXNET.map((_, k) => lpips[`lin${k}.model.1.weight`]).map(({ shape, data }) => make(data, shape))
  /** From the features of the clean image, which stay, to those of the changed one. */
  const distance = (a: readonly A[], b: A[]): A =>
    b
      .map((features, k) => {
        const [, , h, w] = features.shape
        const difference = square(features.sub(a[k].ref))
        return difference
          .mul(lins[k].ref)
          .sum()
          .mul(1 / (h * w))
      })
      .reduce((x, y) => x.add(y))

  const clean = make(problem.clean, [1, 3, height, width])
  const mask = make(problem.mask, [1, 1, height, width])
  const keep = (x: A): A => {
    owned.push(x)
    return x
  }
  const cleanCrop = crop(clean.ref)
  const target = keep(embed(cleanCrop.ref))
  const cropTaps = taps(cleanCrop).map(keep)
  const photoTaps = taps(clean.ref).map(keep)
  // Two parts, so that the pull-back through crop and blur is gathers and products instead of scattered sums.
  const ofCrops: Fn = (crops) => {
    const feature = square(embed(crops.ref).sub(target.ref))
      .sum()
      .mul(1 / (2 * problem.divisor))
    return feature.sub(distance(cropTaps, taps(crops.slice([1, 2]))).mul(0.5 * problem.lpipsWeight))
  }
  const ofPhoto: Fn = (x) => distance(photoTaps, taps(x)).mul(-0.5 * problem.lpipsWeight)
  const photoOf = (delta: A): A => clean.ref.add(delta.mul(mask.ref))
  const cropsOf = (x: A): A => np.concatenate([crop(blur(x.ref)), crop(x)], 0)
  const gradient: Fn = (delta) => {
    const x = photoOf(delta)
    const dCrops = grad(ofCrops)(cropsOf(x.ref))
    const dBlurred = unblur(uncrop(dCrops.ref.slice([0, 1])))
    const dPlain = uncrop(dCrops.slice([1, 2]))
    return dBlurred.add(dPlain).add(grad(ofPhoto)(x)).mul(mask.ref)
  }
  const objectiveOf = jit((delta) => {
    const x = photoOf(delta)
    return ofCrops(cropsOf(x.ref)).add(ofPhoto(x))
  })
  const gradientOf = jit(gradient)
  const step = jit((delta) => delta.ref.add(np.sign(gradient(delta)).mul(problem.stepSize)))
  const start = make(problem.start, [1, 3, height, width])
  let delta = start.ref
  return {
    async run(times) {
      for (let i = 0; i < times; i++) delta = step(delta)
      // Arrays are lazy: asking for one submits its work.
      await gpu.settle(delta.blockUntilReady())
    },
    async result() {
      const [value, planes] = await gpu.settle(
        Promise.all([objectiveOf(start.ref).data(), gradientOf(start.ref).data()]),
      )
      await gpu.wait() // throws what went wrong on the device
      return Float32Array.from([value[0], ...planes])
    },
    async release() {
      for (const x of [...owned, delta]) x.dispose()
      for (const f of [objectiveOf, gradientOf, step]) f.dispose?.()
    },
  }
}
