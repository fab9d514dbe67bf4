/** Broadcasting as in NumPy, and the smallest set of loop dimensions that describes it. */
import { elements, expectShape, formatShape, type Shape } from './op.ts'

/** The common shape of broadcast operands; throws ShapeError where an axis differs and neither extent is 1. */
export function broadcastShape(shapes: readonly Shape[]): Shape {
  const rank = Math.max(...shapes.map((s) => s.length))
  const out = new Array<number>(rank).fill(1)
  for (const shape of shapes) {
    shape.forEach((extent, i) => {
      const axis = rank - shape.length + i
      expectShape(
        extent === out[axis] || extent === 1 || out[axis] === 1,
        `shapes ${shapes.map(formatShape).join(' and ')} do not broadcast: axis ${axis} is ${out[axis]} and ${extent}`,
      )
      if (extent !== 1) out[axis] = extent
    })
  }
  return out
}

/** One merged loop dimension: its extent, and for each operand whether it advances along it. */
export interface LoopDim {
  extent: number
  varies: readonly boolean[]
}

/** Output axes merged where every operand behaves alike; axes of extent 1 vanish. */
export function mergedDims(output: Shape, operands: readonly Shape[]): LoopDim[] {
  const dims: LoopDim[] = []
  output.forEach((extent, axis) => {
    if (extent === 1) return
    const varies = operands.map((shape) => {
      const i = axis - (output.length - shape.length)
      return i >= 0 && shape[i] !== 1
    })
    const last = dims.at(-1)
    if (last?.varies.every((v, k) => v === varies[k])) last.extent *= extent
    else dims.push({ extent, varies })
  })
  return dims.length > 0 ? dims : [{ extent: 1, varies: operands.map(() => true) }]
}

/** Element strides of operand `k` along merged dimensions; 0 where it is broadcast. */
export function operandStrides(dims: readonly LoopDim[], k: number): number[] {
  const strides = new Array<number>(dims.length).fill(0)
  let step = 1
  for (let d = dims.length - 1; d >= 0; d--) {
    if (!dims[d].varies[k]) continue
    strides[d] = step
    step *= dims[d].extent
  }
  return strides
}

/** Calls `visit` with the flat output index and each operand's flat index. */
export function forEachBroadcast(
  output: Shape,
  operands: readonly Shape[],
  visit: (index: number, at: readonly number[]) => void,
): void {
  const dims = mergedDims(output, operands)
  const strides = operands.map((_, k) => operandStrides(dims, k))
  const at = new Array<number>(operands.length).fill(0)
  const count = elements(output)
  for (let index = 0; index < count; index++) {
    let rest = index
    at.fill(0)
    for (let d = dims.length - 1; d >= 0; d--) {
      const i = rest % dims[d].extent
      rest = Math.floor(rest / dims[d].extent)
      for (let k = 0; k < operands.length; k++) at[k] += i * strides[k][d]
    }
    visit(index, at)
  }
}
