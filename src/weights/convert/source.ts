import { WeightsError } from '../errors.ts'
import type { WeightTensor } from '../registry.ts'
import { sameShape } from './layout.ts'

/** @throws WeightsError if `files` has no file of that name */
export function sourceFile(files: ReadonlyMap<string, Uint8Array>, name: string): Uint8Array {
  const bytes = files.get(name)
  if (!bytes) throw new WeightsError(name, 'is not among the files of the package')
  return bytes
}

/**
 * Hands out the tensors of a source file one by one and checks that, in the end, all have been asked for: a converter
 * that overlooks a tensor would build another network than the one that was trained.
 */
export class SourceTensors {
  readonly #tensors: Map<string, WeightTensor>
  readonly #file: string

  constructor(tensors: ReadonlyMap<string, WeightTensor>, file: string) {
    this.#tensors = new Map(tensors)
    this.#file = file
  }

  /** @throws WeightsError if there is no such tensor (any more), its shape is another, or a number in it is not finite */
  take(name: string, shape: readonly number[]): WeightTensor {
    const tensor = this.#tensors.get(name)
    if (!tensor) throw new WeightsError(this.#file, `has no tensor "${name}"`)
    if (!sameShape(tensor.shape, shape)) {
      throw new WeightsError(this.#file, `tensor "${name}" has shape [${tensor.shape}], not [${shape}]`)
    }
    if (!tensor.data.every(Number.isFinite)) throw new WeightsError(this.#file, `tensor "${name}" is not finite`)
    this.#tensors.delete(name)
    return tensor
  }

  /** @throws WeightsError naming what is left over */
  end(): void {
    const [left] = this.#tensors.keys()
    if (left !== undefined) throw new WeightsError(this.#file, `has a tensor "${left}" that the network does not use`)
  }
}
