/** Scaled dot-product attention (Vaswani et al. 2017), made of other operations. */
import { add, affine, where } from './elementwise.ts'
import { matmul } from './matmul.ts'
import { expectShape, formatShape, type Tensor } from './op.ts'
import { softmax } from './softmax.ts'

export interface AttentionOptions {
  /** Of the products of queries and keys; 1 / sqrt(D) unless told. */
  scale?: number
  /** Added to them, for example a mask of 0 and -1e9; broadcasts to [...,L,S]. */
  mask?: Tensor
  /** A query sees its own place and those before it. Off unless told. */
  causal?: boolean
}

/**
 * softmax(query key^T scale + mask) value, as PyTorch's scaled_dot_product_attention. Scale and mask are computed where the products are
 * stored, so nothing but the products and their softmax goes through memory.
 * @param query [...,L,D]
 * @param key [...,S,D]
 * @param value [...,S,E]
 * @returns [...,L,E]
 * @throws ShapeError where the shapes do not fit.
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions = {}): Tensor {
  const depth = query.shape.at(-1)
  expectShape(
    depth !== undefined && query.shape.length >= 2 && key.shape.length >= 2 && key.shape.at(-1) === depth,
    `attention: query ${formatShape(query.shape)} and key ${formatShape(key.shape)} are no [...,L,D] and [...,S,D]`,
  )
  const { scale = 1 / Math.sqrt(depth), mask, causal = false } = options
  let scores = affine(matmul(query, key, { transposeB: true }), scale, 0)
  if (mask) scores = add(scores, mask)
  if (causal) {
    const [l, s] = [query.shape.at(-2)!, key.shape.at(-2)!]
    const seen = Float32Array.from({ length: l * s }, (_, i) => Number(i % s <= Math.floor(i / s)))
    // As far below the others as f32 exponentials reach.
    scores = where(query.recorder.constant(seen, [l, s], 'causal'), scores, -1e9)
  }
  return matmul(softmax(scores), value)
}
