/** Poisoned plans see what drivers that clamp indices hide; and a compile that fails leaves nothing behind. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { compile, graph } from '../../src/graph/index.ts'
import { mul, relu, tanh } from '../../src/kernels/index.ts'
import { elements, type Op, u32 } from '../../src/kernels/op.ts'
import { linearEntry, linearGrid } from '../../src/kernels/wgsl.ts'
import { testGpu } from '../support/gpu.ts'
import { uniform } from '../support/random.ts'

const gpu = await testGpu()
afterEach(() => vi.restoreAllMocks())

/** 2 x, by a kernel of this body. */
const doubling = (body: string, scratch?: number[]): Op<object> => ({
  name: 'doubling',
  inputs: ['x'],
  shape: (_, [x]) => x,
  cost: (_, [x]) => ({ flop: elements(x), bytes: 8 * elements(x) }),
  kernels: (_, [x]) => [
    {
      variant: 'only',
      scratch,
      dispatches: [
        {
          label: 'doubling',
          code: linearEntry(`  ${body}`),
          reads: [{ name: 'x', buffer: 0 }],
          writes: [{ name: 'y', buffer: 'output' }, ...(scratch ? [{ name: 's', buffer: 'scratch0' as const }] : [])],
          params: { count: u32(elements(x)) },
          workgroups: linearGrid(elements(x) + 64),
        },
      ],
    },
  ],
})

async function result(op: Op<object>, count: number): Promise<Float32Array> {
  const g = graph()
  const y = g.apply(op, [g.input('x', [count])], {}, 'layer')
  using plan = await compile(gpu, { y }, { poison: true })
  return (await plan.run({ x: uniform(1, count) })).y
}

describe('a poisoned plan', () => {
  test('says nothing of a kernel that stays inside', async () => {
    const right = doubling('if (i < p.count) { y[i] = 2.0 * x[i]; }')
    for (const count of [1, 15, 16, 64, 1000]) {
      expect(await result(right, count)).toEqual(uniform(1, count).map((v) => 2 * v))
    }
  })

  test('sees one element, or a whole workgroup, written past the end', async () => {
    const byOne = doubling('if (i <= p.count) { y[i] = 2.0 * x[min(i, p.count - 1u)]; }')
    await expect(result(byOne, 64)).rejects.toThrow(/^a kernel wrote past the end of layer: 0 bytes behind its 256$/)
    const unchecked = doubling('y[i] = 2.0 * x[i] + f32(p.count) * 0.0;')
    await expect(result(unchecked, 64)).rejects.toThrow(/^a kernel wrote past the end of layer/)
  })

  test('sees copies of what is behind the input', async () => {
    await expect(result(doubling('if (i < p.count + 8u) { y[i] = x[i]; }'), 16)).rejects.toThrow(
      /past the end of layer/,
    )
  })

  test('sees it in scratch buffers, and gives NaN for what is read past the end', async () => {
    const scratch = doubling('if (i < p.count) { y[i] = 2.0 * x[i]; s[i] = 1.0; }', [16])
    await expect(result(scratch, 64)).rejects.toThrow(/^a kernel wrote past the end of layer#0/)
    const reading = doubling('if (i < p.count) { y[i] = 2.0 * x[i + 1u]; }')
    const got = await result(reading, 64)
    expect(got.slice(0, 63).every(Number.isFinite)).toBe(true)
    expect(got[63]).toBeNaN()
  })

  test('sees it while constants are computed', async () => {
    const g = graph()
    const op = doubling('y[i] = 2.0 * x[min(i, p.count - 1u)];')
    const y = g.apply(op, [g.constant(uniform(1, 64), [64])], {}, 'packing')
    await expect(compile(gpu, { y: tanh(y) }, { poison: true })).rejects.toThrow(/past the end of packing/)
  })
})

describe('a compile that fails', () => {
  /** Buffers made and not destroyed since; the making of one of them may fail. */
  function living(failing?: number) {
    const made: GPUBuffer[] = []
    const gone = new Set<GPUBuffer>()
    const device = Object.getPrototypeOf(gpu.device)
    const { createBuffer } = device
    vi.spyOn(device, 'createBuffer').mockImplementation(function (this: GPUDevice, ...args: unknown[]) {
      if (made.length === failing) throw new RangeError('no createBuffer today')
      const buffer = createBuffer.apply(this, args) as GPUBuffer
      made.push(buffer)
      const { destroy } = buffer
      buffer.destroy = () => {
        gone.add(buffer)
        return destroy.call(buffer)
      }
      return buffer
    })
    return { made, left: () => made.filter((buffer) => !gone.has(buffer)).length }
  }

  const record = () => {
    const g = graph()
    const weights = tanh(g.constant(uniform(1, 64), [64]))
    const doubled = g.apply(doubling('if (i < p.count) { y[i] = 2.0 * x[i]; }'), [g.input('x', [64])], {})
    return relu(mul(doubled, weights))
  }

  /** What compilation calls from its first buffer to the plan, by the objects that have it. */
  const calls = () => {
    const { device } = gpu
    const probe = device.createBuffer({ size: 16, usage: 8, mappedAtCreation: true })
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    const of = (object: object, ...names: string[]) =>
      names.map((name) => [Object.getPrototypeOf(object), name] as const)
    const all = [
      ...of(device, 'createBuffer', 'createBindGroup', 'createCommandEncoder', 'pushErrorScope'),
      ...of(device.queue, 'submit'),
      ...of(probe, 'getMappedRange', 'unmap'),
      ...of(encoder, 'beginComputePass', 'finish'),
      ...of(pass, 'setPipeline', 'setBindGroup', 'dispatchWorkgroups', 'end'),
    ]
    pass.end()
    encoder.finish()
    probe.destroy()
    return all
  }

  test('at any call between its first buffer and the plan frees them all, and leaves no error scope behind', async () => {
    const failed: string[] = []
    for (const [owner, name] of calls()) {
      for (let k = 0; ; k++) {
        const y = record()
        const { left } = living()
        const original = owner[name]
        let count = 0
        owner[name] = function (this: object, ...args: unknown[]) {
          if (count++ === k) throw new RangeError(`no ${name} today`)
          return original.apply(this, args)
        }
        const outcome = await compile(gpu, { y }, { fuse: false }).catch((error: Error) => error)
        owner[name] = original
        vi.restoreAllMocks()
        if (outcome instanceof Error) {
          expect(outcome.message, name).toBe(`no ${name} today`)
          failed.push(name)
        } else outcome.destroy()
        expect(left(), `${name}, call ${k}`).toBe(0)
        // The scope of this test is the innermost one: nothing was left on the stack above it.
        gpu.device.pushErrorScope('validation')
        expect(await gpu.device.popErrorScope()).toBeNull()
        await expect(gpu.device.popErrorScope()).rejects.toThrow()
        if (!(outcome instanceof Error)) break
      }
    }
    for (const name of ['createBuffer', 'createBindGroup', 'createCommandEncoder', 'submit', 'getMappedRange'])
      expect(failed, name).toContain(name)
    expect(failed.length).toBeGreaterThan(15)
  })

  test('of a plan that works all are freed by destroy', async () => {
    const { made, left } = living()
    const plan = await compile(gpu, { y: record() })
    await plan.run({ x: uniform(1, 64) })
    expect(left()).toBeGreaterThan(0)
    plan.destroy()
    expect(made.length).toBeGreaterThan(2)
    expect(left()).toBe(0)
  })
})
