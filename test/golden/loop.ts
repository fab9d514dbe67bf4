/**
 * `e_loop_*`, `f_loop_*`: LowKey's loop. Trajectories of signed steps are chaotic, so a step and its gradient are compared element
 * by element at given points, the course of the objective within the tolerances of the golden README, the end by its terms.
 */
import { expect } from 'vitest'
import { Attack } from '../../src/attack/loop.ts'
import { type Perceptual, recordObjective, type Surrogate } from '../../src/attack/objective.ts'
import { presets } from '../../src/attack/presets.ts'
import { samplingMatrix, wholePhoto } from '../../src/attack/region.ts'
import { addChange } from '../../src/attack/resample.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import { type Affine, align112, type Landmarks } from '../../src/faces/alignment.ts'
import { compile, graph } from '../../src/graph/index.ts'
import { affine } from '../../src/kernels/index.ts'
import type { Recogniser } from '../../src/models/recognisers.ts'
import { relmax } from '../support/compare.ts'
import type { Family, GoldenCase, Part } from './case.ts'
import { expectEmbedding, expectSigns } from './compare.ts'
import { realNetwork, seededNetwork } from './networks.ts'
import { lpipsWeights } from './weights.ts'

/** A recogniser of the loop: `ARCHITECTURE:SEED`, or the name of a real one. */
function surrogateOf(golden: GoldenCase, id: string): { load: () => Promise<Surrogate> } | { pending: string } {
  const common = { id, size: 112, alignment: 'arcface112' as const, embedding: 0, threshold: 0 }
  if (!id.includes(':')) {
    const network = realNetwork(id)
    if ('pending' in network) return network
    return {
      load: async () => {
        const { build, weights } = await network.load()
        return { network: { ...common, build }, weights }
      },
    }
  }
  const { architecture, weights } = golden.seeded(id)
  const build = seededNetwork(architecture)
  if (!build) return { pending: `there is no network ${architecture}` }
  // face.evoLVe's networks take (x - .5) / .5. Those of one architecture are recorded as one.
  const network: Recogniser = { ...common, architecture, build: (x, w) => build(affine(x, 2, -1), w) }
  return { load: async () => ({ network, weights }) }
}

/** How to load the LPIPS of the loop; undefined where it is not there. */
function perceptualOf(golden: GoldenCase): (() => Promise<Perceptual>) | undefined {
  const name = String(golden.entry.lpips)
  const trunk = /alex/.test(name) ? 'alex' : 'squeeze'
  const load = lpipsWeights(golden, trunk, name)
  return load && (async () => ({ weights: await load(), trunk }))
}

const difference = (a: Float32Array, b: Float32Array): Float32Array => a.map((v, i) => v - b[i])

/** The golden loop on a device, at the photo of the case. */
async function loopOf(gpu: Gpu, golden: GoldenCase): Promise<Attack> {
  const { lr, c_sim, models } = golden.entry as unknown as { lr: number; c_sim: number; models: string[] }
  const [, , height, width] = golden.shape('x')
  const surrogates = await Promise.all(
    models.map((id) => {
      const surrogate = surrogateOf(golden, id)
      if ('pending' in surrogate) throw new Error(surrogate.pending)
      return surrogate.load()
    }),
  )
  const preset = { ...presets.paper, stepSize: lr, lpipsWeight: c_sim, blur: { size: 7, sigma: 3 } }
  const shape = { height, width, faces: 1, grey: false }
  const attack = await Attack.compile(gpu, {
    shape,
    surrogates,
    perceptual: await perceptualOf(golden)!(),
    preset,
    masked: false,
  })
  const clean = golden.numbers('x')
  const map = (golden.entry.M as number[][]).flat() as Affine
  attack.load({
    clean,
    base: clean,
    matrices: new Map([['arcface112', [samplingMatrix(wholePhoto(width, height), map)]]]),
  })
  return attack
}

/** The gradient and the objective at a point, against float64's. Gives x' after the step from there. */
async function checkPoint(
  attack: Attack,
  golden: GoldenCase,
  at: Float32Array,
  gradient: string,
  objective: string,
): Promise<Float32Array> {
  const value = await attack.evaluate(at)
  expectSigns(...golden.pair(gradient, await attack.plan.read('gradient')))
  for (const [k, want] of golden.numbers(objective).entries()) {
    expect(Math.abs([value.total, value.feature, value.lpips][k] - want)).toBeLessThan(1e-5)
  }
  const x = golden.numbers('x')
  return (await attack.plan.read('delta')).map((d, i) => x[i] + d)
}

