import { describe, expect, test } from 'vitest'
import { loadWeights } from '../../src/weights/node.ts'
import { type GoldenCase, goldenCase } from '../golden/case.ts'

/**
 * The converted networks, run in plain float64 as the comments of src/weights/convert describe them, give the reference
 * results. This checks names, layouts, folding and description together, without the engine.
 */

/** [channels, height, width] of one image. */
interface Image {
  shape: [number, number, number]
  data: Float64Array
}
type Pad = [top: number, left: number, bottom: number, right: number]
const none: Pad = [0, 0, 0, 0]
const all: Pad = [1, 1, 1, 1]

function pad({ shape: [channels, height, width], data }: Image, [top, left, bottom, right]: Pad, value = 0): Image {
  const [h, w] = [height + top + bottom, width + left + right]
  const out = new Float64Array(channels * h * w).fill(value)
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      out.set(data.subarray((c * height + y) * width, (c * height + y + 1) * width), (c * h + y + top) * w + left)
    }
  }
  return { shape: [channels, h, w], data: out }
}

type Tensors = Awaited<ReturnType<typeof loadWeights>>

/** Convolution (depthwise where the weight has one input channel for many) and bias. */
function conv(weights: Tensors, name: string, image: Image, stride = 1, padding = none): Image {
  const {
    shape: [to, from, kernel],
    data: weight,
  } = weights.tensor(`${name}.weight`)
  const bias = weights.tensor(`${name}.bias`, [to]).data
  const {
    shape: [channels, height, width],
    data,
  } = pad(image, padding)
  const depthwise = from === 1 && channels > 1
  expect(depthwise ? to : from, name).toBe(channels)
  const [h, w] = [Math.floor((height - kernel) / stride) + 1, Math.floor((width - kernel) / stride) + 1]
  const out = new Float64Array(to * h * w)
  for (let o = 0; o < to; o++) {
    out.fill(bias[o], o * h * w, (o + 1) * h * w)
    for (let i = 0; i < from; i++) {
      for (let k = 0; k < kernel * kernel; k++) {
        const factor = weight[(o * from + i) * kernel * kernel + k]
        const plane = (depthwise ? o : i) * height * width + Math.floor(k / kernel) * width + (k % kernel)
        for (let y = 0; y < h; y++) {
          for (let x = 0, at = plane + y * stride * width, to = (o * h + y) * w; x < w; x++, at += stride) {
            out[to + x] += factor * data[at]
          }
        }
      }
    }
  }
  return { shape: [to, h, w], data: out }
}

function prelu(weights: Tensors, name: string, { shape, data }: Image): Image {
  const slope = weights.tensor(name, [shape[0]]).data
  const size = shape[1] * shape[2]
  return { shape, data: data.map((x, i) => (x > 0 ? x : x * slope[Math.floor(i / size)])) }
}
const relu = ({ shape, data }: Image): Image => ({ shape, data: data.map((x) => Math.max(x, 0)) })

function pool(image: Image, kernel: number, stride: number, kind: 'max' | 'mean', ceil = false): Image {
  const missing = (size: number) => (ceil ? (stride - ((size - kernel) % stride)) % stride : 0)
  const padded = pad(image, [0, 0, missing(image.shape[1]), missing(image.shape[2])], Number.NEGATIVE_INFINITY)
  const {
    shape: [channels, height, width],
    data,
  } = padded
  const [h, w] = [Math.floor((height - kernel) / stride) + 1, Math.floor((width - kernel) / stride) + 1]
  const out = new Float64Array(channels * h * w)
  for (let i = 0; i < out.length; i++) {
    const [c, y, x] = [Math.floor(i / (h * w)), Math.floor(i / w) % h, i % w]
    let [most, sum] = [Number.NEGATIVE_INFINITY, 0]
    for (let k = 0; k < kernel * kernel; k++) {
      const value = data[(c * height + y * stride + Math.floor(k / kernel)) * width + x * stride + (k % kernel)]
      most = Math.max(most, value)
      sum += value
    }
    out[i] = kind === 'max' ? most : sum / kernel ** 2
  }
  return { shape: [channels, h, w], data: out }
}

