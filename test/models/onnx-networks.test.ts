/** Whole networks that come as ONNX files: against reference results, in batches, and stored as safetensors. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { grad, graph } from '../../src/graph/index.ts'
import { mul, sum } from '../../src/kernels/index.ts'
import { elements, type Tensor } from '../../src/kernels/op.ts'
import { foamliuInput } from '../../src/models/foamliu.ts'
import { normalised } from '../../src/models/layers.ts'
import { onnxNetwork } from '../../src/models/onnx/network.ts'
import { type FaceNetwork, recogniserFromOnnx, storedFaceNetwork } from '../../src/models/onnx/recogniser.ts'
import { recogniser } from '../../src/models/recognisers.ts'
import { convert } from '../../src/weights/convert/convert.ts'
import { loadManifest, loadWeights } from '../../src/weights/node.ts'
import { readOnnx } from '../../src/weights/onnx.ts'
import { filesBeside } from '../../src/weights/onnx-node.ts'
import { loadOnnx, storeOnnx } from '../../src/weights/onnx-store.ts'
import { OnnxError } from '../../src/weights/onnx-tensor.ts'
import { entryOf, type RecogniserEntry, weightsOf } from '../../src/weights/registry.ts'
import { writeSafetensors } from '../../src/weights/safetensors.ts'
import { evaluate, largerCase } from '../golden/case.ts'
import { expectEmbedding, expectInputGradient } from '../golden/compare.ts'
import { cosine, relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { type Constant, onnxFile, type WrittenModel } from '../support/onnx.ts'
import { uniform } from '../support/random.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'

const gpu = await testGpu()
const weightsFile = (path: string) => dataBeside(`weights/${path}`)

describe('MobileFaceNet of foamliu, its constants beside the file', () => {
  const path = weightsFile('mobilefacenet-foamliu/MobileFaceNet.onnx')
  const read = () => recogniserFromOnnx(readFileSync(path), { file: 'MobileFaceNet.onnx', external: filesBeside(path) })

  test.skipIf(!isAtHand(path))('says what it takes and gives', () => {
    const { input, embedding, network, parameters } = read()
    expect(input).toMatchObject({ width: 112, height: 112, colours: 'RGB', range: [-1, 1] })
    expect([embedding, network.output]).toEqual([128, 'output0'])
    expect(parameters).toBe(990_016)
  })

  const golden = largerCase('f_real_nets')
  test.skipIf(!isAtHand(path) || !golden)('gives the embedding and the gradient that PyTorch computes', async () => {
    const { network } = read()
    const crop = { shape: golden!.shape('crop'), data: golden!.numbers('crop') }
    const { y, dx } = await evaluate(gpu, { x: crop }, ({ x }, g) => {
      const y = network.build(normalised(x, foamliuInput))
      const v = g.constant(golden!.numbers('foamliu.v'), golden!.shape('foamliu.v'), 'v')
      return { y, dx: grad(sum(mul(y, v)), x) }
    })
    expectEmbedding(y, golden!.numbers('foamliu.emb'))
    expectInputGradient(dx, golden!.numbers('foamliu.grad'))
  })
})

/** What onnxruntime 1.30 gives for two images of 64x96 pixels: of every output the shape and five values from start to end. */
const yunet: Record<string, [shape: number[], values: number[]]> = {
  cls_8: [
    [2, 96, 1],
    [0.410544, 0.248965, 0.304784, 0.273433, 0.391846],
  ],
  cls_16: [
    [2, 24, 1],
    [0.462865, 0.382374, 0.414254, 0.443683, 0.44043],
  ],
  cls_32: [
    [2, 6, 1],
    [0.480075, 0.48902, 0.490249, 0.494995],
  ],
  obj_8: [
    [2, 96, 1],
    [0.000308275, 0.00387996, 0.000431269, 0.000111789, 0.000295639],
  ],
  obj_16: [
    [2, 24, 1],
    [0.00231728, 0.000122458, 0.000354916, 0.000217766, 0.0000271499],
  ],
  obj_32: [
    [2, 6, 1],
    [0.0013124, 0.00312233, 0.000649482, 0.000242025],
  ],
  bbox_8: [
    [2, 96, 4],
    [0.521371, -0.565991, 0.660952, -0.46829, 0.376853],
  ],
  bbox_16: [
    [2, 24, 4],
    [0.48426, -0.26391, -0.483648, 0.724609, 0.574857],
  ],
  bbox_32: [
    [2, 6, 4],
    [0.41784, -0.550352, 0.452747, -0.700463, 0.448469],
  ],
  kps_8: [
    [2, 96, 10],
    [-0.132491, 0.627099, 0.447314, 0.493494, 0.262699],
  ],
  kps_16: [
    [2, 24, 10],
    [0.053706, 0.336751, 0.711105, 0.936263, 0.604922],
  ],
  kps_32: [
    [2, 6, 10],
    [0.0794413, 0.372649, 0.635059, 0.606031, 0.135592],
  ],
}

