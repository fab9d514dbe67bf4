/** Which network a file holds. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { graph } from '../../src/graph/index.ts'
import { architectureIds, architectureOf } from '../../src/models/architectures.ts'
import { irId } from '../../src/models/ir.ts'
import { recogniseNetwork, UnfitTensorsError, UnknownNetworkError } from '../../src/models/recognise.ts'
import { loadWeights } from '../../src/weights/node.ts'
import type { StoredTensor } from '../../src/weights/numbers.ts'
import type { WeightTensor } from '../../src/weights/registry.ts'
import { goldenSets } from '../golden/case.ts'
import { known, MICRO, seeded, stored } from '../support/networks.ts'
import { everything } from '../support/scope.ts'

afterEach(() => vi.unstubAllEnvs())

describe('architectures', () => {
  test('have the tensors of the networks of the golden results, in the order of their files', () => {
    let compared = 0
    for (const [key, list] of goldenSets().flatMap(({ index }) => Object.entries(index.models))) {
      const name = key.slice(0, key.indexOf(':'))
      const ids: Record<string, string> = {
        alex: 'alexnet',
        IR_micro: MICRO,
        IR_SE_micro: 'ir-se-1x16-1x32-1x48-1x64-e64',
        IR_tiny: 'ir-1x64-1x128-1x256-1x512-e512',
      }
      // No architecture of files: a ResNet of one block a stage, and SqueezeNet with LPIPS' layers in one.
      if (name === 'ResNet_micro' || name === 'squeeze') continue
      const tensors = known(ids[name] ?? name.toLowerCase().replaceAll('_', '-')).tensors()
      expect([...tensors], key).toEqual(list.map(({ key, shape }) => [key, shape]))
      compared++
    }
    expect(compared).toBeGreaterThan(3)
  })

  test.each([
    ['sirius', 'mobilefacenet'],
    ['dlib', 'dlib-resnet-29'],
    ['mtcnn', 'mtcnn'],
    ['lpips-alex-scratch', 'lpips-alex'],
  ])('have the tensors of %s', async (network, id) => {
    const weights = await loadWeights(network)
    const tensors = known(id).tensors()
    expect([...tensors.keys()].sort()).toEqual(weights.names().sort())
    for (const [name, shape] of tensors) expect(weights.tensor(name).shape, name).toEqual(shape)
  })

  const recognisers = architectureIds.filter((id) => known(id).role === 'recogniser')
  // The others differ in the number of their units; in the short run those of more than 50 layers do, too.
  const left = everything ? /10|152/ : /10|152|200/
  test.each([...recognisers.filter((id) => !left.test(id)), MICRO, 'ir-se-1x16-1x16-1x32-1x32-e8'])(
    '%s records with its tensors, and uses all of them',
    (id) => {
      const architecture = known(id)
      if (architecture.role !== 'recogniser') throw new Error(`${id} is no recogniser`)
      const unused = new Map(architecture.tensors())
      const shapes = architecture.tensors()
      const tensor = (name: string): WeightTensor => {
        const shape = shapes.get(name)
        if (!shape) throw new Error(`${id} asks for ${name}, which is not in its list`)
        unused.delete(name)
        return { shape, data: new Float32Array(shape.reduce((n, extent) => n * extent, 1)) }
      }
      const { width, height } = architecture.input
      const x = graph().input('x', [1, 3, height!, width!])
      expect(architecture.build(x, { tensor }).shape).toEqual([1, architecture.embedding])
      expect([...unused.keys()]).toEqual([])
    },
  )

  test('of IR networks have one id each', () => {
    for (const id of ['ir-50', 'ir-se-152', MICRO]) expect(architectureOf(id)?.id).toBe(id)
    const fifty = {
      units: [3, 4, 14, 3],
      channels: [64, 128, 256, 512],
      embedding: 512,
      squeezeExcitation: false,
    } as const
    expect(irId(fifty)).toBe('ir-50')
    expect(irId({ ...fifty, embedding: 256 })).toBe('ir-3x64-4x128-14x256-3x512-e256')
    // The long form of a published one, and forms that are none.
    for (const id of ['ir-3x64-4x128-14x256-3x512-e512', 'ir-0x8-1x16-1x24-1x32-e64', 'ir-51', 'constructor', '']) {
      expect(architectureOf(id), id).toBeUndefined()
    }
  })
})

describe('a file of weights is recognised', () => {
  const recognise = (tensors: ReadonlyMap<string, StoredTensor>, options = {}) =>
    recogniseNetwork(tensors, 'net.pth', options)

  test.each([
    MICRO,
    'ir-se-1x16-2x32-1x48-1x64-e8',
    'alexnet',
    'squeezenet',
    'lpips-lin-alex',
    'mobilefacenet-foamliu',
  ])('%s, with and without what others put before names', (id) => {
    const weights = seeded(id)
    for (const [name, { data }] of weights) if (name.startsWith('lin')) data.set(data.map(Math.abs))
    for (const prefix of ['', 'module.', 'backbone.', 'state_dict.module.backbone.']) {
      const { architecture, prefix: found, tensors } = recognise(stored(weights, prefix))
      expect([architecture.id, found]).toEqual([id, prefix])
      expect([...tensors]).toEqual([...weights])
    }
  })

  const deep = everything ? ['ir-101', 'ir-152', 'ir-se-50', 'resnet-101', 'resnet-152'] : []
  test.each(['ir-50', 'resnet-50', ...deep])('%s by its shapes', (id) => {
    // Without numbers, which are not asked for where something is missing.
    const shapes = new Map<string, StoredTensor>()
    for (const [name, shape] of known(id).tensors()) {
      const data = new Float32Array(shape.reduce((n, extent) => n * extent, 1))
      if (name !== 'output_layer.4.bias' && name !== 'bn_o2.bias') shapes.set(name, { dtype: 'F32', shape, data })
    }
    let error: unknown
    try {
      recognise(shapes)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(UnfitTensorsError)
    const { message } = error as Error
    expect(message).toMatch(new RegExp(`looks like .*\\b${id}\\b`, 'i'))
    expect(message).toMatch(/one tensor does not fit:\n {2}misses "(output_layer\.4|bn_o2)\.bias" \[512\]$/)
  })

  test('counters, heads and optimisers are left out, and it is said', () => {
    const extra: StoredTensor = { dtype: 'I64', shape: [], data: BigInt64Array.of(7n) }
    const file = new Map([
      ...stored(seeded(MICRO), 'model.'),
      ['model.input_layer.1.num_batches_tracked', extra],
      ['model.body.0.res_layer.0.num_batches_tracked', extra],
      ['head.kernel', extra],
      ['optimizer.state.0', extra],
    ] as [string, StoredTensor][])
    expect(recognise(file).leftOut).toEqual([
      '2 counters of training',
      '1 tensors of head, beside the network',
      '1 tensors of optimizer, beside the network',
    ])
  })

  test("the trunk of torchvision's AlexNet, its classifier left out", () => {
    const classifier: StoredTensor = { dtype: 'F32', shape: [1], data: Float32Array.of(1) }
    const { architecture, leftOut } = recognise(
      new Map([...stored(seeded('alexnet')), ['classifier.1.weight', classifier]]),
    )
    expect(architecture.id).toBe('alexnet')
    expect(leftOut).toEqual(["1 AlexNet's classifier, which LPIPS does not use"])
  })

  test("the state of LPIPS' own module, trunk and channels in one", () => {
    const positive = ({ shape, data }: WeightTensor) => ({ shape, data: data.map(Math.abs) })
    const trunk = [...seeded('alexnet')].map(([name, tensor], i): [string, WeightTensor] => [
      name.replace('features.', `net.slice${1 + (i >> 1)}.`),
      tensor,
    ])
    const lin = [...seeded('lpips-lin-alex')].map(([name, tensor]): [string, WeightTensor] => [name, positive(tensor)])
    const copies = lin.map(([name, tensor], k): [string, WeightTensor] => [
      name.replace(`lin${k}`, `lins.${k}`),
      tensor,
    ])
    const { architecture, tensors, leftOut } = recognise(stored(new Map([...trunk, ...lin, ...copies])))
    expect(architecture.id).toBe('lpips-alex')
    expect(tensors.size).toBe(15)
    expect(leftOut).toEqual(['5 second copies of the weights of the channels'])
  })

  test('what is missing, left over or of another shape is named with its shape', () => {
    const file = stored(seeded(MICRO), 'module.')
    file.delete('module.input_layer.2.weight')
    file.set('module.surplus', { dtype: 'F32', shape: [2, 3], data: new Float32Array(6) })
    file.set('module.output_layer.3.bias', { dtype: 'F32', shape: [65], data: new Float32Array(65) })
    file.set('module.output_layer.4.bias', { dtype: 'I32', shape: [64], data: new Int32Array(64) })
    file.set('module.output_layer.4.weight', { dtype: 'F32', shape: [64], data: new Float32Array(64).fill(Number.NaN) })
    file.set('module.input_layer.1.running_var', { dtype: 'F32', shape: [8], data: new Float32Array(8).fill(-1) })
    try {
      recognise(file)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(UnfitTensorsError)
      expect((error as UnfitTensorsError).problems).toEqual([
        '"module.input_layer.1.running_var" holds negative variances',
        'misses "input_layer.2.weight" [8]',
        '"module.output_layer.3.bias" is [65], not [64]',
        '"module.output_layer.4.weight" [64] holds numbers that are not finite',
        '"module.output_layer.4.bias" [64] holds I32, not floats',
        'has "module.surplus" [2,3], which is not part of the network',
      ])
      expect((error as Error).message).toMatch(
        /^net\.pth: looks like IR of 1\/1\/1\/1 units \(ir-1x8.*\), but 6 tensors do not fit:\n {2}"/,
      )
    }
  })

  test('a long list of problems is cut', () => {
    const file = new Map([...stored(seeded(MICRO))].filter(([name]) => !name.startsWith('body.2')))
    expect(() => recognise(file, { as: 'ir-50' })).toThrow(
      /but \d+ tensors do not fit:(\n {2}.*){20}\n {2}and \d+ more\nA network that is not known here can be imported as ONNX/,
    )
  })

  test('as what it is told to be', () => {
    expect(recognise(stored(seeded(MICRO)), { as: MICRO }).architecture.id).toBe(MICRO)
    expect(() => recognise(stored(seeded(MICRO)), { as: 'resnet-50' })).toThrow(UnknownNetworkError)
    expect(() => recognise(stored(seeded(MICRO)), { as: 'resnet-50' })).toThrow(
      /is no resnet-50; its tensors are\n {2}"input_layer/,
    )
    expect(() => recognise(stored(seeded(MICRO)), { as: 'vgg' })).toThrow(/cannot be "vgg": there are ir-50, /)
  })

  test('of several networks the one that is named', () => {
    const file = new Map([...stored(seeded(MICRO, 1), 'student.'), ...stored(seeded(MICRO, 2), 'teacher.')])
    expect(() => recognise(file)).toThrow(/holds several networks: .*"student\.", "teacher\."/)
    const { tensors } = recognise(file, { prefix: 'teacher.' })
    expect([...tensors]).toEqual([...seeded(MICRO, 2)])
    expect(() => recognise(file, { prefix: 'parent.' })).toThrow(UnknownNetworkError)
  })

  test('by no name that is known: the first are shown', () => {
    const one: StoredTensor = { dtype: 'F32', shape: [3, 4], data: new Float32Array(12) }
    const vgg = new Map(Array.from({ length: 20 }, (_, i) => [`features.${i}.weight`, one]))
    expect(() => recognise(vgg)).toThrow(
      /is no network that is known here \(ir-50, .*\n {2}"features\.0\.weight" \[3,4\][\s\S]*and 12 more\nA network that is not known here can be imported as ONNX, .*torch\.onnx\.export/,
    )
  })

  test.each([
    ['a Swin Transformer', 'layers.0.blocks.0.attn.relative_position_bias_table', 'layers.0.blocks.0.attn.qkv.weight'],
    ['a ConvNeXt', 'stages.0.blocks.0.conv_dw.weight', 'stages.0.blocks.0.gamma'],
    ['a ConvNeXt', 'stages.0.0.dwconv.weight'],
    ['a ConvNeXt', 'features.1.0.block.0.weight', 'features.1.0.layer_scale'],
    ['a MobileViT', 'stages.2.1.conv_kxn.conv.weight', 'stages.2.1.transformer.0.attn.qkv.weight'],
    ['a Vision Transformer', 'blocks.0.attn.qkv.weight', 'pos_embed'],
    ['a DenseNet', 'features.denseblock1.denselayer1.conv1.weight'],
    ['an EfficientNet or MobileNet', 'conv_stem.weight', 'blocks.1.0.conv_pw.weight'],
    ['an EfficientNet or MobileNet', 'features.0.0.weight', 'features.1.conv.0.0.weight'],
    ['a ResNetV2', 'stem.conv.weight', 'stages.0.blocks.0.norm1.weight'],
  ])('%s by names is told, and that it is not known', (title, ...names) => {
    const one: StoredTensor = { dtype: 'F32', shape: [3, 4], data: new Float32Array(12) }
    for (const prefix of ['', 'backbone.'])
      expect(() => recognise(new Map(names.map((name) => [prefix + name, one])))).toThrow(
        new RegExp(`^net\\.pth: is ${title} by the names of its tensors, and no network that is known here \\(ir-50, `),
      )
  })
})
