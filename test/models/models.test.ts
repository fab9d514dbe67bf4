/** Networks: what the golden results do not show, such as sizes, errors, and how the detector's runner cuts its work up. */
import { describe, expect, test } from 'vitest'
import { compile, type Graph, graph } from '../../src/graph/index.ts'
import { conv2d, sum } from '../../src/kernels/index.ts'
import { elements, type Shape, ShapeError, type Tensor } from '../../src/kernels/op.ts'
import { alexnetTaps } from '../../src/models/alexnet.ts'
import { dlibResnet29 } from '../../src/models/dlib.ts'
import { foamliuMobilefacenet } from '../../src/models/foamliu.ts'
import { faceEvolveInput, ir, irArchitectures } from '../../src/models/ir.ts'
import { channelNorm, convolutionNorm, type NetworkWeights, normalised } from '../../src/models/layers.ts'
import { lpipsDistances, lpipsTaps } from '../../src/models/lpips.ts'
import { mobilefacenet } from '../../src/models/mobilefacenet.ts'
import { mtcnnNetworks, pnet } from '../../src/models/mtcnn.ts'
import { recogniser, UnknownArchitectureError } from '../../src/models/recognisers.ts'
import { resnet, resnetArchitectures } from '../../src/models/resnet.ts'
import { squeezenetTaps } from '../../src/models/squeezenet.ts'
import { loadManifest, loadWeights } from '../../src/weights/node.ts'
import type { RecogniserEntry } from '../../src/weights/registry.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'

const gpu = await testGpu()
const manifest = await loadManifest()

/** Weights of any name, in the shapes a test gives. */
function someWeights(shapes: Readonly<Record<string, Shape>>): NetworkWeights {
  const tensors = new Map(
    Object.entries(shapes).map(([name, shape], i) => {
      const low = name.endsWith('running_var') ? 0.5 : -1
      return [name, { shape, data: uniform(100 + i, elements(shape), low, 1.5) }]
    }),
  )
  return {
    tensor(name) {
      const found = tensors.get(name)
      if (!found) throw new Error(`no ${name}`)
      return found
    },
  }
}

async function run(shape: Shape, data: Float32Array, record: (x: Tensor, g: Graph) => Tensor): Promise<Float32Array> {
  const g = graph()
  using plan = await compile(gpu, { y: record(g.input('x', shape), g) }, { poison: true })
  plan.write('x', data)
  plan.run()
  return await plan.read('y')
}

describe('layers', () => {
  test('pixels are mapped to the range, then mean and deviation are taken out', async () => {
    const x = Float32Array.of(0, 1, 0.5, 0.25, 0, 1)
    const same = { range: [-1, 1], mean: [0, 0, 0], std: [1, 1, 1] } as const
    const each = { range: [0, 255], mean: [127.5, 0, 10], std: [128, 1, 2] } as const
    const map = (y: Tensor, input: typeof same | typeof each) => normalised(y, input as never)
    expect(await run([1, 3, 1, 2], x, (y) => map(y, same))).toEqual(Float32Array.of(-1, 1, 0, -0.5, -1, 1))
    const want = [-127.5 / 128, 127.5 / 128, 127.5, 63.75, -5, 122.5]
    expect(relmax(await run([1, 3, 1, 2], x, (y) => map(y, each)), want)).toBeLessThan(1e-6)
  })

  test('a convolution with its normalisation folded in is the convolution and then the normalisation', async () => {
    const weights = someWeights({
      'c.weight': [5, 3, 3, 3],
      ...Object.fromEntries(['weight', 'bias', 'running_mean', 'running_var'].map((name) => [`n.${name}`, [5]])),
    })
    const x = uniform(1, 2 * 3 * 9 * 7)
    const folded = await run([2, 3, 9, 7], x, (y) =>
      convolutionNorm(y, weights, 'c', 'n', { out: 5, kernel: 3, stride: 2, padding: 1 }),
    )
    const apart = await run([2, 3, 9, 7], x, (y, g) => {
      const { data, shape } = weights.tensor('c.weight')
      return channelNorm(conv2d(y, g.constant(data, shape), undefined, { stride: 2, padding: 1 }), weights, 'n')
    })
    expect(relmax(folded, apart)).toBeLessThan(1e-5)
  })
})

