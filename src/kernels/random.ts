/** Numbers that look drawn but follow from a seed, a counter and their place: the same on every adapter. */
import { affine, greaterEqual, mul } from './elementwise.ts'
import { elements, type Op, type Operand, type Shape, type Tensor, tensorsOf, u32 } from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface RandomArgs {
  shape: Shape
  seed: number
}

/**
 * Uniform numbers in [0, 1), of 24 bits.
 * @param counter a scalar, a whole number up to 2^24: other numbers for each. A state with `[step, add(step, 1)]` among the updates gives
 * others in each run
 * @param seed a whole number of 32 bits
 */
export const randomUniform = (counter: Tensor, shape: Shape, seed = 1): Tensor =>
  counter.recorder.apply(randomOp, [counter], { shape, seed })

/**
 * Each element 0 with probability `rate`, else divided by 1 - rate (Srivastava et al., JMLR 2014). The gradient flows through what is left.
 * @param counter as for `randomUniform`; a number leaves out the same elements in every run
 * @throws RangeError where the rate is not from 0 to below 1
 */
export function dropout(x: Tensor, rate: number, counter: Operand, seed = 1): Tensor {
  if (!(rate >= 0 && rate < 1)) throw new RangeError(`dropout: rate ${rate} is not from 0 to below 1`)
  const [, place] = tensorsOf('dropout', [x, counter])
  return mul(x, affine(greaterEqual(randomUniform(place, x.shape, seed), rate), 1 / (1 - rate), 0))
}

export const randomOp: Op<RandomArgs> = {
  name: 'random_uniform',
  inputs: ['counter'],
  detached: true,
  shape: ({ shape }) => shape,
  cost: ({ shape }) => ({ flop: 20 * elements(shape), bytes: 4 * elements(shape) }),
  kernels({ shape, seed }) {
    const count = elements(shape)
    return [
      {
        variant: 'element',
        dispatches: [
          {
            label: 'random_uniform',
            code: `fn pcg(word: u32) -> u32 {
  let state = word * 747796405u + 2891336453u;
  let mixed = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (mixed >> 22u) ^ mixed;
}
${linearEntry(`  if (i >= p.count) { return; }
  let word = pcg(i + pcg(u32(counter[0]) + pcg(p.seed)));
  store(i, 0u, f32(word >> 8u) / 16777216.0);`)}`,
            reads: [{ name: 'counter', buffer: 0 }],
            writes: [{ name: 'y', buffer: 'output' }],
            params: { count: u32(count), seed: u32(seed >>> 0) },
            workgroups: linearGrid(count),
            stores: 'f32',
            flat: true,
          },
        ],
      },
    ]
  },
}
