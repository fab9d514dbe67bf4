/** Batch normalisation (Ioffe and Szegedy 2015) with the statistics of the batch itself: training. */
import { type BatchNormArgs, batchNormSumsOp, expectPerChannel } from './batch-norm.ts'
import { batchStatistics, channelRow } from './batch-statistics.ts'
import { detach } from './detach.ts'
import { movingAverage } from './elementwise.ts'
import { elements, expectShape, f32, formatShape, type Op, type Tensor } from './op.ts'
import { channelExtents, channelMap } from './per-channel.ts'

/** What a training step gives: the normalised batch, and the running values after it. */
export interface TrainedBatchNorm {
  /** The shape of x. */
  output: Tensor
  /** [C] */
  runningMean: Tensor
  /** [C] */
  runningVariance: Tensor
}

/**
 * (x - mean) / sqrt(variance + epsilon) * weight + bias with mean and biased variance of each channel over the batch, as
 * PyTorch's batch norm in `train` mode. The running values move by `momentum` towards the batch's mean and unbiased
 * variance; they are outputs, to be handed to `compile` as `updates` of the inputs that hold them.
 * @param x [N,C,...]
 * @param weight [C]; bias, runningMean and runningVariance likewise
 * @throws ShapeError where the shapes do not fit, or a channel has a single value, which has no variance.
 */
export function batchNormTraining(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  runningMean: Tensor,
  runningVariance: Tensor,
  { epsilon = 1e-5, momentum = 0.1 }: { epsilon?: number; momentum?: number } = {},
): TrainedBatchNorm {
  expectPerChannel('batch_norm_training', x.shape, {
    runningMean: runningMean.shape,
    runningVariance: runningVariance.shape,
  })
  const statistics = detach(batchStatistics(x))
  const output = x.recorder.apply(batchNormTrainingOp, [x, weight, bias, statistics], { epsilon })
  const { count } = channelExtents(x.shape)
  return {
    output,
    runningMean: movingAverage(runningMean, channelRow(statistics, 0), momentum),
    runningVariance: movingAverage(runningVariance, channelRow(statistics, 1), momentum, count / (count - 1)),
  }
}

/** `statistics` are those of x, [2,C]: what x changes through them is a part of its own gradient. */
export const batchNormTrainingOp: Op<BatchNormArgs> = {
  name: 'batch_norm_training',
  inputs: ['x', 'weight', 'bias', 'statistics'],
  shape(_, [x, weight, bias]) {
    expectPerChannel('batch_norm_training', x, { weight, bias })
    expectShape(
      channelExtents(x).count > 1,
      `batch_norm_training: x ${formatShape(x)} has one value per channel; a variance needs more`,
    )
    return x
  },
  cost: (_, [x]) => ({ flop: 3 * elements(x), bytes: 8 * elements(x) }),
  kernels: ({ epsilon }, [x]) => [
    channelMap({
      label: 'batch_norm_training',
      shape: x,
      elements: { x: 0 },
      channels: { weight: 1, bias: 2, statistics: 3 },
      table: `let scale = weight[c] / sqrt(statistics[p.channels + c] + p.epsilon);
  table[c] = vec4f(scale, statistics[c], bias[c], 0);`,
      value: '(x - t.y) * t.x + t.z',
      params: { epsilon: f32(epsilon) },
    }),
  ],
  backward({ args, inputs: [x, weight, , statistics], gradient, wanted }) {
    const sums = x.recorder.apply(batchNormSumsOp, [x, statistics, gradient], args)
    return [
      wanted[0]
        ? x.recorder.apply(batchNormTrainingGradientOp, [x, weight, statistics, sums, gradient], args)
        : undefined,
      wanted[1] ? channelRow(sums, 1) : undefined,
      wanted[2] ? channelRow(sums, 0) : undefined,
    ]
  },
}

/**
 * weight / s (dy - mean(dy) - z mean(dy z)) with s = sqrt(variance + epsilon) and z = (x - mean) / s, where `sums` are the
 * sums of dy and of dy z. With the means' part in `offset` and `slope`: scale dy - slope (x - mean) - offset.
 */
export const batchNormTrainingGradientOp: Op<BatchNormArgs> = {
  name: 'batch_norm_training.dx',
  inputs: ['x', 'weight', 'statistics', 'sums', 'dy'],
  shape: (_, [x]) => x,
  cost: (_, [x]) => ({ flop: 5 * elements(x), bytes: 12 * elements(x) }),
  kernels: ({ epsilon }, [x]) => [
    channelMap({
      label: 'batch_norm_training.dx',
      shape: x,
      elements: { x: 0, dy: 4 },
      channels: { weight: 1, statistics: 2, sums: 3 },
      table: `let inverse = 1.0 / sqrt(statistics[p.channels + c] + p.epsilon);
  let scale = weight[c] * inverse;
  let slope = scale * inverse * sums[p.channels + c] / p.size;
  let offset = scale * sums[c] / p.size;
  table[c] = vec4f(scale, statistics[c], slope, offset);`,
      value: 'dy * t.x - (x - t.y) * t.z - t.w',
      params: { epsilon: f32(epsilon), size: f32(channelExtents(x).count) },
    }),
  ],
}
