/** The three networks of MTCNN (Zhang et al. 2016) as graphs, and a runner that serves the detection pipeline. */
import type { Gpu } from '../device/gpu.ts'
import type { MtcnnNetworks } from '../faces/mtcnn.ts'
import { compile, graph, type Plan } from '../graph/index.ts'
import { PlanCache } from '../graph/plan-cache.ts'
import { flatten, maxPool2d, softmax } from '../kernels/index.ts'
import { expectShape, type Shape, type Tensor } from '../kernels/op.ts'
import type { WeightTensor } from '../weights/registry.ts'
import { channelPrelu, convolution, fullyConnected, type NetworkWeights } from './layers.ts'
import { anySize, type Family, over128, partArchitecture } from './network.ts'

/** RGB in (v - 127.5) / 128. Probabilities are of "no face" and "face"; offsets and landmarks in units of the window's side. */
interface Judgement {
  /** [N,2], or [N,2,h,w] of the P-Net. */
  probability: Tensor
  /** Shifts of x1, y1, x2, y2: [N,4], or [N,4,h,w]. */
  offsets: Tensor
}

type Layer = { out: number; kernel: number }

const activatedConvolution = (x: Tensor, weights: NetworkWeights, network: string, i: number, layer: Layer): Tensor =>
  channelPrelu(convolution(x, weights, `${network}.conv${i}`, layer), weights, `${network}.prelu${i}`)

const pooled = (x: Tensor, kernel: number): Tensor => maxPool2d(x, { kernel, stride: 2, ceilMode: true })

/** P-Net: judges every 12x12 window, 2 pixels apart, of x [N,3,H,W] (sides from 11: the pool takes what is left at the end). */
export function pnet(x: Tensor, weights: NetworkWeights): Judgement {
  let y = pooled(activatedConvolution(x, weights, 'pnet', 1, { out: 10, kernel: 3 }), 2)
  y = activatedConvolution(y, weights, 'pnet', 2, { out: 16, kernel: 3 })
  y = activatedConvolution(y, weights, 'pnet', 3, { out: 32, kernel: 3 })
  return {
    probability: softmax(convolution(y, weights, 'pnet.conv4_1', { out: 2 }), 1),
    offsets: convolution(y, weights, 'pnet.conv4_2', { out: 4 }),
  }
}

/** R-Net: judges windows [N,3,24,24]. */
export function rnet(x: Tensor, weights: NetworkWeights): Judgement {
  let y = pooled(activatedConvolution(x, weights, 'rnet', 1, { out: 28, kernel: 3 }), 3)
  y = pooled(activatedConvolution(y, weights, 'rnet', 2, { out: 48, kernel: 3 }), 3)
  y = activatedConvolution(y, weights, 'rnet', 3, { out: 64, kernel: 2 })
  y = channelPrelu(fullyConnected(flatten(y), weights, 'rnet.conv4', { out: 128 }), weights, 'rnet.prelu4')
  return {
    probability: softmax(fullyConnected(y, weights, 'rnet.conv5_1', { out: 2 }), 1),
    offsets: fullyConnected(y, weights, 'rnet.conv5_2', { out: 4 }),
  }
}

/** O-Net: judges windows [N,3,48,48] and finds landmarks [N,10], five x and then five y. */
export function onet(x: Tensor, weights: NetworkWeights): Judgement & { landmarks: Tensor } {
  let y = pooled(activatedConvolution(x, weights, 'onet', 1, { out: 32, kernel: 3 }), 3)
  y = pooled(activatedConvolution(y, weights, 'onet', 2, { out: 64, kernel: 3 }), 3)
  y = pooled(activatedConvolution(y, weights, 'onet', 3, { out: 64, kernel: 3 }), 2)
  y = activatedConvolution(y, weights, 'onet', 4, { out: 128, kernel: 2 })
  y = channelPrelu(fullyConnected(flatten(y), weights, 'onet.conv5', { out: 256 }), weights, 'onet.prelu5')
  return {
    probability: softmax(fullyConnected(y, weights, 'onet.conv6_1', { out: 2 }), 1),
    offsets: fullyConnected(y, weights, 'onet.conv6_2', { out: 4 }),
    landmarks: fullyConnected(y, weights, 'onet.conv6_3', { out: 10 }),
  }
}

