/** `a_train_*`: a training step of a small IR network with a margin head: loss, every gradient, running statistics after it. */
import { expect } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, grad, graph } from '../../src/graph/index.ts'
import {
  add,
  arcFace,
  batchNormTraining,
  conv2d,
  cosFace,
  crossEntropy,
  flatten,
  linear,
  maxPool2d,
  normalize,
  prelu,
  reshape,
} from '../../src/kernels/index.ts'
import type { Tensor } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import type { Family, GoldenCase } from './case.ts'
import { expectEmbedding, expectInputGradient } from './compare.ts'

/** Parameters and running statistics of a network by name. */
type Parameters = (name: string) => Tensor

/**
 * IR (face.evoLVe's model_irse) with one unit a stage as it is trained, without dropout: batch statistics everywhere.
 * Returns the embeddings [N,E] and the running statistics after the step by name.
 */
function irTraining(x: Tensor, parameter: Parameters): { embedding: Tensor; running: Record<string, Tensor> } {
  const running: Record<string, Tensor> = {}
  const norm = (y: Tensor, key: string): Tensor => {
    const [mean, variance] = [`${key}.running_mean`, `${key}.running_var`]
    const normed = batchNormTraining(
      y,
      parameter(`${key}.weight`),
      parameter(`${key}.bias`),
      parameter(mean),
      parameter(variance),
    )
    running[mean] = normed.runningMean
    running[variance] = normed.runningVariance
    return normed.output
  }
  const activation = (y: Tensor, key: string): Tensor =>
    prelu(y, reshape(parameter(`${key}.weight`), [y.shape[1], 1, 1]))
  const convolution = (y: Tensor, key: string, stride: number, padding: number): Tensor =>
    conv2d(y, parameter(`${key}.weight`), undefined, { stride, padding })

  let y = activation(norm(convolution(x, 'input_layer.0', 1, 1), 'input_layer.1'), 'input_layer.2')
  for (let i = 0; i < 4; i++) {
    const layer = (k: number) => `body.${i}.res_layer.${k}`
    const shortcut = `body.${i}.shortcut_layer`
    let residual = activation(convolution(norm(y, layer(0)), layer(1), 1, 1), layer(2))
    residual = norm(convolution(residual, layer(3), 2, 1), layer(4))
    const kept = residual.shape[1] === y.shape[1]
    y = add(
      residual,
      kept ? maxPool2d(y, { kernel: 1, stride: 2 }) : norm(convolution(y, `${shortcut}.0`, 2, 0), `${shortcut}.1`),
    )
  }
  y = flatten(norm(y, 'output_layer.0'))
  y = linear(y, parameter('output_layer.3.weight'), parameter('output_layer.3.bias'))
  return { embedding: norm(y, 'output_layer.4'), running }
}

interface Head {
  kind: 'arc' | 'cos'
  s: number
  m: number
}

async function check(gpu: Gpu, golden: GoldenCase): Promise<void> {
  const g = graph()
  const { weights } = golden.seeded()
  const parameters = new Map<string, Tensor>()
  const parameter = (name: string): Tensor => {
    const { data, shape } = weights.tensor(name)
    const known = parameters.get(name) ?? g.constant(data, shape, name)
    parameters.set(name, known)
    return known
  }
  const constant = (name: string): Tensor => g.constant(golden.numbers(name), golden.shape(name), name)
  const x = g.input('x', golden.shape('input'))
  const { embedding, running } = irTraining(x, parameter)
  parameters.set('head.weight', constant('head_weight'))

  const { kind, s, m } = golden.entry.head as Head
  const labels = g.constant(Float32Array.from(golden.integers('labels')), golden.shape('labels'), 'labels')
  const cosines = linear(normalize(embedding), normalize(parameters.get('head.weight')!))
  const logits = (kind === 'arc' ? arcFace : cosFace)(cosines, labels, { scale: s, margin: m })
  const loss = crossEntropy(logits, labels)

  const names = Object.keys(golden.entry.grads as object)
  const gradients = grad(
    loss,
    names.map((name) => parameters.get(name)!),
  )
  const outputs: Record<string, Tensor> = { embedding, logits, loss, ...running }
  names.forEach((name, i) => {
    outputs[`grad.${name}`] = gradients[i]
  })
  using plan = await compile(gpu, outputs, { poison: true })
  plan.write('x', golden.numbers('input'))
  plan.run()

  expectEmbedding(await plan.read('embedding'), golden.numbers('emb'))
  expect(relmax(await plan.read('loss'), golden.numbers('loss'))).toBeLessThan(1e-4)
  expect(relmax(await plan.read('logits'), golden.numbers('logits'))).toBeLessThan(1e-4)
  const strides = golden.entry.grads as Record<string, { stride: number }>
  const stored = new Map(names.map((name) => [name, golden.numbers(`grad.${name}`)]))
  // Where the index gives no error of float32 PyTorch, what is stored comes from that itself: a PReLU whose input both round to
  // different sides of 0 then shows as it does in the gradient of an image.
  const exact = (golden.entry.err32 as { loss: number }).loss > 0
  const peak = (values: Float32Array): number => values.reduce((top, value) => Math.max(top, Math.abs(value)), 0)
  const zero = 1e-5 * Math.max(...[...stored.values()].map(peak))
  for (const [name, want] of stored) {
    const { stride } = strides[name]
    const got = (await plan.read(`grad.${name}`)).filter((_, i) => i % stride === 0)
    // A batch norm that follows a bias takes it away again: the true gradient is 0, and what is stored is rounding.
    if (peak(want) < zero) expect(peak(got), name).toBeLessThan(zero)
    else if (exact) expect(relmax(got, want), name).toBeLessThan(1e-3)
    else expectInputGradient(got, want)
  }
  for (const name of Object.keys(running)) {
    expect(relmax(await plan.read(name), golden.numbers(`after.${name}`)), name).toBeLessThan(1e-4)
  }
}

export const training: Family = {
  takes: (name) => name.startsWith('a_train_'),
  parts: (golden) => [
    {
      name: 'loss, gradients and running statistics of a training step',
      tensors: golden.tensors,
      check: (gpu) => check(gpu, golden),
    },
  ],
}
