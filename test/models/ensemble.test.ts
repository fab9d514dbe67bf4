/** Networks of one architecture recorded as one: the same embeddings and gradients as separate ones, in the dispatches of one. */
import { describe, expect, test } from 'vitest'
import { Attack } from '../../src/attack/loop.ts'
import { matrixInput, type Perceptual, recordObjective, type Surrogate } from '../../src/attack/objective.ts'
import { presets } from '../../src/attack/presets.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import type { Affine } from '../../src/faces/alignment.ts'
import { type ChooseKernel, compile, grad, graph, type Plan } from '../../src/graph/index.ts'
import { convArgs, convGeometry } from '../../src/kernels/conv/geometry.ts'
import { winograd } from '../../src/kernels/conv/winograd.ts'
import { productLanes } from '../../src/kernels/gemm/product.ts'
import { affine, concat, conv2d, convTranspose2d, mul, sum } from '../../src/kernels/index.ts'
import { elements, type Shape, ShapeError, type Tensor } from '../../src/kernels/op.ts'
import { dlibResnet29 } from '../../src/models/dlib.ts'
import { ensembleWeights, type LayerWeights } from '../../src/models/ensemble.ts'
import { foamliuMobilefacenet } from '../../src/models/foamliu.ts'
import { type IrArchitecture, ir } from '../../src/models/ir.ts'
import { convolution, fullyConnected, type NetworkWeights } from '../../src/models/layers.ts'
import { mobilefacenet } from '../../src/models/mobilefacenet.ts'
import { recordedShapes } from '../../src/models/recording.ts'
import { resnet } from '../../src/models/resnet.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { testWeights } from '../golden/case.ts'
import { torchWeights } from '../golden/weights.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'
import { everything, LONG } from '../support/scope.ts'

const gpu = await testGpu()

type Build = (x: Tensor, weights: LayerWeights) => Tensor
type Shapes = Readonly<Record<string, Shape>>

/** Weights with which values neither die out nor grow; every seed gives others. */
function drawn(shapes: Shapes, seed: number): NetworkWeights {
  const names = Object.keys(shapes)
  const tensors = new Map(
    names.map((name, i) => {
      const shape = shapes[name]
      const kernel = shape.length > 1
      const spread = kernel ? Math.sqrt(3 / elements(shape.slice(1))) : 0.4
      const middle = kernel || /bias|mean/.test(name) ? 0 : 0.7
      const data = uniform(seed * names.length + i, elements(shape), middle - spread, middle + spread)
      return [name, { shape, data }]
    }),
  )
  return {
    tensor(name) {
      const tensor = tensors.get(name)
      if (!tensor) throw new Error(`no ${name}`)
      return tensor
    },
  }
}

/** Another member like a trained one: every number up to a fifth larger or smaller. */
function varied(weights: NetworkWeights, seed: number): NetworkWeights {
  const tensors = new Map<string, ReturnType<NetworkWeights['tensor']>>()
  return {
    tensor(name) {
      let tensor = tensors.get(name)
      if (!tensor) {
        const { shape, data } = weights.tensor(name)
        const factors = uniform(seed + tensors.size, data.length, 0.8, 1.2)
        tensors.set(name, (tensor = { shape, data: data.map((v, i) => v * factors[i]) }))
      }
      return tensor
    },
  }
}

/** What a network has at its usual size. */
const shapesOf = (build: Build): Shapes => Object.fromEntries(recordedShapes(build, [1, 3, 112, 112]))

const irShapes = (architecture: IrArchitecture): Shapes => shapesOf((x, weights) => ir(x, weights, architecture))

/** A ResNet of two stages, whose last maps are 14x14, with a short embedding. */
function resnetShapes(blocks: readonly [number, number], embedding: number): Shapes {
  const shapes: Record<string, Shape> = { ...shapesOf((x, weights) => resnet(x, weights, blocks)) }
  const [channels] = shapes['bn_o1.weight']
  for (const name of Object.keys(shapes)) if (/^(fc|bn_o2)/.test(name)) shapes[name] = [embedding]
  return { ...shapes, 'fc.weight': [embedding, channels * 14 * 14] }
}

/** What a test compares: embeddings of all members side by side, and the gradient of a mixture of them. */
interface Outcome {
  embeddings: Float32Array
  gradient: Float32Array
  dispatches: number
}

