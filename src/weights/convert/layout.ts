import type { WeightTensor } from '../registry.ts'

/**
 * Reorders a tensor's axes: axis k of the result is axis `axes[k]` of `tensor`, as numpy's transpose does. The result is
 * a copy in C order.
 */
export function permute(tensor: WeightTensor, axes: readonly number[]): WeightTensor {
  const { shape, data } = tensor
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, n) => product * n, 1))
  const to = axes.map((axis) => shape[axis])
  const step = axes.map((axis) => strides[axis])
  const out = new Float32Array(data.length)
  const index = new Array<number>(axes.length).fill(0)
  let from = 0
  for (let i = 0; i < out.length; i++) {
    out[i] = data[from]
    // Count up like an odometer: the last axis fastest, and a wheel that is full goes back to 0 and carries.
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      from += step[axis]
      if (++index[axis] < to[axis]) break
      from -= step[axis] * to[axis]
      index[axis] = 0
    }
  }
  return { shape: to, data: out }
}

/** The same numbers in the same order under another shape. */
export function reshape(tensor: WeightTensor, shape: readonly number[]): WeightTensor {
  return { shape, data: tensor.data }
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i])
}
