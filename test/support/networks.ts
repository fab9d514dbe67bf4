/** Seeded weights of architectures, as files hold them. */
import { architectureOf } from '../../src/models/architectures.ts'
import type { Architecture } from '../../src/models/network.ts'
import type { StoredTensor } from '../../src/weights/numbers.ts'
import type { WeightTensor } from '../../src/weights/registry.ts'
import { seededTensor } from '../golden/generator.ts'

export const known = (id: string): Architecture => {
  const architecture = architectureOf(id)
  if (!architecture) throw new Error(`there is no architecture ${id}`)
  return architecture
}

/** An IR network that takes a moment: one unit a stage, few channels. */
export const MICRO = 'ir-1x8-1x16-1x24-1x32-e64'

/** Seeded weights of an architecture, as a file has them. */
export function seeded(id: string, seed = 1): Map<string, WeightTensor> {
  return new Map(
    [...known(id).tensors()].map(([name, shape], t) => [name, { shape, data: seededTensor(seed, t, name, shape) }]),
  )
}

export const stored = (tensors: ReadonlyMap<string, WeightTensor>, prefix = ''): Map<string, StoredTensor> =>
  new Map([...tensors].map(([name, tensor]) => [prefix + name, { dtype: 'F32', ...tensor }]))
