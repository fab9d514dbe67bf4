/** Kernels that compute the same, right and wrong, for the tests of the choice among them. */
import type { Capabilities, Gpu } from '../../src/device/gpu.ts'
import { type Dispatch, f32, type Kernel, u32 } from '../../src/kernels/op.ts'
import { linearEntry, linearGrid, usedParams } from '../../src/kernels/wgsl.ts'
import { testGpu } from './gpu.ts'
import { uniform } from './random.ts'

export const gpu = await testGpu()

export const COUNT = 4096

/** Ways to compute 2 x + 1, right and wrong ones. `loops` makes one slower without changing the result. */
export const BODY = {
  plain: 'y[i] = 2.0 * x[i] + 1.0;',
  slow: 'var v = x[i]; for (var k = 0u; k < p.loops; k++) { v = fma(v, p.one, 0.0); } y[i] = 2.0 * v + 1.0;',
  rounded: 'y[i] = 2.0 * x[i] + 1.003;',
  wrong: 'y[i] = 2.0 * x[i] + 1.01;',
  nan: 'y[i] = 2.0 * x[i] + 1.0; if (i == 77u) { y[i] = bitcast<f32>(p.nan); }',
  partial: 'if (i != 5u) { y[i] = 2.0 * x[i] + 1.0; }',
  broken: 'y[i] = 2.0 * x[j] + 1.0;',
  drifting: 'y[i] = 2.0 * x[i] + 1.0; if (calls[0] == 7.0) { y[i] += 1e-6; }',
} as const

export type Variant = keyof typeof BODY

export function kernel(variant: Variant, rival: boolean): Kernel {
  const body = BODY[variant]
  const drifting = variant === 'drifting'
  const calls = { name: 'calls', buffer: 'scratch0' as const }
  return {
    variant,
    rival,
    scratch: drifting ? [4] : undefined,
    dispatches: [
      {
        label: variant,
        code: linearEntry(`  if (i < p.count) { ${body} }`),
        reads: [{ name: 'x', buffer: 0 }, ...(drifting ? [calls] : [])],
        writes: [{ name: 'y', buffer: 'output' }],
        params: usedParams(`p.count ${body}`, {
          count: u32(COUNT),
          loops: u32(4000),
          one: f32(1),
          nan: u32(0x7fc00000),
        }),
        workgroups: linearGrid(COUNT),
      },
      ...(drifting ? [countCalls] : []),
    ],
  }
}

/** Leaves behind in memory that there was a run; it reads x so that it is part of each. */
export const countCalls: Dispatch = {
  label: 'calls',
  code: linearEntry('  if (i == 0u) { calls[i] = select(7.0, x[i], x[i] > 1000.0); }'),
  reads: [{ name: 'x', buffer: 0 }],
  writes: [{ name: 'calls', buffer: 'scratch0' }],
  workgroups: [1, 1, 1],
}

export const x = uniform(3, COUNT)

/** The same device with other facts, and nothing kept for it yet. */
export const withFacts = (facts: Partial<Capabilities>): Gpu =>
  Object.create(gpu, {
    capabilities: { value: { ...gpu.capabilities, ...facts } },
    tuning: { value: (facts.software ?? gpu.capabilities.software) ? false : new Map(), writable: true },
    kept: { value: new Map() },
    device: { value: gpu.device },
    wait: { value: () => gpu.wait() },
    settle: { value: (promise: Promise<unknown>) => gpu.settle(promise) },
  })
