/** A range of an axis, and its adjoint: the same elements among zeros. */
import { elements, expectShape, formatShape, type Kernel, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface SliceArgs {
  axis: number
  /** First index taken. */
  start: number
  /** One past the last index taken. */
  end: number
}

/** Elements `start` to `end` (not included) of an axis; throws ShapeError where they are no range of it. */
export const slice = (x: Tensor, axis: number, start: number, end: number): Tensor =>
  start === 0 && end === x.shape[axis] ? x : x.recorder.apply(sliceOp, [x], { axis, start, end })

export const sliceOp: Op<SliceArgs> = {
  name: 'slice',
  inputs: ['x'],
  half: 'follows',
  shape({ axis, start, end }, [x]) {
    expectShape(
      Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start < end && end <= x[axis],
      `slice: ${start} to ${end} is no range of axis ${axis} of x ${formatShape(x)}`,
    )
    return x.with(axis, end - start)
  },
  cost: ({ axis, start, end }, [x]) => ({ flop: 0, bytes: (8 * elements(x) * (end - start)) / x[axis] }),
  kernels: ({ axis, start, end }, [x]) => [rangeKernel('slice', x, axis, start, end)],
  backward: ({ args: { axis, start }, inputs: [x], gradient }) => [
    gradient.recorder.apply(sliceGradientOp, [gradient], { axis, start, extent: x.shape[axis] }),
  ],
}

export interface SliceGradientArgs {
  axis: number
  /** Index at which `x` begins in the output. */
  start: number
  /** Extent of the output's axis. */
  extent: number
}

/** The gradient of `slice`: x at `start` along the axis, zeros before and after it. */
export const sliceGradientOp: Op<SliceGradientArgs> = {
  name: 'slice.dx',
  inputs: ['dy'],
  half: 'follows',
  shape({ axis, start, extent }, [dy]) {
    expectShape(
      start >= 0 && start + dy[axis] <= extent,
      `slice.dx: dy ${formatShape(dy)} at ${start} does not fit an axis ${axis} of ${extent}`,
    )
    return dy.with(axis, extent)
  },
  cost: ({ axis, extent }, [dy]) => ({ flop: 0, bytes: 4 * elements(dy) * (1 + extent / dy[axis]) }),
  kernels: ({ axis, start, extent }, [dy]) => [
    rangeKernel('slice.dx', dy.with(axis, extent), axis, start, start + dy[axis]),
  ],
  backward: ({ args: { axis, start }, inputs: [dy], gradient }) => [
    slice(gradient, axis, start, start + dy.shape[axis]),
  ],
}

/** Copies between a tensor of shape `whole` and the range of its axis, out of it (slice) or into zeros (slice.dx). */
function rangeKernel(label: 'slice' | 'slice.dx', whole: Shape, axis: number, start: number, end: number): Kernel {
  // Row-major memory is `outer` runs of `long` elements; the range is `short` neighbours in each, `offset` from its start.
  const inner = elements(whole.slice(axis + 1))
  const long = whole[axis] * inner
  const short = (end - start) * inner
  const offset = start * inner
  const wide = [long, short, offset].every((n) => n % 4 === 0)
  const unit = wide ? 4 : 1
  const type = wide ? 'vec4f' : 'f32'
  const count = (elements(whole) / long) * (label === 'slice' ? short : long)
  const body =
    label === 'slice'
      ? `  let outer = i / p.short;
  store(i, 0u, x[outer * p.long + p.offset + i - outer * p.short]);`
      : `  let outer = i / p.long;
  let at = i - outer * p.long;
  var value = ${type}(0);
  if (at >= p.offset && at - p.offset < p.short) { value = x[outer * p.short + at - p.offset]; }
  store(i, 0u, value);`
  return {
    variant: wide ? 'vec4' : 'scalar',
    dispatches: [
      {
        label,
        code: linearEntry(`  if (i >= p.count) { return; }\n${body}`),
        reads: [{ name: 'x', buffer: 0, type }],
        writes: [{ name: 'y', buffer: 'output', type }],
        params: {
          count: u32(count / unit),
          long: u32(long / unit),
          short: u32(short / unit),
          offset: u32(offset / unit),
        },
        workgroups: linearGrid(count / unit),
        stores: type,
        flat: true,
      },
    ],
  }
}
