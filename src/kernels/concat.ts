/** Tensors one after another along an axis. */
import { type Dispatch, elements, expectShape, formatShape, type Op, type Param, type Tensor, u32 } from './op.ts'
import { slice } from './slice.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface ConcatArgs {
  axis: number
}

/**
 * Joins tensors along an axis, in the order given; their other extents are equal.
 * Throws ShapeError where there is no such axis, or an extent differs.
 */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  expectShape(tensors.length > 0, 'concat: takes at least one tensor, got none')
  return tensors.length === 1 ? tensors[0] : tensors[0].recorder.apply(concatOp, tensors, { axis })
}

/** Inputs of one dispatch: with the output they fill the 8 storage buffers that every device offers. */
const INPUTS_PER_DISPATCH = 7

export const concatOp: Op<ConcatArgs> = {
  name: 'concat',
  inputs: ['x...'],
  half: 'follows',
  shape({ axis }, shapes) {
    const [first] = shapes
    expectShape(
      Number.isInteger(axis) && axis >= 0 && axis < first.length,
      `concat: x0 ${formatShape(first)} has no axis ${axis}`,
    )
    shapes.forEach((shape, k) => {
      expectShape(
        shape.length === first.length && shape.every((extent, i) => i === axis || extent === first[i]),
        `concat: x${k} ${formatShape(shape)} differs from x0 ${formatShape(first)} in more than axis ${axis}`,
      )
    })
    return first.with(
      axis,
      shapes.reduce((n, shape) => n + shape[axis], 0),
    )
  },
  cost: (_, shapes) => ({ flop: 0, bytes: shapes.reduce((n, shape) => n + 8 * elements(shape), 0) }),
  kernels({ axis }, shapes) {
    // Row-major memory is `outer` runs; a run of the output is one run of every input after the other.
    const runs = shapes.map((shape) => elements(shape.slice(axis)))
    const wide = runs.every((run) => run % 4 === 0)
    const unit = wide ? 4 : 1
    const type = wide ? 'vec4f' : 'f32'
    const total = runs.reduce((n, run) => n + run, 0)
    const outer = elements(shapes[0].slice(0, axis))
    const dispatches: Dispatch[] = []
    let offset = 0
    for (let first = 0; first < runs.length; first += INPUTS_PER_DISPATCH) {
      const part = runs.slice(first, first + INPUTS_PER_DISPATCH)
      const params: Record<string, Param> = { total: u32(total / unit) }
      part.forEach((run, k) => {
        params[`count${k}`] = u32((outer * run) / unit)
        params[`run${k}`] = u32(run / unit)
        params[`offset${k}`] = u32(offset / unit)
        offset += run
      })
      const copy = (_: number, k: number) => `    case ${k}u: {
      if (i < p.count${k}) { let o = i / p.run${k}; y[o * p.total + p.offset${k} + i - o * p.run${k}] = x${k}[i]; }
    }`
      const [gridX, gridY] = linearGrid((outer * Math.max(...part)) / unit)
      dispatches.push({
        label: 'concat',
        code: linearEntry(`  switch group.z {\n${part.map(copy).join('\n')}\n    default: {}\n  }`),
        reads: part.map((_, k) => ({ name: `x${k}`, buffer: first + k, type })),
        writes: [{ name: 'y', buffer: 'output', type }],
        params,
        workgroups: [gridX, gridY, part.length],
      })
    }
    return [{ variant: wide ? 'vec4' : 'scalar', dispatches }]
  },
  backward({ args: { axis }, inputs, gradient, wanted }) {
    let start = 0
    return inputs.map((input, k) => {
      const end = start + input.shape[axis]
      const part = wanted[k] ? slice(gradient, axis, start, end) : undefined
      start = end
      return part
    })
  },
}