describe('YuNet', () => {
  const path = weightsFile('yunet/yunet_n_dynamic.onnx')

  test.skipIf(!isAtHand(path))('gives what onnxruntime gives, for any size and batch', async () => {
    const network = onnxNetwork(readOnnx(readFileSync(path), 'yunet.onnx'))
    expect(network.inputs).toEqual([{ name: 'input', type: 'float32', shape: ['batch', 3, 'height', 'width'] }])
    const shape = [2, 3, 64, 96]
    const x = { shape, data: uniform(300, elements(shape), 0, 255) }
    const shapes: Record<string, readonly number[]> = {}
    const got = await evaluate(gpu, { x }, ({ x }, g) => {
      const outputs = Object.fromEntries(network.record(g, new Map([['input', x]]))) as Record<string, Tensor>
      for (const [name, tensor] of Object.entries(outputs)) shapes[name] = tensor.shape
      return outputs
    })
    expect(Object.keys(got)).toEqual(network.outputs)
    for (const [name, [shape, values]] of Object.entries(yunet)) {
      expect(shapes[name], name).toEqual(shape)
      const every = Math.ceil(elements(shape) / 5)
      // onnxruntime's sigmoid is good to about 3e-8, so small confidences have few exact digits.
      for (const [k, value] of values.entries()) expect(Math.abs(got[name][k * every] - value), name).toBeLessThan(2e-6)
    }
  })

  test.skipIf(!isAtHand(path))('is no recogniser', () => {
    const options = { file: 'yunet.onnx', size: [64, 64] } as const
    expect(() => recogniserFromOnnx(readFileSync(path), options)).toThrow(
      /gives "cls_8", .*"obj_32".* 4 more: say which of them is the embedding/,
    )
  })
})

describe('faceplugin, as npm run weights builds it', async () => {
  const weights = await loadWeights('faceplugin')

  test('gives each image of a batch what it gives it alone', async () => {
    const network = recogniser(weights.entry)
    const shape = [3, 3, 112, 112]
    const all = uniform(400, elements(shape), 0, 1)
    const images = [0, 1, 2].map((i) => all.slice((i * all.length) / 3, ((i + 1) * all.length) / 3))
    const run = async (data: Float32Array, n: number) => {
      const { y } = await evaluate(gpu, { x: { shape: [n, 3, 112, 112], data } }, ({ x }) => ({
        y: network.build(x, weights),
      }))
      return y
    }
    const batch = await run(all, 3)
    for (const [i, image] of images.entries())
      expect(relmax(batch.slice(i * 512, (i + 1) * 512), await run(image, 1))).toBeLessThan(1e-5)
    expect(cosine(batch.slice(0, 512), batch.slice(512, 1024))).toBeLessThan(0.999)
  })

  test('is not loaded without its graph, nor as an ensemble, nor for embeddings of another length', () => {
    const g = graph()
    const x = g.input('x', [1, 3, 112, 112])
    const entry = weights.entry as RecogniserEntry
    const { tensor } = weights
    expect(() => recogniser(entry).build(x, { tensor })).toThrow(
      /faceplugin\.safetensors: is not loaded with its metadata/,
    )
    expect(() => recogniser(entry).build(x, { members: [weights, weights] })).toThrow(/is not loaded with its metadata/)
    const none = { ...weights, metadata: {} }
    expect(() => recogniser(entry).build(x, none)).toThrow(/faceplugin\.safetensors: holds no ONNX graph/)
    const other = { ...weights }
    expect(() => recogniser({ ...entry, embedding: 128 }).build(x, other)).toThrow(
      /makes embeddings of 512 numbers, not 128/,
    )
    expect(recogniser(entry).architecture).toBeUndefined()
  })
})

