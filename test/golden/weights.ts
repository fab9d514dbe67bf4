/** Weights that only tests use, out of PyTorch's files. */
import { readFileSync } from 'node:fs'
import type { NetworkWeights } from '../../src/models/layers.ts'
import type { LpipsTrunk } from '../../src/models/lpips.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { readTorch } from '../../src/weights/torch.ts'
import { type GoldenCase, testWeights } from './case.ts'

/** A PyTorch file's tensors, under names that `rename` makes of theirs. */
export function torchWeights(file: string, rename: (name: string) => string = (name) => name): NetworkWeights {
  const tensors = new Map([...readTorch(readFileSync(file), file)].map(([name, tensor]) => [rename(name), tensor]))
  return {
    tensor(name) {
      const tensor = tensors.get(name)
      if (!(tensor?.data instanceof Float32Array)) throw new Error(`${file}: ${name} is no tensor of floats`)
      return { shape: tensor.shape, data: tensor.data }
    },
  }
}

/** The LPIPS that ships. */
const SHIPPED = 'lpips-alex-scratch'

/** The lin layers from one set of weights, all else from another. */
const withLin = (trunk: NetworkWeights, lin: NetworkWeights): NetworkWeights => ({
  tensor: (name, shape) => (name.startsWith('lin') ? lin : trunk).tensor(name, shape),
})

/**
 * LPIPS of a case: `name` is a seeded network of its index (with lin layers, or with the published ones), the shipped weights, or
 * else the published SqueezeNet. How to load it, or undefined where the published files are not there.
 */
export function lpipsWeights(
  golden: GoldenCase,
  trunk: LpipsTrunk,
  name = golden.entry.model ?? '',
): (() => Promise<NetworkWeights>) | undefined {
  if (name === SHIPPED) return () => loadWeights(SHIPPED)
  const own = golden.knows(name) ? golden.seeded(name).weights : undefined
  if (own?.names().includes('lin0.model.1.weight')) return async () => own
  const [lin, backbone] = [testWeights(`lpips/v0.1-${trunk}.pth`), testWeights('lpips/squeeze.backbone.pth')]
  if (!lin) return undefined
  if (own) return async () => withLin(own, torchWeights(lin))
  if (!backbone) return undefined
  return async () =>
    withLin(
      torchWeights(backbone, (name) => `features.${name}`),
      torchWeights(lin),
    )
}
