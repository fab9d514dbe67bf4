/** Mean and variance of every channel over a batch. */
import { add, affine, mul, sub } from './elementwise.ts'
import { elements, f32, type Op, type Tensor, u32 } from './op.ts'
import {
  CHANNEL_CHUNK,
  channelChunks,
  channelExtents,
  channelReduction,
  channelShape,
  everyElement,
  expectChannels,
} from './per-channel.ts'
import { reshape } from './reshape.ts'
import { slice } from './slice.ts'
import { laneSum, linearEntry, linearGrid } from './wgsl.ts'

/**
 * Mean (row 0) and biased variance (row 1) of every channel of x [N,C,...] over all its images and pixels: [2,C].
 * Throws ShapeError where x has no channels.
 */
export const batchStatistics = (x: Tensor): Tensor => x.recorder.apply(batchStatisticsOp, [x], {})

/** Row `k` of values per channel [2,C], as [C]. */
export const channelRow = (rows: Tensor, k: 0 | 1): Tensor => reshape(slice(rows, 0, k, k + 1), [rows.shape[1]])

export const batchStatisticsOp: Op<Record<never, never>> = {
  name: 'batch_statistics',
  inputs: ['x'],
  shape(_, [x]) {
    expectChannels('batch_statistics', x)
    return [2, x[1]]
  },
  cost: (_, [x]) => ({ flop: 4 * elements(x), bytes: 4 * elements(x) }),
  kernels(_, [x]) {
    const { channels, count } = channelExtents(x)
    const chunks = channelChunks(x)
    const reduce = channelReduction({
      label: 'batch_statistics',
      shape: x,
      reads: [{ name: 'x', buffer: 0 }],
      writes: [{ name: 'parts', buffer: chunks === 1 ? 'output' : 'scratch0' }],
      declare: laneSum('sum'),
      // Squares are taken around the mean of the chunk: nothing cancels where the mean is far from 0.
      body: `  var total = 0.0;
${everyElement('total += x[at];')}
  let mean = sum(lane, total) / f32(size);
  var squares = 0.0;
${everyElement('squares += (x[at] - mean) * (x[at] - mean);')}
  let variance = sum(lane, squares) / f32(size);
  if (lane == 0u) {
    parts[row] = mean;
    parts[p.rows + row] = variance;
  }`,
    })
    if (chunks === 1) return [{ variant: 'chunk', dispatches: [reduce] }]
    const join = {
      label: 'batch_statistics.join',
      // Chan, Golub and LeVeque 1979: the variance is the mean of the parts' variances and the variance of their means.
      code: `fn share(k: u32) -> f32 { return select(p.share, p.lastShare, k + 1u == p.chunks); }
${linearEntry(`  if (i >= p.channels) { return; }
  let begin = i * p.chunks;
  var mean = 0.0;
  for (var k = 0u; k < p.chunks; k++) { mean += parts[begin + k] * share(k); }
  var variance = 0.0;
  for (var k = 0u; k < p.chunks; k++) {
    let apart = parts[begin + k] - mean;
    variance += (parts[p.channels * p.chunks + begin + k] + apart * apart) * share(k);
  }
  y[i] = mean;
  y[p.channels + i] = variance;`)}`,
      reads: [{ name: 'parts', buffer: 'scratch0' }],
      writes: [{ name: 'y', buffer: 'output' }],
      params: {
        channels: u32(channels),
        chunks: u32(chunks),
        share: f32(CHANNEL_CHUNK / count),
        lastShare: f32((count - (chunks - 1) * CHANNEL_CHUNK) / count),
      },
      workgroups: linearGrid(channels),
    } as const
    return [{ variant: 'chunks', dispatches: [reduce, join], scratch: [2 * channels * chunks] }]
  },
  backward({ inputs: [x], output, gradient }) {
    const perChannel = (rows: Tensor, k: 0 | 1): Tensor => reshape(channelRow(rows, k), channelShape(x.shape))
    const { count } = channelExtents(x.shape)
    const slope = affine(perChannel(gradient, 1), 2 / count, 0)
    return [add(mul(sub(x, perChannel(output, 0)), slope), affine(perChannel(gradient, 0), 1 / count, 0))]
  },
}
