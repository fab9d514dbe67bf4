// An operation of one's own, as an expression: its kernel, its gradient and what it fuses with follow.
import { compile, grad, graph, mul, pointwise, sum } from 'lowkey-gpu-engine'
import { acquire } from 'lowkey-gpu-engine/node'

/** x * clip(x + 3, 0, 6) / 6 (Howard et al. 2019). */
const hardSwishOp = pointwise('hard_swish', {
  inputs: ['x'],
  value: ['div', ['mul', 'x', ['clamp', ['add', 'x', 3], 0, 6]], 6],
})
const hardSwish = (x) => x.recorder.apply(hardSwishOp, [x], {})

const gpu = await acquire()
const g = graph()
const x = g.input('x', [3])
const y = mul(hardSwish(x), 2)
const plan = await compile(gpu, { y, dx: grad(sum(y), x) })
const { y: values, dx } = await plan.run({ x: [-4, 1, 4] })
const rounded = (numbers) => Array.from(numbers, (v) => v.toFixed(3)).join(' ')
console.log(rounded(values))
console.log(rounded(dx), plan.summary().dispatches.step)
gpu.destroy()
// prints: 0.000 1.333 8.000
// prints: 0.000 1.667 2.000 1
