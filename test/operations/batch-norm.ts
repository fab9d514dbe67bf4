/** The operations of src/kernels/batch-norm.ts in float64, and their cases. */
import { batchNormOp, batchNormSumsOp } from '../../src/kernels/batch-norm.ts'
import { channelExtents } from '../../src/kernels/per-channel.ts'
import { check } from './check.ts'

export const batchNormCheck = check(batchNormOp, {
  reference({ epsilon }, [x, weight, bias, mean, variance], [shape]) {
    const { channels, plane } = channelExtents(shape)
    return x.map((value, i) => {
      const c = Math.floor(i / plane) % channels
      return ((value - mean[c]) / Math.sqrt(variance[c] + epsilon)) * weight[c] + bias[c]
    })
  },
  cases: [
    [2, 3, 5, 7],
    [3, 8, 4, 6],
    [5, 13],
    [1, 1, 1, 1],
    [2, 3, 65, 67],
  ].map((x) => ({
    shapes: [x, ...Array.from({ length: 4 }, () => [x[1]])],
    args: { epsilon: 1e-5 },
    fill: ['symmetric', 'symmetric', 'symmetric', 'symmetric', 'positive'],
  })),
})

export const batchNormSumsCheck = check(batchNormSumsOp, {
  reference({ epsilon }, [x, statistics, dy], [shape]) {
    const { channels, plane } = channelExtents(shape)
    const y = new Float64Array(2 * channels)
    x.forEach((value, i) => {
      const c = Math.floor(i / plane) % channels
      y[c] += dy[i]
      y[channels + c] += (dy[i] * (value - statistics[c])) / Math.sqrt(statistics[channels + c] + epsilon)
    })
    return y
  },
  cases: [
    [3, 5, 7, 11],
    [67, 6],
    [2, 3, 61, 71],
  ].map((x) => ({
    shapes: [x, [2, x[1]], x],
    args: { epsilon: 1e-5 },
    fill: ['symmetric', 'positive', 'symmetric'],
  })),
})
