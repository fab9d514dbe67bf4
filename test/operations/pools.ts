/** The operations of src/kernels/pools.ts in float64, and their cases. */
import type { PoolArgs, PoolGeometry } from '../../src/kernels/pool-window.ts'
/** What pools look at, for their references. */
/** Calls `visit` with the flat index of every output, and the clipped ranges of rows and columns of its window. */
export function forEachWindow(
  { planes, ih, iw, oh, ow }: PoolGeometry,
  { kernel, stride, padding }: PoolArgs,
  visit: (index: number, plane: number, rows: readonly [number, number], columns: readonly [number, number]) => void,
): void {
  const range = (o: number, axis: 0 | 1, extent: number): [number, number] => {
    const start = o * stride[axis] - padding[axis]
    return [Math.max(start, 0), Math.min(start + kernel[axis], extent)]
  }
  let index = 0
  for (let plane = 0; plane < planes; plane++) {
    for (let oy = 0; oy < oh; oy++) {
      for (let ox = 0; ox < ow; ox++) visit(index++, plane * ih * iw, range(oy, 0, ih), range(ox, 1, iw))
    }
  }
}
