// A matrix product, from numbers to numbers.
import { compile, graph, matmul } from 'lowkey-gpu-engine'
import { acquire } from 'lowkey-gpu-engine/node'

const gpu = await acquire()
const g = graph()
const plan = await compile(gpu, { c: matmul(g.input('a', [2, 2]), g.input('b', [2, 2])) })
const { c } = await plan.run({ a: [1, 2, 3, 4], b: [5, 6, 7, 8] })
console.log(c.join(' '))
gpu.destroy()
// prints: 19 22 43 50
