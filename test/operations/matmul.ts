/** The operations of src/kernels/matmul.ts in float64, and their cases. */
import { forEachBroadcast } from '../../src/kernels/broadcast.ts'
import { extents, type MatmulArgs } from '../../src/kernels/gemm/extents.ts'
import { matmulOp } from '../../src/kernels/matmul.ts'
import { elements } from '../../src/kernels/op.ts'
import { type Case, check } from './check.ts'

/** Cases of shapes written as text. */
function casesOf(transposeA: boolean, transposeB: boolean, ...texts: readonly string[]): Case<MatmulArgs>[] {
  return texts.map((text) => ({
    shapes: text.split(' ').map((shape) => shape.split(',').map(Number)),
    args: { transposeA, transposeB },
  }))
}

export const matmulCheck = check(matmulOp, {
  reference(args, [a, b, bias], shapes) {
    const { batch, m, n, k } = extents(args, shapes)
    const y = new Float64Array(elements(batch) * m * n)
    const leads = shapes.slice(0, 2).map((s) => s.slice(0, -2))
    forEachBroadcast(batch, leads, (index, [ai, bi]) => {
      for (let row = 0; row < m; row++) {
        for (let column = 0; column < n; column++) {
          let total = bias?.[column] ?? 0
          for (let i = 0; i < k; i++) {
            const left = a[ai * m * k + (args.transposeA ? i * m + row : row * k + i)]
            const right = b[bi * k * n + (args.transposeB ? column * k + i : i * n + column)]
            total += left * right
          }
          y[(index * m + row) * n + column] = total
        }
      }
    })
    return y
  },
  cases: [
    ...casesOf(false, false, '1,1 1,1', '3,5 5,7', '16,32 32,24', '2,3,4,5 5,6', '2,8,16 2,16,12', '37,67 67,41'),
    ...casesOf(true, false, '5,3 5,7'),
    ...casesOf(false, true, '3,5 7,5', '3,1,4,5 2,6,5', '1,2309 11,2309 11', '4,320 64,320 64', '1,7 1,7 1'),
    ...casesOf(true, true, '5,3 7,5'),
  ],
})
