/** The operations of src/kernels/transpose.ts in float64, and their cases. */
import { transposedShape, transposeOp } from '../../src/kernels/transpose.ts'
import { check } from './check.ts'

export const transposeCheck = check(transposeOp, {
  reference({ permutation }, [x], [shape]) {
    const output = transposedShape({ permutation }, [shape])
    return Float64Array.from(x, (_, index) => {
      let rest = index
      const at = new Array<number>(shape.length)
      for (let i = output.length - 1; i >= 0; i--) {
        at[permutation[i]] = rest % output[i]
        rest = Math.floor(rest / output[i])
      }
      return x[at.reduce((flat, position, axis) => flat * shape[axis] + position, 0)]
    })
  },
  cases: [
    { shapes: [[5, 7]], args: { permutation: [1, 0] } },
    { shapes: [[2, 3, 5, 7]], args: { permutation: [0, 2, 3, 1] } },
    { shapes: [[2, 3, 4, 5]], args: { permutation: [3, 1, 0, 2] } },
    { shapes: [[2, 3, 5, 4]], args: { permutation: [0, 2, 1, 3] } },
    { shapes: [[3, 2, 1, 4, 2]], args: { permutation: [1, 0, 2, 3, 4] } },
    { shapes: [[1, 1]], args: { permutation: [1, 0] } },
    { shapes: [[6]], args: { permutation: [0] } },
  ],
})
