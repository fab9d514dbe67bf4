/** Operations and ways to run them, for the tests of graph and plans. */
import { vi } from 'vitest'
import type { Capabilities, Gpu } from '../../src/device/gpu.ts'
import { type CompileOptions, compile, type Plan } from '../../src/graph/index.ts'
import { elements, type Op, type Tensor, u32 } from '../../src/kernels/op.ts'
import { linearEntry, linearGrid } from '../../src/kernels/wgsl.ts'
import { testGpu } from './gpu.ts'

export const gpu = await testGpu()

/** An operation of this file, 2 x + 1; further inputs are not read. */
export const doubled = (fields: Partial<Op<object>> = {}): Op<object> => ({
  name: 'doubled',
  inputs: ['x'],
  shape: (_, [x]) => x,
  cost: (_, [x]) => ({ flop: elements(x), bytes: 8 * elements(x) }),
  kernels: (_, [x]) => [
    {
      variant: 'only',
      dispatches: [
        {
          label: 'doubled',
          code: linearEntry('  if (i < p.count) { y[i] = 2.0 * x[i] + 1.0; }'),
          reads: [{ name: 'x', buffer: 0 }],
          writes: [{ name: 'y', buffer: 'output' }],
          params: { count: u32(elements(x)) },
          workgroups: linearGrid(elements(x)),
        },
      ],
    },
  ],
  ...fields,
})

/** The same device with other facts. Only what is refused before anything runs may be tried on it. */
export const withFacts = (facts: Partial<Capabilities>): Gpu =>
  Object.create(gpu, { capabilities: { value: { ...gpu.capabilities, ...facts } }, kept: { value: new Map() } })

/** Compiles, writes and runs; the outputs by name. */
export async function results(
  outputs: Readonly<Record<string, Tensor>>,
  inputs: Readonly<Record<string, Float32Array>> = {},
  options: CompileOptions = {},
): Promise<Record<string, Float32Array>> {
  using plan = await compile(gpu, outputs, options)
  for (const [name, data] of Object.entries(inputs)) if (plan.has(name)) plan.write(name, data)
  plan.run()
  return await readAll(plan, Object.keys(outputs))
}

export async function readAll(plan: Plan, names: readonly string[]): Promise<Record<string, Float32Array>> {
  const values: Record<string, Float32Array> = {}
  for (const name of names) values[name] = await plan.read(name)
  return values
}

/** Counts the dispatches and submissions from here on. */
export function spies() {
  const encoder = gpu.device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.end()
  return {
    dispatches: vi.spyOn(Object.getPrototypeOf(pass), 'dispatchWorkgroups'),
    submissions: vi.spyOn(Object.getPrototypeOf(gpu.device.queue), 'submit'),
    buffers: vi.spyOn(Object.getPrototypeOf(gpu.device), 'createBuffer'),
  }
}
