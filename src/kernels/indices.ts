/** Between indices and tensors, made of other operations. */
import { affine, equal, mul, sub } from './elementwise.ts'
import { expectShape, formatShape, type Tensor } from './op.ts'
import { max } from './reduce.ts'
import { reshape } from './reshape.ts'

/** 0, 1, ... count - 1 along an axis of so many. */
function counting(x: Tensor, count: number, axes: number, axis: number): Tensor {
  const shape = Array.from({ length: axes }, (_, i) => (i === axis ? count : 1))
  return x.recorder.constant(
    Float32Array.from({ length: count }, (_, i) => i),
    shape,
    'counting',
  )
}

/** [...,classes]: 1 at the place of each index, else 0. Indices that are no whole number from 0 to below `classes` give 0 alone. */
export const oneHot = (indices: Tensor, classes: number): Tensor =>
  equal(
    reshape(indices, [...indices.shape, 1]),
    counting(indices, classes, indices.shape.length + 1, indices.shape.length),
  )

/**
 * The index of the largest element along an axis (the last unless told), the first of several, as a whole number in f32. The axis keeps
 * extent 1. Its gradient is 0.
 * @throws ShapeError where there is no such axis
 */
export function argmax(x: Tensor, axis = x.shape.length - 1): Tensor {
  expectShape(axis in x.shape, `argmax: x ${formatShape(x.shape)} has no axis ${axis}`)
  const count = x.shape[axis]
  // The largest of those has the most after it.
  const after = affine(counting(x, count, x.shape.length, axis), -1, count - 1)
  return sub(count - 1, max(mul(equal(x, max(x, [axis])), after), [axis]))
}
