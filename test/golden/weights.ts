/** Weights that only tests use, out of PyTorch's files. */
import { readFileSync } from 'node:fs'
import type { NetworkWeights } from '../../src/models/layers.ts'
import type { LpipsTrunk } from '../../src/models/lpips.ts'
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

/** The lin layers from one set of weights, all else from another. */
const withLin = (trunk: NetworkWeights, lin: NetworkWeights): NetworkWeights => ({
  tensor: (name, shape) => (name.startsWith('lin') ? lin : trunk).tensor(name, shape),
})

/**
 * LPIPS as the golden results have it: a seeded AlexNet (`model`, the case's own unless told) or the published SqueezeNet, with
 * the published lin layers. Undefined where the published files are not there.
 */
export function lpipsWeights(golden: GoldenCase, trunk: LpipsTrunk, model?: string): NetworkWeights | undefined {
  const lin = testWeights(`lpips/v0.1-${trunk}.pth`)
  if (!lin) return undefined
  if (trunk === 'alex') return withLin(golden.seeded(model).weights, torchWeights(lin))
  const backbone = testWeights('lpips/squeeze.backbone.pth')
  if (!backbone) return undefined
  return withLin(
    torchWeights(backbone, (name) => `features.${name}`),
    torchWeights(lin),
  )
}
