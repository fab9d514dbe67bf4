/**
 * The golden results, computed with PyTorch: those of every clone (test/golden/data), and a larger set where there is one, case by
 * case and tensor by tensor. test/golden/README.md says what they are, test/golden/compare.ts what is allowed.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { elements } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { type Family, goldenSets } from './case.ts'
import { detection, nets, pyramid } from './detector.ts'
import { drawUniform, ruleOf, seededTensor } from './generator.ts'
import { blur, warp } from './geometry.ts'
import { loop } from './loop.ts'
import { lpips } from './lpips.ts'
import { real, seeded } from './networks.ts'
import { training } from './training.ts'

const families: readonly Family[] = [blur, warp, nets, pyramid, detection, lpips, real, seeded, training, loop]

const gpu = await testGpu()

describe.each(goldenSets())('golden results in $name', ({ index, cases }) => {
  describe('seeded weights', () => {
    for (const [model, list] of Object.entries(index.models)) {
      test(model, () => {
        const seed = Number(model.split(':')[1])
        for (const [t, { key, shape, rule, first4, sum }] of list.entries()) {
          if (rule) expect(ruleOf(key, shape), key).toEqual(rule)
          const values = seededTensor(seed, t, key, shape)
          if (first4) expect(Array.from(values.subarray(0, 4)), key).toEqual(first4)
          let total = 0
          for (const value of values) total += value
          expect(Math.abs(total - sum), key).toBeLessThanOrEqual(1e-9 * Math.max(1, values.length))
        }
      })
    }
  })

  for (const golden of cases) {
    const { name, entry } = golden
    describe(name, () => {
      const family = families.find(({ takes }) => takes(name, entry))
      if (!family) {
        test.skip('pending: what it checks comes later', () => {})
        return
      }
      const parts = family.parts(golden)

      test('every tensor is checked', () => {
        const covered = new Set(parts.flatMap(({ tensors }) => tensors))
        expect([...covered].sort()).toEqual(golden.tensors.sort())
      })

      for (const [tensor, { t, lo, hi }] of Object.entries(entry.gen ?? {})) {
        if (t === undefined || lo === undefined || hi === undefined || !golden.holds(tensor)) continue
        test(`${tensor} is what the generator gives`, () => {
          const drawn = drawUniform(index.seed, t, elements(golden.shape(tensor)), lo, hi)
          expect(golden.numbers(tensor)).toEqual(drawn)
        })
      }

      for (const tensor of Object.keys(entry.made ?? {}).filter(golden.holds)) {
        test(`${tensor} is made as it was`, () => {
          expect(relmax(...golden.pair(tensor, golden.numbers(tensor)))).toBeLessThan(1e-5)
        })
      }

      for (const { release } of parts) if (release) afterAll(release)

      for (const { name: part, pending, check } of parts) {
        if (pending) test.skip(`${part}: pending, ${pending}`, () => {})
        // The loops are long on SwiftShader, and on a machine that does other work too.
        else test(part, { timeout: 1_800_000 }, async () => check?.(gpu))
      }
    })
  }
})