describe('recognisers', () => {
  const entries = manifest.networks.filter((entry): entry is RecogniserEntry => entry.role === 'recogniser')

  test.each(entries.map((entry) => [entry.id, entry] as const))('%s', async (id, entry) => {
    const network = recogniser(entry)
    expect(network).toMatchObject({
      id,
      size: entry.input.width,
      alignment: entry.alignment,
      embedding: entry.embedding,
      threshold: entry.threshold,
    })
    const weights = await loadWeights(id)
    const x = graph().input('x', [3, 3, network.size, network.size])
    expect(network.build(x, weights).shape).toEqual([3, entry.embedding])
    expect(() => network.build(graph().input('x', [1, 3, 96, 96]), weights)).toThrow(ShapeError)
  })

  test('what is no recogniser, or of an unknown architecture, is refused by name', () => {
    const detector = manifest.networks.find((entry) => entry.role === 'detector')!
    expect(() => recogniser(detector)).toThrow(UnknownArchitectureError)
    expect(() => recogniser(detector)).toThrow(/mtcnn is a detector of architecture "mtcnn"/)
    const unknown = { ...entries[0], architecture: 'facenet' as never }
    expect(() => recogniser(unknown)).toThrow(/architecture "facenet"; recognisers are of one of .*mobilefacenet, dlib/)
  })

  test('a recogniser gives an image the same embedding alone and in a batch', async () => {
    const network = recogniser(entries.find(({ id }) => id === 'sirius')!)
    const weights = await loadWeights('sirius')
    const size = 3 * 112 * 112
    const images = uniform(3, 2 * size, 0, 1)
    const both = await run([2, 3, 112, 112], images, (x) => network.build(x, weights))
    const second = await run([1, 3, 112, 112], images.subarray(size), (x) => network.build(x, weights))
    expect(relmax(both.subarray(192), second)).toBeLessThan(1e-5)
  })

  test('images of another size are refused by the network, before any weight is asked for', () => {
    const none: NetworkWeights = {
      tensor: (name) => {
        throw new Error(`asked for ${name}`)
      },
    }
    const x = graph().input('x', [1, 3, 113, 112])
    expect(() => mobilefacenet(x, none)).toThrow(/must be \[N,3,112,112\], not \[1,3,113,112\]/)
    expect(() => foamliuMobilefacenet(x, none)).toThrow(ShapeError)
    expect(() => ir(x, none, irArchitectures.IR_50)).toThrow(ShapeError)
    expect(() => resnet(x, none, resnetArchitectures.ResNet_50)).toThrow(ShapeError)
    expect(() => dlibResnet29(x, none)).toThrow(/must be \[N,3,150,150\]/)
    expect(faceEvolveInput.range).toEqual([-1, 1])
  })
})

