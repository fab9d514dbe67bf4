/** `b_lpips_*`: the layers of LPIPS, their sum, and its gradient with respect to one image. */
import { grad } from '../../src/graph/index.ts'
import { add, reshape, sum } from '../../src/kernels/index.ts'
import { type LpipsTrunk, lpipsDistances, lpipsTaps } from '../../src/models/lpips.ts'
import { evaluate, type Family } from './case.ts'
import { expectDistance, expectSigns } from './compare.ts'
import { lpipsWeights } from './weights.ts'

export const lpips: Family = {
  takes: (name) => /^b_lpips_(alex|squeeze)_/.test(name),
  parts(golden) {
    const trunk = golden.name.split('_')[2] as LpipsTrunk
    const load = lpipsWeights(golden, trunk)
    return [
      {
        name: 'layers, total and gradient',
        tensors: ['a', 'b', 'layers', 'total', 'grad_b'],
        pending: load ? undefined : `LPIPS' published weights (${trunk}) are not in the test data`,
        async check(gpu) {
          const weights = await load!()
          const input = (name: string) => ({ shape: golden.shape(name), data: golden.numbers(name) })
          const got = await evaluate(gpu, { a: input('a'), b: input('b') }, ({ a, b }) => {
            const layers = lpipsDistances(lpipsTaps(a, weights, trunk), lpipsTaps(b, weights, trunk), weights)
            const total = layers.reduce(add)
            const named = Object.fromEntries(layers.map((layer, k) => [`layer${k}`, layer]))
            return { ...named, total: reshape(sum(total), [1]), grad: grad(sum(total), b) }
          })
          const layers = golden.numbers('layers')
          // Each layer against itself, so that a small one counts as much as a large one.
          for (const [k, want] of layers.entries()) expectDistance(got[`layer${k}`], [want])
          expectDistance(got.total, golden.numbers('total'))
          expectSigns(...golden.pair('grad_b', got.grad))
        },
      },
    ]
  },
}
