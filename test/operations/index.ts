/** Every operation with what it is held to: the list that drives tests and benchmarks. */
import type { Op } from '../../src/kernels/op.ts'
import type { PointwiseArgs } from '../../src/kernels/pointwise.ts'
import { affineWarpCheck, affineWarpGradientCheck } from './affine-warp.ts'
import { averagePool2dCheck, averagePool2dGradientCheck } from './average-pool2d.ts'
import { batchNormCheck, batchNormSumsCheck } from './batch-norm.ts'
import { batchNormTrainingCheck, batchNormTrainingGradientCheck } from './batch-norm-training.ts'
import { batchStatisticsCheck } from './batch-statistics.ts'
import { type Case, type Check, pointwiseReference, type Reference } from './check.ts'
import { concatCheck } from './concat.ts'
import { convTranspose2dCheck } from './conv-transpose2d.ts'
import { conv2dCheck } from './conv2d.ts'
import { conv2dWeightGradientCheck } from './conv2d-weight-gradient.ts'
import { crossEntropyCheck, crossEntropyGradientCheck } from './cross-entropy.ts'
import { cumulativeSumCheck } from './cumulative-sum.ts'
import { detachCheck } from './detach.ts'
import { elementwiseChecks } from './elementwise.ts'
import { flipCheck } from './flip.ts'
import { gatherCheck, scatterCheck } from './gather.ts'
import { gaussianBlurCheck, gaussianBlurGradientCheck } from './gaussian-blur.ts'
import { lpipsDistanceCheck, lpipsGradientCheck } from './lpips-distance.ts'
import { arcFaceCheck, arcFaceGradientCheck, cosFaceCheck } from './margin.ts'
import { matmulCheck } from './matmul.ts'
import { maxPool2dCheck, maxPool2dGradientCheck } from './max-pool2d.ts'
import { normalizeCheck, normalizeGradientCheck } from './normalize.ts'
import { padCheck, padGradientCheck } from './pad.ts'
import { randomCheck } from './random.ts'
import { expandCheck, maxCheck, meanCheck, sumCheck } from './reduce.ts'
import { reshapeCheck } from './reshape.ts'
import { resizeCheck, resizeGradientCheck } from './resize.ts'
import { sliceCheck, sliceGradientCheck } from './slice.ts'
import { logSoftmaxCheck, softmaxCheck } from './softmax.ts'
import { ssimMapCheck, ssimWindowCheck } from './ssim.ts'
import { transposeCheck } from './transpose.ts'

// biome-ignore lint/suspicious/noExplicitAny: each operation has argument types of its own
export const checks: readonly Check<any>[] = [
  elementwiseChecks,
  sumCheck,
  meanCheck,
  maxCheck,
  expandCheck,
  reshapeCheck,
  conv2dCheck,
  convTranspose2dCheck,
  conv2dWeightGradientCheck,
  matmulCheck,
  concatCheck,
  sliceCheck,
  sliceGradientCheck,
  transposeCheck,
  maxPool2dCheck,
  maxPool2dGradientCheck,
  softmaxCheck,
  logSoftmaxCheck,
  normalizeCheck,
  normalizeGradientCheck,
  gaussianBlurCheck,
  gaussianBlurGradientCheck,
  lpipsDistanceCheck,
  lpipsGradientCheck,
  affineWarpCheck,
  affineWarpGradientCheck,
  batchStatisticsCheck,
  batchNormCheck,
  batchNormSumsCheck,
  batchNormTrainingCheck,
  batchNormTrainingGradientCheck,
  detachCheck,
  averagePool2dCheck,
  averagePool2dGradientCheck,
  crossEntropyCheck,
  crossEntropyGradientCheck,
  arcFaceCheck,
  arcFaceGradientCheck,
  cosFaceCheck,
  flipCheck,
  padGradientCheck,
  padCheck,
  ssimWindowCheck,
  ssimMapCheck,
  resizeGradientCheck,
  resizeCheck,
  gatherCheck,
  scatterCheck,
  cumulativeSumCheck,
  randomCheck,
].flat()

/** The float64 reference of an operation. Throws Error for one that has none. */
export function referenceOf<A>(op: Op<A>): Reference<A> {
  const found = checks.find((check) => check.op === op)
  if (found) return found.reference
  if (op.pointwise) return pointwiseReference(op as unknown as Op<PointwiseArgs>) as unknown as Reference<A>
  throw new Error(`${op.name} has no reference: test/operations has none for it`)
}

/** The cases of an operation of the list. */
export const casesOf = <A>(op: Op<A>): readonly Case<A>[] => checks.find((check) => check.op === op)?.cases ?? []
