/** Resize (and Upsample, as it was called before version 10). */
import { matmul, reshape, resize } from '../../kernels/index.ts'
import { elements, formatShape, type Shape, type Tensor } from '../../kernels/op.ts'
import type { OnnxNumbers } from '../../weights/onnx-tensor.ts'
import type { Call, Operator } from './call.ts'
import { known } from './values.ts'

const COORDINATES = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
  'tf_half_pixel_for_nn',
] as const
const NEAREST = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'] as const

/** How values between pixels are found. */
interface Method {
  mode: 'nearest' | 'linear' | 'cubic'
  coordinates: (typeof COORDINATES)[number]
  nearest: (typeof NEAREST)[number]
  /** Keys' parameter of cubic convolution. */
  a: number
  /** Pixels beyond the border do not count, instead of being the border's. */
  excludeOutside: boolean
}

/** One axis: its extent, that of the result, and the factor between them, which need not be their quotient. */
interface Axis {
  axis: number
  extent: number
  size: number
  scale: number
}

/** Where pixel i of the result lies in the input, in pixels of the input, as the standard has it. */
function coordinate({ coordinates }: Method, { extent, size, scale }: Axis, i: number): number {
  // The standard's own reference takes this length for exact.
  const length = scale * extent
  switch (coordinates) {
    case 'asymmetric':
      return i / scale
    case 'align_corners':
      return length === 1 ? 0 : (i * (extent - 1)) / (length - 1)
    case 'pytorch_half_pixel':
      return length > 1 ? (i + 0.5) / scale - 0.5 : 0
    case 'tf_half_pixel_for_nn':
      return (i + 0.5) / scale
    case 'half_pixel_symmetric':
      return (extent / 2) * (1 - size / length) + (i + 0.5) / scale - 0.5
    case 'half_pixel':
      return (i + 0.5) / scale - 0.5
  }
}

