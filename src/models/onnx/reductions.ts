/** Sums, means and norms over axes. */
import { abs, max, mean, reshape, sqrt, square, sum } from '../../kernels/index.ts'
import type { Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'

type Reduce = (x: Tensor, axes: readonly number[]) => Tensor

/** Axes are an attribute before version `listed`, an input from it on. */
const reduction = (reduce: Reduce, listed = 18): Operator => ({
  inputs: [1, 2],
  since: 1,
  parameters: [1],
  build(call) {
    const x = call.tensor(0)
    const { length } = x.shape
    const axes = reducedAxes(call, listed, length)
    const y = reduce(x, axes)
    if (call.flag('keepdims', true)) return y
    return reshape(
      y,
      y.shape.filter((_, axis) => !axes.includes(axis)),
    )
  },
})

function reducedAxes(call: Call, listed: number, rank: number): number[] {
  if (call.opset < listed && call.has(1)) call.fail(`takes axes as an input, which version ${listed} introduced`)
  const given = call.opset < listed ? call.ints('axes') : call.integers(1)
  const nothing = call.opset >= listed && call.flag('noop_with_empty_axes', false)
  if (given && given.length > 0) return call.axes(given, rank)
  return nothing ? [] : Array.from({ length: rank }, (_, axis) => axis)
}

export const reductions: { [op: string]: Operator } = {
  ReduceSum: reduction(sum, 13),
  ReduceMean: reduction(mean),
  ReduceMax: reduction(max),
  ReduceL1: reduction((x, axes) => sum(abs(x), axes)),
  ReduceL2: reduction((x, axes) => sqrt(sum(square(x), axes))),
  ReduceSumSquare: reduction((x, axes) => sum(square(x), axes)),
}
