/** Products of matrices. */
import { add, affine, matmul, reshape } from '../../kernels/index.ts'
import { elements, type Shape, type Tensor } from '../../kernels/op.ts'
import { isFloat } from '../../weights/onnx-tensor.ts'
import { linearInPieces } from '../layers.ts'
import type { Call, Operator } from './call.ts'
import { isKnown } from './values.ts'

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
  const [alpha, beta] = [call.float('alpha', 1), call.float('beta', 1)]
  const [transposeA, transposeB] = [call.flag('transA', false), call.flag('transB', false)]
  const [a, c] = [call.tensor(0), call.optionalTensor(2)]
  const [first, second] = [a.shape, call.value(1).shape]
  if (first.length !== 2 || second.length !== 2)
    call.failList('takes matrices, not', first.length === 2 ? second : first)
  const weights = call.value(1)
  if (transposeB && !transposeA && alpha === 1 && isKnown(weights) && isFloat(weights.type) && second[1] === first[1]) {
    // A layer as PyTorch writes it. Its matrix may be larger than a device can bind.
    const bias = c && beta === 1 && isRow(c.shape, second[0]) ? reshape(c, [second[0]]) : undefined
    const y = linearInPieces(a, { shape: second, data: weights.singles }, bias)
    return bias ? y : plus(y, c, beta)
  }
  const y = matmul(a, call.tensor(1), { transposeA, transposeB })
  return plus(alpha === 1 ? y : affine(y, alpha, 0), c, beta)
}

/** Whether C is one row of so many numbers. */
const isRow = (c: Shape, count: number): boolean => elements(c) === count && c.at(-1) === count

function plus(y: Tensor, c: Tensor | undefined, beta: number): Tensor {
  if (!c || beta === 0) return y
  return add(y, beta === 1 ? c : affine(c, beta, 0))
}

export const matrices: { [op: string]: Operator } = {
  MatMul: { inputs: [2, 2], since: 1, build: product },
  Gemm: { inputs: [2, 3], build: gemm },
}
