/** The operations of src/kernels/conv2d-weight-gradient.ts in float64, and their cases. */
import { convArgs, convGeometry, outputShape, weightShape } from '../../src/kernels/conv/geometry.ts'
import { conv2dWeightGradientOp, geometry, type WeightGradientArgs } from '../../src/kernels/conv2d-weight-gradient.ts'
import { elements } from '../../src/kernels/op.ts'
import { type Case, check } from './check.ts'
import { convCases, forEachProduct } from './convolutions.ts'

export const conv2dWeightGradientCheck = check(conv2dWeightGradientOp, {
  reference(args, [x, dy], shapes) {
    const g = geometry(args, shapes)
    const weights = new Float64Array(elements(weightShape(g)))
    forEachProduct(g, (xi, wi, yi) => {
      weights[wi] += x[xi] * dy[yi]
    })
    return weights
  },
  cases: convCases((x, weights, options): Case<WeightGradientArgs> => {
    const args = convArgs(options)
    const g = convGeometry('conv2d_weight_gradient', args, x, weights)
    return { shapes: [x, outputShape(g)], args: { ...args, kernel: [g.kh, g.kw] } }
  }),
})