const rounded: Record<Method['nearest'], (at: number) => number> = {
  round_prefer_floor: (at) => Math.ceil(at - 0.5),
  round_prefer_ceil: (at) => Math.floor(at + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
}

/** Keys 1981, equation 4. */
function cubic(distance: number, a: number): number {
  const d = Math.abs(distance)
  if (d <= 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1
  return d < 2 ? a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a : 0
}

/** Input pixels around a place and their weights; they may lie beyond the border. */
function taps({ mode, nearest, a }: Method, at: number): [pixel: number, weight: number][] {
  if (mode === 'nearest') return [[rounded[nearest](at), 1]]
  const below = Math.floor(at)
  if (mode === 'linear')
    return [
      [below, below + 1 - at],
      [below + 1, at - below],
    ]
  return [-1, 0, 1, 2].map((t) => [below + t, cubic(below + t - at, a)])
}

/** The matrix [size, extent] that an axis is multiplied by. */
function matrixOf(call: Call, method: Method, axis: Axis): OnnxNumbers {
  const { extent, size } = axis
  const matrix = call.numbers('float32', size * extent)
  const inside = (pixel: number) => pixel >= 0 && pixel < extent
  for (let i = 0; i < size; i++) {
    const around = taps(method, coordinate(method, axis, i))
    const counted =
      method.excludeOutside && method.mode !== 'nearest' ? around.filter(([pixel]) => inside(pixel)) : around
    const total = counted.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [pixel, weight] of counted)
      matrix[i * extent + Math.min(Math.max(pixel, 0), extent - 1)] += weight / total
  }
  return matrix
}

function resizeAxis(call: Call, x: Tensor, method: Method, axis: Axis): Tensor {
  const { extent, size } = axis
  const weights = known('float32', [size, extent], matrixOf(call, method, axis))
  const matrix = call.tensorOf(weights, 'weights')
  const outer = elements(x.shape.slice(0, axis.axis))
  const inner = elements(x.shape.slice(axis.axis + 1))
  const y =
    inner === 1
      ? matmul(reshape(x, [outer, extent]), matrix, { transposeB: true })
      : matmul(matrix, reshape(x, [outer, extent, inner]))
  return reshape(y, x.shape.with(axis.axis, size))
}

/** Whether our own operation computes it: two axes of images, half-pixel centres, and a size that is exactly the scale's. */
function isOwn(x: Shape, axes: readonly Axis[], { mode, coordinates, a, excludeOutside }: Method): boolean {
  return (
    x.length === 4 &&
    mode !== 'nearest' &&
    (mode === 'linear' || a === -0.75) &&
    !excludeOutside &&
    axes.every(
      ({ axis, extent, size, scale }) =>
        axis >= 2 &&
        Math.abs(scale * extent - size) < 1e-6 * size &&
        (coordinates === 'half_pixel' || (coordinates === 'pytorch_half_pixel' && size > 1)),
    )
  )
}

function resized(call: Call, axes: readonly Axis[], method: Method): Tensor {
  const x = call.tensor(0)
  const changed = axes.filter(({ extent, size, scale }) => extent !== size || scale !== 1)
  if (isOwn(x.shape, changed, method)) {
    const size = (axis: number) => changed.find((each) => each.axis === axis)?.size ?? x.shape[axis]
    return resize(x, { size: [size(2), size(3)], mode: method.mode === 'linear' ? 'bilinear' : 'bicubic' })
  }
  return changed.reduce((y, axis) => resizeAxis(call, y, method, axis), x)
}

/** Sizes by factors. The product is rounded to f32 first, as other runtimes do: 10 by 0.7 is 7. */
function scaled(call: Call, x: Shape, places: readonly number[], scales: readonly number[]): Axis[] {
  if (scales.length !== places.length || !scales.every((scale) => scale > 0 && Number.isFinite(scale)))
    call.failList(`has x ${formatShape(x)} and scales`, scales)
  return places.map((axis, i) => {
    const size = Math.floor(Math.fround(x[axis] * scales[i]))
    if (!(size > 0 && size < 2 ** 31)) call.failList(`has x ${formatShape(x)} and scales`, scales)
    return { axis, extent: x[axis], size, scale: scales[i] }
  })
}

function sized(call: Call, x: Shape, places: readonly number[], sizes: readonly number[]): Axis[] {
  if (sizes.length !== places.length || !sizes.every((size) => size > 0 && size < 2 ** 31))
    call.failList(`has x ${formatShape(x)} and sizes`, sizes)
  return places.map((axis, i) => ({ axis, extent: x[axis], size: sizes[i], scale: sizes[i] / x[axis] }))
}

/** Upsample, and Resize of version 10: corners coincide, nearest is the pixel before. */
function early(call: Call): Tensor {
  const { shape } = call.tensor(0)
  const mode = call.choice('mode', 'nearest', 'linear')
  const scales = (call.opset < 9 ? call.floats('scales') : call.numberList(1)) ?? call.fail('has no scales')
  if (mode === 'nearest' && scales.some((scale) => scale < 1))
    call.fail('shrinks by the nearest pixel, which version 11 defined')
  const axes = scaled(
    call,
    shape,
    shape.map((_, axis) => axis),
    scales,
  )
  return resized(call, axes, { mode, coordinates: 'asymmetric', nearest: 'floor', a: -0.75, excludeOutside: false })
}

function later(call: Call): Tensor {
  const { shape } = call.tensor(0)
  // Regions and what lies outside of them matter for tf_crop_and_resize alone, which is not among the modes below.
  call.ignore('extrapolation_value')
  const method: Method = {
    mode: call.choice('mode', 'nearest', 'linear', 'cubic'),
    coordinates: call.choice('coordinate_transformation_mode', ...COORDINATES),
    nearest: call.choice('nearest_mode', ...NEAREST),
    a: call.float('cubic_coeff_a', -0.75),
    excludeOutside: call.flag('exclude_outside', false),
  }
  call.choice('keep_aspect_ratio_policy', 'stretch')
  const places = call.axes(call.ints('axes') ?? shape.map((_, axis) => axis), shape.length)
  const scales = call.numberList(2)
  const sizes = call.numberList(3)
  if ((scales === undefined) === (sizes === undefined)) call.fail('needs either scales or sizes')
  const axes = scales ? scaled(call, shape, places, scales) : sized(call, shape, places, sizes ?? [])
  if (call.flag('antialias', false) && axes.some(({ scale }) => scale < 1))
    call.fail('shrinks with antialias, which is not supported')
  return resized(call, axes, method)
}

export const resizing: { [op: string]: Operator } = {
  Upsample: { inputs: [1, 2], parameters: [1], until: 9, build: early },
  Resize: {
    inputs: [1, 4],
    parameters: [1, 2, 3],
    since: 10,
    build: (call) => (call.opset < 11 ? early(call) : later(call)),
  },
}