async function outcome(images: Float32Array, shape: Shape, record: (x: Tensor) => Tensor): Promise<Outcome> {
  const g = graph()
  const x = g.input('x', shape)
  const y = record(x)
  const mixture = g.constant(uniform(77, elements(y.shape)), y.shape)
  const gradient = grad(sum(mul(y, mixture)), x)
  using plan = await compile(gpu, { y, gradient }, { poison: true })
  plan.write('x', images)
  plan.run()
  return {
    embeddings: await plan.read('y'),
    gradient: await plan.read('gradient'),
    dispatches: plan.summary().dispatches.step,
  }
}

/** Stacked against separate, on the same images. */
async function compareMembers(build: Build, members: readonly NetworkWeights[], batch: number, side = 112) {
  const shape = [batch, 3, side, side]
  const images = uniform(5, elements(shape))
  const stacked = await outcome(images, shape, (x) => build(x, ensembleWeights(members)))
  const separate = await outcome(images, shape, (x) =>
    concat(
      members.map((weights) => build(x, weights)),
      1,
    ),
  )
  const single = await outcome(images, shape, (x) => build(x, members[0]))
  expect(stacked.embeddings.length).toBe(members.length * single.embeddings.length)
  expect(relmax(stacked.embeddings, separate.embeddings)).toBeLessThan(1e-5)
  expect(relmax(stacked.gradient, separate.gradient)).toBeLessThan(1e-4)
  // Around a fully connected layer members are brought into an order that can be multiplied, and back.
  expect(stacked.dispatches).toBeLessThanOrEqual(single.dispatches + 4)
  expect(separate.dispatches).toBeGreaterThan(0.9 * members.length * single.dispatches)
  // The members differ, or the comparison would show nothing.
  const length = stacked.embeddings.length / batch / members.length
  const [first, second] = [0, length].map((at) => stacked.embeddings.subarray(at, at + length))
  expect(relmax(first, second)).toBeGreaterThan(0.01)
}

const micro: IrArchitecture = {
  units: [1, 2, 1, 1],
  channels: [8, 16, 24, 32],
  embedding: 20,
  squeezeExcitation: false,
}

describe('stacked members give what they give separately', () => {
  test('IR', async () => {
    const shapes = irShapes(micro)
    const members = [1, 2, 3].map((seed) => drawn(shapes, seed))
    await compareMembers((x, weights) => ir(x, weights, micro), members, 2)
  })

  test.skipIf(!everything)(`IR with squeeze and excitation${LONG}`, async () => {
    const architecture = { ...micro, units: [1, 1, 1, 1], channels: [16, 16, 32, 32], squeezeExcitation: true } as const
    const shapes = irShapes(architecture)
    const members = [1, 2].map((seed) => drawn(shapes, seed))
    await compareMembers((x, weights) => ir(x, weights, architecture), members, 1)
  })

  test.skipIf(!everything)(`ResNet${LONG}`, async () => {
    const blocks = [1, 2] as const
    const shapes = resnetShapes(blocks, 12)
    const members = [1, 2].map((seed) => drawn(shapes, seed))
    await compareMembers((x, weights) => resnet(x, weights, blocks), members, 1)
  })

  test('MobileFaceNet', async () => {
    const weights = await loadWeights('sirius')
    await compareMembers(mobilefacenet, [weights, varied(weights, 1)], 2)
  })

  const foamliu = testWeights('mobilefacenet-foamliu/mobilefacenet.pt')
  test.skipIf(!foamliu)('MobileFaceNet of foamliu', async () => {
    const weights = torchWeights(foamliu!)
    await compareMembers(foamliuMobilefacenet, [weights, varied(weights, 1)], 1)
  })

  test.skipIf(!everything)(`dlib's ResNet, whose shortcuts are filled up with zeros${LONG}`, async () => {
    const weights = await loadWeights('dlib')
    await compareMembers(dlibResnet29, [weights, varied(weights, 1)], 1, 150)
  })
})

