/** The operations of src/kernels/slice.ts in float64, and their cases. */
import { elements } from '../../src/kernels/op.ts'
import { sliceGradientOp, sliceOp } from '../../src/kernels/slice.ts'
import { check } from './check.ts'

export const sliceCheck = check(sliceOp, {
  reference({ axis, start, end }, [x], [shape]) {
    const inner = elements(shape.slice(axis + 1))
    return x.filter((_, index) => {
      const at = Math.floor(index / inner) % shape[axis]
      return at >= start && at < end
    })
  },
  cases: [
    { shapes: [[3, 7, 5]], args: { axis: 1, start: 2, end: 6 } },
    { shapes: [[2, 8, 3, 4]], args: { axis: 1, start: 4, end: 5 } },
    { shapes: [[5, 12]], args: { axis: 1, start: 4, end: 12 } },
    { shapes: [[11]], args: { axis: 0, start: 10, end: 11 } },
    { shapes: [[4, 3]], args: { axis: 0, start: 0, end: 4 } },
  ],
})

export const sliceGradientCheck = check(sliceGradientOp, {
  reference({ axis, start, extent }, [dy], [shape]) {
    const inner = elements(shape.slice(axis + 1))
    const x = new Float64Array((dy.length / shape[axis]) * extent)
    dy.forEach((value, index) => {
      const outer = Math.floor(index / (inner * shape[axis]))
      x[index + inner * (outer * (extent - shape[axis]) + start)] = value
    })
    return x
  },
  cases: [
    { shapes: [[3, 2, 5]], args: { axis: 1, start: 1, extent: 7 } },
    { shapes: [[2, 4, 2, 2]], args: { axis: 1, start: 0, extent: 5 } },
    { shapes: [[3]], args: { axis: 0, start: 4, extent: 7 } },
  ],
})
