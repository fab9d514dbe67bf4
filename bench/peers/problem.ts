/** What is measured, as plain data, so that every engine can set it up in a process and a layout of its own. */
import { type Geometry, imageShape, outputShape, weightShape } from '../../src/kernels/conv/geometry.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'

export type Direction = 'forward' | 'input' | 'weight'

/**
 * One convolution in one of its directions, or y [m,n] = x [m,k] times weights: [k,n], or [n,k] where `transposed` (a
 * linear layer's).
 */
export type Problem =
  | { kind: 'convolution'; direction: Direction; geometry: Geometry }
  | { kind: 'product'; m: number; k: number; n: number; transposed: boolean }

/** Deterministic values between -1 and 1: every engine multiplies the same numbers. */
export const filled = (shape: Shape): Float32Array =>
  Float32Array.from({ length: elements(shape) }, (_, i) => ((i * 2654435761) % 2 ** 32) / 2 ** 31 - 1)

/** The shapes of what goes in and of what comes out, in this engine's layouts (images NCHW, weights OIHW). */
export function shapesOf(problem: Problem): { inputs: readonly [Shape, Shape]; output: Shape } {
  if (problem.kind === 'product') {
    const { m, k, n, transposed } = problem
    return { inputs: [[m, k], transposed ? [n, k] : [k, n]], output: [m, n] }
  }
  const g = problem.geometry
  const [x, weights, y] = [imageShape(g), weightShape(g), outputShape(g)]
  switch (problem.direction) {
    case 'forward':
      return { inputs: [x, weights], output: y }
    case 'input':
      return { inputs: [y, weights], output: x }
    case 'weight':
      return { inputs: [x, y], output: weights }
  }
}

/** A row-major array with its axes reordered: axis i of the result is axis `order[i]` of `data`, as in NumPy. */
export function transpose(data: Float32Array, shape: Shape, order: readonly number[]): Float32Array {
  const stride = shape.map((_, axis) => elements(shape.slice(axis + 1)))
  const result = new Float32Array(data.length)
  let to = 0
  const copy = (depth: number, from: number): void => {
    if (depth === order.length) {
      result[to++] = data[from]
      return
    }
    const axis = order[depth]
    for (let i = 0; i < shape[axis]; i++) copy(depth + 1, from + i * stride[axis])
  }
  copy(0, 0)
  return result
}

/** Images and weights of a product, [k,n] as the peers keep them. */
export function productOperands(problem: Problem & { kind: 'product' }): { x: Float32Array; weights: Float32Array } {
  const [x, weights] = shapesOf(problem).inputs
  const values = filled(weights)
  return { x: filled(x), weights: problem.transposed ? transpose(values, weights, [1, 0]) : values }
}
