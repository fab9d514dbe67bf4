/** Wrong kernels, planted where a GPU would take its fastest: the trial at first use keeps them from whoever computes with them. */
import { describe, expect, test, vi } from 'vitest'
import type { TuningChoice } from '../../src/device/gpu.ts'
import { compile, graph, type Plan } from '../../src/graph/index.ts'
import { conv2dOp } from '../../src/kernels/conv2d.ts'
import { matmulOp } from '../../src/kernels/matmul.ts'
import { elements, type Kernel, type Op } from '../../src/kernels/op.ts'
import type { Case } from '../operations/check.ts'
import { conv2dCheck } from '../operations/conv2d.ts'
import { referenceOf } from '../operations/index.ts'
import { inputsOf, largestError, tolerance } from '../support/check-operation.ts'
import { withFacts } from '../support/rivals.ts'
import { everything } from '../support/scope.ts'

/** Ways in which a kernel may be wrong: in every value a little, in one alone, and in none that it writes. */
const FAULTS = {
  'a factor': (y: string) => `${y}[i] = value * 1.01;`,
  'one element': (y: string) => `${y}[i] = select(value, -value, i == 3u);`,
  'an element left out': (y: string) => `if (i != 5u) { ${y}[i] = value; }`,
  'no number': (y: string) => `${y}[i] = value / (f32(i) - 2.0);`,
} as const

/** The operation with a fault in the kernel that the adapter would take first; of the others the last is left, which runs everywhere. */
function planted(op: Op<unknown>, fault: keyof typeof FAULTS): Op<unknown> {
  const broken = (kernel: Kernel): Kernel => {
    const last = kernel.dispatches.at(-1)!
    const store = `fn store(i: u32, c: u32, value: f32) { ${FAULTS[fault](last.writes[0].name)} }`
    return { ...kernel, dispatches: [...kernel.dispatches.slice(0, -1), { ...last, storeCode: store }] }
  }
  return {
    ...op,
    async kernels(args, shapes, target) {
      const all = await op.kernels(args, shapes, target)
      const size = (k: Kernel): number => k.dispatches.reduce((n, { code }) => n + code.length, 0)
      const [first] = all
        .filter((k) => k.experimental && k.dispatches.at(-1)!.stores === 'f32')
        .sort((a, b) => size(a) - size(b))
      return [broken({ ...first, rival: false }), all.at(-1)!]
    },
  }
}

/** An adapter that is taken for a GPU, so that kernels for GPUs are offered and tried. */
const pretended = () => withFacts({ software: false, subgroups: false, vendor: 'pretended' })

const variantOf = (plan: Plan<string, string>): string =>
  (plan as unknown as { parts: { stages: { step: { placed: { variant: string } }[] } } }).parts.stages.step.at(-1)!
    .placed.variant

const cases: [Op<unknown>, Case<unknown>][] = [
  [
    matmulOp as Op<unknown>,
    {
      shapes: [
        [37, 64],
        [64, 48],
      ],
      args: { transposeA: false, transposeB: false },
    },
  ],
  [
    conv2dOp as Op<unknown>,
    conv2dCheck.cases.find(({ shapes: [x, w] }) => x[1] === w[1] && w[2] === 3 && elements(x) > 300) as Case<unknown>,
  ],
]

describe('a wrong kernel', () => {
  for (const [op, c] of cases) {
    // A processor's driver takes seconds for each of these kernels.
    const faults = Object.keys(FAULTS) as (keyof typeof FAULTS)[]
    for (const fault of everything || op.name === 'matmul' ? faults : faults.slice(0, 1)) {
      test(`of ${op.name} with ${fault} is not used, and the reason is kept`, async () => {
        const gpu = pretended()
        const cache = new Map<string, TuningChoice>()
        gpu.tuning = cache
        const wrong = planted(op, fault)
        const kernels = await wrong.kernels(c.args, c.shapes, gpu.capabilities)
        // Without a rival it would be taken unseen.
        expect(kernels[0]).toMatchObject({ experimental: true, rival: false })
        const values = inputsOf(c)
        const g = graph()
        const y = g.apply(
          wrong,
          c.shapes.map((shape, k) => g.input(`x${k}`, shape)),
          c.args,
        )
        using plan = await compile(gpu, { y })
        for (const [k, value] of values.entries()) plan.write(`x${k}`, value)
        plan.run()
        const want = referenceOf(op)(
          c.args,
          values.map((v) => Float64Array.from(v)),
          c.shapes,
        )
        expect(largestError(await plan.read('y'), want)).toBeLessThan(tolerance(op, c))
        expect(variantOf(plan)).not.toBe(kernels[0].variant)
        expect([...cache.values()].flatMap(({ excluded }) => Object.keys(excluded))).toContain(kernels[0].variant)
      })
    }

    test(`of ${op.name} is not used where there is no time or room for a trial`, async () => {
      const gpu = pretended()
      const wrong = planted(op, 'a factor')
      const g = graph()
      const y = g.apply(
        wrong,
        c.shapes.map((shape, k) => g.input(`x${k}`, shape)),
        c.args,
      )
      // Time is up before the first trial.
      const real = performance.now.bind(performance)
      let calls = 0
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => real() + 60_000 * calls++)
      using plan = await compile(gpu, { y })
      clock.mockRestore()
      const last = (await wrong.kernels(c.args, c.shapes, gpu.capabilities)).at(-1)!
      expect(variantOf(plan)).toBe(last.variant)
    })
  }
})
