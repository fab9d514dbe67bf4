/** Stages of a plan, and what a step updates. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type CompileOptions, compile, type GraphTensor, graph, type Plan } from '../../src/graph/index.ts'
import {
  add,
  affine,
  flip,
  matmul,
  reshape,
  softmax,
  square,
  sub,
  sum,
  tanh,
  transpose,
} from '../../src/kernels/index.ts'
import { elements, type Op, type Tensor, u32 } from '../../src/kernels/op.ts'
import { linearEntry, linearGrid } from '../../src/kernels/wgsl.ts'
import { relmax } from '../support/compare.ts'
import { doubled, gpu, spies } from '../support/graphs.ts'
import { uniform } from '../support/random.ts'
import { referenceValues } from '../support/reference.ts'

afterEach(() => vi.restoreAllMocks())

/** x + 2 w, with 2 w in a scratch buffer: weights packed by a dispatch of their own. */
const packing: Op<object> = {
  ...doubled(),
  name: 'packing',
  inputs: ['x', 'w'],
  kernels: (_, [x]) => {
    const params = { count: u32(elements(x)) }
    const workgroups = linearGrid(elements(x))
    return [
      {
        variant: 'only',
        scratch: [elements(x)],
        dispatches: [
          {
            label: 'pack',
            code: linearEntry('  if (i < p.count) { packed[i] = 2.0 * w[i]; }'),
            reads: [{ name: 'w', buffer: 1 }],
            writes: [{ name: 'packed', buffer: 'scratch0' }],
            params,
            workgroups,
          },
          {
            label: 'packing',
            code: linearEntry('  if (i < p.count) { y[i] = x[i] + packed[i]; }'),
            reads: [
              { name: 'x', buffer: 0 },
              { name: 'packed', buffer: 'scratch0' },
            ],
            writes: [{ name: 'y', buffer: 'output' }],
            params,
            workgroups,
          },
        ],
      },
    ]
  },
}