describe('LPIPS', () => {
  test('of an image with itself is 0, and grows with the noise', async () => {
    const weights = await loadWeights('lpips-alex-scratch')
    const shape = [2, 3, 40, 50]
    const clean = uniform(5, elements(shape), 0, 1)
    const noise = uniform(6, elements(shape))
    const distances: Float32Array[] = []
    for (const scale of [0, 0.02, 0.1]) {
      const noisy = clean.map((v, i) => v + scale * noise[i])
      const g = graph()
      const [a, b] = [g.fixed('a', shape), g.input('b', shape)]
      const layers = lpipsDistances(lpipsTaps(a, weights), lpipsTaps(b, weights), weights)
      expect(layers.map((layer) => layer.shape)).toEqual([[2], [2], [2], [2], [2]])
      using plan = await compile(gpu, Object.fromEntries(layers.map((layer, k) => [`${k}`, layer])), { poison: true })
      plan.write('a', clean)
      plan.write('b', noisy)
      plan.run()
      const total = new Float32Array(2)
      for (const k of layers.keys()) {
        const layer = await plan.read(`${k}`)
        for (const n of total.keys()) total[n] += layer[n]
      }
      distances.push(total)
    }
    for (const n of [0, 1]) {
      expect(distances[0][n]).toBe(0)
      expect(distances[1][n]).toBeGreaterThan(1e-4)
      expect(distances[2][n]).toBeGreaterThan(2 * distances[1][n])
    }
  })

  test('the features of an image that stays the same are computed once', async () => {
    const weights = await loadWeights('lpips-alex-scratch')
    const g = graph()
    const [a, b] = [g.fixed('a', [1, 3, 64, 64]), g.input('b', [1, 3, 64, 64])]
    const layers = lpipsDistances(lpipsTaps(a, weights), lpipsTaps(b, weights), weights)
    using plan = await compile(gpu, Object.fromEntries(layers.map((layer, k) => [`${k}`, layer])))
    const { fixed, step } = plan.summary().dispatches
    // The step has the other image's features, as many, and the distances.
    expect(fixed).toBeGreaterThanOrEqual(5)
    expect(step).toBeGreaterThanOrEqual(fixed + 5)
  })

  test('the smallest images of its trunks', async () => {
    const alex = await loadWeights('lpips-alex-scratch')
    const image = (side: number) => graph().input('x', [1, 3, side, side])
    expect(alexnetTaps(image(31), alex).map(({ shape }) => shape.slice(1))).toEqual([
      [64, 7, 7],
      [192, 3, 3],
      [384, 1, 1],
      [256, 1, 1],
      [256, 1, 1],
    ])
    expect(() => alexnetTaps(image(30), alex)).toThrow(ShapeError)
    const fire = (i: number, c: number, s: number, e: number): Record<string, Shape> => ({
      [`features.${i}.squeeze.weight`]: [s, c, 1, 1],
      [`features.${i}.squeeze.bias`]: [s],
      [`features.${i}.expand1x1.weight`]: [e, s, 1, 1],
      [`features.${i}.expand1x1.bias`]: [e],
      [`features.${i}.expand3x3.weight`]: [e, s, 3, 3],
      [`features.${i}.expand3x3.bias`]: [e],
    })
    const squeeze = someWeights({
      'features.0.weight': [64, 3, 3, 3],
      'features.0.bias': [64],
      ...fire(3, 64, 16, 64),
      ...fire(4, 128, 16, 64),
      ...fire(6, 128, 32, 128),
      ...fire(7, 256, 32, 128),
      ...fire(9, 256, 48, 192),
      ...fire(10, 384, 48, 192),
      ...fire(11, 384, 64, 256),
      ...fire(12, 512, 64, 256),
    })
    const channels = squeezenetTaps(image(17), squeeze).map(({ shape }) => shape[1])
    expect(channels).toEqual([64, 128, 256, 384, 384, 512, 512])
    expect(() => squeezenetTaps(image(16), squeeze)).toThrow(ShapeError)
  })
})

