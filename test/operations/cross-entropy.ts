/** The operations of src/kernels/cross-entropy.ts in float64, and their cases. */
import { crossEntropyGradientOp, crossEntropyOp } from '../../src/kernels/cross-entropy.ts'
import { check } from './check.ts'

export const crossEntropyCheck = check(crossEntropyOp, {
  reference(_, [logits, labels], [[rows, classes]]) {
    let total = 0
    for (let n = 0; n < rows; n++) {
      const row = logits.subarray(n * classes, (n + 1) * classes)
      const top = Math.max(...row)
      total += top + Math.log(row.reduce((s, v) => s + Math.exp(v - top), 0)) - row[labels[n]]
    }
    return Float64Array.of(total / rows)
  },
  cases: [
    { shapes: [[3, 10], [3]], args: {}, fill: ['symmetric', Float32Array.of(7, 0, 9)] },
    { shapes: [[2, 1009], [2]], args: {}, fill: ['symmetric', Float32Array.of(1008, 500)] },
    { shapes: [[67, 2], [67]], args: {}, fill: ['symmetric', Float32Array.from({ length: 67 }, (_, i) => i % 2)] },
    // Logits as a margin head gives them, up to 64, one row far from right.
    { shapes: [[2, 3], [2]], args: {}, fill: [Float32Array.of(64, -3, 20, -64, 60, 1), Float32Array.of(0, 2)] },
  ],
})

export const crossEntropyGradientCheck = check(crossEntropyGradientOp, {
  reference(_, [logits, labels, dy], [[rows, classes]]) {
    return logits.map((value, i) => {
      const n = Math.floor(i / classes)
      const row = logits.subarray(n * classes, (n + 1) * classes)
      const share = 1 / row.reduce((s, v) => s + Math.exp(v - value), 0)
      return (dy[0] / rows) * (share - (i % classes === labels[n] ? 1 : 0))
    })
  },
  cases: [
    { shapes: [[3, 10], [3], []], args: {}, fill: ['symmetric', Float32Array.of(7, 0, 9), 'positive'] },
    { shapes: [[1, 300], [1], []], args: {}, fill: ['symmetric', Float32Array.of(3), 'positive'] },
  ],
})
