/** How the gradient of the objective becomes the next change: LowKey's signed step, or a softer one. */
import { type Graph, type GraphTensor, grad } from '../graph/index.ts'
import { abs, add, affine, div, mean, mul, reshape, signedStep, sub, sum } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { Preset } from './presets.ts'

export interface Ascent {
  /** The objective [1]: feature distance less the weighted LPIPS. */
  total: Tensor
  gradient: Tensor
  nextDelta: Tensor
}

/**
 * What the objective is multiplied by before it is differentiated, where tensors are kept in f16: gradients of about 1e-9 are nothing there.
 * A power of two, so that nothing else changes; the largest gradients become about 80 of 65504.
 */
const GRADIENT_SCALE = 2 ** 18

/** Name of the input [1] that holds the size of a step, where steps get smaller. */
export const STEP_INPUT = 'step'

/**
 * Records objective, gradient and the next change.
 *
 * As published: `delta + stepSize sign(gradient)`, in which every pixel moves by the whole step, however little it matters. With
 * `softness` s: `delta + stepSize gradient / (|gradient| + s mean|gradient|)`: pixels that hardly matter hardly change, for which the same
 * protection is seen less (docs/results.md). With `chroma` c, what a step does to colour is c times as much, and to light as much as
 * before. Where steps decay, whoever runs the ascent writes the size of each.
 *
 * @param feature feature distance [1] of the change
 * @param lpips visible difference [1] of the change
 * @param half tensors on the way are kept in f16
 */
export function recordAscent(
  g: Graph,
  delta: GraphTensor,
  feature: Tensor,
  lpips: Tensor,
  {
    stepSize,
    lpipsWeight,
    softness,
    chroma,
    decay,
  }: Pick<Preset, 'stepSize' | 'lpipsWeight' | 'softness' | 'chroma' | 'decay'>,
  half = false,
): Ascent {
  const total = reshape(sub(feature, affine(lpips, lpipsWeight, 0)), [1])
  const gradient = half
    ? affine(grad(affine(total, GRADIENT_SCALE, 0), delta), 1 / GRADIENT_SCALE, 0)
    : grad(total, delta)
  if (softness === 0 && chroma === 1 && !decay)
    return { total, gradient, nextDelta: signedStep(delta, gradient, stepSize) }
  const size = abs(gradient)
  // Not zero even where the gradient is zero everywhere.
  const soft = affine(reshape(mean(size), [1]), softness, 1e-30)
  const alike = div(gradient, add(size, soft))
  const unit = chroma === 1 || delta.shape[1] !== 3 ? alike : lessColour(g, alike, chroma)
  return {
    total,
    gradient,
    nextDelta: add(delta, decay ? mul(unit, g.input(STEP_INPUT, [1])) : affine(unit, stepSize, 0)),
  }
}

/** Red, green and blue in the luminance of a pixel (ITU-R BT.601). */
const LUMINANCE = [0.299, 0.587, 0.114]

/** [1,3,height,width] with its luminance as it is, and what differs from that in the channels times `chroma`. */
function lessColour(g: Graph, x: Tensor, chroma: number): Tensor {
  const light = sum(mul(x, g.constant(LUMINANCE, [1, 3, 1, 1], 'luminance')), [1])
  return add(affine(x, chroma, 0), affine(light, 1 - chroma, 0))
}
