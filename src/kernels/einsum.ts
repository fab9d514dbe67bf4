/** Sums of products by the names of their axes, made of matrix products, transpositions and sums. */
import { matmul } from './matmul.ts'
import { elements, expectShape, type Shape, ShapeError, type Tensor } from './op.ts'
import { sum } from './reduce.ts'
import { reshape } from './reshape.ts'
import { transpose } from './transpose.ts'

/** A tensor whose axes have names. */
interface Named {
  tensor: Tensor
  axes: string
}

/**
 * Einstein summation of one or more tensors, from left to right: `einsum('bik,bkj->bij', a, b)`. Every axis is a letter; one that is not in
 * the result is summed. Without `->` the result has the letters that occur once, in alphabetical order.
 * @throws ShapeError for an equation that does not fit the tensors; a letter twice in one tensor is not taken.
 */
export function einsum(equation: string, ...tensors: readonly Tensor[]): Tensor {
  const [left, right] = equation.replaceAll(' ', '').split('->')
  const names = left.split(',')
  expectShape(
    names.length === tensors.length,
    `einsum: ${equation} names ${names.length} tensors, got ${tensors.length}`,
  )
  const extents = new Map<string, number>()
  names.forEach((axes, k) => {
    const { shape } = tensors[k]
    expectShape(
      axes.length === shape.length && new Set(axes).size === axes.length && /^[a-zA-Z]*$/.test(axes),
      `einsum: ${equation}: ${axes} does not name the axes of [${shape}], each by another letter`,
    )
    for (const [i, axis] of [...axes].entries()) {
      if ((extents.get(axis) ?? shape[i]) !== shape[i])
        throw new ShapeError(`einsum: ${equation}: ${axis} is ${extents.get(axis)} and ${shape[i]}`)
      extents.set(axis, shape[i])
    }
  })
  const once = [...extents.keys()].filter((axis) => names.filter((axes) => axes.includes(axis)).length === 1)
  const result = right ?? once.sort().join('')
  expectShape(
    new Set(result).size === result.length && [...result].every((axis) => extents.has(axis)),
    `einsum: ${equation}: the result's axes are not among those of the tensors`,
  )
  const operands = tensors.map((tensor, k): Named => ({ tensor, axes: names[k] }))
  const product = operands.reduce((a, b, k) => {
    const later = names.slice(k + 1).join('') + result
    return multiplied(summed(a, b.axes + later), summed(b, a.axes + later), later)
  })
  return ordered(summed(product, result), result).tensor
}

/** Without the axes that nothing else has. */
function summed({ tensor, axes }: Named, needed: string): Named {
  const gone = [...axes].flatMap((axis, i) => (needed.includes(axis) ? [] : [i]))
  if (gone.length === 0) return { tensor, axes }
  const left = [...axes].filter((axis) => needed.includes(axis)).join('')
  const shape = tensor.shape.filter((_, i) => !gone.includes(i))
  return { tensor: reshape(sum(tensor, gone), shape), axes: left }
}

/** With the axes in this order. */
function ordered({ tensor, axes }: Named, order: string): Named {
  const permutation = [...order].map((axis) => axes.indexOf(axis))
  return { tensor: permutation.every((axis, i) => axis === i) ? tensor : transpose(tensor, permutation), axes: order }
}

/** The product of two, summed over what both have and nothing needs: a batch of matrix products. */
function multiplied(a: Named, b: Named, needed: string): Named {
  const shared = [...a.axes].filter((axis) => b.axes.includes(axis))
  const batch = shared.filter((axis) => needed.includes(axis)).join('')
  const inner = shared.filter((axis) => !needed.includes(axis)).join('')
  const only = (of: Named, other: Named) => [...of.axes].filter((axis) => !other.axes.includes(axis)).join('')
  const [rows, columns] = [only(a, b), only(b, a)]
  const extent = (of: Named, axes: string): Shape => [...axes].map((axis) => of.tensor.shape[of.axes.indexOf(axis)])
  const matrices = (of: Named, first: string, second: string): Tensor => {
    const shape = [batch, first, second].map((axes) => elements(extent(of, axes)))
    return reshape(ordered(of, batch + first + second).tensor, shape)
  }
  const product = matmul(matrices(a, rows, inner), matrices(b, inner, columns))
  return {
    tensor: reshape(product, [...extent(a, batch), ...extent(a, rows), ...extent(b, columns)]),
    axes: batch + rows + columns,
  }
}
