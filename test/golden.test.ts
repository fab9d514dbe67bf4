/**
 * The golden results: whatever the index of the folder lists, case by case and tensor by tensor. Cases whose networks come later
 * are listed as skipped, with the reason. See test/golden/case.ts for the folder and test/golden/compare.ts for the tolerances.
 */
import { describe, expect, test } from 'vitest'
import { type Family, GoldenCase, hasGolden, readIndex } from './golden/case.ts'
import { detection, nets, pyramid } from './golden/detector.ts'
import { drawUniform, ruleOf, seededTensor } from './golden/generator.ts'
import { blur, warp } from './golden/geometry.ts'
import { loop } from './golden/loop.ts'
import { lpips } from './golden/lpips.ts'
import { real, seeded } from './golden/networks.ts'
import { training } from './golden/training.ts'
import { testGpu } from './support/gpu.ts'

const families: readonly Family[] = [blur, warp, nets, pyramid, detection, lpips, real, seeded, training, loop]

describe.skipIf(!hasGolden)('golden results', async () => {
  if (!hasGolden) return
  const gpu = await testGpu()
  const index = readIndex()

  describe('seeded weights', () => {
    for (const [model, list] of Object.entries(index.models)) {
      test(model, () => {
        const seed = Number(model.split(':')[1])
        for (const [t, { key, shape, rule, first4, sum }] of list.entries()) {
          expect(ruleOf(key, shape), key).toEqual(rule)
          const values = seededTensor(seed, t, key, shape)
          expect(Array.from(values.subarray(0, 4)), key).toEqual(first4)
          let total = 0
          for (const value of values) total += value
          expect(Math.abs(total - sum), key).toBeLessThanOrEqual(1e-9 * Math.max(1, values.length))
        }
      })
    }
  })

  for (const name of Object.keys(index.cases)) {
    describe(name, () => {
      const golden = new GoldenCase(index, name)
      const family = families.find(({ takes }) => takes(name, golden.entry))
      if (!family) {
        test.skip('pending: what it checks comes later', () => {})
        return
      }
      const parts = family.parts(golden)

      test('every tensor is checked', () => {
        const covered = new Set(parts.flatMap(({ tensors }) => tensors))
        expect([...covered].sort()).toEqual(golden.tensors.sort())
      })

      const generated = golden.entry.gen as Record<string, { t?: number; lo?: number; hi?: number }> | undefined
      for (const [tensor, { t, lo, hi }] of Object.entries(generated ?? {})) {
        if (t === undefined || lo === undefined || hi === undefined) continue
        test(`${tensor} is what the generator gives`, () => {
          const stored = golden.numbers(tensor)
          expect(drawUniform(index.seed, t, stored.length, lo, hi)).toEqual(stored)
        })
      }

      for (const { name: part, pending, check } of parts) {
        if (pending) test.skip(`${part}: pending, ${pending}`, () => {})
        // The loops are long on SwiftShader, and on a machine that does other work too.
        else test(part, { timeout: 1_800_000 }, async () => check?.(gpu))
      }
    })
  }
})
