/**
 * The recognisers that people have checkpoints of: each file is known by its tensors, and gives what PyTorch gives. The reference is
 * test/golden/checkpoints.py, which also says how weights are drawn.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  type AlignmentName,
  alignmentOf,
  alignments,
  referenceLandmarks112,
  transform,
} from '../../src/faces/alignment.ts'
import { compile, grad, graph } from '../../src/graph/index.ts'
import { sum } from '../../src/kernels/index.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import { architectureOf } from '../../src/models/architectures.ts'
import { ensembleWeights } from '../../src/models/ensemble.ts'
import type { NetworkWeights } from '../../src/models/layers.ts'
import type { RecogniserArchitecture } from '../../src/models/network.ts'
import { recogniseNetwork } from '../../src/models/recognise.ts'
import type { StoredTensor } from '../../src/weights/numbers.ts'
import { sha256, type WeightTensor } from '../../src/weights/registry.ts'
import { readTorch } from '../../src/weights/torch.ts'
import { drawSymmetric, drawUniform } from '../golden/generator.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { everything } from '../support/scope.ts'
import { type Bytes, dict, EMPTY_DICT, global, int, storage, tensor, text, zipped } from '../support/torch-file.ts'

interface Golden {
  seed: number
  /** Embeddings (f32, base64) of a drawn image of `side` pixels, and the SHA-256 of the names and shapes. */
  embeddings: Record<string, { side: number; f32: string; names: string }>
  tensors: Record<string, string>
}
const golden: Golden = JSON.parse(readFileSync(join(import.meta.dirname, '../golden/data/checkpoints.json'), 'utf8'))
const gpu = await testGpu()

const recogniserOf = (id: string): RecogniserArchitecture => {
  const architecture = architectureOf(id)
  if (architecture?.role !== 'recogniser') throw new Error(`there is no recogniser ${id}`)
  return architecture
}

/** FRBench's names of tensors, where it has its own. */
const frbench: Record<string, (name: string) => string> = {
  'ir-se-2x16-1x32-1x48-1x64-e64': (name) =>
    name
      .replace(/^output_layer\.0\./, 'bn2.')
      .replace(/^output_layer\.3\./, 'fc.')
      .replace(/^output_layer\.4\./, 'features.'),
  'mobilefacenet-eca': (name) =>
    name
      .replace(/^(conv_\d)\.model\./, '$1.layers.')
      .replace(/^(conv_\d\d|conv_\d\.layers\.\d)\.conv\./, '$1.conv_expand.')
      .replace('.project.', '.conv_project.')
      .replace(/^conv_6_dw\./, 'output_layer.conv_dw.')
      .replace(/^linear\./, 'output_layer.fc.')
      .replace(/^bn\./, 'output_layer.bn.'),
}

/** The tensors of a file, in order of their names. */
const listOf = (id: string): [name: string, shape: Shape][] =>
  [...recogniserOf(id).tensors()]
    .map(([name, shape]): [string, Shape] => [frbench[id]?.(name) ?? name, shape])
    .sort(([a], [b]) => (a < b ? -1 : 1))

const digestOf = (id: string): Promise<string> =>
  sha256(
    new TextEncoder().encode(
      listOf(id)
        .map(([name, shape]) => `${name} [${shape}]\n`)
        .join(''),
    ),
  )

function drawn(t: number, name: string, shape: Shape): Float32Array {
  const count = elements(shape)
  if (name.endsWith('running_mean') || name.endsWith('bias')) return drawUniform(golden.seed, t, count, -0.1, 0.1)
  if (name.endsWith('running_var')) return drawUniform(golden.seed, t, count, 0.5, 1.5)
  if (shape.length < 2) return drawUniform(golden.seed, t, count, 0.3, 1.1)
  const bound = Math.sqrt(3 / elements(shape.slice(1)))
  return drawUniform(golden.seed, t, count, -bound, bound)
}

/** A file of drawn weights; `every` takes every n-th number only of each tensor. */
const fileOf = (id: string, prefix = ''): Map<string, StoredTensor> =>
  new Map(listOf(id).map(([name, shape], t) => [prefix + name, { dtype: 'F32', shape, data: drawn(t, name, shape) }]))

const weightsOf = (tensors: ReadonlyMap<string, WeightTensor>): NetworkWeights => ({
  tensor(name) {
    const tensor = tensors.get(name)
    if (!tensor) throw new Error(`no ${name}`)
    return tensor
  },
})

test.each(Object.entries(golden.tensors))('%s has the tensors of the published network', async (id, names) => {
  expect(await digestOf(id)).toBe(names)
})

