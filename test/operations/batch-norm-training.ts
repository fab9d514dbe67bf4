/** The operations of src/kernels/batch-norm-training.ts in float64, and their cases. */
import { batchNormTrainingGradientOp, batchNormTrainingOp } from '../../src/kernels/batch-norm-training.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import { channelExtents } from '../../src/kernels/per-channel.ts'
import { batchStatisticsCheck } from './batch-statistics.ts'
import { check } from './check.ts'

/** A batch of seeming disorder and its statistics, for the cases. */
function batch(shape: Shape): [Float32Array, Float32Array] {
  const x = Float32Array.from({ length: elements(shape) }, (_, i) => Math.sin(i * i + 1))
  return [x, Float32Array.from(batchStatisticsCheck.reference({}, [Float64Array.from(x)], [shape]))]
}

export const batchNormTrainingCheck = check(batchNormTrainingOp, {
  reference({ epsilon }, [x, weight, bias], [shape]) {
    const { channels, plane } = channelExtents(shape)
    const statistics = batchStatisticsCheck.reference({}, [x], [shape])
    return x.map((value, i) => {
      const c = Math.floor(i / plane) % channels
      return ((value - statistics[c]) / Math.sqrt(statistics[channels + c] + epsilon)) * weight[c] + bias[c]
    })
  },
  cases: [
    [2, 3, 5, 7],
    [3, 8, 4, 6],
    [7, 13],
    [2, 1, 65, 67],
  ].map((shape) => {
    const [x, statistics] = batch(shape)
    return {
      shapes: [shape, [shape[1]], [shape[1]], [2, shape[1]]],
      args: { epsilon: 1e-5 },
      fill: [x, 'symmetric', 'symmetric', statistics],
    }
  }),
})

export const batchNormTrainingGradientCheck = check(batchNormTrainingGradientOp, {
  reference({ epsilon }, [x, weight, statistics, sums, dy], [shape]) {
    const { channels, plane, count } = channelExtents(shape)
    return x.map((value, i) => {
      const c = Math.floor(i / plane) % channels
      const s = Math.sqrt(statistics[channels + c] + epsilon)
      const z = (value - statistics[c]) / s
      return (weight[c] / s) * (dy[i] - sums[c] / count - (z * sums[channels + c]) / count)
    })
  },
  cases: [
    [2, 3, 5, 7],
    [3, 8, 4, 6],
    [7, 13],
  ].map((x) => ({
    shapes: [x, [x[1]], [2, x[1]], [2, x[1]], x],
    args: { epsilon: 1e-5 },
    fill: ['symmetric', 'symmetric', 'positive', 'symmetric', 'symmetric'],
  })),
})
