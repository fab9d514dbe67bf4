/** Compilation before the first run, and fused kernels that are one where they differ in what they write alone. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Gpu } from '../../src/device/node.ts'
import { compileEarly } from '../../src/graph/early.ts'
import type { WrittenBefore } from '../../src/graph/fuse.ts'
import { compile, type GraphTensor, grad, graph } from '../../src/graph/index.ts'
import { lower, offerKernels, reachable } from '../../src/graph/lower.ts'
import { acquire } from '../../src/graph/node.ts'
import { conv2d, prelu, square, sum } from '../../src/kernels/index.ts'
import { type Dispatch, type Tensor, u32 } from '../../src/kernels/op.ts'
import { pointwise } from '../../src/kernels/pointwise.ts'
import { linearEntry, linearGrid, shaderSource } from '../../src/kernels/wgsl.ts'

let gpu: Gpu
beforeAll(async () => {
  gpu = await acquire({ gpu: process.env.LOWKEY_GPU })
})
afterAll(() => gpu.destroy())

/** Shaders that no cache has. */
const strangers = (count: number): Dispatch[] =>
  Array.from({ length: count }, (_, k) => ({
    label: `stranger ${k}`,
    code: linearEntry(`  if (i < p.count) { y[i] = x[i] * ${Math.random()} + ${k}.5; }`),
    reads: [{ name: 'x', buffer: 0 }],
    writes: [{ name: 'y', buffer: 'output' }],
    params: { count: u32(8) },
    workgroups: linearGrid(8),
  }))

describe('compileEarly', () => {
  test('compiles every shader once and tells of it, where the driver would do so at the first run', async () => {
    const dispatches = strangers(12)
    const told: [number, number][] = []
    const onProgress = (done: number, total: number) => told.push([done, total])
    await compileEarly(gpu, [...dispatches, ...dispatches], { onProgress })
    await gpu.wait()
    if (gpu.capabilities.driver !== 'lavapipe') {
      expect(told).toEqual([])
      return
    }
    // It begins with the first that was not as quick as if it had been in the cache; nothing is told where all were.
    expect(told).toEqual(Array.from({ length: 12 }, (_, k) => [k + 1, 12]).slice(12 - told.length))
    const before = told.length
    await compileEarly(gpu, dispatches, { onProgress })
    expect(told).toHaveLength(before)
  })

  test('does so in the background, and on a device that ends meanwhile', async () => {
    const own = await acquire({ gpu: process.env.LOWKEY_GPU })
    await compileEarly(own, strangers(6), { background: true })
    await own.wait()
    const interrupted = compileEarly(own, strangers(6)).then(
      () => 'done',
      (error: Error) => error.name,
    )
    own.destroy()
    expect(['done', 'DeviceLostError']).toContain(await interrupted)
  })
})

test('is what compile has done on a device that Node opens, where the driver compiles late', async () => {
  using own = await acquire({ gpu: process.env.LOWKEY_GPU })
  const asked = vi.spyOn(own, 'sibling')
  const g = graph()
  // Kernels that nobody has compiled, and that differ in length, so that none is fused with another.
  const outputs = Array.from({ length: 6 }, (_, k) => {
    const op = pointwise('stranger', { inputs: ['x'], value: ['mul', 'x', Math.random()] })
    return [`y${k}`, g.apply(op, [g.input(`x${k}`, [k + 3])], {})] as const
  })
  using _ = await compile(own, Object.fromEntries(outputs))
  expect(asked).toHaveBeenCalledTimes(own.capabilities.driver === 'lavapipe' ? 1 : 0)
})

describe('kernels that write alike', () => {
  /** A layer whose gradient is wanted, which needs the value before the activation, and the same layer on a photo that stays. */
  const record = () => {
    const g = graph()
    const weights = g.constant(
      Float32Array.from({ length: 32 * 16 }, (_, i) => Math.sin(i)),
      [32, 16, 1, 1],
    )
    const slope = g.constant(
      Float32Array.from({ length: 32 }, (_, i) => i / 64),
      [32, 1, 1],
    )
    const layer = (x: ReturnType<typeof g.input>) => prelu(conv2d(x, weights), slope)
    const x = g.input('x', [1, 16, 8, 8])
    const kept = layer(g.fixed('photo', [2, 16, 8, 8]))
    // Another convolution follows, as in a network: the gradient comes through it, and cannot ride in the store of the first.
    const seen = conv2d(layer(x), g.constant(new Float32Array(4 * 32).fill(0.1), [4, 32, 1, 1]))
    const [gradient] = grad(sum(square(seen)), [x])
    return { kept, seen, gradient }
  }

  test('are one shader', async () => {
    const { kept, seen, gradient } = record()
    const roots = [kept, seen, gradient] as readonly Tensor[] as readonly GraphTensor[]
    const offers = await offerKernels(reachable(roots), gpu.capabilities)
    const shaders = (written?: WrittenBefore) =>
      new Set(lower(roots, gpu.capabilities, { offers, written }).placed.map(({ dispatch }) => shaderSource(dispatch)))
        .size
    const known: WrittenBefore = new Map()
    expect(shaders(known)).toBe(shaders() - 1)
    // A plan that comes later takes over what those before it wrote.
    const later = lower([kept] as readonly Tensor[] as readonly GraphTensor[], gpu.capabilities, {
      offers,
      written: known,
    })
    expect(later.placed.at(-1)!.writes).toHaveLength(2)
  })

  test('give the same numbers', async () => {
    const run = async (fuse: boolean) => {
      const { kept, seen, gradient } = record()
      const plan = await compile(gpu, { kept, seen, gradient }, { fuse, poison: true })
      plan.write(
        'photo',
        Float32Array.from({ length: 2048 }, (_, i) => Math.cos(i)),
      )
      plan.write(
        'x',
        Float32Array.from({ length: 1024 }, (_, i) => Math.cos(3 * i)),
      )
      plan.run()
      return Promise.all((['kept', 'seen', 'gradient'] as const).map((name) => plan.read(name)))
    }
    const [fused, plain] = [await run(true), await run(false)]
    fused.forEach((values, k) => {
      expect(values.every(Number.isFinite)).toBe(true)
      expect(values).toEqual(plain[k])
    })
  })
})