describe.each(Object.entries(golden.embeddings))('%s', (id, { side, f32, names }) => {
  const architecture = recogniserOf(id)
  // The one's 400 convolutions take a minute to compile, the other's 24 million weights long to draw.
  const isLong = id === 'inception-resnet-v1' || id === 'resnet-18'

  test('is known by the tensors of its file, wherever they are in it', async () => {
    expect(await digestOf(id)).toBe(names)
    for (const prefix of ['', 'net_state_dict.', 'state_dict.model.', 'module.']) {
      const counters = new Map([
        [`${prefix}bn1.num_batches_tracked`, { dtype: 'I64', shape: [], data: BigInt64Array.of(1n) }],
      ])
      const file = new Map<string, StoredTensor>([
        ...[...listOf(id)].map(([name, shape]): [string, StoredTensor] => [
          prefix + name,
          { dtype: 'F32', shape, data: new Float32Array(elements(shape)) },
        ]),
        ...(counters as Map<string, StoredTensor>),
      ])
      const found = recogniseNetwork(file, 'net.pth')
      expect([found.architecture.id, found.prefix]).toEqual([id, prefix])
      expect(found.leftOut).toEqual(['1 counters of training'])
      expect([...found.tensors.keys()]).toEqual([...architecture.tensors().keys()])
    }
  })

  test.skipIf(isLong && !everything)('gives the embedding that PyTorch gives', async () => {
    const { tensors } = recogniseNetwork(fileOf(id), 'net.pth')
    const x = graph().input('x', [1, 3, side, side])
    using plan = await compile(gpu, { y: architecture.build(x, weightsOf(tensors)) }, { poison: true })
    plan.write('x', drawSymmetric(golden.seed, 1_000_000, 3 * side * side, 1))
    plan.run()
    const bytes = Uint8Array.from(Buffer.from(f32, 'base64'))
    expect(relmax(await plan.read('y'), new Float32Array(bytes.buffer))).toBeLessThan(1e-4)
  })

  test('can be attacked, and recorded as an ensemble', () => {
    const { tensors } = recogniseNetwork(fileOf(id), 'net.pth')
    const weights = weightsOf(tensors)
    const other = weightsOf(
      new Map([...tensors].map(([name, { shape, data }]) => [name, { shape, data: data.slice() }])),
    )
    const x = graph().input('x', [2, 3, side, side])
    const y = architecture.build(x, ensembleWeights([weights, other]))
    expect(y.shape).toEqual([2, 2 * architecture.embedding])
    expect(grad(sum(y), x).shape).toEqual([2, 3, side, side])
  })
})

test('each alignment puts a face inside its crop, upright and at one scale', () => {
  for (const [name, { size, targets }] of Object.entries(alignments)) {
    const map = alignmentOf(name as AlignmentName, referenceLandmarks112)
    const centre = transform(map, referenceLandmarks112[2])
    for (const value of centre) expect(value / size, name).toBeCloseTo(0.5, 0)
    expect(targets.flat().every((value) => value > 0 && value < size)).toBe(true)
    // An average face's landmarks are where the crop has them, within some pixels: facenet's crops are boxes, stretched to squares.
    targets.forEach((target, k) => {
      const [x, y] = transform(map, referenceLandmarks112[k])
      expect(Math.hypot(x - target[0], y - target[1]), `${name} ${k}`).toBeLessThan(0.06 * size)
    })
  }
})

describe('a checkpoint of PyTorch Lightning', () => {
  const id = 'adaface-ir-2x8-1x16-1x24-1x32-e64'

  /** As it saves one: the state, and beside it callbacks by their class, arguments in a class of its own, and counters. */
  const checkpoint = (beside: Bytes) => {
    const tensors = [...fileOf(id, 'model.')]
    const storages = tensors.map(([, { data }], k) => storage(`${k}`, data as Float32Array))
    const state = dict(Object.fromEntries(tensors.map(([name, { shape }], k) => [name, tensor(storages[k], shape)])))
    const score = storage('score', [0.9])
    const notes: Bytes = [
      ...EMPTY_DICT,
      ...global('pytorch_lightning.callbacks.model_checkpoint', 'ModelCheckpoint'),
      ...dict({ best_model_score: tensor(score, []) }, EMPTY_DICT),
      0x73,
    ]
    const contents = dict({ epoch: int(25), state_dict: state, callbacks: notes, hyper_parameters: beside }, EMPTY_DICT)
    return zipped(contents, [...storages, score])
  }
  /** An object of a class: NEWOBJ, then its items. */
  const made = (module: string, name: string): Bytes => [
    ...global(module, name),
    ...[0x29, 0x81],
    ...text('arch'),
    ...text('ir_50'),
    0x73,
  ]

  test('is read without making anything of what lies beside the weights', () => {
    const bytes = checkpoint(made('pytorch_lightning.utilities.parsing', 'AttributeDict'))
    const { architecture, prefix, tensors } = recogniseNetwork(readTorch(bytes, 'ada.ckpt'), 'ada.ckpt')
    expect([architecture.id, prefix]).toEqual([id, 'state_dict.model.'])
    const want = recogniseNetwork(fileOf(id), 'net.pth').tensors
    for (const [name, { data }] of want) expect(tensors.get(name)!.data, name).toEqual(data)
  })

  test('is refused where it names anything else', () => {
    for (const [module, name] of [
      ['os', 'system'],
      ['builtins', 'eval'],
      ['pytorch_lightningx', 'Trainer'],
      ['argparse', 'ArgumentParser'],
    ])
      expect(() => readTorch(checkpoint(made(module, name)), 'f'), name).toThrow(/refers to .*only files of weights/)
  })
})

describe('an ensemble gives what its members give', () => {
  // Attention and columns are cut out or joined by member.
  test.each(['mobilefacenet-eca', 'mobilefacenet-xiaoccer', 'adaface-ir-2x8-1x16-1x24-1x32-e64'])('%s', async (id) => {
    const architecture = recogniserOf(id)
    const first = recogniseNetwork(fileOf(id), 'net.pth').tensors
    const second = new Map(
      [...first].map(([name, { shape, data }]) => [name, { shape, data: data.map((v) => 0.9 * v) }]),
    )
    const [a, b] = [weightsOf(first), weightsOf(second)]
    const x = graph().input('x', [1, 3, 112, 112])
    const built = {
      both: architecture.build(x, ensembleWeights([a, b])),
      a: architecture.build(x, a),
      b: architecture.build(x, b),
    }
    using plan = await compile(gpu, built, { poison: true })
    plan.write('x', drawSymmetric(golden.seed, 1_000_000, 3 * 112 * 112, 1))
    plan.run()
    const both = await plan.read('both')
    expect(relmax(both.subarray(0, architecture.embedding), await plan.read('a'))).toBeLessThan(1e-5)
    expect(relmax(both.subarray(architecture.embedding), await plan.read('b'))).toBeLessThan(1e-5)
  })
})
