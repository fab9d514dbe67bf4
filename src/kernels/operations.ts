/** Every operation: the list that drives tests and benchmarks. */
import { affineWarpGradientOp, affineWarpOp } from './affine-warp.ts'
import { averagePool2dGradientOp, averagePool2dOp } from './average-pool2d.ts'
import { batchNormOp, batchNormSumsOp } from './batch-norm.ts'
import { batchNormTrainingGradientOp, batchNormTrainingOp } from './batch-norm-training.ts'
import { batchStatisticsOp } from './batch-statistics.ts'
import { concatOp } from './concat.ts'
import { convTranspose2dOp } from './conv-transpose2d.ts'
import { conv2dOp } from './conv2d.ts'
import { conv2dWeightGradientOp } from './conv2d-weight-gradient.ts'
import { crossEntropyGradientOp, crossEntropyOp } from './cross-entropy.ts'
import { cumulativeSumOp } from './cumulative-sum.ts'
import { detachOp } from './detach.ts'
import { elementwiseOps } from './elementwise.ts'
import { flipOp } from './flip.ts'
import { gatherOp, scatterOp } from './gather.ts'
import { gaussianBlurGradientOp, gaussianBlurOp } from './gaussian-blur.ts'
import { lpipsDistanceOp, lpipsGradientOp } from './lpips-distance.ts'
import { arcFaceGradientOp, arcFaceOp, cosFaceOp } from './margin.ts'
import { matmulOp } from './matmul.ts'
import { maxPool2dGradientOp, maxPool2dOp } from './max-pool2d.ts'
import { normalizeGradientOp, normalizeOp } from './normalize.ts'
import type { Op } from './op.ts'
import { padGradientOp, padOp } from './pad.ts'
import { randomOp } from './random.ts'
import { expandOp, maxOp, meanOp, sumOp } from './reduce.ts'
import { reshapeOp } from './reshape.ts'
import { resizeGradientOp, resizeOp } from './resize.ts'
import { sliceGradientOp, sliceOp } from './slice.ts'
import { logSoftmaxOp, softmaxOp } from './softmax.ts'
import { ssimMapOp, ssimWindowOp } from './ssim.ts'
import { transposeOp } from './transpose.ts'

// biome-ignore lint/suspicious/noExplicitAny: each operation has argument types of its own
export const operations: readonly Op<any>[] = [
  elementwiseOps,
  sumOp,
  meanOp,
  maxOp,
  expandOp,
  reshapeOp,
  conv2dOp,
  convTranspose2dOp,
  conv2dWeightGradientOp,
  matmulOp,
  concatOp,
  sliceOp,
  sliceGradientOp,
  transposeOp,
  maxPool2dOp,
  maxPool2dGradientOp,
  softmaxOp,
  logSoftmaxOp,
  normalizeOp,
  normalizeGradientOp,
  gaussianBlurOp,
  gaussianBlurGradientOp,
  lpipsDistanceOp,
  lpipsGradientOp,
  affineWarpOp,
  affineWarpGradientOp,
  batchStatisticsOp,
  batchNormOp,
  batchNormSumsOp,
  batchNormTrainingOp,
  batchNormTrainingGradientOp,
  detachOp,
  averagePool2dOp,
  averagePool2dGradientOp,
  crossEntropyOp,
  crossEntropyGradientOp,
  arcFaceOp,
  arcFaceGradientOp,
  cosFaceOp,
  flipOp,
  padGradientOp,
  padOp,
  ssimWindowOp,
  ssimMapOp,
  resizeGradientOp,
  resizeOp,
  gatherOp,
  scatterOp,
  cumulativeSumOp,
  randomOp,
].flat()