describe('stages', () => {
  test('constants are computed once, what depends on fixed values with the first run after they were written', async () => {
    const g = graph()
    const w = g.constant(uniform(1, 64), [8, 8], 'w')
    const clean = g.fixed('clean', [8, 8])
    const x = g.input('x', [8, 8])
    // Two constant dispatches, two fixed ones, two of every step.
    const packed = softmax(transpose(w))
    const target = tanh(matmul(clean, packed))
    const y = add(matmul(x, packed), target)
    const { dispatches } = spies()
    using plan = await compile(gpu, { y })
    const inStages = plan.summary().dispatches
    expect(inStages.constant).toBeGreaterThanOrEqual(2)
    expect(inStages.fixed).toBeGreaterThanOrEqual(1)
    expect(dispatches).toHaveBeenCalledTimes(inStages.constant)
    const counted = (run: () => void): number => {
      dispatches.mockClear()
      run()
      return dispatches.mock.calls.length
    }
    const values = { clean: uniform(2, 64), x: uniform(3, 64) }
    plan.write('clean', values.clean)
    plan.write('x', values.x)
    expect(counted(() => plan.run())).toBe(inStages.fixed + inStages.step)
    expect(counted(() => plan.run())).toBe(inStages.step)
    expect(relmax(await plan.read('y'), referenceValues([y], values)[0])).toBeLessThan(1e-5)

    const other = uniform(4, 64)
    const again = uniform(5, 64)
    plan.write('x', again)
    expect(counted(() => plan.run())).toBe(inStages.step)
    const stale = referenceValues([y], { clean: values.clean, x: again })[0]
    expect(relmax(await plan.read('y'), stale)).toBeLessThan(1e-5)
    plan.write('clean', other)
    expect(counted(() => plan.run())).toBe(inStages.fixed + inStages.step)
    const fresh = referenceValues([y], { clean: other, x: again })[0]
    expect(relmax(fresh, stale)).toBeGreaterThan(1e-2)
    expect(relmax(await plan.read('y'), fresh)).toBeLessThan(1e-5)
  })

  test('an output that is constant is there after compile, one that is fixed after what it needs was written', async () => {
    const g = graph()
    const w = g.constant([1, 2, 3], [3])
    const clean = g.fixed('clean', [3])
    using plan = await compile(gpu, { c: affine(w, 2, 0), f: add(affine(w, 2, 0), clean), w }, { poison: true })
    expect(await plan.read('c')).toEqual(Float32Array.of(2, 4, 6))
    plan.write('clean', Float32Array.of(1, 1, 1))
    expect(await plan.read('f')).toEqual(Float32Array.of(3, 5, 7))
    expect(await plan.read('w')).toEqual(Float32Array.of(1, 2, 3))
    expect(plan.summary().dispatches.step).toBe(0)
  })

  test('what a kernel does not read does not decide how often it runs', async () => {
    const g = graph()
    const ignoring = doubled({ inputs: ['x', 'ignored'] })
    const c = g.constant(uniform(1, 256), [256], 'c')
    const x = g.input('x', [256])
    const once = g.apply(ignoring, [c, x], {})
    let y: Tensor = x
    // Temporaries that would take the memory of `once` if it were free.
    for (let i = 0; i < 4; i++) y = add(flip(y, 0), affine(y, 0.5, i))
    const inputs = { x: uniform(2, 256) }
    const out = sub(y, once)
    using plan = await compile(gpu, { out }, { poison: true })
    plan.write('x', inputs.x)
    for (let run = 0; run < 3; run++) {
      plan.run()
      const [want] = referenceValues([out], inputs, new Map([[ignoring, (_, [x]) => x.map((v) => 2 * v + 1)]]))
      expect(relmax(await plan.read('out'), want)).toBeLessThan(1e-5)
    }
  })

  test('weights are packed once for all that use them, and with every step where they change', async () => {
    const g = graph()
    const [a, b, changing] = [g.input('a', [100]), g.input('b', [100]), g.input('changing', [100])]
    const w = g.constant(uniform(1, 100), [100], 'w')
    const other = g.constant(uniform(2, 100), [100], 'other')
    const pack = (x: Tensor, weights: Tensor) => g.apply(packing, [x, weights], {})
    const outputs = {
      y0: pack(pack(a, w), w),
      y1: pack(b, w),
      y2: pack(b, other),
      y3: add(pack(a, changing), pack(b, changing)),
      y4: pack(a, pack(w, other)),
    }
    using plan: Plan = await compile(gpu, outputs, { poison: true })
    // w, other, and their sum, which is constant too and is itself packed.
    expect(plan.summary().dispatches).toEqual({ constant: 4, fixed: 0, step: 4 + 4 + 1 + 1 })
    for (let run = 0; run < 2; run++) {
      const inputs = { a: uniform(3 + run, 100), b: uniform(5 + run, 100), changing: uniform(7 + run, 100) }
      for (const [name, data] of Object.entries(inputs)) plan.write(name, data)
      plan.run()
      const own = new Map([[packing, (_: object, [x, w]: readonly Float64Array[]) => x.map((v, i) => v + 2 * w[i])]])
      const wants = referenceValues(Object.values(outputs), inputs, own)
      for (const [k, want] of wants.entries())
        expect(relmax(await plan.read(`y${k}`), want), `y${k}`).toBeLessThan(1e-6)
    }
  })

  test('constants that only the first stage reads are freed', async () => {
    const g = graph()
    const rows = g.constant(uniform(1, 1 << 16), [256, 256], 'rows')
    const total = sum(softmax(tanh(transpose(rows))), [1])
    using plan = await compile(gpu, { y: add(g.input('x', [256, 1]), total) })
    // Left are x, y and the sums, 1 KiB each, of 768 KiB and more.
    expect(plan.bytes).toBe(3 * 1024)
    expect(plan.summary().mib).toBe(3 / 1024)
    const inputs = { x: uniform(2, 256) }
    plan.write('x', inputs.x)
    plan.run()
    const [want] = referenceValues([add((g.nodes as GraphTensor[]).find((n) => n.name === 'x')!, total)], inputs)
    expect(relmax(await plan.read('y'), want)).toBeLessThan(1e-5)
  })
})

