/**
 * A network recorded for the shapes of its weights alone: its layers ask for each tensor by name and declare its shape, and nothing is
 * computed. So what a file of weights has to hold follows from the code that computes the network.
 */
import type { Op, Recorder, Shape, Tensor } from '../kernels/op.ts'
import type { NetworkWeights } from './layers.ts'

/** The tensors of a network by name, with their shapes. */
export type TensorShapes = ReadonlyMap<string, Shape>

/** Knows of tensors nothing but their shapes. */
class ShapeRecorder implements Recorder {
  apply<A>(op: Op<A>, inputs: readonly Tensor[], args: A, name = op.name): Tensor {
    const shape = op.shape(
      args,
      inputs.map((input) => input.shape),
    )
    return { shape, name, recorder: this }
  }

  constant(_: Float32Array | readonly number[], shape: Shape, name = 'constant'): Tensor {
    return { shape, name, recorder: this }
  }

  scope<T>(_: string, record: () => T): T {
    return record()
  }
}

const NO_NUMBERS = new Float32Array(0)

/**
 * The tensors that a network asks for, in the order in which it does.
 * @param shape of the x that it is recorded on, [1,3,H,W]
 * @throws ShapeError where it cannot be recorded; Error for a weight whose shape is not declared
 */
export function recordedShapes(record: (x: Tensor, weights: NetworkWeights) => unknown, shape: Shape): TensorShapes {
  const shapes = new Map<string, Shape>()
  const tensor = (name: string, declared?: Shape) => {
    if (!declared) throw new Error(`${name} is asked for without its shape`)
    shapes.set(name, declared)
    return { shape: declared, data: NO_NUMBERS }
  }
  record({ shape, name: 'x', recorder: new ShapeRecorder() }, { tensor })
  return shapes
}

/** The same in another order: by rank, and as they are among those of one rank. */
export const ranked = (shapes: TensorShapes, rank: (name: string) => number): TensorShapes =>
  new Map([...shapes].sort(([a], [b]) => rank(a) - rank(b)))

/** More units or blocks than any network has: names alone must not make long lists. */
const UNIT_LIMIT = 999

/** How many numbered parts there are, by the names of their tensors. `numbered` has the number as its first group. */
export function countOf(shapes: TensorShapes, numbered: RegExp): number {
  let count = 0
  for (const name of shapes.keys()) {
    const match = numbered.exec(name)
    if (match) count = Math.max(count, Number(match[1]) + 1)
  }
  return Math.min(count, UNIT_LIMIT)
}
