/** The operations of src/kernels/batch-statistics.ts in float64, and their cases. */
import { batchStatisticsOp } from '../../src/kernels/batch-statistics.ts'
import { channelExtents } from '../../src/kernels/per-channel.ts'
import { check } from './check.ts'

export const batchStatisticsCheck = check(batchStatisticsOp, {
  reference(_, [x], [shape]) {
    const { channels, plane, count } = channelExtents(shape)
    const y = new Float64Array(2 * channels)
    for (let c = 0; c < channels; c++) {
      const values = x.filter((_, i) => Math.floor(i / plane) % channels === c)
      const mean = values.reduce((s, v) => s + v, 0) / count
      y[c] = mean
      y[channels + c] = values.reduce((s, v) => s + (v - mean) ** 2, 0) / count
    }
    return y
  },
  cases: [
    { shapes: [[3, 5, 7, 11]], args: {} },
    { shapes: [[67, 6]], args: {} },
    { shapes: [[1, 1, 1, 2]], args: {} },
    { shapes: [[2, 3, 61, 71]], args: {} },
    { shapes: [[5, 2, 3, 1000]], args: {}, fill: ['positive'] },
  ],
})
