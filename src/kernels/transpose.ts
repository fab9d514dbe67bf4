/** The same elements with the axes in another order. */
import { elements, expectShape, formatShape, type Op, type Param, type Shape, type Tensor, u32 } from './op.ts'
import { reshape } from './reshape.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface TransposeArgs {
  /** Axis of the input that becomes the i-th axis of the output. */
  permutation: readonly number[]
}

/**
 * The axes of `x` reordered: axis i of the result is axis `permutation[i]` of x, as in NumPy; reversed unless told. Where
 * only axes of extent 1 move it is a view. Throws ShapeError where `permutation` does not name every axis once.
 */
export function transpose(x: Tensor, permutation: readonly number[] = x.shape.map((_, i) => i).reverse()): Tensor {
  const shape = transposedShape({ permutation }, [x.shape])
  const moved = permutation.filter((axis) => x.shape[axis] !== 1)
  if (moved.every((axis, i) => i === 0 || axis > moved[i - 1])) return reshape(x, shape)
  return x.recorder.apply(transposeOp, [x], { permutation })
}

export function transposedShape({ permutation }: TransposeArgs, [x]: readonly Shape[]): Shape {
  expectShape(
    permutation.length === x.length && x.every((_, axis) => permutation.includes(axis)),
    `transpose: ${formatShape(permutation)} is no permutation of the axes of x ${formatShape(x)}`,
  )
  return permutation.map((axis) => x[axis])
}

export const transposeOp: Op<TransposeArgs> = {
  name: 'transpose',
  inputs: ['x'],
  half: 'follows',
  shape: transposedShape,
  cost: (_, [x]) => ({ flop: 0, bytes: 8 * elements(x) }),
  kernels({ permutation }, [x]) {
    const dims = outputDims(permutation, x)
    const wide = dims.at(-1)!.stride === 1 && dims.at(-1)!.extent % 4 === 0
    const unit = wide ? 4 : 1
    const count = elements(x) / unit
    const params: Record<string, Param> = { count: u32(count) }
    const lines = ['var rest = i; var at = 0u;']
    for (let d = dims.length - 1; d >= 0; d--) {
      const last = d === dims.length - 1
      params[`s${d}`] = u32(last && wide ? 1 : dims[d].stride / unit)
      if (d === 0) {
        lines.push('at += rest * p.s0;')
        continue
      }
      params[`e${d}`] = u32(last ? dims[d].extent / unit : dims[d].extent)
      lines.push(`at += rest % p.e${d} * p.s${d}; rest = rest / p.e${d};`)
    }
    const type = wide ? 'vec4f' : 'f32'
    return [
      {
        variant: wide ? 'vec4' : 'scalar',
        dispatches: [
          {
            label: 'transpose',
            code: linearEntry(`  if (i >= p.count) { return; }\n  ${lines.join('\n  ')}\n  store(i, 0u, x[at]);`),
            reads: [{ name: 'x', buffer: 0, type }],
            writes: [{ name: 'y', buffer: 'output', type }],
            params,
            workgroups: linearGrid(count),
            stores: type,
            flat: true,
          },
        ],
      },
    ]
  },
  backward: ({ args: { permutation }, gradient }) => [
    transpose(
      gradient,
      permutation.map((_, axis) => permutation.indexOf(axis)),
    ),
  ],
}

/** Axes of the output with their strides in the input; neighbours in both are merged, so few divisions are left. */
function outputDims(permutation: readonly number[], x: Shape): { extent: number; stride: number }[] {
  const dims: { extent: number; stride: number }[] = []
  for (const axis of permutation) {
    const extent = x[axis]
    const stride = elements(x.slice(axis + 1))
    if (extent === 1) continue
    const outer = dims.at(-1)
    if (outer && outer.stride === stride * extent) {
      outer.extent *= extent
      outer.stride = stride
    } else dims.push({ extent, stride })
  }
  return dims.length > 0 ? dims : [{ extent: 1, stride: 1 }]
}