const floats = (seed: number, ...shape: number[]): Constant => ['float32', shape, [...uniform(seed, elements(shape))]]

/** A small recogniser of one image at a time, as exporters write them. */
const small: WrittenModel = {
  inputs: { x: [1, 3, 6, 6] },
  nodes: [
    { op: 'Conv', inputs: 'x w', outputs: 'a', attributes: { pads: [1, 1, 1, 1], strides: [2, 2] } },
    { op: 'LeakyRelu', inputs: 'a', outputs: 'r', attributes: { alpha: { f: 0.1 } } },
    { op: 'Reshape', inputs: 'r s', outputs: 'f' },
    { op: 'MatMul', inputs: 'f m' },
  ],
  constants: { w: floats(1, 4, 3, 3, 3), s: ['int64', [2], [1, -1]], m: floats(2, 36, 5) },
}

/** Embeddings of images drawn for a network. */
async function embed(network: FaceNetwork, samples: number, first = 0): Promise<Float32Array> {
  const shape = [samples, 3, ...network.size]
  const data = Float32Array.from({ length: elements(shape) }, (_, i) =>
    Math.sin((first * elements(shape.slice(1)) + i) * 1.7),
  )
  const { y } = await evaluate(gpu, { x: { shape, data } }, ({ x }) => ({ y: network.build(x) }))
  expect(y.length).toBe(samples * network.embedding)
  return y
}