describe('updates', () => {
  test('carry the state of an iteration from run to run', async () => {
    const g = graph()
    const position = g.input('position', [2])
    const velocity = g.input('velocity', [2])
    const next = affine(velocity, 0.9, 0)
    const moved = add(position, next)
    using plan: Plan = await compile(
      gpu,
      { distance: square(moved) },
      {
        updates: [
          [position, moved],
          [velocity, next],
        ],
      },
    )
    let p = [1, 2]
    let v = [1, -1]
    plan.write('position', Float32Array.from(p))
    plan.write('velocity', Float32Array.from(v))
    for (let step = 0; step < 10; step++) {
      plan.run()
      v = v.map((value) => 0.9 * value)
      p = p.map((value, i) => value + v[i])
    }
    expect(relmax(await plan.read('position'), p)).toBeLessThan(1e-6)
    expect(relmax(await plan.read('velocity'), v)).toBeLessThan(1e-6)
    expect(
      relmax(
        await plan.read('distance'),
        p.map((value) => value ** 2),
      ),
    ).toBeLessThan(1e-6)
    // A state can be set anew.
    plan.write('velocity', Float32Array.of(0, 0))
    plan.run()
    expect(relmax(await plan.read('position'), p)).toBeLessThan(1e-6)
  })

  test('may remember an input, in the order in which nothing is lost', async () => {
    const g = graph()
    const x = g.input('x', [2])
    const last = g.state('last', [2])
    const next = affine(x, 2, 0)
    const outputs = { change: sub(x, last) }
    const forward = [
      [last, x],
      [x, next],
    ] as const
    using plan: Plan = await compile(gpu, outputs, { updates: forward })
    plan.write('x', Float32Array.of(1, 3))
    for (let run = 0; run < 3; run++) plan.run()
    expect(await plan.read('x')).toEqual(Float32Array.of(8, 24))
    expect(await plan.read('last')).toEqual(Float32Array.of(4, 12))
    expect(await plan.read('change')).toEqual(Float32Array.of(2, 6))
    await expect(compile(gpu, outputs, { updates: [...forward].reverse() })).rejects.toThrow(
      /^compile: last takes x, which is updated before; swap the updates/,
    )
  })

  test('of something that is no input, of another size, and two of one input are refused', async () => {
    const g = graph()
    const x = g.input('x', [4])
    const y = tanh(x)
    const c = g.constant(uniform(1, 4), [4], 'c')
    const refused = (updates: CompileOptions['updates'], message: RegExp) =>
      expect(compile(gpu, { y }, { updates })).rejects.toThrow(message)
    await refused([[y, x]], /^compile: x \[4\] cannot update tanh \[4\]; the target must be an input of the same size/)
    await refused([[c, y]], /^compile: tanh \[4\] cannot update c \[4\]/)
    await refused([[x, sum(y)]], /^compile: sum \[1\] cannot update x \[4\]/)
    await refused(
      [
        [x, y],
        [x, square(y)],
      ],
      /^compile: x has two updates/,
    )
  })

  test('of an input with a view of itself do nothing', async () => {
    const g = graph()
    const x = g.input('x', [2, 2])
    using plan: Plan = await compile(gpu, { y: tanh(x) }, { updates: [[x, reshape(x, [4])]] })
    plan.write('x', Float32Array.of(1, 2, 3, 4))
    plan.run()
    await gpu.wait()
    expect(await plan.read('x')).toEqual(Float32Array.of(1, 2, 3, 4))
  })
})
