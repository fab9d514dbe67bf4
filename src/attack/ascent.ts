/** How the gradient of the objective becomes the next change: LowKey's signed step, and what this project adds to it. */
import { type Graph, grad, type Node } from '../graph/index.ts'
import {
  abs,
  add,
  affine,
  clip,
  div,
  exp,
  gaussianBlur,
  mean,
  mul,
  reshape,
  signedStep,
  sub,
} from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { Preset } from './presets.ts'

/** A tensor that the plan keeps from step to step. */
export interface AscentState {
  node: Node
  next: Tensor
  /** Every element's value before the first step; the change is given by whoever runs it. */
  start: number
}

export interface Ascent {
  /** The objective [1]: feature distance less the weighted LPIPS. */
  total: Tensor
  gradient: Tensor
  /** `delta` first. */
  state: AscentState[]
}

/** Name of the input [1] that holds the size of a step, where steps get smaller. */
export const STEP_INPUT = 'step'

/** By how much the weight of LPIPS grows (in e-folds a step) where LPIPS is twice its budget; it falls as fast at none. */
const WEIGHT_RATE = 0.15

/** The weight stays within these multiples of what it began with. */
const WEIGHT_RANGE = [1 / 8, 128] as const

/**
 * Records objective, gradient and the update of the change.
 *
 * - As published (all else zero): `delta + stepSize sign(gradient)`.
 * - `lpipsBudget`: the weight of LPIPS is the multiplier of the constraint `LPIPS <= budget`; it rises while the constraint is broken and
 *   falls while there is room (dual ascent on its logarithm).
 * - `smoothing`: the gradient is blurred first, which makes changes that transfer better (Dong et al. 2019, translation-invariant attacks).
 * - `momentum`: directions are summed with decay, each divided by its mean magnitude (Dong et al. 2018, MI-FGSM).
 * - `softness`: v / (|v| + softness mean|v|) in the place of sign(v): pixels that hardly matter hardly change.
 * - `decay`: the host writes the size of each step.
 */
export function recordAscent(
  g: Graph,
  delta: Node,
  feature: Tensor,
  lpips: Tensor,
  preset: Pick<Preset, 'stepSize' | 'lpipsWeight' | 'lpipsBudget' | 'momentum' | 'smoothing' | 'softness' | 'decay'>,
): Ascent {
  const { lpipsWeight, lpipsBudget, momentum, smoothing, softness, decay, stepSize } = preset
  const state: AscentState[] = []
  let penalty = affine(lpips, lpipsWeight, 0)
  if (lpipsBudget) {
    const weight = g.input('weight', [1])
    const factor = exp(clip(affine(lpips, WEIGHT_RATE / lpipsBudget, -WEIGHT_RATE), -WEIGHT_RATE, 2 * WEIGHT_RATE))
    const [low, high] = WEIGHT_RANGE.map((multiple) => multiple * lpipsWeight)
    state.push({ node: weight, next: clip(mul(weight, factor), low, high), start: lpipsWeight })
    penalty = mul(lpips, weight)
  }
  const total = reshape(sub(feature, penalty), [1])
  const gradient = grad(total, delta)
  let direction: Tensor = smoothing ? gaussianBlur(gradient, smoothing) : gradient
  if (momentum > 0) {
    const velocity = g.input('velocity', delta.shape)
    direction = add(affine(velocity, momentum, 0), div(direction, magnitude(direction)))
    state.push({ node: velocity, next: direction, start: 0 })
  }
  if (softness === 0 && !decay) {
    return {
      total,
      gradient,
      state: [{ node: delta, next: signedStep(delta, direction, stepSize), start: 0 }, ...state],
    }
  }
  const unit =
    softness > 0
      ? div(direction, add(abs(direction), affine(magnitude(direction), softness, 0)))
      : signedStep(affine(direction, 0, 0), direction, 1)
  const step = decay ? mul(unit, g.input(STEP_INPUT, [1])) : affine(unit, stepSize, 0)
  return { total, gradient, state: [{ node: delta, next: add(delta, step), start: 0 }, ...state] }
}

/** Mean magnitude [1] of all elements; never zero. */
const magnitude = (x: Tensor): Tensor => affine(reshape(mean(abs(x)), [1]), 1, 1e-20)
