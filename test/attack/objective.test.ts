/** The gradient of the whole objective, against central differences. */
import { describe, expect, test } from 'vitest'
import { changeShape, matrixInput, type ObjectiveShape, recordObjective } from '../../src/attack/objective.ts'
import { presets } from '../../src/attack/presets.ts'
import type { Affine } from '../../src/faces/alignment.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { elements } from '../../src/kernels/op.ts'
import { relmax } from '../support/compare.ts'
import { testGpu } from '../support/gpu.ts'
import { random, uniform } from '../support/random.ts'
import { referenceFunction } from '../support/reference.ts'
import { everything } from '../support/scope.ts'
import { tinyLpips, tinySurrogates } from '../support/tiny-networks.ts'

const gpu = await testGpu()

describe('the gradient of the whole objective', () => {
  const variants = [
    { name: 'soft region, colour', masked: true, grey: false },
    { name: 'soft region, grey', masked: true, grey: true },
    { name: 'whole photo', masked: false, grey: false },
  ]
    .flatMap((kind) => [1, 2].flatMap((faces) => [true, false].map((blur) => ({ ...kind, faces, blur, samples: 1 }))))
    .concat({ name: 'a large face', masked: true, grey: false, faces: 1, blur: true, samples: 2 })

  // In the short run each kind, number of faces and blur once.
  test.each(everything ? variants : [1, 6, 8, 12].map((k) => variants[k]))(
    '$name, $faces face(s), blur $blur',
    async ({ masked, grey, faces, blur, samples }) => {
      const [height, width] = [40, 44]
      const size = height * width
      const shape: ObjectiveShape = { height, width, faces, grey, samples }
      // With this weight both parts of the gradient matter for these networks.
      const preset = {
        ...presets.paper,
        stepSize: 0.01,
        lpipsWeight: 3e-4,
        blur: blur ? { size: 7, sigma: 3 } : undefined,
      }
      const g = graph()
      const { total, feature, lpips, gradient } = recordObjective(g, {
        shape,
        surrogates: tinySurrogates,
        perceptual: tinyLpips,
        preset,
        masked,
      })
      const clean = uniform(31, 3 * size, 0, 1)
      const mask = uniform(33, size, -0.5, 1.5).map((v) => Math.min(1, Math.max(0, v)))
      const change = uniform(34, elements(changeShape(shape)), -0.1, 0.1)
      // Faces of other sizes and angles, the second partly outside.
      const matrices: Affine[] = [
        [0.33, 0.04, 1, -0.04, 0.33, 3],
        [0.24, -0.1, 22, 0.1, 0.24, -4],
      ]
      const flat = (enlarged: number) =>
        Float32Array.from(
          matrices
            .slice(0, faces)
            .flatMap(([a, b, x, c, d, y]) => [a, b, x, c, d, y].map((v, i) => (i % 3 === 2 ? v : enlarged * v))),
        )
      const inputs: Record<string, Float32Array> = {
        clean,
        base: clean.map((v, i) => v + 0.02 * Math.sin(i)),
        ...(masked ? { mask } : {}),
        delta: change,
        [matrixInput('arcface112')]: flat(1),
        [matrixInput('dlib150')]: flat(4.5),
      }
      using plan = await compile(gpu, { total, feature, lpips, gradient }, { poison: true })
      for (const [name, data] of Object.entries(inputs)) plan.write(name, data)
      plan.run()
      const found = await plan.read('gradient')

      const objective = referenceFunction([total, feature, lpips], inputs, ['delta'])
      const exact = Float64Array.from(change)
      const [wantTotal, wantFeature, wantLpips] = objective({ delta: exact })
      expect(relmax(await plan.read('feature'), wantFeature)).toBeLessThan(1e-4)
      expect(relmax(await plan.read('lpips'), wantLpips)).toBeLessThan(1e-4)
      expect(Math.abs((await plan.read('total'))[0] - wantTotal[0])).toBeLessThan(1e-4 * wantFeature[0])
      if (masked) {
        const still = found.filter((_, i) => mask[i % size] === 0)
        expect(still.length).toBeGreaterThan(0)
        expect(still.every((v) => v === 0)).toBe(true)
      }

      /** Slopes of the three values along a direction; undefined where a kink lies between, so that they depend on the step. */
      const slopes = (direction: Float64Array, step: number, scale: number): number[] | undefined => {
        const central = (h: number) => {
          const [high, low] = [h, -h].map((by) => objective({ delta: exact.map((v, i) => v + by * direction[i]) }))
          return high.map(([value], k) => (value - low[k][0]) / (2 * h))
        }
        const [whole, half] = [central(step), central(step / 2)]
        return Math.abs(whole[0] - half[0]) < 1e-5 * scale ? half : undefined
      }
      const pick = random(35)
      const bySize = Array.from(found.keys()).sort((i, j) => Math.abs(found[j]) - Math.abs(found[i]))
      const single = (at: number) => Float64Array.from(found, (_, i) => (i === at ? 1 : 0))
      // Single elements, of the larger ones and of all; and all together with random signs.
      const directions = [
        ...[200, 200, 200, found.length].map((count) => ({
          direction: single(bySize[Math.floor(pick() * count)]),
          scale: Math.abs(found[bySize[0]]),
          step: 1e-4,
        })),
        ...[0, 1].map(() => ({
          direction: Float64Array.from(found, () => (pick() < 0.5 ? -1 : 1)),
          scale: Math.hypot(...found),
          step: 1e-6,
        })),
      ]
      let smooth = 0
      const part = { feature: 0, lpips: 0 }
      for (const { direction, scale, step } of directions) {
        const slope = slopes(direction, step, scale)
        if (!slope) continue
        smooth++
        const along = found.reduce((s, v, i) => s + v * direction[i], 0)
        expect(Math.abs(along - slope[0]) / scale).toBeLessThan(1e-4)
        part.feature = Math.max(part.feature, Math.abs(slope[1]) / scale)
        part.lpips = Math.max(part.lpips, (preset.lpipsWeight * Math.abs(slope[2])) / scale)
      }
      expect(smooth).toBeGreaterThanOrEqual(directions.length - 1)
      // Neither would be missed in the tolerance.
      expect(Math.min(part.feature, part.lpips)).toBeGreaterThan(0.05)
    },
  )
})