describe('batches', () => {
  const networkOf = (model: WrittenModel) => recogniserFromOnnx(onnxFile(model), { file: 'm.onnx' }).network
  const nodesOf = (network: FaceNetwork, op: string) => {
    const g = graph()
    network.build(g.input('x', [4, 3, ...network.size]))
    return g.nodes.filter((each) => each.op?.name === op).length
  }

  test('a model of one image takes many at once where every operation keeps them apart', async () => {
    const network = networkOf(small)
    expect(nodesOf(network, 'conv2d')).toBe(1)
    const [two, ...single] = [await embed(network, 2), await embed(network, 1), await embed(network, 1, 1)]
    expect(relmax(two, [...single[0], ...single[1]])).toBeLessThan(1e-5)
  })

  test.each<[string, WrittenModel['nodes'], WrittenModel['constants']]>([
    [
      'normalises by all numbers there are',
      [
        { op: 'ReduceL2', inputs: 'z', outputs: 'n', attributes: { keepdims: 0 } },
        { op: 'Div', inputs: 'z n' },
      ],
      {},
    ],
    ['drops the axis of the batch', [{ op: 'Squeeze', inputs: 'z zero' }], { zero: ['int64', [1], [0]] }],
    [
      'has an axis of the batch in the middle',
      [
        { op: 'Transpose', inputs: 'z', outputs: 't' },
        { op: 'Mul', inputs: 't c' },
      ],
      { c: floats(3, 5, 1) },
    ],
  ])('of one that %s each sample is computed by itself', async (_, further, constants) => {
    const nodes = [...small.nodes.slice(0, -1), { op: 'MatMul', inputs: 'f m', outputs: 'z' }, ...further]
    const network = networkOf({ ...small, nodes, constants: { ...small.constants, ...constants } })
    expect(nodesOf(network, 'conv2d')).toBe(4)
    expect(network.embedding).toBe(5)
    const [two, ...single] = [await embed(network, 2), await embed(network, 1), await embed(network, 1, 1)]
    expect(relmax(two, [...single[0], ...single[1]])).toBeLessThan(1e-5)
  })

  test('a graph holds the constants of a network once, however often it is recorded', () => {
    const network = networkOf(small)
    const g = graph()
    const countOf = () => g.nodes.filter((each) => each.data).length
    network.build(g.input('a', [1, 3, 6, 6]))
    const once = countOf()
    network.build(g.input('b', [2, 3, 6, 6]))
    expect(once).toBe(2)
    expect(countOf()).toBe(once)
  })

  test('colours that come last are put there', async () => {
    const last = networkOf({
      ...small,
      inputs: { x: [1, 6, 6, 3] },
      nodes: [
        { op: 'Transpose', inputs: 'x', outputs: 'first', attributes: { perm: [0, 3, 1, 2] } },
        { ...small.nodes[0], inputs: 'first w' },
        ...small.nodes.slice(1),
      ],
    })
    expect(last.size).toEqual([6, 6])
    expect(relmax(await embed(last, 2), await embed(networkOf(small), 2))).toBeLessThan(1e-6)
  })

  test('refuses what is no recogniser', () => {
    const attempt = (model: WrittenModel) => () => networkOf({ ...small, ...model })
    const relu = [{ op: 'Relu', inputs: 'x' }]
    expect(attempt({ ...small, inputs: { x: [1, 3, 6, 6], z: [1] }, nodes: [{ op: 'Add', inputs: 'x z' }] })).toThrow(
      /takes "x", "z": a recogniser takes one image/,
    )
    expect(attempt({ ...small, inputs: { x: [1, 4, 6, 6] }, nodes: relu })).toThrow(
      /takes "x" float32 \[1,4,6,6\], which is no colour image/,
    )
    expect(attempt({ ...small, inputs: { x: [1, 3] }, nodes: relu })).toThrow(/which is no colour image/)
    expect(
      attempt({ ...small, nodes: [...small.nodes, { op: 'Relu', inputs: 'f', outputs: 'z' }], outputs: 'y z' }),
    ).toThrow(/gives "y", "z": say which/)
    expect(
      attempt({ ...small, nodes: [{ op: 'Constant', inputs: '', attributes: { value_float: { f: 1 } } }] }),
    ).toThrow(/a recogniser takes one image/)
    expect(attempt({ ...small, inputs: { x: [1, 3, 2 ** 20, 6] }, nodes: relu })).toThrow(
      /images of 1048576x6 pixels: too many/,
    )
    const g = graph()
    expect(() => networkOf(small).build(g.input('x', [1, 3, 7, 6]))).toThrow(
      /m\.onnx: takes images \[N,3,6,6\], not \[1,3,7,6\]/,
    )
    const broken = onnxFile({
      ...small,
      constants: { ...small.constants, m: ['float32', [36, 5], Array<number>(180).fill(Number.NaN)] },
    })
    expect(() => recogniserFromOnnx(broken, { file: 'm.onnx' })).toThrow(
      /a constant "m" with values that are no numbers/,
    )
  })

  test('takes one of several outputs, and the size that a model leaves open', () => {
    const model = {
      ...small,
      inputs: { x: ['N', 3, 'H', 'W'] },
      nodes: [
        { op: 'GlobalAveragePool', inputs: 'x', outputs: 'z' },
        { op: 'Exp', inputs: 'z' },
      ],
      outputs: 'y z',
      constants: {},
    }
    const open = recogniserFromOnnx(onnxFile(model), { file: 'm.onnx', output: 'z', size: [32, 24], colours: 'BGR' })
    expect(open.input).toMatchObject({ height: 32, width: 24, colours: 'BGR' })
    expect([open.embedding, open.network.output]).toEqual([3, 'z'])
    expect(recogniserFromOnnx(onnxFile(model), { file: 'm.onnx', output: 'z' }).network.size).toEqual([112, 112])
    expect(() => recogniserFromOnnx(onnxFile(model), { file: 'm.onnx', output: 'w' })).toThrow(/has no value "w"/)
  })
})