/** Side of the P-Net's window, and the distance between its windows, in pixels. */
const WINDOW = 12
const STRIDE = 2

/** Pixels of an image that the P-Net takes at once; larger ones are done in bands. Its first layer holds 40 bytes a pixel. */
const BAND_PIXELS = 1.5e6

/** Compiled P-Nets that are kept: the levels of a pyramid, for the next photo of the same size. */
const KEPT_PLANS = 16

/** Windows that R- and O-Net judge in one run: what is left at the end takes the smallest that holds it. */
const CHUNKS = [1, 8, 64] as const

/** Numbers that R- and O-Net say of a window. */
const ANSWERS = {
  rnet: { probability: 2, offsets: 4 },
  onet: { probability: 2, offsets: 4, landmarks: 10 },
} as const

const networks = { pnet, rnet, onet }

/**
 * The networks on a device, for `detectFaces`. P-Net plans are compiled for each image size; the least recently used ones are
 * freed. Large images are judged in bands, with the same results. R- and O-Net run in chunks of 1, 8 or 64 windows. Dispose it to
 * free all plans.
 *
 * @param weights `mtcnn` of the manifest
 * @param bandPixels size of a band of the P-Net in pixels, but at least 12 rows
 * @throws WeightsError or ShapeError where they are those of another network
 */
export async function mtcnnNetworks(
  gpu: Gpu,
  weights: NetworkWeights,
  bandPixels = BAND_PIXELS,
): Promise<MtcnnNetworks & Disposable> {
  const plans = {
    pnet: new PlanCache(KEPT_PLANS),
    rnet: new PlanCache(CHUNKS.length),
    onet: new PlanCache(CHUNKS.length),
  }
  const planFor = (network: keyof typeof networks, shape: Shape): Promise<Plan> =>
    plans[network].get(String(shape), () => {
      const x = graph().input('x', shape)
      // Small layers of many sizes, a few runs each: trials would cost more than they gain.
      return compile(gpu, { ...networks[network](x, weights) }, { tuning: false })
    })

  async function judge(network: 'rnet' | 'onet', side: number, crops: Float32Array, count: number): Promise<Answers> {
    const size = 3 * side * side
    const widths: Record<string, number> = ANSWERS[network]
    const answers = mapValues(widths, (width) => new Float32Array(count * width))
    let done = 0
    while (done < count) {
      const chunk = CHUNKS.find((n) => n >= count - done) ?? CHUNKS[CHUNKS.length - 1]
      const taken = Math.min(chunk, count - done)
      const input = new Float32Array(chunk * size)
      input.set(crops.subarray(done * size, (done + taken) * size))
      const results = await execute(await planFor(network, [chunk, 3, side, side]), input, Object.keys(widths))
      for (const [name, width] of Object.entries(widths)) {
        // What follows judges the zeros that filled the chunk up.
        answers[name].set(results[name].subarray(0, taken * width), done * width)
      }
      done += taken
    }
    return answers
  }

  // Pipelines are compiled, and wrong weights found, before the first photo.
  await Promise.all([
    planFor('pnet', [1, 3, 64, 64]),
    planFor('rnet', [64, 3, 24, 24]),
    planFor('onet', [8, 3, 48, 48]),
  ])

  return {
    async pnet(input, height, width) {
      const map = { height: mapExtent(height), width: mapExtent(width) }
      expectShape(
        map.height > 0 && map.width > 0,
        `pnet: ${height}x${width} pixels hold no window; both sides must be from 11`,
      )
      const probability = new Float32Array(map.height * map.width)
      const offsets = new Float32Array(4 * map.height * map.width)
      const bandRows = Math.max(1, Math.floor((bandPixels / width - WINDOW) / STRIDE) + 1)
      for (let row = 0; row < map.height; row += bandRows) {
        const last = row + bandRows >= map.height
        const rows = last ? map.height - row : bandRows
        // Row r of the map looks at rows 2r to 2r + 11 of the image; the last band takes the odd row that may be left as well.
        const from = STRIDE * row
        const to = last ? height : from + STRIDE * (rows - 1) + WINDOW
        const plan = await planFor('pnet', [1, 3, to - from, width])
        const results = await execute(plan, rowsOf(input, height, width, from, to), ['probability', 'offsets'])
        const cells = rows * map.width
        probability.set(results.probability.subarray(cells), row * map.width)
        for (let k = 0; k < 4; k++) {
          offsets.set(results.offsets.subarray(k * cells, (k + 1) * cells), (k * map.height + row) * map.width)
        }
      }
      return { probability, offsets, ...map }
    },
    async rnet(crops, count) {
      const { probability, offsets } = await judge('rnet', 24, crops, count)
      return { probability: ofFace(probability), offsets }
    },
    async onet(crops, count) {
      const { probability, offsets, landmarks } = await judge('onet', 48, crops, count)
      return { probability: ofFace(probability), offsets, landmarks }
    },
    [Symbol.dispose]() {
      for (const cache of Object.values(plans)) cache.clear()
    },
  }
}

