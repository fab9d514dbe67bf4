/** `a_train_*`: a training step of a small IR network with a margin head: loss, every gradient, running statistics after it. */
import { expect } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, grad, graph } from '../../src/graph/index.ts'
import { arcFace, cosFace, crossEntropy, linear, normalize } from '../../src/kernels/index.ts'
import type { Tensor } from '../../src/kernels/op.ts'
import { irTraining } from '../../src/models/ir.ts'
import type { Parameter } from '../../src/models/learned.ts'
import { relmax } from '../support/compare.ts'
import type { Family, GoldenCase } from './case.ts'
import { expectEmbedding, expectInputGradient } from './compare.ts'
import { seededIr } from './networks.ts'

interface Head {
  kind: 'arc' | 'cos'
  s: number
  m: number
}

async function check(gpu: Gpu, golden: GoldenCase): Promise<void> {
  const g = graph()
  const { architecture, weights } = golden.seeded()
  const parameters = new Map<string, Tensor>()
  const parameter = ({ name, shape }: Parameter): Tensor => {
    const known = parameters.get(name) ?? g.constant(weights.tensor(name).data, shape, name)
    parameters.set(name, known)
    return known
  }
  const constant = (name: string): Tensor => g.constant(golden.numbers(name), golden.shape(name), name)
  const x = g.input('x', golden.shape('input'))
  const { embedding, running } = irTraining(x, parameter, seededIr(architecture)!)
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
  const outputs: Record<string, Tensor> = { embedding, logits, loss, ...Object.fromEntries(running) }
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
    else expectInputGradient(got, want, 'parameters')
  }
  for (const name of running.keys()) {
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
