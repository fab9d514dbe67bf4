/** What tests of f16 tensors need: numbers that f16 has, and copies of tensors in memory of their own. */
import type { Capabilities, Gpu } from '../../src/device/gpu.ts'
import { elements, type Op, type Tensor, u32 } from '../../src/kernels/op.ts'
import { linearEntry, linearGrid } from '../../src/kernels/wgsl.ts'

/** Rounding to the nearest number of f16, which Node has and TypeScript's ES2023 does not know. */
export const { f16round } = Math as Math & { f16round(value: number): number }

/** Drivers may round a number to f16 by cutting it off: it is off by less than a unit of its last place, 2^-10 of itself. */
export const ROUNDING = 2 ** -10

/** A copy that nothing is fused with. */
const copy = (half?: 'always'): Op<object> => ({
  name: half ? 'half_copy' : 'copy',
  inputs: ['x'],
  half,
  shape: (_, [x]) => x,
  cost: (_, [x]) => ({ flop: 0, bytes: 8 * elements(x) }),
  kernels: (_, [x]) => [
    {
      variant: 'copy',
      dispatches: [
        {
          label: 'copy',
          code: linearEntry('  if (i < p.count) { y[i] = x[i]; }'),
          reads: [{ name: 'x', buffer: 0 }],
          writes: [{ name: 'y', buffer: 'output' }],
          params: { count: u32(elements(x)) },
          workgroups: linearGrid(elements(x)),
        },
      ],
    },
  ],
})
const ops = { half: copy('always'), single: copy() }

/** The tensor kept in f16, where a plan's `storage` is f16. */
export const halfCopy = (x: Tensor): Tensor => x.recorder.apply(ops.half, [x], {})

/** The tensor in f32, so that the one given is no output of the plan. */
export const singleCopy = (x: Tensor): Tensor => x.recorder.apply(ops.single, [x], {})

/** The device, as if its adapter had other capabilities. */
export const pretending = (gpu: Gpu, other: Partial<Capabilities>): Gpu => {
  const capabilities = { ...gpu.capabilities, ...other }
  return new Proxy(gpu, {
    get(target, key) {
      if (key === 'capabilities') return capabilities
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
