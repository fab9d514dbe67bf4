/** The operations of src/kernels/conv2d.ts in float64, and their cases. */
import { type ConvArgs, convArgs } from '../../src/kernels/conv/geometry.ts'
import { conv2dOp, geometry } from '../../src/kernels/conv2d.ts'
import { type Case, check } from './check.ts'
import { biases, convCases, forEachProduct } from './convolutions.ts'

export const conv2dCheck = check(conv2dOp, {
  reference(args, [x, weights, bias], shapes) {
    const g = geometry(args, shapes)
    const y = biases(g.n, g.k, g.oh * g.ow, bias)
    forEachProduct(g, (xi, wi, yi) => {
      y[yi] += x[xi] * weights[wi]
    })
    return y
  },
  cases: convCases(
    (x, w, options, bias): Case<ConvArgs> => ({
      shapes: bias ? [x, w, [w[0]]] : [x, w],
      args: convArgs(options),
    }),
  ),
})
