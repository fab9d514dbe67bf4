/** A tensor as a constant for differentiation. */
import type { Op, Tensor } from './op.ts'

/** The same values, through which no gradient flows; a view. */
export const detach = (x: Tensor): Tensor => x.recorder.apply(detachOp, [x], {})

export const detachOp: Op<Record<never, never>> = {
  name: 'detach',
  inputs: ['x'],
  view: true,
  detached: true,
  shape: (_, [x]) => x,
  cost: () => ({ flop: 0, bytes: 0 }),
  kernels: () => [],
}
