// Two layers learn the exclusive or with Adam.
import { adamUpdates, compile, graph, linear, mean, sigmoid, square, sub, tanh } from 'lowkey-gpu-engine'
import { acquire } from 'lowkey-gpu-engine/node'

const gpu = await acquire()
const g = graph()
const x = g.constant([0, 0, 0, 1, 1, 0, 1, 1], [4, 2])
const y = g.constant([0, 1, 1, 0], [4, 1])
const weights = (n) => Float32Array.from({ length: n }, (_, i) => Math.sin(5 * i + 1))
const parameters = [
  g.state('w1', [8, 2], weights(16)),
  g.state('b1', [8]),
  g.state('w2', [1, 8], weights(8)),
  g.state('b2', [1]),
]
const [w1, b1, w2, b2] = parameters
const output = sigmoid(linear(tanh(linear(x, w1, b1)), w2, b2))
const loss = mean(square(sub(output, y)))
const plan = await compile(gpu, { output }, { updates: adamUpdates(loss, parameters, 0.05) })
for (let step = 0; step < 500; step++) plan.run()
console.log(Array.from(await plan.read('output'), (value) => value.toFixed(1)).join(' '))
gpu.destroy()
// prints: 0.0 1.0 1.0 0.0
