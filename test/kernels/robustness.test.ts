/**
 * Index clamping (robustness) is on in all other tests, where it would hide a wrong index as a wrong value. Here the same operations run
 * without it: the same bits come out, so no kernel relies on the clamping.
 */
import { afterAll, describe, expect, test } from 'vitest'
import type { Gpu } from '../../src/device/gpu.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { acquire } from '../../src/graph/node.ts'
import { elements, formatShape, type Kernel, type Op } from '../../src/kernels/op.ts'
import type { Case } from '../operations/check.ts'
import { checks } from '../operations/index.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'
import { kernelsToTry } from '../support/scope.ts'

const clamped = await testGpu()
const free = await acquire({ gpu: process.env.LOWKEY_GPU, robustness: false })
afterAll(() => free.destroy())

async function outputs(
  gpu: Gpu,
  op: Op<unknown>,
  c: Case<unknown>,
  kernels: readonly Kernel[],
): Promise<Float32Array[]> {
  const results: Float32Array[] = []
  for (const { variant } of kernels) {
    const g = graph()
    const y = g.apply(
      op,
      c.shapes.map((shape, k) => g.input(`x${k}`, shape)),
      c.args,
    )
    using plan = await compile(gpu, { y }, { choose: (_, all) => all.find((k) => k.variant === variant) ?? all[0] })
    for (const [k, shape] of c.shapes.entries()) {
      const given = c.fill?.[k]
      const values = given instanceof Float32Array ? given : uniform(31 + k, elements(shape), 0.2, 1.2)
      plan.write(`x${k}`, values)
    }
    plan.run()
    results.push(await plan.read('y'))
  }
  return results
}

describe('without index clamping', () => {
  for (const { op, cases } of checks) {
    if (op.view) continue
    test(op.name, async () => {
      for (const [c, kernels] of await kernelsToTry(op, cases, free.capabilities)) {
        const [want, got] = [await outputs(clamped, op, c, kernels), await outputs(free, op, c, kernels)]
        expect(got.length).toBeGreaterThan(0)
        for (const [k, values] of want.entries()) {
          const title = `${c.shapes.map(formatShape).join(' ')} ${JSON.stringify(c.args)}`
          expect(new Uint32Array(got[k].buffer), title).toEqual(new Uint32Array(values.buffer))
        }
      }
    })
  }
})
