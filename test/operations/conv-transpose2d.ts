/** The operations of src/kernels/conv-transpose2d.ts in float64, and their cases. */
import { convArgs, convGeometry, outputShape } from '../../src/kernels/conv/geometry.ts'
import { type ConvTransposeArgs, convTranspose2dOp, geometry } from '../../src/kernels/conv-transpose2d.ts'
import { type Case, check } from './check.ts'
import { biases, convCases, forEachProduct } from './convolutions.ts'

export const convTranspose2dCheck = check(convTranspose2dOp, {
  reference(args, [y, weights, bias], shapes) {
    const g = geometry(args, shapes)
    const x = biases(g.n, g.c, g.h * g.w, bias)
    forEachProduct(g, (xi, wi, yi) => {
      x[xi] += y[yi] * weights[wi]
    })
    return x
  },
  cases: convCases((image, weights, options, bias): Case<ConvTransposeArgs> => {
    const args = convArgs(options)
    const g = convGeometry('conv_transpose2d', args, image, weights)
    return {
      shapes: bias ? [outputShape(g), weights, [g.c]] : [outputShape(g), weights],
      args: { ...args, size: [g.h, g.w] },
    }
  }),
})