type Answers = Record<string, Float32Array>

/** Writes the input, runs, and reads results; all is submitted before the first wait, so that calls may overlap. */
async function execute(plan: Plan, input: Float32Array, names: readonly string[]): Promise<Answers> {
  plan.write('x', input)
  plan.run()
  const values = await Promise.all(names.map((name) => plan.read(name)))
  return Object.fromEntries(names.map((name, i) => [name, values[i]]))
}

/** Rows or columns of the P-Net's map: a 3x3 kernel, a pool that rounds up, two 3x3 kernels. */
const mapExtent = (pixels: number): number => Math.ceil((pixels - 2) / 2) - 4

/** Rows `from` to `to` (not included) of three planes. */
function rowsOf(planes: Float32Array, height: number, width: number, from: number, to: number): Float32Array {
  if (from === 0 && to === height) return planes
  const size = (to - from) * width
  const rows = new Float32Array(3 * size)
  for (let c = 0; c < 3; c++) {
    const start = (c * height + from) * width
    rows.set(planes.subarray(start, start + size), c * size)
  }
  return rows
}

/** Second column of [count,2]: the probability of "face". */
const ofFace = (probability: Float32Array): Float32Array => probability.filter((_, i) => i % 2 === 1)

const mapValues = <A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))

/**
 * The first linear layers of R- and O-Net take 3x3 pixels, column by column in the authors' files and row by row here.
 */
function uprightFeatures(name: string, tensor: WeightTensor): WeightTensor {
  if (name !== 'rnet.conv4.weight' && name !== 'onet.conv5.weight') return tensor
  const data = new Float32Array(tensor.data.length)
  for (let i = 0; i < data.length; i++) {
    const pixel = i % 9
    data[i - pixel + (pixel % 3) * 3 + Math.floor(pixel / 3)] = tensor.data[i]
  }
  return { shape: tensor.shape, data }
}

const sides = { pnet: 12, rnet: 24, onet: 48 }

const parts = (['pnet', 'rnet', 'onet'] as const).map((net) =>
  partArchitecture('detector', {
    ...{ id: `mtcnn-${net}`, title: `MTCNN's ${net[0].toUpperCase()}-Net`, input: anySize(over128) },
    ...{ record: networks[net], side: sides[net] },
    namings: [{ rename: (name) => `${net}.${name.replace(/^features\./, '')}`, layout: uprightFeatures }],
  }),
)

export const mtcnnFamily: Family = {
  published: [
    ...parts,
    {
      ...{ id: 'mtcnn', title: 'MTCNN', role: 'detector', input: anySize(over128), namings: [{}] },
      tensors: () => new Map(parts.flatMap((part) => [...part.tensors()])),
    },
  ],
}
