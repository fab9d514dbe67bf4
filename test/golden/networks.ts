/** `a_*`, `f_real_*`, `g_embedded_nets`: embeddings of recognisers, and gradients with respect to the image. */
import type { Gpu } from '../../src/device/gpu.ts'
import { grad } from '../../src/graph/index.ts'
import { mul, sum } from '../../src/kernels/index.ts'
import type { Tensor } from '../../src/kernels/op.ts'
import type { LayerWeights } from '../../src/models/ensemble.ts'
import { foamliuInput, foamliuMobilefacenet } from '../../src/models/foamliu.ts'
import { type IrArchitecture, ir, irArchitectures } from '../../src/models/ir.ts'
import { type NetworkWeights, normalised } from '../../src/models/layers.ts'
import { recogniser } from '../../src/models/recognisers.ts'
import { resnet, resnetArchitectures } from '../../src/models/resnet.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { evaluateAll, type Family, type GoldenCase, type Part, testWeights } from './case.ts'
import { expectEmbedding, expectInputGradient } from './compare.ts'
import { torchWeights } from './weights.ts'

export type Network = (x: Tensor, weights: LayerWeights) => Tensor

/** The golden results' small networks: IR with one unit a stage. */
const tiny: IrArchitecture = { ...irArchitectures.IR_50, units: [1, 1, 1, 1] }
const micro: IrArchitecture = { ...tiny, channels: [8, 16, 24, 32], embedding: 64 }
const excited: IrArchitecture = { ...micro, channels: [16, 32, 48, 64], squeezeExcitation: true }

/** An IR network by its name in the golden results; undefined where there is none of that name. */
export function seededIr(architecture: string): IrArchitecture | undefined {
  const irs: Record<string, IrArchitecture> = {
    ...irArchitectures,
    IR_tiny: tiny,
    IR_micro: micro,
    IR_SE_micro: excited,
  }
  return irs[architecture]
}

/** A seeded network by its architecture's name; it takes images in -1..1. Undefined where there is none of that name. */
export function seededNetwork(architecture: string): Network | undefined {
  const irArchitecture = seededIr(architecture)
  const resnets: Record<string, readonly number[]> = { ...resnetArchitectures, ResNet_micro: [1, 1, 1, 1] }
  if (irArchitecture) return (x, weights) => ir(x, weights, irArchitecture)
  if (resnets[architecture]) return (x, weights) => resnet(x, weights, resnets[architecture])
  return undefined
}

/** A real network by its name in the golden results, with its weights; it takes images in 0..1. */
export interface RealNetwork {
  build: Network
  weights: NetworkWeights
}

const manifested = async (id: string): Promise<RealNetwork> => {
  const weights = await loadWeights(id)
  return { build: recogniser(weights.entry).build, weights }
}

/** How to get each real network, or why it cannot be had here. */
export function realNetwork(id: string): { load: () => Promise<RealNetwork> } | { pending: string } {
  if (id === 'sirius' || id === 'dlib' || id === 'faceplugin') return { load: () => manifested(id) }
  if (id === 'foamliu') {
    const file = testWeights('mobilefacenet-foamliu/mobilefacenet.pt')
    if (!file) return { pending: 'its weights are not in the test data' }
    const build: Network = (x01, weights) => foamliuMobilefacenet(normalised(x01, foamliuInput), weights)
    return { load: async () => ({ build, weights: torchWeights(file) }) }
  }
  return { pending: 'the network comes later' }
}

/** Names of the tensors of one comparison; without `v` and `gradient` only the embedding is compared. */
interface Names {
  input: string
  embedding: string
  v?: string
  gradient?: string
}

/** Compares one network on several images; the `v` of the first is that of all. */
async function check(
  gpu: Gpu,
  golden: GoldenCase,
  images: readonly Names[],
  { build, weights }: RealNetwork,
): Promise<void> {
  const [{ v }] = images
  const inputs = images.map(({ input }) => ({ x: { shape: golden.shape(input), data: golden.numbers(input) } }))
  const results = await evaluateAll(gpu, inputs, ({ x }, g) => {
    const y = build(x, weights)
    if (!v) return { y } as Record<string, Tensor>
    return { y, grad: grad(sum(mul(y, g.constant(golden.numbers(v), golden.shape(v), 'v'))), x) }
  })
  for (const [i, { embedding, gradient }] of images.entries()) {
    expectEmbedding(...golden.pair(embedding, results[i].y))
    // PyTorch computed those of g_embedded_nets in float32.
    const by = golden.name.startsWith('g_') ? 'float32' : 'float64'
    if (gradient) expectInputGradient(...golden.pair(gradient, results[i].grad), by)
  }
}

const tensorsOf = (names: Names): string[] => Object.values(names).filter((name) => name !== undefined)

/** The network of the case on noise and on the aligned photo; images are normalised already. */
export const seeded: Family = {
  takes: (name) => name.startsWith('a_') && !name.startsWith('a_train_'),
  parts(golden) {
    const { architecture } = golden.seeded()
    const build = seededNetwork(architecture)
    const images: Names[] = [
      { input: 'input', embedding: 'emb', v: 'v', gradient: 'grad' },
      { input: 'crop_input', embedding: 'crop_emb', v: 'v', gradient: 'crop_grad' },
    ]
    return [
      {
        name: 'embedding and gradient, of noise and of the aligned photo',
        tensors: images.flatMap(tensorsOf),
        pending: build ? undefined : `there is no network ${architecture}`,
        check: (gpu) => check(gpu, golden, images, { build: build!, weights: golden.seeded().weights }),
      },
    ]
  },
}

/** Real networks, each with tensors of its own (`sirius.emb`); crops in 0..1, shared or its own. */
export const real: Family = {
  takes: (name) => name.startsWith('f_real_') || name === 'g_embedded_nets',
  parts(golden) {
    const has = (name: string): string | undefined => golden.tensors.find((t) => t === name)
    const ids = golden.tensors.flatMap((name) => (name.endsWith('.emb') ? [name.slice(0, -'.emb'.length)] : []))
    return ids.map((id): Part => {
      const names: Names = {
        input: has(`${id}.crop`) ?? 'crop',
        embedding: `${id}.emb`,
        v: has(`${id}.v`),
        gradient: has(`${id}.grad`),
      }
      const network = realNetwork(id)
      return {
        name: id,
        tensors: [...tensorsOf(names), ...golden.tensors.filter((name) => name === `${id}.M`)],
        pending: 'pending' in network ? network.pending : undefined,
        check: async (gpu) => {
          if ('load' in network) await check(gpu, golden, [names], await network.load())
        },
      }
    })
  },
}
