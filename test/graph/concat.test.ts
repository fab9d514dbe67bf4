/** Rearranging operations where the shapes do not fit, and the contract of an input that takes any number of tensors. */
import { describe, expect, test } from 'vitest'
import { type GraphTensor, grad, graph } from '../../src/graph/index.ts'
import { concat, slice, transpose } from '../../src/kernels/index.ts'
import { inputName, type Op } from '../../src/kernels/op.ts'

describe('concat', () => {
  test('names the tensor that does not fit', () => {
    const g = graph()
    const [a, b] = [g.input('a', [2, 3]), g.input('b', [3, 3])]
    expect(() => concat([a, a, b], 1)).toThrow(
      'concat(concat): x2 [3,3] differs from x0 [2,3] in more than axis 1 (x0 [2,3], x1 [2,3], x2 [3,3])',
    )
    expect(() => concat([a, b], 2)).toThrow('x0 [2,3] has no axis 2')
    expect(() => concat([], 0)).toThrow('concat: takes at least one tensor')
  })

  test('of one tensor is that tensor', () => {
    const a = graph().input('a', [2, 3])
    expect(concat([a], 0)).toBe(a)
  })
})

describe('a variadic input', () => {
  test('needs one tensor and is numbered', () => {
    const op: Op<Record<never, never>> = {
      name: 'any',
      inputs: ['first', 'x...'],
      shape: (_, [first]) => first,
      cost: () => ({ flop: 0, bytes: 0 }),
      kernels: () => [],
      backward: () => [],
    }
    const g = graph()
    const a = g.input('a', [])
    expect(() => g.apply(op, [a], {})).toThrow('any(any): takes first, x..., got 1 tensors (first [])')
    const y = g.apply(op, [a, a, a, a], {})
    expect(y.inputs.length).toBe(4)
    expect(() => grad(y, a)).toThrow('any(any) has no gradient for first')
    expect([0, 1, 2, 3].map((k) => inputName(op.inputs, k))).toEqual(['first', 'x0', 'x1', 'x2'])
    expect([0, 1, 2].map((k) => inputName(['x', 'bias?'], k))).toEqual(['x', 'bias', '?'])
  })
})

describe('slice', () => {
  test('refuses what is no range of the axis', () => {
    const x = graph().input('x', [2, 5])
    for (const [start, end] of [
      [3, 3],
      [4, 6],
      [-1, 2],
      [0.5, 2],
    ]) {
      expect(() => slice(x, 1, start, end)).toThrow(`slice(slice): ${start} to ${end} is no range of axis 1 of x [2,5]`)
    }
    expect(() => slice(x, 2, 0, 1)).toThrow('is no range of axis 2')
  })

  test('of all is the tensor itself', () => {
    const x = graph().input('x', [2, 5])
    expect(slice(x, 1, 0, 5)).toBe(x)
  })
})

describe('transpose', () => {
  test('of axes of extent 1 is a view', () => {
    const y = transpose(graph().input('x', [3, 1, 4, 1]), [1, 0, 3, 2]) as GraphTensor
    expect(y.shape).toEqual([1, 3, 1, 4])
    expect(y.op?.view).toBe(true)
  })

  test('refuses what is no permutation', () => {
    const x = graph().input('x', [2, 5])
    expect(() => transpose(x, [0, 0])).toThrow('[0,0] is no permutation of the axes of x [2,5]')
    expect(() => transpose(x, [0])).toThrow('[0] is no permutation')
  })
})
