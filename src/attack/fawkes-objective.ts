/**
 * The objective of Fawkes (Shan et al., "Fawkes: Protecting Privacy against Unauthorized Deep Learning Models", USENIX Security 2020), in
 * the untargeted form of its version 1.0, and the state of its descent, as one graph. With t the face in tanh-space and m the modifier:
 *
 *     x(t) = tanh(t) / (2 - 1e-6) + 1/2,    x' = x(t) + clip(x(t + m) - x(t), +-15/255)
 *     loss = 1e6 max(DSSIM(x', x) - threshold, 0)^2  -  w sum over extractors |f(x') - f(x)|^2 / |f(x)|
 *
 * with f normalised, so that the divisor is 1. Each step descends by Adadelta, changes w by where DSSIM stands, and keeps x' where it has
 * the most distant features yet among those with DSSIM up to 1.1 thresholds. All of it stays on the GPU: nothing is read between steps.
 */
import { type Graph, type GraphTensor, grad } from '../graph/index.ts'
import type { Expression } from '../kernels/expression.ts'
import {
  adadelta,
  add,
  affine,
  clip,
  mul,
  normalize,
  relu,
  reshape,
  resize,
  signedStep,
  square,
  ssim,
  sub,
  sum,
  tanh,
} from '../kernels/index.ts'
import type { Shape, Tensor } from '../kernels/op.ts'
import { pointwise } from '../kernels/pointwise.ts'
import {
  type FawkesMode,
  FIRST_STEP,
  LARGEST_CHANGE,
  NEAR_THRESHOLD,
  PENALTY,
  SIDE,
  TANH_SCALE,
  WEIGHT_LIMIT,
} from './fawkes-modes.ts'
import type { Surrogate } from './objective.ts'

/** Shape of the modifier: one plane for grey photos, else three. */
export const modifierShape = (grey: boolean): Shape => [1, grey ? 1 : 3, SIDE, SIDE]

/** The graph's inputs and outputs. */
export interface FawkesObjective {
  /** Scalars [1]. */
  loss: Tensor
  dssim: Tensor
  feature: Tensor
  /** Gradient of the loss with respect to the modifier, of its shape. */
  gradient: Tensor
  /** x' - x, [1,3,112,112] in units of 0..1. */
  change: Tensor
  /** What a step makes of the state. */
  updates: readonly (readonly [GraphTensor, Tensor])[]
}

/**
 * Records the objective and a step. Inputs: `source` [1,3,112,112], the face in tanh-space, which is fixed; and the state, of
 * which `modifier` begins with noise, `weight`, `side` and `first` [1] with 1, and all else with 0:
 * - `gradientSquare` and `stepSquare`, of the modifier's shape, are Adadelta's averages;
 * - `side` says where DSSIM stood before: 1 well under the threshold, -1 well above it, 0 between;
 * - `first` is 1 in the first step and 0 in all others: it adds a step along the sign of the gradient;
 * - `best` [1] and `kept` [1,3,112,112] are the features' distance and the change that are the result so far.
 */
export function recordFawkes(
  g: Graph,
  extractors: readonly Surrogate[],
  { threshold, learningRate }: Pick<FawkesMode, 'threshold' | 'learningRate'>,
  grey: boolean,
): FawkesObjective {
  const source = g.fixed('source', [1, 3, SIDE, SIDE])
  const modifier = g.input('modifier', modifierShape(grey))
  const imageOf = (t: Tensor): Tensor => affine(tanh(t), 1 / TANH_SCALE, 0.5)
  const clean = imageOf(source)
  const change = clip(sub(imageOf(add(source, modifier)), clean), -LARGEST_CHANGE, LARGEST_CHANGE)
  const cloaked = add(clean, change)

  const dssim = affine(ssim(cloaked, clean), -0.5, 0.5)
  const distances = extractors.map(({ network, weights }) => {
    const features = (image: Tensor): Tensor => {
      const sized =
        network.size === SIDE ? image : resize(image, { size: [network.size, network.size], antialias: true })
      return normalize(network.build(sized, weights))
    }
    return sum(square(sub(features(cloaked), features(clean))))
  })
  const feature = reshape(distances.reduce(add), [1])

  const weight = g.state('weight', [1], 1)
  const excess = relu(affine(dssim, 1, -threshold))
  const loss = sub(affine(square(excess), PENALTY, 0), mul(weight, feature))
  const gradient = grad(loss, modifier)

  const averages = {
    gradientSquare: g.state('gradientSquare', modifier.shape),
    stepSquare: g.state('stepSquare', modifier.shape),
  }
  const next = adadelta(modifier, gradient, averages, learningRate)
  const first = g.state('first', [1], 1)
  const side = g.state('side', [1], 1)
  const best = g.state('best', [1])
  const kept = g.state('kept', change.shape)
  const [low, high] = NEAR_THRESHOLD.map((multiple) => multiple * threshold)
  const keep = (before: GraphTensor, now: Tensor): Tensor =>
    g.apply(keepOp, [before, now, best, feature, dssim], { high })
  return {
    loss,
    dssim,
    feature,
    gradient,
    change,
    updates: [
      [modifier, signedStep(next.parameter, mul(first, gradient), -FIRST_STEP)],
      [averages.gradientSquare, next.gradientSquare],
      [averages.stepSquare, next.stepSquare],
      [weight, g.apply(weightOp, [weight, side, dssim], { low, high })],
      [side, g.apply(sideOp, [weight, side, dssim], { low, high })],
      [kept, keep(kept, change)],
      [best, keep(best, feature)],
    ],
  }
}

// Where DSSIM stands: well under the threshold, well above it, or (neither, or the weight is at its end) between.
const UNDER: Expression = ['and', ['le', 'dssim', 'low'], ['le', 'weight', WEIGHT_LIMIT]]
const ABOVE: Expression = ['and', ['ge', 'dssim', 'high'], ['ge', 'weight', 1 / WEIGHT_LIMIT]]

const states = {
  detached: true,
  params: ['low', 'high'],
  inputs: ['weight', 'side', 'dssim'],
} as const

/**
 * The next weight of the features: twice as much under the threshold, half above it, but 1 where DSSIM has come from the other side,
 * and between.
 */
export const weightOp = pointwise('fawkes.weight', {
  ...states,
  value: [
    'where',
    UNDER,
    ['where', ['lt', 'side', 0], 1, ['mul', 2, 'weight']],
    ['where', ABOVE, ['where', ['gt', 'side', 0], 1, ['mul', 0.5, 'weight']], 1],
  ],
})

/** 1, -1 or 0: where DSSIM stands, for the next step's weight. */
export const sideOp = pointwise('fawkes.side', { ...states, value: ['where', UNDER, 1, ['where', ABOVE, -1, 0]] })

/** What is kept: `now` where DSSIM is in bounds and the features are further away than they ever were, else what was kept before. */
export const keepOp = pointwise('fawkes.keep', {
  inputs: ['before', 'now', 'best', 'feature', 'dssim'],
  params: ['high'],
  detached: true,
  value: ['where', ['and', ['le', 'dssim', 'high'], ['gt', 'feature', 'best']], 'now', 'before'],
})
