/** Values that flow between the nodes: tensors of the graph that is recorded, and numbers that are known while it is. */
import type { Shape, Tensor } from '../../kernels/op.ts'
import {
  isFloat,
  type OnnxNumbers,
  type OnnxTensor,
  type OnnxType,
  onnxTensor,
  reshapedTensor,
} from '../../weights/onnx-tensor.ts'

/** A constant of the model, or what was computed of constants and shapes alone. */
export type Known = OnnxTensor

export type OnnxValue = Tensor | Known

/** Tells what is known from tensors, which have a recorder. */
export const isKnown = (value: OnnxValue): value is Known => !('recorder' in value)

/** A known value of these numbers. */
export const known = (type: OnnxType, shape: Shape, data: OnnxNumbers): Known => onnxTensor(type, shape, () => data)

/** Room for values of a type; halves are computed as f32. */
export const numbersOf = (type: OnnxType, count: number): OnnxNumbers =>
  isFloat(type) && type !== 'float64' ? new Float32Array(count) : new Float64Array(count)

/** What a type makes of a number; f64 takes it as it is. */
const narrow: Partial<Record<OnnxType, (value: number) => number>> = {
  float32: Math.fround,
  float16: Math.fround,
  bfloat16: Math.fround,
  bool: (value) => (value === 0 ? 0 : 1),
  int8: (value) => (value << 24) >> 24,
  uint8: (value) => value & 0xff,
  int16: (value) => (value << 16) >> 16,
  uint16: (value) => value & 0xffff,
  int32: (value) => value | 0,
  uint32: (value) => value >>> 0,
  int64: Math.trunc,
  uint64: Math.trunc,
}

/** A number as the type holds it: towards zero for integers, which wrap around beyond their range (64 bits excepted). */
export const castTo = (type: OnnxType, value: number): number => narrow[type]?.(value) ?? value

/** The same elements under another shape. */
export const reshaped = (value: Known, shape: Shape): Known => reshapedTensor(value, shape)

/**
 * Elements of `from` at other places: `source` turns an element's position in `shape` into its position in `from`. They are written into
 * `data`, which has room for them.
 */
export function rearranged(
  from: Known,
  shape: Shape,
  data: OnnxNumbers,
  source: (at: readonly number[]) => readonly number[],
): Known {
  const at = shape.map(() => 0)
  for (let i = 0; i < data.length; i++) {
    const place = source(at)
    data[i] = from.data[place.reduce((flat, position, axis) => flat * from.shape[axis] + position, 0)]
    // Counts up like an odometer.
    for (let axis = shape.length - 1; axis >= 0 && ++at[axis] === shape[axis]; axis--) at[axis] = 0
  }
  return known(from.type, shape, data)
}
