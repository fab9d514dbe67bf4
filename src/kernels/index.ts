/** Functions that record the operations. One line a file; the operations themselves are in the files. */

export { type AdadeltaOptions, type AdadeltaState, adadelta } from './adadelta.ts'
export { type AdamOptions, type AdamState, adam } from './adam.ts'
export { affineWarp } from './affine-warp.ts'
export { type AttentionOptions, attention } from './attention.ts'
export { averagePool2d, globalAveragePool } from './average-pool2d.ts'
export { batchNorm } from './batch-norm.ts'
export { batchNormTraining, type TrainedBatchNorm } from './batch-norm-training.ts'
export { batchStatistics } from './batch-statistics.ts'
export { concat } from './concat.ts'
export { convTranspose2d } from './conv-transpose2d.ts'
export { conv2d } from './conv2d.ts'
export { conv2dWeightGradient } from './conv2d-weight-gradient.ts'
export { crossEntropy } from './cross-entropy.ts'
export { cumsum } from './cumulative-sum.ts'
export { detach } from './detach.ts'
export { einsum } from './einsum.ts'
export {
  abs,
  add,
  affine,
  clip,
  cos,
  div,
  equal,
  erf,
  exp,
  expm1,
  floor,
  gelu,
  greater,
  greaterEqual,
  leakyRelu,
  less,
  lessEqual,
  log,
  maximum,
  minimum,
  movingAverage,
  mul,
  pow,
  prelu,
  relu,
  relu6,
  sigmoid,
  sign,
  signedStep,
  silu,
  sin,
  sqrt,
  square,
  sub,
  tanh,
  where,
} from './elementwise.ts'
export { flip } from './flip.ts'
export { embedding, gather } from './gather.ts'
export { gaussianBlur } from './gaussian-blur.ts'
export { gridSample } from './grid-sample.ts'
export { argmax, oneHot } from './indices.ts'
export { lpipsDistance } from './lpips-distance.ts'
export { arcFace, cosFace } from './margin.ts'
export { linear, matmul } from './matmul.ts'
export { maxPool2d } from './max-pool2d.ts'
export { normalize } from './normalize.ts'
export { groupNorm, layerNorm, rmsNorm } from './norms.ts'
export { pad } from './pad.ts'
export { dropout, randomUniform } from './random.ts'
export { expand, max, mean, sum, sumTo } from './reduce.ts'
export { flatten, reshape } from './reshape.ts'
export { resize } from './resize.ts'
export { type SgdOptions, sgd } from './sgd.ts'
export { slice } from './slice.ts'
export { logSoftmax, softmax } from './softmax.ts'
export { ssim } from './ssim.ts'
export { transpose } from './transpose.ts'
