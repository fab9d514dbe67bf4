/** Batch normalisation (Ioffe and Szegedy 2015) with given mean and variance: inference. */
import { channelRow } from './batch-statistics.ts'
import { concat } from './concat.ts'
import { affine, div, mul, sqrt } from './elementwise.ts'
import { type Dispatch, elements, expectShape, f32, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import {
  channelChunks,
  channelExtents,
  channelMap,
  channelReduction,
  channelShape,
  everyElement,
  expectChannels,
} from './per-channel.ts'
import { reshape } from './reshape.ts'
import { laneSum, linearEntry, linearGrid } from './wgsl.ts'

export interface BatchNormArgs {
  /** Added to the variance; 1e-5 in PyTorch and in all networks here. */
  epsilon: number
}

/**
 * (x - mean) / sqrt(variance + epsilon) * weight + bias, channel by channel, as PyTorch's batch norm in `eval` mode.
 * @param x [N,C,...]
 * @param weight [C]; bias, mean and variance likewise
 * @throws ShapeError where the shapes do not fit.
 */
export const batchNorm = (
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  mean: Tensor,
  variance: Tensor,
  epsilon = 1e-5,
): Tensor => x.recorder.apply(batchNormOp, [x, weight, bias, mean, variance], { epsilon })

/** Throws ShapeError unless x has channels and each of `values` one number for each of them. */
export function expectPerChannel(name: string, x: Shape, values: Readonly<Record<string, Shape>>): void {
  expectChannels(name, x)
  for (const [input, shape] of Object.entries(values)) {
    expectShape(
      shape.length === 1 && shape[0] === x[1],
      `${name}: ${input} ${formatShape(shape)} has not one value for each of ${x[1]} channels`,
    )
  }
}

export const batchNormOp: Op<BatchNormArgs> = {
  name: 'batch_norm',
  inputs: ['x', 'weight', 'bias', 'mean', 'variance'],
  half: 'follows',
  shape(_, [x, weight, bias, mean, variance]) {
    expectPerChannel('batch_norm', x, { weight, bias, mean, variance })
    return x
  },
  cost: (_, [x]) => ({ flop: 3 * elements(x), bytes: 8 * elements(x) }),
  kernels: ({ epsilon }, [x]) => [
    channelMap({
      label: 'batch_norm',
      shape: x,
      elements: { x: 0 },
      channels: { weight: 1, bias: 2, mean: 3, variance: 4 },
      table: 'table[c] = vec4f(weight[c] / sqrt(variance[c] + p.epsilon), mean[c], bias[c], 0);',
      value: '(x - t.y) * t.x + t.z',
      params: { epsilon: f32(epsilon) },
    }),
  ],
  backward({ args, inputs: [x, weight, , mean, variance], gradient, wanted }) {
    const shifted = affine(variance, 1, args.epsilon)
    const scale = div(weight, sqrt(shifted))
    const dx = wanted[0] ? mul(gradient, reshape(scale, channelShape(x.shape))) : undefined
    if (!wanted.includes(true, 1)) return [dx]
    const statistics = reshape(concat([mean, variance], 0), [2, x.shape[1]])
    const sums = x.recorder.apply(batchNormSumsOp, [x, statistics, gradient], args)
    const dbias = channelRow(sums, 0)
    const dweight = channelRow(sums, 1)
    return [
      dx,
      dweight,
      dbias,
      wanted[3] ? affine(mul(scale, dbias), -1, 0) : undefined,
      wanted[4] ? affine(div(mul(weight, dweight), shifted), -0.5, 0) : undefined,
    ]
  },
}

/** Gradients of bias (row 0: the sum of dy) and weight (row 1: the sum of dy times the normalised x), [2,C]. */
export const batchNormSumsOp: Op<BatchNormArgs> = {
  name: 'batch_norm.sums',
  inputs: ['x', 'statistics', 'dy'],
  shape: (_, [x]) => [2, x[1]],
  cost: (_, [x]) => ({ flop: 4 * elements(x), bytes: 8 * elements(x) }),
  kernels({ epsilon }, [x]) {
    const { channels } = channelExtents(x)
    const chunks = channelChunks(x)
    const reduce = channelReduction({
      label: 'batch_norm.sums',
      shape: x,
      reads: [
        { name: 'x', buffer: 0 },
        { name: 'statistics', buffer: 1 },
        { name: 'dy', buffer: 2 },
      ],
      writes: [{ name: 'parts', buffer: chunks === 1 ? 'output' : 'scratch0' }],
      declare: laneSum('sum', 'vec2f'),
      body: `  let mean = statistics[channel];
  var part = vec2f(0);
${everyElement('part += dy[at] * vec2f(1, x[at] - mean);')}
  let total = sum(lane, part);
  if (lane == 0u) {
    parts[row] = total.x;
    parts[p.rows + row] = total.y / sqrt(statistics[p.channels + channel] + p.epsilon);
  }`,
      params: { epsilon: f32(epsilon) },
    })
    if (chunks === 1) return [{ variant: 'chunk', dispatches: [reduce] }]
    const join: Dispatch = {
      label: 'batch_norm.sums.join',
      code: linearEntry(`  if (i >= p.count) { return; }
  var total = 0.0;
  for (var k = 0u; k < p.chunks; k++) { total += parts[i * p.chunks + k]; }
  y[i] = total;`),
      reads: [{ name: 'parts', buffer: 'scratch0' }],
      writes: [{ name: 'y', buffer: 'output' }],
      params: { count: u32(2 * channels), chunks: u32(chunks) },
      workgroups: linearGrid(2 * channels),
    }
    return [{ variant: 'chunks', dispatches: [reduce, join], scratch: [2 * channels * chunks] }]
  },
}
