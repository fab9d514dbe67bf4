/** The operations of src/kernels/average-pool2d.ts in float64, and their cases. */
import {
  type AveragePoolArgs,
  averagePool2dGradientOp,
  averagePool2dOp,
  averagePoolArgs,
} from '../../src/kernels/average-pool2d.ts'
import { elements } from '../../src/kernels/op.ts'
import { type PoolGeometry, poolGeometry } from '../../src/kernels/pool-window.ts'
import { type Case, check } from './check.ts'
import { forEachWindow } from './pools.ts'

/** Calls `visit` with the flat index of every output, its window, and the number its sum is divided by. */
function forEachAverage(
  args: AveragePoolArgs,
  g: PoolGeometry,
  visit: (index: number, pixels: number[], divisor: number) => void,
): void {
  const { kernel, stride, padding, countIncludePad } = args
  const padded = (o: number, axis: 0 | 1, extent: number): number => {
    const start = o * stride[axis] - padding[axis]
    return Math.min(start + kernel[axis], extent + padding[axis]) - start
  }
  forEachWindow(g, args, (index, plane, rows, columns) => {
    const pixels: number[] = []
    for (let r = rows[0]; r < rows[1]; r++)
      for (let c = columns[0]; c < columns[1]; c++) pixels.push(plane + r * g.iw + c)
    const divisor = padded(Math.floor(index / g.ow) % g.oh, 0, g.ih) * padded(index % g.ow, 1, g.iw)
    visit(index, pixels, countIncludePad ? divisor : pixels.length)
  })
}

export const averagePool2dCheck = check(averagePool2dOp, {
  reference(args, [x], [shape]) {
    const g = poolGeometry('average_pool2d', args, shape)
    const y = new Float64Array(g.planes * g.oh * g.ow)
    forEachAverage(args, g, (index, pixels, divisor) => {
      y[index] = pixels.reduce((sum, at) => sum + x[at], 0) / divisor
    })
    return y
  },
  cases: [
    { shapes: [[2, 3, 8, 12]], args: averagePoolArgs({ kernel: 2 }) },
    { shapes: [[1, 2, 11, 13]], args: averagePoolArgs({ kernel: 3, stride: 2 }) },
    { shapes: [[1, 2, 14, 13]], args: averagePoolArgs({ kernel: 3, stride: 2, padding: 1 }) },
    { shapes: [[1, 2, 14, 13]], args: averagePoolArgs({ kernel: 3, stride: 2, padding: 1, countIncludePad: false }) },
    { shapes: [[1, 3, 12, 10]], args: averagePoolArgs({ kernel: 3, stride: 2, ceilMode: true }) },
    { shapes: [[1, 3, 12, 11]], args: averagePoolArgs({ kernel: 4, stride: 3, padding: 2, ceilMode: true }) },
    {
      shapes: [[1, 3, 12, 11]],
      args: averagePoolArgs({ kernel: 4, stride: 3, padding: 2, ceilMode: true, countIncludePad: false }),
    },
    { shapes: [[1, 2, 7, 8]], args: averagePoolArgs({ kernel: [1, 2], stride: [3, 4] }) },
    { shapes: [[1, 1, 1, 1]], args: averagePoolArgs({ kernel: 1 }) },
  ] satisfies Case<AveragePoolArgs>[],
})

export const averagePool2dGradientCheck = check(averagePool2dGradientOp, {
  reference(args, [dy], shapes) {
    const shape = averagePool2dGradientOp.shape(args, shapes)
    const g = poolGeometry('average_pool2d.dx', args, shape)
    const dx = new Float64Array(elements(shape))
    forEachAverage(args, g, (index, pixels, divisor) => {
      for (const at of pixels) dx[at] += dy[index] / divisor
    })
    return dx
  },
  cases: averagePool2dCheck.cases.map(({ shapes: [x], args }) => ({
    shapes: [averagePool2dOp.shape(args, [x])],
    args: { ...args, size: [x[2], x[3]] },
  })),
})
