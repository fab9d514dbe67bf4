import { extents, type MatmulArgs } from './gemm/extents.ts'
import { elements, expectShape, formatShape, type Op, type Tensor } from './op.ts'
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
}