export const loop: Family = {
  takes: (name) => /^[ef]_loop_/.test(name),
  parts(golden) {
    const { models, steps } = golden.entry as unknown as { models: string[]; steps: number }
    const missing = models.map((id) => surrogateOf(golden, id)).flatMap((s) => ('pending' in s ? [s.pending] : []))
    if (!perceptualOf(golden)) missing.push('LPIPS as published is not in the test data')
    const pending = missing[0]
    const has = (name: string): string[] => golden.tensors.filter((tensor) => tensor === name)
    // One attack for all parts: each says itself where it begins, and nothing else is carried from step to step.
    let compiled: Promise<Attack> | undefined
    const attackOn = (gpu: Gpu) => (compiled ??= loopOf(gpu, golden))
    const [last] = has(`x_after_${steps}`)
    const part = (name: string, tensors: string[], check: (gpu: Gpu) => Promise<void> | void): Part => ({
      name,
      tensors,
      pending,
      check,
      release: async () => {
        const attack = await compiled
        compiled = undefined
        attack?.[Symbol.dispose]()
      },
    })
    return [
      part('alignment', ['landmarks', 'M'], () => {
        const points = golden.numbers('landmarks')
        const landmarks = Array.from({ length: 5 }, (_, k) => [points[2 * k], points[2 * k + 1]]) as Landmarks
        expect(relmax(align112(landmarks), golden.numbers('M'))).toBeLessThan(1e-4)
      }),
      part('features of the clean photo', ['x', ...models.map((_, k) => `d${k}`)], async (gpu) => {
        const [, , height, width] = golden.shape('x')
        const surrogates = await Promise.all(
          models.map((id) => (surrogateOf(golden, id) as { load: () => Promise<Surrogate> }).load()),
        )
        const preset = { ...presets.paper, stepSize: 0, lpipsWeight: 0, blur: undefined }
        const { targets } = recordObjective(graph(), {
          shape: { height, width, faces: 1, grey: false },
          surrogates,
          perceptual: await perceptualOf(golden)!(),
          preset,
          masked: false,
        })
        using plan = await compile(gpu, Object.fromEntries(targets.map((t, k) => [`d${k}`, t])))
        plan.write('clean', golden.numbers('x'))
        const map = (golden.entry.M as number[][]).flat() as Affine
        plan.write('sampling.arcface112', Float32Array.from(samplingMatrix(wholePhoto(width, height), map)))
        for (const k of models.keys()) expectEmbedding(await plan.read(`d${k}`), golden.numbers(`d${k}`))
      }),
      part('first step', ['x', 'noise', ...has('g1'), 'g1_f64', 'objective_1_f64', 'x_after_1'], async (gpu) => {
        const attack = await attackOn(gpu)
        const after = await checkPoint(attack, golden, golden.numbers('noise'), 'g1_f64', 'objective_1_f64')
        for (const g1 of has('g1')) expectSigns(...golden.pair(g1, await attack.plan.read('gradient')))
        const [got, want] = golden.pair('x_after_1', after)
        const equal = got.filter((v, i) => Math.abs(v - want[i]) < 1e-6).length
        expect(equal / want.length).toBeGreaterThanOrEqual(0.995)
      }),
      part(
        'step from x_after_5',
        ['x', ...has('taken'), 'x_after_5', 'g_at_5_f64', 'objective_at_5_f64'],
        async (gpu) => {
          const attack = await attackOn(gpu)
          const at = difference(golden.numbers('x_after_5'), golden.numbers('x'))
          await checkPoint(attack, golden, at, 'g_at_5_f64', 'objective_at_5_f64')
        },
      ),
      part('whole loop', ['x', 'noise', 'objective', 'x_final_clamped', ...(last ? [last] : [])], async (gpu) => {
        const attack = await attackOn(gpu)
        const x = golden.numbers('x')
        const curve = golden.numbers('objective')
        attack.plan.write('delta', golden.numbers('noise'))
        for (let step = 0; step < steps; step++) {
          attack.plan.run()
          const [total] = await attack.plan.read('total')
          expect(Math.abs(total - curve[3 * step]), `objective before step ${step + 1}`).toBeLessThan(1e-4)
        }
        const delta = await attack.plan.read('delta')
        const mean = (d: Float32Array) => d.reduce((s, v) => s + Math.abs(v), 0) / d.length
        if (last) expect(mean(delta) / mean(difference(golden.numbers(last), x))).toBeCloseTo(1, 1)
        const clamped = x.map((v, i) => Math.min(1, Math.max(0, v + delta[i])))
        const end = await attack.evaluate(difference(clamped, x))
        const { final_feature_term, final_lpips } = golden.entry as unknown as Record<string, number>
        expect(Math.abs(end.feature / final_feature_term - 1)).toBeLessThan(0.05)
        expect(Math.abs(end.lpips / final_lpips - 1)).toBeLessThan(0.05)
        const golden_end = await attack.evaluate(difference(golden.numbers('x_final_clamped'), x))
        expect(Math.abs(golden_end.feature / final_feature_term - 1)).toBeLessThan(1e-3)
        expect(Math.abs(golden_end.lpips / final_lpips - 1)).toBeLessThan(1e-3)
      }),
      part('8 bits by truncation', ['x', 'x_final_clamped', 'x_final_u8'], () => {
        const [, , height, width] = golden.shape('x')
        const x = golden.numbers('x')
        const size = width * height
        const data = new Uint8Array(3 * size)
        for (let i = 0; i < size; i++) for (let c = 0; c < 3; c++) data[3 * i + c] = Math.round(255 * x[c * size + i])
        addChange(
          { width, height, rgb: data },
          wholePhoto(width, height),
          difference(golden.numbers('x_final_clamped'), x),
          'floor',
        )
        const [got, want] = golden.pair('x_final_u8', data)
        const unequal = got.filter((v, i) => v !== want[i]).length
        // The change is a difference of f32 numbers, whose rounding can put a value on the other side of a whole number.
        expect(unequal / want.length).toBeLessThan(0.0005)
        expect(got.every((v, i) => Math.abs(v - want[i]) <= 1)).toBe(true)
      }),
    ]
  },
}
