/** Matrix products, batched, and linear layers. */
import { forEachBroadcast } from './broadcast.ts'
import { extents, type MatmulArgs } from './gemm/extents.ts'
import { type Case, elements, expectShape, formatShape, type Op, type Tensor } from './op.ts'
import { sum, sumTo } from './reduce.ts'
import { reshape } from './reshape.ts'

/**
 * The matrix product of the last two axes; the axes before them broadcast.
 * @param a [..,M,K], or [..,K,M] with transposeA
 * @param b [..,K,N], or [..,N,K] with transposeB
 * @returns [..,M,N]
 * @throws ShapeError where the inner extents differ or the leading axes do not broadcast.
 */
export const matmul = (
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false }: Partial<MatmulArgs> = {},
): Tensor => a.recorder.apply(matmulOp, [a, b], { transposeA, transposeB })

/**
 * A linear layer, x W^T + bias: PyTorch's linear.
 * @param x [..,in]
 * @param weights [out,in]
 * @param bias [out], none if left out
 * @returns [..,out]
 * @throws ShapeError where the extents do not fit.
 */
export function linear(x: Tensor, weights: Tensor, bias?: Tensor): Tensor {
  const lead = x.shape.slice(0, -1)
  const rows = reshape(x, [elements(lead), x.shape.at(-1) ?? 1])
  const args = { transposeA: false, transposeB: true }
  const y = x.recorder.apply(matmulOp, bias ? [rows, weights, bias] : [rows, weights], args, 'linear')
  return reshape(y, [...lead, y.shape[1]])
}

export const matmulOp: Op<MatmulArgs> = {
  name: 'matmul',
  inputs: ['a', 'b', 'bias?'],
  shape(args, shapes) {
    const { batch, m, n } = extents(args, shapes)
    const bias = shapes[2]
    expectShape(
      !bias || (bias.length === 1 && bias[0] === n),
      `matmul: the bias must be [${n}], not ${formatShape(bias ?? [])}`,
    )
    return [...batch, m, n]
  },
  cost(args, shapes) {
    const { batch, m, n, k } = extents(args, shapes)
    const count = elements(batch) * m * n
    return { flop: 2 * count * k, bytes: 4 * (count + shapes.reduce((e, s) => e + elements(s), 0)) }
  },
  kernels: async (args, shapes, gpu) => (await import('./gemm/matmul.ts')).matmulKernels(args, shapes, gpu),
  backward({ args: { transposeA, transposeB }, inputs: [a, b, bias], gradient, wanted }) {
    // y = a b; da = dy b^T and db = a^T dy, each written for the layout that a and b came in.
    const da = () =>
      transposeA
        ? matmul(b, gradient, { transposeA: transposeB, transposeB: true })
        : matmul(gradient, b, { transposeB: !transposeB })
    const db = () =>
      transposeB
        ? matmul(gradient, a, { transposeA: true, transposeB: transposeA })
        : matmul(a, gradient, { transposeA: !transposeA })
    const gradients = [wanted[0] ? sumTo(da(), a.shape) : undefined, wanted[1] ? sumTo(db(), b.shape) : undefined]
    if (!bias) return gradients
    const rows = gradient.shape.slice(0, -1).map((_, axis) => axis)
    return [...gradients, wanted[2] ? reshape(sum(gradient, rows), bias.shape) : undefined]
  },
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
}

/** Cases of shapes written as text. */
function casesOf(transposeA: boolean, transposeB: boolean, ...texts: readonly string[]): Case<MatmulArgs>[] {
  return texts.map((text) => ({
    shapes: text.split(' ').map((shape) => shape.split(',').map(Number)),
    args: { transposeA, transposeB },
  }))
}