function linear(weights: Tensors, name: string, x: Float64Array): Float64Array {
  const {
    shape: [to, from],
    data,
  } = weights.tensor(`${name}.weight`)
  expect(from, name).toBe(x.length)
  const bias = weights.names().includes(`${name}.bias`) ? weights.tensor(`${name}.bias`, [to]).data : undefined
  return Float64Array.from({ length: to }, (_, o) => {
    let sum = bias?.[o] ?? 0
    for (let i = 0; i < from; i++) sum += data[o * from + i] * x[i]
    return sum
  })
}

const add = (a: Image, b: Image): Image => {
  expect(a.shape).toEqual(b.shape)
  return { shape: a.shape, data: a.data.map((x, i) => x + b.data[i]) }
}

/** Largest difference as a part of the largest reference value. */
function relmax(actual: ArrayLike<number>, reference: ArrayLike<number>): number {
  expect(actual.length).toBe(reference.length)
  let [difference, most] = [0, 0]
  for (let i = 0; i < reference.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i] - reference[i]))
    most = Math.max(most, Math.abs(reference[i]))
  }
  return difference / most
}

/** Image `n` of a batch [N,3,H,W], each value mapped. */
function imageOf(golden: GoldenCase, name: string, map: (value: number, channel: number) => number, n = 0) {
  const shape = golden.shape(name)
  const data = name.endsWith('_u8') ? golden.bytes(name) : golden.numbers(name)
  const [channels, height, width] = shape.slice(1)
  const size = channels * height * width
  const one = Float64Array.from({ length: size }, (_, i) => map(data[n * size + i], Math.floor(i / (height * width))))
  return { shape: [channels, height, width], data: one } as Image
}
/** Part `n` of `parts` of a reference tensor. */
function referenceOf(golden: GoldenCase, name: string, n = 0) {
  const data = golden.numbers(name)
  const size = data.length / golden.shape(name)[0]
  return data.subarray(n * size, (n + 1) * size)
}

describe('the sirius network', () => {
  test('gives the reference embedding', async () => {
    const [weights, golden] = [await loadWeights('sirius'), goldenCase('f_real_sirius')]
    const layer = (name: string, x: Image, stride = 1, padding = none) => {
      const y = conv(weights, name, x, stride, padding)
      return weights.names().includes(`${name}.prelu.weight`) ? prelu(weights, `${name}.prelu.weight`, y) : y
    }
    const same = (stride: number): Pad => (stride === 2 ? [0, 0, 1, 1] : all)
    let x = imageOf(golden, 'sirius.crop', (c) => (255 * c - 127.5) / 128)
    x = layer('conv2', layer('conv1', x, 2, same(2)), 1, same(1))
    for (let i = 0; i < 15; i++) {
      const stride = [0, 5, 12].includes(i) ? 2 : 1
      const y = layer(`blocks.${i}.depthwise`, layer(`blocks.${i}.expand`, x), stride, same(stride))
      const projected = layer(`blocks.${i}.project`, y)
      x = stride === 1 ? add(x, projected) : projected
    }
    x = layer('conv4', layer('conv3', x))
    expect(x.shape).toEqual([512, 1, 1])
    expect(relmax(linear(weights, 'linear', x.data), referenceOf(golden, 'sirius.emb'))).toBeLessThan(1e-6)
  })
})

describe('the dlib network', () => {
  test('gives the reference embedding', async () => {
    const [weights, golden] = [await loadWeights('dlib'), goldenCase('f_real_dlib')]
    const mean = [122.782, 117.001, 104.298]
    let x = imageOf(golden, 'dlib.crop', (c, channel) => (255 * c - mean[channel]) / 255)
    x = pool(relu(conv(weights, 'conv1', x, 2)), 3, 2, 'max')
    for (let i = 0; i < 14; i++) {
      const down = [3, 7, 10, 13].includes(i)
      const inner = relu(conv(weights, `blocks.${i}.conv1`, x, down ? 2 : 1, down ? none : all))
      let y = conv(weights, `blocks.${i}.conv2`, inner, 1, all)
      if (down) {
        x = pool(x, 2, 2, 'mean')
        y = pad(y, [0, 0, x.shape[1] - y.shape[1], x.shape[2] - y.shape[2]])
        const channels = new Float64Array(y.data.length)
        channels.set(x.data)
        x = { shape: [y.shape[0], x.shape[1], x.shape[2]], data: channels }
      }
      x = relu(add(x, y))
    }
    expect(x.shape).toEqual([256, 2, 2])
    const embedding = linear(weights, 'fc', pool(x, 2, 2, 'mean').data)
    expect(relmax(embedding, referenceOf(golden, 'dlib.emb'))).toBeLessThan(1e-6)
  })
})

