/** Operators that take tensors apart, put them together and add to them. */
import { concat, expand, flip, pad, reshape, slice } from '../../kernels/index.ts'
import { elements, formatShape, type Shape, sameShape, type Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'
import { type Known, known, type OnnxValue, rearranged } from './values.ts'

/** Every `step`-th element along an axis, from `start` on. */
interface Range {
  axis: number
  start: number
  step: number
  count: number
}

/** What Slice takes of each axis it names: attributes before version 10, inputs from then on. */
function rangesOf(call: Call, x: Shape): Range[] {
  if (call.opset < 10 && call.has(1)) call.fail('takes its range as inputs, which version 10 introduced')
  const [starts, ends, axes, steps] =
    call.opset < 10
      ? [call.ints('starts'), call.ints('ends'), call.ints('axes'), undefined]
      : [1, 2, 3, 4].map((k) => call.integers(k))
  if (!starts || !ends) return call.fail('has no range')
  const places = call.axes(axes ?? starts.map((_, i) => i), x.length)
  const by = steps ?? starts.map(() => 1)
  if (ends.length !== starts.length || places.length !== starts.length || by.length !== starts.length || by.includes(0))
    call.failList(`has ${starts.length} starts, ${ends.length} ends, ${places.length} axes and steps`, by)
  return places.map((axis, i) => {
    const extent = x[axis]
    const step = by[i]
    // Positions count from behind where they are negative, and are cut off where they lie outside.
    const within = (at: number, low: number, high: number) => Math.min(Math.max(at < 0 ? at + extent : at, low), high)
    const start = step > 0 ? within(starts[i], 0, extent) : within(starts[i], 0, extent - 1)
    const end = step > 0 ? within(ends[i], 0, extent) : within(ends[i], -1, extent - 1)
    return { axis, start, step, count: Math.max(0, Math.ceil((end - start) / step)) }
  })
}

/** A range of a tensor: a plain slice, turned round for negative steps, of which every so many elements are kept. */
function rangeOf(call: Call, x: Tensor, { axis, start, step, count }: Range): Tensor {
  if (count === 0) call.failList(`takes nothing of axis ${axis} of`, x.shape)
  const last = start + (count - 1) * step
  const forward = slice(x, axis, Math.min(start, last), Math.max(start, last) + 1)
  const part = step > 0 ? forward : flip(forward, axis)
  const stride = Math.abs(step)
  if (stride === 1 || count === 1) return part
  // As a table of `count` rows of `stride` elements, of which the first column stays; the end of the last row is made up.
  const { shape } = part
  const whole = pad(part, {
    before: shape.map(() => 0),
    after: shape.map((extent, a) => (a === axis ? count * stride - extent : 0)),
  })
  const table = reshape(whole, [...shape.slice(0, axis), count, stride, ...shape.slice(axis + 1)])
  return reshape(slice(table, axis + 1, 0, 1), shape.with(axis, count))
}

const slices: Operator = {
  inputs: [1, 5],
  since: 1,
  parameters: [1, 2, 3, 4],
  fold(call) {
    const x = call.known(0)
    const ranges = rangesOf(call, x.shape)
    const shape = x.shape.map((extent, axis) => ranges.find((range) => range.axis === axis)?.count ?? extent)
    return rearranged(x, shape, call.numbers(x.type, elements(shape)), (at) =>
      at.map((position, axis) => {
        const range = ranges.find((each) => each.axis === axis)
        return range ? range.start + position * range.step : position
      }),
    )
  },
  build(call) {
    const x = call.tensor(0)
    return rangesOf(call, x.shape).reduce((y, range) => rangeOf(call, y, range), x)
  },
}

const axisOf = (call: Call, x: OnnxValue): number =>
  call.axis(call.int('axis') ?? call.fail('has no axis'), x.shape.length)

const concats: Operator = {
  inputs: [1, Number.POSITIVE_INFINITY],
  since: 4,
  fold(call) {
    const parts = call.node.inputs.map((_, k) => call.known(k))
    return joined(call, parts, axisOf(call, parts[0]))
  },
  build: (call) => {
    const parts = call.node.inputs.map((_, k) => call.tensor(k))
    return concat(parts, axisOf(call, parts[0]))
  },
}

function joined(call: Call, parts: readonly Known[], axis: number): Known {
  const [{ type, shape }] = parts
  const odd = parts.find((each) => each.type !== type || !sameShape(each.shape.with(axis, 0), shape.with(axis, 0)))
  if (odd) call.failList(`joins ${type} [${shape}] and ${odd.type}`, odd.shape)
  const whole = shape.with(
    axis,
    parts.reduce((n, each) => n + each.shape[axis], 0),
  )
  const data = call.numbers(type, elements(whole))
  const runs = parts.map((each) => elements(each.shape.slice(axis)))
  let to = 0
  for (let outer = 0; outer < elements(shape.slice(0, axis)); outer++) {
    parts.forEach((each, k) => {
      data.set(each.data.subarray(outer * runs[k], (outer + 1) * runs[k]), to)
      to += runs[k]
    })
  }
  return known(type, whole, data)
}

/** Most pieces a tensor is taken apart into by a list of indices. */
const PIECES = 64

/** Where the elements along the axis come from: indices count from behind where they are negative. */
function indicesOf(call: Call, extent: number): Known {
  const indices = call.known(1)
  const places = call.numbers('int64', indices.data.length)
  for (let i = 0; i < places.length; i++) places[i] = indices.data[i] + (indices.data[i] < 0 ? extent : 0)
  const outside = places.find((at) => !(Number.isInteger(at) && at >= 0 && at < extent))
  if (outside !== undefined) call.fail(`takes element ${outside} of ${extent}`)
  return known('int64', indices.shape, places)
}

const gathers: Operator = {
  inputs: [2, 2],
  since: 1,
  parameters: [1],
  fold(call) {
    const x = call.known(0)
    const axis = call.axis(call.int('axis', 0), x.shape.length)
    const { shape, data } = indicesOf(call, x.shape[axis])
    const whole = [...x.shape.slice(0, axis), ...shape, ...x.shape.slice(axis + 1)]
    return rearranged(x, whole, call.numbers(x.type, elements(whole)), (at) => {
      const index = at.slice(axis, axis + shape.length).reduce((flat, position, a) => flat * shape[a] + position, 0)
      return [...at.slice(0, axis), data[index], ...at.slice(axis + shape.length)]
    })
  },
  build(call) {
    const x = call.tensor(0)
    const axis = call.axis(call.int('axis', 0), x.shape.length)
    const { shape, data } = indicesOf(call, x.shape[axis])
    // Neighbours that stay neighbours are one piece.
    const pieces: [start: number, end: number][] = []
    for (const at of data) {
      const last = pieces.at(-1)
      if (last && last[1] === at) last[1]++
      else pieces.push([at, at + 1])
    }
    if (pieces.length === 0 || pieces.length > PIECES)
      call.fail(`takes ${pieces.length} pieces of a tensor that depends on the image; 1 to ${PIECES} are supported`)
    const y = concat(
      pieces.map(([start, end]) => slice(x, axis, start, end)),
      axis,
    )
    return reshape(y, [...x.shape.slice(0, axis), ...shape, ...x.shape.slice(axis + 1)])
  },
}

/** The extents of the parts: an attribute before version 13, an input from then on, or as equal as can be. */
const splits: Operator = {
  inputs: [1, 2],
  since: 2,
  parameters: [1],
  build(call) {
    const x = call.tensor(0)
    const axis = call.axis(call.int('axis', 0), x.shape.length)
    const { length } = call.node.outputs
    const said = call.opset >= 18 ? call.int('num_outputs', length) : length
    if (said !== length) call.fail(`has ${length} outputs and num_outputs ${said}`)
    const each = Math.ceil(x.shape[axis] / length)
    const equal = Array.from({ length }, (_, k) => Math.min(each, x.shape[axis] - k * each))
    const parts = (call.opset < 13 ? call.ints('split') : call.integers(1)) ?? equal
    if (parts.length !== length || parts.reduce((n, extent) => n + extent, 0) !== x.shape[axis])
      call.failList(`has x ${formatShape(x.shape)} and for ${length} outputs along axis ${axis} the extents`, parts)
    let start = 0
    return parts.map((extent) => slice(x, axis, start, (start += extent)))
  },
}

/** The border along an axis repeated in front and behind. */
function repeatBorder(x: Tensor, axis: number, before: number, after: number): Tensor {
  const border = (at: number, count: number): Tensor[] =>
    count === 0 ? [] : [expand(slice(x, axis, at, at + 1), x.shape.with(axis, count))]
  return concat([...border(0, before), x, ...border(x.shape[axis] - 1, after)], axis)
}

/** Pads are attributes before version 11, inputs from then on; negative ones cut off. */
const pads: Operator = {
  inputs: [1, 4],
  since: 2,
  parameters: [1, 2, 3],
  build(call) {
    const x = call.tensor(0)
    const mode = call.choice('mode', 'constant', 'reflect', 'edge')
    if (call.opset < 11 && call.has(1)) call.fail('takes pads as an input, which version 11 introduced')
    const counts = (call.opset < 11 ? call.ints('pads') : call.integers(1)) ?? call.fail('has no pads')
    const value = (call.opset < 11 ? call.float('value') : call.number(2)) ?? 0
    const axes = call.axes(call.integers(3) ?? x.shape.map((_, axis) => axis), x.shape.length)
    if (counts.length !== 2 * axes.length)
      call.failList(`has ${counts.length} pads for ${axes.length} axes of`, x.shape)
    const before = x.shape.map(() => 0)
    const after = x.shape.map(() => 0)
    axes.forEach((axis, i) => {
      before[axis] = counts[i]
      after[axis] = counts[i + axes.length]
    })
    const cut = x.shape.reduce(
      (y, extent, axis) => slice(y, axis, Math.max(0, -before[axis]), extent - Math.max(0, -after[axis])),
      x,
    )
    const [front, behind] = [before, after].map((side) => side.map((count) => Math.max(0, count)))
    if (mode !== 'edge') return pad(cut, { before: front, after: behind, mode, value: mode === 'reflect' ? 0 : value })
    return x.shape.reduce((y, _, axis) => repeatBorder(y, axis, front[axis], behind[axis]), cut)
  },
}

export const pieces: { [op: string]: Operator } = {
  Slice: slices,
  Concat: concats,
  Gather: gathers,
  Split: splits,
  Pad: pads,
}
