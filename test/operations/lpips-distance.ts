/** The operations of src/kernels/lpips-distance.ts in float64, and their cases. */
import { EPSILON, lpipsDistanceOp, lpipsGradientOp } from '../../src/kernels/lpips-distance.ts'
import { check } from './check.ts'

export const lpipsDistanceCheck = check(lpipsDistanceOp, {
  reference(_, [a, b, lin], [shapeA, shapeB]) {
    const [, channels, height, width] = shapeA
    const pixels = height * width
    const unit = (f: Float64Array, image: number, pixel: number): number[] => {
      const vector = Array.from({ length: channels }, (_, c) => f[(image * channels + c) * pixels + pixel])
      return vector.map((v) => v / (Math.hypot(...vector) + EPSILON))
    }
    return Float64Array.from({ length: Math.max(shapeA[0], shapeB[0]) }, (_, n) => {
      let total = 0
      for (let pixel = 0; pixel < pixels; pixel++) {
        const ua = unit(a, shapeA[0] === 1 ? 0 : n, pixel)
        const ub = unit(b, shapeB[0] === 1 ? 0 : n, pixel)
        for (let c = 0; c < channels; c++) total += lin[c] * (ua[c] - ub[c]) ** 2
      }
      return total / pixels
    })
  },
  cases: [
    { shapes: [[2, 5, 3, 7], [2, 5, 3, 7], [5]], args: {}, fill: ['symmetric', 'symmetric', 'positive'] },
    { shapes: [[1, 7, 13, 11], [3, 7, 13, 11], [7]], args: {}, fill: ['positive', 'positive', 'positive'] },
    { shapes: [[2, 64, 6, 6], [1, 64, 6, 6], [64]], args: {}, fill: ['positive', 'symmetric', 'positive'] },
    { shapes: [[2, 3, 17, 19], [2, 3, 17, 19], [3]], args: {}, fill: ['symmetric', 'positive', 'positive'] },
    { shapes: [[1, 3, 1, 1], [1, 3, 1, 1], [3]], args: {}, fill: ['symmetric', 'positive', 'positive'] },
    // One channel has only its sign: the gradient of both maps is 0, so all that is seen of it is rounding.
    {
      shapes: [[1, 1, 4, 5], [1, 1, 4, 5], [1]],
      args: {},
      fill: ['symmetric', 'positive', 'positive'],
      tolerance: 1e-4,
    },
  ],
})

export const lpipsGradientCheck = check(lpipsGradientOp, {
  reference(_, [a, b, lin, dy], [shapeA, shapeB]) {
    const [, channels, height, width] = shapeA
    const pixels = height * width
    const batch = Math.max(shapeA[0], shapeB[0])
    const db = new Float64Array(batch * channels * pixels)
    for (let n = 0; n < batch; n++) {
      for (let pixel = 0; pixel < pixels; pixel++) {
        const at = (c: number, images: number) => ((images === 1 ? 0 : n) * channels + c) * pixels + pixel
        const all = Array.from(lin, (_, c) => c)
        const normA = Math.hypot(...all.map((c) => a[at(c, shapeA[0])]))
        const norm = Math.hypot(...all.map((c) => b[at(c, shapeB[0])]))
        if (norm === 0) continue
        const e = all.map((c) => {
          const difference = b[at(c, shapeB[0])] / (norm + EPSILON) - a[at(c, shapeA[0])] / (normA + EPSILON)
          return (2 / pixels) * dy[n] * lin[c] * difference
        })
        const dot = all.reduce((s, c) => s + e[c] * b[at(c, shapeB[0])], 0)
        for (const c of all) {
          const own = b[at(c, shapeB[0])]
          db[(n * channels + c) * pixels + pixel] = e[c] / (norm + EPSILON) - (dot * own) / norm / (norm + EPSILON) ** 2
        }
      }
    }
    return db
  },
  cases: [
    {
      shapes: [[2, 5, 3, 7], [2, 5, 3, 7], [5], [2]],
      args: {},
      fill: ['symmetric', 'symmetric', 'positive', 'symmetric'],
    },
    {
      shapes: [[1, 7, 13, 11], [2, 7, 13, 11], [7], [2]],
      args: {},
      fill: ['positive', 'positive', 'positive', 'symmetric'],
    },
    // The first pixel of both, and the last of b, have no channel that is not 0.
    {
      shapes: [[1, 2, 1, 3], [1, 2, 1, 3], [2], [1]],
      args: {},
      fill: [Float32Array.of(0, 1, 2, 0, 3, 1), Float32Array.of(0, 2, 0, 0, 1, 0), 'positive', 'positive'],
    },
  ],
})