describe('the mtcnn networks', () => {
  const normal = (value: number) => (value - 127.5) / 128
  const stage = (weights: Tensors, net: string, i: number, x: Image) =>
    prelu(weights, `${net}.prelu${i}.weight`, conv(weights, `${net}.conv${i}`, x))
  const dense = (weights: Tensors, net: string, i: number, x: Float64Array) => {
    const y = linear(weights, `${net}.conv${i}`, x)
    return prelu(weights, `${net}.prelu${i}.weight`, { shape: [y.length, 1, 1], data: y }).data
  }
  /** Softmax over two channels, in their order. */
  const softmax = (x: Float64Array) => {
    const size = x.length / 2
    return x.map((value, i) => 1 / (1 + Math.exp(x[(i + size) % x.length] - value)))
  }

  test('P-Net gives the reference map', async () => {
    const [weights, golden] = [await loadWeights('mtcnn'), goldenCase('d_mtcnn_nets')]
    let x = pool(stage(weights, 'pnet', 1, imageOf(golden, 'pnet.in_u8', normal)), 2, 2, 'max', true)
    x = stage(weights, 'pnet', 3, stage(weights, 'pnet', 2, x))
    expect(relmax(softmax(conv(weights, 'pnet.conv4_1', x).data), referenceOf(golden, 'pnet.prob'))).toBeLessThan(1e-5)
    expect(relmax(conv(weights, 'pnet.conv4_2', x).data, referenceOf(golden, 'pnet.offset'))).toBeLessThan(1e-5)
  })

  test('R-Net gives the reference boxes', async () => {
    const [weights, golden] = [await loadWeights('mtcnn'), goldenCase('d_mtcnn_nets')]
    const count = golden.shape('rnet.prob')[0]
    expect(count).toBeGreaterThan(0)
    for (let n = 0; n < count; n++) {
      let x = pool(stage(weights, 'rnet', 1, imageOf(golden, 'rnet.in_u8', normal, n)), 3, 2, 'max', true)
      x = stage(weights, 'rnet', 3, pool(stage(weights, 'rnet', 2, x), 3, 2, 'max', true))
      const y = dense(weights, 'rnet', 4, x.data)
      expect(relmax(softmax(linear(weights, 'rnet.conv5_1', y)), referenceOf(golden, 'rnet.prob', n))).toBeLessThan(
        1e-5,
      )
      expect(relmax(linear(weights, 'rnet.conv5_2', y), referenceOf(golden, 'rnet.offset', n))).toBeLessThan(1e-5)
    }
  })

  test('O-Net gives the reference boxes and landmarks', async () => {
    const [weights, golden] = [await loadWeights('mtcnn'), goldenCase('d_mtcnn_nets')]
    const count = golden.shape('onet.prob')[0]
    expect(count).toBeGreaterThan(0)
    for (let n = 0; n < count; n++) {
      let x = pool(stage(weights, 'onet', 1, imageOf(golden, 'onet.in_u8', normal, n)), 3, 2, 'max', true)
      x = pool(stage(weights, 'onet', 2, x), 3, 2, 'max', true)
      x = stage(weights, 'onet', 4, pool(stage(weights, 'onet', 3, x), 2, 2, 'max', true))
      const y = dense(weights, 'onet', 5, x.data)
      expect(relmax(softmax(linear(weights, 'onet.conv6_1', y)), referenceOf(golden, 'onet.prob', n))).toBeLessThan(
        1e-5,
      )
      expect(relmax(linear(weights, 'onet.conv6_2', y), referenceOf(golden, 'onet.offset', n))).toBeLessThan(1e-5)
      expect(relmax(linear(weights, 'onet.conv6_3', y), referenceOf(golden, 'onet.landmark', n))).toBeLessThan(1e-5)
    }
  })
})