describe('an ensemble', () => {
  test('of one member is that member: the same graph', () => {
    const shapes = irShapes(micro)
    const member = drawn(shapes, 1)
    expect(ensembleWeights([member])).toBe(member)
  })

  test('needs a member', () => {
    expect(() => ensembleWeights([])).toThrow(RangeError)
  })

  test('of members of different shapes is refused by the name of the tensor', () => {
    const members = [8, 6].map((k) => drawn({ 'a.weight': [k, 3, 3, 3], 'a.bias': [k] }, k))
    const x = graph().input('x', [1, 3, 8, 8])
    expect(() => convolution(x, ensembleWeights(members), 'a', { out: 8, kernel: 3 })).toThrow(ShapeError)
    expect(() => convolution(x, ensembleWeights(members), 'a', { out: 8, kernel: 3 })).toThrow(
      /a\.weight is \[8,3,3,3\] of one .* \[6,3,3,3\] of another/,
    )
  })

  test('has the weights of each member once on the GPU, however often it is recorded', async () => {
    const shapes: Shapes = { 'a.weight': [64, 64, 3, 3], 'a.bias': [64] }
    const weights = ensembleWeights([1, 2].map((seed) => drawn(shapes, seed)))
    const planOf = (count: number) => {
      const g = graph()
      const inputs = Array.from({ length: count }, (_, k) => g.input(`x${k}`, [1, 128, 4, 4]))
      return compile(
        gpu,
        Object.fromEntries(
          inputs.map((x, k) => [`y${k}`, convolution(x, weights, 'a', { out: 64, kernel: 3, padding: 1 })]),
        ),
      )
    }
    using once = await planOf(1)
    using twice = await planOf(2)
    expect(twice.summary().dispatches.constant).toBe(once.summary().dispatches.constant)
    // What the second adds is its images, not another copy of the kernels.
    const [kernels] = Object.values(shapes).map((shape) => (2 * 4 * elements(shape)) / 2 ** 20)
    expect(twice.summary().mib - once.summary().mib).toBeLessThan(kernels)
  })

  test('whose joined matrices are larger than a binding is multiplied in parts', async () => {
    // Few rows, but kernels may want 64 of them: three times 48 MiB, of which two fit a binding.
    const [outputs, inputs] = [4, 3 * 2 ** 16]
    const members = [1, 2, 3].map((seed) => drawn({ 'fc.weight': [outputs, inputs], 'fc.bias': [outputs] }, seed))
    const x = uniform(9, 3 * inputs)
    const g = graph()
    const y = fullyConnected(g.input('x', [1, 3 * inputs]), ensembleWeights(members), 'fc', { out: outputs })
    expect(g.nodes.filter((node) => node.op?.name === 'matmul').map((node) => node.shape[0])).toEqual([2, 1])
    using plan = await compile(gpu, { y }, { poison: true })
    plan.write('x', x)
    plan.run()
    const want = members.flatMap((member, m) => {
      const matrix = member.tensor('fc.weight').data
      return Array.from(member.tensor('fc.bias').data, (bias, row) => {
        let total = bias
        for (let i = 0; i < inputs; i++) total += matrix[row * inputs + i] * x[m * inputs + i]
        return total
      })
    })
    expect(relmax(await plan.read('y'), want)).toBeLessThan(1e-4)
  })
})

