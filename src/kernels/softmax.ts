/** Softmax and its logarithm over an axis. */
import { exp, mul, sub } from './elementwise.ts'
import { elements, expectShape, formatShape, type Kernel, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { sum } from './reduce.ts'
import { LINEAR, laneReduction, laneSum, linearEntry, linearGrid, rowEntry, rowGrid } from './wgsl.ts'

export interface SoftmaxArgs {
  axis: number
}

/** exp(x) over its sum along an axis (the last unless told), for any finite x. Throws ShapeError where there is no such axis. */
export const softmax = (x: Tensor, axis: number = x.shape.length - 1): Tensor =>
  x.recorder.apply(softmaxOp, [x], { axis })

/** The logarithm of `softmax`, exact also where a share underflows. Throws ShapeError where there is no such axis. */
export const logSoftmax = (x: Tensor, axis: number = x.shape.length - 1): Tensor =>
  x.recorder.apply(logSoftmaxOp, [x], { axis })

export const softmaxOp: Op<SoftmaxArgs> = {
  ...common('softmax', '1.0 / total', 'exp(x[at] - top) * share'),
  backward({ args: { axis }, output: y, gradient: dy }) {
    const weighted = mul(y, dy)
    return [sub(weighted, mul(y, sum(weighted, [axis])))]
  },
}

export const logSoftmaxOp: Op<SoftmaxArgs> = {
  ...common('log_softmax', 'log(total)', 'x[at] - top - share'),
  backward: ({ args: { axis }, output: y, gradient: dy }) => [sub(dy, mul(exp(y), sum(dy, [axis])))],
}

/** What both have in common: `share` is computed once from the row's `total`, `value` for every element of it. */
function common(name: string, share: string, value: string): Omit<Op<SoftmaxArgs>, 'backward'> {
  return {
    name,
    inputs: ['x'],
    shape({ axis }, [x]) {
      expectShape(
        Number.isInteger(axis) && axis >= 0 && axis < x.length,
        `${name}: x ${formatShape(x)} has no axis ${axis}`,
      )
      return x
    },
    cost: (_, [x]) => ({ flop: 20 * elements(x), bytes: 8 * elements(x) }),
    kernels: ({ axis }, [x]) => softmaxKernels(name, share, value, axis, x),
  }
}

function softmaxKernels(label: string, share: string, value: string, axis: number, x: Shape): Kernel[] {
  const count = x[axis]
  const stride = elements(x.slice(axis + 1))
  const rows = elements(x) / count
  const reads = [{ name: 'x', buffer: 0 }] as const
  const writes = [{ name: 'y', buffer: 'output' }] as const
  const params = { rows: u32(rows), count: u32(count), stride: u32(stride) }
  const row = (index: string) => `  let outer = ${index} / p.stride;
  let start = outer * p.count * p.stride + ${index} - outer * p.stride;
  let end = start + p.count * p.stride;`
  const perThread: Kernel = {
    variant: 'thread',
    dispatches: [
      {
        label,
        code: linearEntry(`  if (i >= p.rows) { return; }
${row('i')}
  var top = x[start];
  for (var at = start; at < end; at += p.stride) { top = max(top, x[at]); }
  var total = 0.0;
  for (var at = start; at < end; at += p.stride) { total += exp(x[at] - top); }
  let share = ${share};
  for (var at = start; at < end; at += p.stride) { store(at, 0u, ${value}); }`),
        reads,
        writes,
        params,
        workgroups: linearGrid(rows),
        stores: 'f32',
        flat: true,
      },
    ],
  }
  if (count < 4 * LINEAR) return [perThread]
  const perWorkgroup: Kernel = {
    variant: 'workgroup',
    dispatches: [
      {
        label,
        code: `${laneReduction('largest', 'f32', (a, b) => `max(${a}, ${b})`)}${laneSum('sum')}
${rowEntry(`${row('row')}
  let step = ${LINEAR}u * p.stride;
  var own = x[start];
  for (var at = start + lane * p.stride; at < end; at += step) { own = max(own, x[at]); }
  let top = largest(lane, own);
  var part = 0.0;
  for (var at = start + lane * p.stride; at < end; at += step) { part += exp(x[at] - top); }
  let total = sum(lane, part);
  let share = ${share};
  for (var at = start + lane * p.stride; at < end; at += step) { store(at, 0u, ${value}); }`)}`,
        reads,
        writes,
        params,
        workgroups: rowGrid(rows),
        stores: 'f32',
        flat: true,
      },
    ],
  }
  return [perWorkgroup, perThread]
}