describe("MTCNN's networks on a device", async () => {
  const weights = await loadWeights('mtcnn')
  const image = (height: number, width: number) => uniform(height * 1000 + width, 3 * height * width)

  test.each([
    [12, 12, 1, 1],
    [13, 14, 2, 2],
    [45, 38, 18, 14],
    [61, 47, 26, 19],
  ])('the P-Net answers for %i x %i pixels with a map of %i x %i', async (height, width, rows, columns) => {
    using networks = await mtcnnNetworks(gpu, weights)
    const input = image(height, width)
    const map = await networks.pnet(input, height, width)
    expect([map.height, map.width, map.probability.length, map.offsets.length]).toEqual([
      rows,
      columns,
      rows * columns,
      4 * rows * columns,
    ])
    const g = graph()
    const { probability, offsets } = pnet(g.input('x', [1, 3, height, width]), weights)
    using plan = await compile(gpu, { probability, offsets })
    plan.write('x', input)
    plan.run()
    expect(map.probability).toEqual((await plan.read('probability')).subarray(rows * columns))
    expect(map.offsets).toEqual(await plan.read('offsets'))
  })

  test.each([
    [61, 47],
    [60, 33],
    [45, 45],
  ])('an image of %i x %i pixels in bands gives what it gives whole', async (height, width) => {
    using whole = await mtcnnNetworks(gpu, weights)
    const input = image(height, width)
    const want = await whole.pnet(input, height, width)
    for (const rowsAtOnce of [1, 12, 13, 20, 35]) {
      using banded = await mtcnnNetworks(gpu, weights, rowsAtOnce * width)
      const got = await banded.pnet(input, height, width)
      expect([got.height, got.width]).toEqual([want.height, want.width])
      expect(relmax(got.probability, want.probability)).toBeLessThan(1e-6)
      expect(relmax(got.offsets, want.offsets)).toBeLessThan(1e-6)
    }
  })

  test.each(['rnet', 'onet'] as const)('%s: windows get the same answers in chunks as alone', async (name) => {
    using networks = await mtcnnNetworks(gpu, weights)
    const side = { rnet: 24, onet: 48 }[name]
    const size = 3 * side * side
    const crops = uniform(9, 74 * size)
    const all: Record<string, Float32Array> = { ...(await networks[name](crops, 74)) }
    const widths = { probability: 1, offsets: 4, ...(name === 'onet' ? { landmarks: 10 } : {}) }
    expect(Object.keys(all).sort()).toEqual(Object.keys(widths).sort())
    for (const [key, width] of Object.entries(widths)) expect(all[key].length).toBe(74 * width)
    for (const at of [0, 5, 63, 64, 71, 72, 73]) {
      const one: Record<string, Float32Array> = {
        ...(await networks[name](crops.subarray(at * size, (at + 1) * size), 1)),
      }
      for (const [key, width] of Object.entries(widths)) {
        expect(relmax(all[key].subarray(at * width, (at + 1) * width), one[key]), `${key} ${at}`).toBeLessThan(1e-5)
      }
    }
    expect((await networks[name](new Float32Array(0), 0)).probability.length).toBe(0)
  })

  test('more sizes than plans are kept, and calls that overlap, give the right answers', async () => {
    using networks = await mtcnnNetworks(gpu, weights)
    const sizes = Array.from({ length: 20 }, (_, i) => [14 + i, 33 - i] as const)
    const ask = ([height, width]: readonly [number, number]) => networks.pnet(image(height, width), height, width)
    const first: Awaited<ReturnType<typeof ask>>[] = []
    for (const size of sizes) first.push(await ask(size))
    const second = await Promise.all(sizes.slice(0, 8).map(ask))
    expect(second).toEqual(first.slice(0, 8))
    const [a, b] = await Promise.all([networks.pnet(image(20, 20), 20, 20), networks.pnet(uniform(1, 1200), 20, 20)])
    expect(a).toEqual(await networks.pnet(image(20, 20), 20, 20))
    expect(b).toEqual(await networks.pnet(uniform(1, 1200), 20, 20))
    expect(a).not.toEqual(b)
  })

  test("another network's weights are refused at once", async () => {
    await expect(mtcnnNetworks(gpu, await loadWeights('dlib'))).rejects.toThrow(/no tensor "pnet\.conv1\.weight"/)
  })

  test('an image smaller than the window is refused', async () => {
    using networks = await mtcnnNetworks(gpu, weights)
    await expect(networks.pnet(image(10, 30), 10, 30)).rejects.toThrow(ShapeError)
    await expect(networks.pnet(image(30, 5), 30, 5)).rejects.toThrow(/30x5 pixels/)
  })
})

describe('gradients', () => {
  test('a network may be recorded twice in one graph: its weights are one set of constants', () => {
    const weights = someWeights({
      'c.weight': [4, 3, 3, 3],
      ...Object.fromEntries(['weight', 'bias', 'running_mean', 'running_var'].map((name) => [`n.${name}`, [4]])),
    })
    const g = graph()
    const [a, b] = [g.input('a', [1, 3, 8, 8]), g.input('b', [1, 3, 8, 8])]
    sum(convolutionNorm(a, weights, 'c', 'n', { out: 4, kernel: 3 }))
    const before = g.nodes.length
    sum(convolutionNorm(b, weights, 'c', 'n', { out: 4, kernel: 3 }))
    // Only the second convolution and its sum are new.
    expect(g.nodes.length - before).toBe(2)
  })
})