describe('the objective of surrogates of one architecture', async () => {
  const other: IrArchitecture = { ...micro, embedding: 12 }
  const surrogate = (id: string, architecture: IrArchitecture, seed: number): Surrogate => ({
    network: {
      id,
      size: 112,
      alignment: 'arcface112',
      embedding: architecture.embedding,
      threshold: 0.5,
      architecture: JSON.stringify(architecture),
      build: (x01, weights) => ir(affine(x01, 2, -1), weights, architecture),
    },
    weights: drawn(irShapes(architecture), seed),
  })
  const surrogates = [surrogate('a', micro, 1), surrogate('b', other, 2), surrogate('c', micro, 3)]
  const perceptual: Perceptual = { weights: await loadWeights('lpips-alex-scratch'), trunk: 'alex' }
  const shape = { height: 64, width: 72, faces: 2, grey: false }
  const preset = { ...presets.paper, stepSize: 0.01, lpipsWeight: 0.05, blur: { size: 7, sigma: 3 } }
  const clean = uniform(1, 3 * 64 * 72, 0, 1)
  const delta = uniform(2, 3 * 64 * 72, -0.05, 0.05)
  const matrices: Affine[] = [
    [0.6, 0.05, -2, -0.05, 0.6, -1],
    [0.5, 0, 10, 0, 0.5, 3],
  ]

  test.skipIf(!everything)(
    `is the sum of the separate ones, and so are its gradient and its targets${LONG}`,
    async () => {
      const [stacked, separate] = await Promise.all(
        [true, false].map(async (together) => {
          const recorded = recordObjective(
            graph(),
            { shape, surrogates, perceptual, preset, masked: false },
            { stacked: together },
          )
          const { total, feature, lpips, gradient, targets } = recorded
          const named = Object.fromEntries(targets.map((target, k) => [`target${k}`, target]))
          using plan: Plan = await compile(gpu, { total, feature, lpips, gradient, ...named })
          plan.write('clean', clean)
          plan.write('base', clean)
          plan.write('delta', delta)
          plan.write(matrixInput('arcface112'), Float32Array.from(matrices.flat()))
          plan.run()
          const read = (name: string) => plan.read(name)
          const names = ['total', 'feature', 'lpips', 'gradient', ...Object.keys(named)]
          const values = new Map(await Promise.all(names.map(async (name) => [name, await read(name)] as const)))
          return { values, shapes: targets.map((target) => target.shape), dispatches: plan.summary().dispatches }
        }),
      )
      expect(stacked.shapes).toEqual([
        [2, 20],
        [2, 12],
        [2, 20],
      ])
      expect(stacked.shapes).toEqual(separate.shapes)
      for (const [name, want] of separate.values) {
        expect(relmax(stacked.values.get(name)!, want), name).toBeLessThan(name === 'gradient' ? 1e-4 : 1e-5)
      }
      // Three networks in the dispatches of two; of such a network there are about 70 with its gradient, the rest is mostly LPIPS.
      expect(separate.dispatches.step - stacked.dispatches.step).toBeGreaterThan(50)
      expect(separate.dispatches.fixed - stacked.dispatches.fixed).toBeGreaterThan(20)
    },
  )

  test('is recorded separately where the device does not bind what a stack needs', async () => {
    const attack = (device: Gpu) => Attack.compile(device, { shape, surrogates, perceptual, preset, masked: false })
    using stacked = await attack(gpu)
    // Unfolded for the first convolution of 8 channels, the eight images here take 28.9 MB of each network.
    using separate = await attack(binding(32e6))
    const [together, apart] = [stacked, separate].map(({ plan }) => plan.summary().dispatches.step)
    expect(apart - together).toBeGreaterThan(50)
  })
})

/** The test's device as one that binds less. */
const binding = (maxBindingBytes: number): Gpu =>
  new Proxy(gpu, {
    get(target, key) {
      const value = Reflect.get(target, key)
      if (key === 'capabilities') return { ...gpu.capabilities, maxBindingBytes }
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

const lanes = productLanes(gpu.capabilities)

test.skipIf(lanes === 0 || !everything)(
  `Winograd products whose buffers would be too large are computed in parts${LONG}`,
  async () => {
    const [n, groups, channels, side] = [3, 3, 32, 25]
    const shape = [n, groups * channels, side, side]
    const weights = [groups * channels, channels, 3, 3]
    // 36 positions of 7x7 tiles of 32 channels, more than the group's kernels take.
    const imageOfGroup = 4 * 36 * 49 * channels
    for (const transposed of [false, true]) {
      const values: Float32Array[] = []
      // All at once; all groups of two images and of one; two groups of an image and one; one at a time; another kernel.
      for (const [units, dispatches] of [[9, 3], [6, 6], [2, 18], [1, 27], [undefined]] as const) {
        const g = graph()
        const x = g.input('x', shape)
        const kernels = g.constant(uniform(2, elements(weights)), weights)
        const bias = g.constant(uniform(3, groups * channels), [groups * channels])
        const options = { padding: 1, groups }
        const y = transposed ? convTranspose2d(x, kernels, bias, options) : conv2d(x, kernels, bias, options)
        const geometry = convGeometry('conv2d', convArgs(options), shape, weights)
        const choose: ChooseKernel = (_, kernels) =>
          units === undefined ? kernels.at(-1)! : winograd(geometry, true, transposed, lanes, units * imageOfGroup)
        using plan = await compile(gpu, { y }, { poison: true, choose })
        plan.write('x', uniform(1, elements(shape)))
        plan.run()
        values.push(await plan.read('y'))
        if (dispatches) expect(plan.summary().dispatches.step).toBe(dispatches)
      }
      const want = values.pop()!
      for (const value of values) expect(relmax(value, want)).toBeLessThan(1e-5)
    }
  },
)
