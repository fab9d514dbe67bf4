/** Products of matrices. */
import { add, affine, linear, matmul, reshape } from '../../kernels/index.ts'
import { elements, type Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'

/** NumPy's matmul: a vector is a row on the left and a column on the right, and the axis is dropped from the result. */
function product(call: Call): Tensor {
  const [a, b] = [call.tensor(0), call.tensor(1)]
  if (a.shape.length === 0 || b.shape.length === 0) call.fail('takes no scalars')
  const left = a.shape.length === 1 ? reshape(a, [1, ...a.shape]) : a
  const right = b.shape.length === 1 ? reshape(b, [...b.shape, 1]) : b
  const y = matrixProduct(left, right)
  const lead = y.shape.slice(0, -2)
  const rows = a.shape.length === 1 ? [] : [y.shape.at(-2)!]
  const columns = b.shape.length === 1 ? [] : [y.shape.at(-1)!]
  return reshape(y, [...lead, ...rows, ...columns])
}

/** Many small products by the same matrix are one large one. */
function matrixProduct(a: Tensor, b: Tensor): Tensor {
  if (b.shape.length > 2 || a.shape.length === 2) return matmul(a, b)
  const lead = a.shape.slice(0, -1)
  return reshape(matmul(reshape(a, [elements(lead), a.shape.at(-1)!]), b), [...lead, b.shape[1]])
}

/** alpha A B + beta C, where A and B may be transposed and C broadcasts to the product. */
function gemm(call: Call): Tensor {
  const [a, b, c] = [call.tensor(0), call.tensor(1), call.optionalTensor(2)]
  const [alpha, beta] = [call.float('alpha', 1), call.float('beta', 1)]
  const [transposeA, transposeB] = [call.flag('transA', false), call.flag('transB', false)]
  if (a.shape.length !== 2 || b.shape.length !== 2)
    call.failShape('takes matrices, not', a.shape.length === 2 ? b.shape : a.shape)
  const bias = c && beta === 1 && alpha === 1 && elements(c.shape) === b.shape[0] && c.shape.at(-1) === b.shape[0]
  if (bias && transposeB && !transposeA) return linear(a, b, reshape(c, [b.shape[0]]))
  const y = matmul(a, b, { transposeA, transposeB })
  const scaled = alpha === 1 ? y : affine(y, alpha, 0)
  if (!c || beta === 0) return scaled
  return add(scaled, beta === 1 ? c : affine(c, beta, 0))
}

export const matrices: { [op: string]: Operator } = {
  MatMul: { inputs: [2, 2], since: 1, build: product },
  Gemm: { inputs: [2, 3], build: gemm },
}
