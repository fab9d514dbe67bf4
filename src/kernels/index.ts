/** Every operation: functions that record them, and the list that drives tests and benchmarks. One line a file. */

export { type AdadeltaOptions, type AdadeltaState, adadelta } from './adadelta.ts'
export { type AdamOptions, type AdamState, adam } from './adam.ts'
export { affineWarp } from './affine-warp.ts'
export { averagePool2d, globalAveragePool } from './average-pool2d.ts'
export { batchNorm } from './batch-norm.ts'
export { batchNormTraining, type TrainedBatchNorm } from './batch-norm-training.ts'
export { batchStatistics } from './batch-statistics.ts'
export { concat } from './concat.ts'
export { convTranspose2d } from './conv-transpose2d.ts'
export { conv2d } from './conv2d.ts'
export { conv2dWeightGradient } from './conv2d-weight-gradient.ts'
export { crossEntropy } from './cross-entropy.ts'
export { detach } from './detach.ts'
export * from './elementwise.ts'
export { flip } from './flip.ts'
export { gaussianBlur } from './gaussian-blur.ts'
export { lpipsDistance } from './lpips-distance.ts'
export { arcFace, cosFace } from './margin.ts'
export { linear, matmul } from './matmul.ts'
export { maxPool2d } from './max-pool2d.ts'
export { normalize } from './normalize.ts'
export { pad } from './pad.ts'
export { pow } from './pow.ts'
export * from './reduce.ts'
export * from './reshape.ts'
export { resize } from './resize.ts'
export { type SgdOptions, sgd } from './sgd.ts'
export { slice } from './slice.ts'
export { logSoftmax, softmax } from './softmax.ts'
export { ssim } from './ssim.ts'
export { transpose } from './transpose.ts'

import { adamOps } from './adam.ts'
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
import { detachOp } from './detach.ts'
import { elementwiseOps } from './elementwise.ts'
import { flipOp } from './flip.ts'
import { gaussianBlurGradientOp, gaussianBlurOp } from './gaussian-blur.ts'
import { lpipsDistanceOp, lpipsGradientOp } from './lpips-distance.ts'
import { arcFaceGradientOp, arcFaceOp, cosFaceOp } from './margin.ts'
import { matmulOp } from './matmul.ts'
import { maxPool2dGradientOp, maxPool2dOp } from './max-pool2d.ts'
import { normalizeGradientOp, normalizeOp } from './normalize.ts'
import type { Op } from './op.ts'
import { padGradientOp, padOp } from './pad.ts'
import { powOp } from './pow.ts'
import { expandOp, maxOp, meanOp, sumOp } from './reduce.ts'
import { reshapeOp } from './reshape.ts'
import { resizeGradientOp, resizeOp } from './resize.ts'
import { sgdOps } from './sgd.ts'
import { sliceGradientOp, sliceOp } from './slice.ts'
import { logSoftmaxOp, softmaxOp } from './softmax.ts'
import { ssimMapOp, ssimWindowOp } from './ssim.ts'
import { transposeOp } from './transpose.ts'

// Flattened by a call that is marked as pure: an array with spreads stays in a bundle, and every operation with it.
// biome-ignore lint/suspicious/noExplicitAny: each operation has argument types of its own
export const operations: readonly Op<any>[] = /* @__PURE__ */ [
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
  powOp,
  ssimWindowOp,
  ssimMapOp,
  sgdOps,
  adamOps,
  resizeGradientOp,
  resizeOp,
].flat()