describe('stored as safetensors', async () => {
  const file = onnxFile(small)
  const entry = entryOf(await loadManifest(), 'faceplugin') as RecogniserEntry

  test('comes back and computes the same, with the normalisation of its entry', async () => {
    const { tensors, metadata, embedding } = recogniserFromOnnx(file, { file: 'm.onnx' })
    const stored = writeSafetensors(tensors, metadata, 's.safetensors')
    const own = {
      ...entry,
      id: 'small',
      embedding,
      input: { ...entry.input, width: 6, height: 6, colours: 'BGR' as const },
    }
    const weights = weightsOf(own, stored, 's.safetensors')
    const crop = uniform(5, 3 * 112 * 112, 0, 1)
    const build = (x: Tensor) => recogniser(own).build(x, weights)
    const { y } = await evaluate(gpu, { x: { shape: [1, 3, 112, 112], data: crop } }, ({ x }) => ({ y: build(x) }))
    expect(y.length).toBe(5)
    expect(y.every(Number.isFinite)).toBe(true)
    const direct = storedFaceNetwork(weights, 's.safetensors')
    expect(await embed(direct, 2)).toEqual(await embed(recogniserFromOnnx(file, { file: 'm.onnx' }).network, 2))
  })

  test('keeps integers, numbers that are not finite, and attributes of every kind', () => {
    const model = readOnnx(
      onnxFile({
        inputs: { x: [2] },
        nodes: [
          {
            op: 'Odd',
            inputs: 'x w i d',
            attributes: {
              a: -3,
              b: { f: Number.POSITIVE_INFINITY },
              c: 's',
              d: [1, -2],
              e: { fs: [0.1, -0] },
              g: { t: ['int64', [1], [9]] },
            },
          },
          { op: 'Dead', inputs: 'x', outputs: 'z' },
        ],
        constants: {
          w: ['float64', [2], [0.5, -2]],
          i: ['int64', [3], [-1, 0, 2 ** 62]],
          d: ['bool', [], [1]],
          unused: floats(1, 4),
        },
      }),
      'm.onnx',
    )
    const { tensors, metadata } = storeOnnx(model, ['y'])
    expect([...tensors.keys()]).toEqual(['w'])
    const back = loadOnnx({ metadata, tensor: (name) => tensors.get(name)! }, 'back')
    expect(back.nodes.length).toBe(1)
    expect([...back.nodes[0].attributes].slice(0, 5)).toEqual([...model.nodes[0].attributes].slice(0, 5))
    expect(back.nodes[0].attributes.get('g')).toMatchObject({ kind: 'tensor', value: { type: 'int64', shape: [1] } })
    expect([...back.constants].map(([name, { type, shape, data }]) => [name, type, shape, [...data]])).toEqual([
      ['w', 'float32', [2], [0.5, -2]],
      ['i', 'int64', [3], [-1, 0, 2 ** 62]],
      ['d', 'bool', [], [1]],
    ])
    expect(back.inputs).toEqual(model.inputs)
  })

  test('weights that are nothing in f32 come back as zeros, single numbers as they are', () => {
    const model = readOnnx(
      onnxFile({
        inputs: { x: [2] },
        nodes: [
          { op: 'Mul', inputs: 'x w', outputs: 'h' },
          { op: 'Add', inputs: 'h e', outputs: 'y' },
        ],
        constants: { w: ['float32', [2], [1e-42, 1e-14]], e: ['float32', [], [1e-20]] },
      }),
      'm.onnx',
    )
    const { tensors, metadata } = storeOnnx(model, ['y'])
    const { constants } = loadOnnx({ metadata, tensor: (name) => tensors.get(name)! }, 'back')
    expect([...constants.get('w')!.data]).toEqual([0, Math.fround(1e-14)])
    expect([...constants.get('e')!.data]).toEqual([Math.fround(1e-20)])
    expect(tensors.get('w')!.data[0]).toBeGreaterThan(0)
  })

  test('is the same for the same file', () => {
    const built = () => convert(entry, new Map([['a.onnx', file]]))
    expect(built()).toEqual(built())
    expect(() => convert(entry, new Map())).toThrow(/has 0 ONNX files, not one/)
    expect(() =>
      convert(
        entry,
        new Map([
          ['a.onnx', file],
          ['b.onnx', file],
        ]),
      ),
    ).toThrow(/has 2 ONNX files, not one/)
  })

  test('refuses graphs that are not as they were stored', () => {
    const { tensors, metadata } = storeOnnx(readOnnx(file, 'm'), ['y'])
    const load = (text: string) => () =>
      loadOnnx({ metadata: { onnx: text }, tensor: (name) => tensors.get(name)! }, 's')
    const changed = (from: string, to: string) => load(metadata.onnx.replace(from, to))
    expect(load(metadata.onnx)).not.toThrow()
    expect(load('{')).toThrow(/holds an ONNX graph that is not JSON/)
    expect(load('[]')).toThrow(/a part that is no object: it is damaged/)
    expect(changed('"version":1', '"version":2')).toThrow(/of version 2/)
    expect(changed('"int64"', '"int63"')).toThrow(/a type that is not known/)
    expect(changed('[1,-1]', '[1]')).toThrow(/a constant that is not as long as its shape/)
    expect(changed('"ints"', '"lists"')).toThrow(/an attribute of no known kind/)
    expect(changed('"r","s"', '"r","nothing"')).toThrow(/takes "nothing", which nothing defines/)
    expect(changed('"MatMul"', '3')).toThrow(/a name that is no text/)
    expect(changed('"MatMul"', '3')).toThrow(OnnxError)
  })
})
