/** The operations of src/kernels/max-pool2d.ts in float64, and their cases. */
import { maxPool2dGradientOp, maxPool2dOp } from '../../src/kernels/max-pool2d.ts'
import { elements } from '../../src/kernels/op.ts'
import { type PoolArgs, poolArgs, poolGeometry } from '../../src/kernels/pool-window.ts'
import { type Case, check } from './check.ts'
import { forEachWindow } from './pools.ts'

export const maxPool2dCheck = check(maxPool2dOp, {
  reference(args, [x], [shape]) {
    const g = poolGeometry('max_pool2d', args, shape)
    const y = new Float64Array(g.planes * g.oh * g.ow).fill(Number.NEGATIVE_INFINITY)
    forEachWindow(g, args, (index, plane, rows, columns) => {
      for (let r = rows[0]; r < rows[1]; r++) {
        for (let c = columns[0]; c < columns[1]; c++) y[index] = Math.max(y[index], x[plane + r * g.iw + c])
      }
    })
    return y
  },
  cases: [
    { shapes: [[2, 3, 8, 12]], args: poolArgs({ kernel: 2 }) },
    { shapes: [[1, 2, 11, 13]], args: poolArgs({ kernel: 3, stride: 2 }) },
    { shapes: [[1, 2, 14, 14]], args: poolArgs({ kernel: 3, stride: 2, padding: 1 }) },
    { shapes: [[1, 3, 12, 10]], args: poolArgs({ kernel: 3, stride: 2, ceilMode: true }) },
    { shapes: [[1, 3, 23, 23]], args: poolArgs({ kernel: 2, ceilMode: true }) },
    // The third window would begin in the padding after the image, so ceil mode leaves it out.
    { shapes: [[1, 1, 3, 4]], args: poolArgs({ kernel: 2, stride: 2, padding: 1, ceilMode: true }) },
    { shapes: [[2, 3, 7, 5]], args: poolArgs({ kernel: 1, stride: 2 }) },
    { shapes: [[1, 1, 7, 9]], args: poolArgs({ kernel: [3, 2], stride: [1, 3], padding: [1, 0] }) },
    { shapes: [[1, 2, 7, 8]], args: poolArgs({ kernel: 2, stride: 3 }) },
    { shapes: [[1, 1, 1, 1]], args: poolArgs({ kernel: 1 }) },
  ].map((c): Case<PoolArgs> => ({ ...c, fill: ['distinct'], tolerance: 1e-12 })),
})

export const maxPool2dGradientCheck = check(maxPool2dGradientOp, {
  reference(args, [x, dy], [shape]) {
    const g = poolGeometry('max_pool2d.dx', args, shape)
    const dx = new Float64Array(x.length)
    forEachWindow(g, args, (index, plane, rows, columns) => {
      let winner = plane + rows[0] * g.iw + columns[0]
      for (let r = rows[0]; r < rows[1]; r++) {
        for (let c = columns[0]; c < columns[1]; c++) {
          const at = plane + r * g.iw + c
          if (x[at] > x[winner]) winner = at
        }
      }
      dx[winner] += dy[index]
    })
    return dx
  },
  // Inputs of three values, so that most windows have several maxima: only the first may get the gradient.
  cases: [
    { shape: [2, 3, 7, 9], args: poolArgs({ kernel: 3, stride: 2, padding: 1 }) },
    { shape: [1, 2, 8, 5], args: poolArgs({ kernel: 3, stride: 1 }) },
    { shape: [1, 2, 9, 8], args: poolArgs({ kernel: 2, ceilMode: true }) },
    { shape: [1, 1, 6, 10], args: poolArgs({ kernel: [2, 4], stride: [3, 1], padding: [1, 2] }) },
    { shape: [1, 2, 13, 17], args: poolArgs({ kernel: [7, 3], stride: [5, 4], padding: [3, 1], ceilMode: true }) },
    { shape: [1, 2, 6, 7], args: poolArgs({ kernel: 1, stride: 2 }) },
  ].map(({ shape, args }): Case<PoolArgs> => {
    const x = Float32Array.from({ length: elements(shape) }, (_, i) => ((i * i + (i >> 2)) % 3) - 1)
    return { shapes: [shape, maxPool2dOp.shape(args, [shape])], args, fill: [x, 'symmetric'] }
  }),
})
