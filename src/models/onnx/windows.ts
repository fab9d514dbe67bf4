/** Where the windows of convolutions and pools lie: strides, dilations, pads and automatic pads. */
import { reshape } from '../../kernels/index.ts'
import { expectShape, formatShape, type Shape, type Tensor } from '../../kernels/op.ts'
import type { Call } from './call.ts'

export type Pair = readonly [rows: number, columns: number]

/** A number for rows and one for columns. */
export const both = (of: (axis: 0 | 1) => number): Pair => [of(0), of(1)]

/** The windows of an image: rows first, columns second. */
export interface Windows {
  kernel: Pair
  stride: Pair
  dilation: Pair
  /** Pixels added before and behind. */
  before: Pair
  after: Pair
}

/** No window has more pixels a side, nor more pads; what a file says is not believed beyond that. */
const LARGEST = 4096

/** ONNX' lists for signals of one axis become those of images of one row. */
export function pairOf(call: Call, what: string, values: readonly number[], filler: number): Pair {
  if (values.length !== 1 && values.length !== 2)
    call.failList(`${what} for one or two axes are supported, not`, values)
  return values.length === 1 ? [filler, values[0]] : [values[0], values[1]]
}

/** Images stay, signals [N,C,L] become images of one row; throws for any other rank. */
export function imageOf(call: Call, x: Tensor): Tensor {
  const { shape } = x
  if (shape.length === 4) return x
  if (shape.length === 3) return reshape(x, [shape[0], shape[1], 1, shape[2]])
  return call.failList('only signals [N,C,L] and images [N,C,H,W] are supported, not', shape)
}

/** Undoes `imageOf` on a result. */
export const likeInput = (y: Tensor, input: Tensor): Tensor =>
  input.shape.length === 3 ? reshape(y, [y.shape[0], y.shape[1], y.shape[3]]) : y

/** Pixels that a dilated kernel spans. */
export const spanOf = ({ kernel, dilation }: Pick<Windows, 'kernel' | 'dilation'>): Pair =>
  both((a) => dilation[a] * (kernel[a] - 1) + 1)

/**
 * Windows as the attributes say, on an image of this size; `kernel` has 1 or 2 extents as the input has axes.
 * SAME pads so that there is a window every `stride` pixels, at the end (UPPER) or the front (LOWER) where the pads are uneven.
 */
export function windowsOf(call: Call, image: Shape, kernel: readonly number[]): Windows {
  const geometry = {
    kernel: pairOf(call, 'kernel_shape', kernel, 1),
    stride: pairOf(call, 'strides', call.ints('strides') ?? kernel.map(() => 1), 1),
    dilation: pairOf(call, 'dilations', call.ints('dilations') ?? kernel.map(() => 1), 1),
  }
  const fair = [...geometry.kernel, ...geometry.stride, ...geometry.dilation].every((n) => n > 0 && n <= LARGEST)
  expectShape(fair, `kernel, strides and dilations must be 1 to ${LARGEST}`)
  const auto = call.choice('auto_pad', 'NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER')
  const pads = call.ints('pads')
  if (auto !== 'NOTSET') {
    // Exporters that set both write zeros.
    if (pads?.some((pad) => pad !== 0)) call.failList('has auto_pad and also pads', pads)
    return { ...geometry, ...automatic(auto, geometry, image) }
  }
  const given = pads ?? kernel.flatMap(() => [0, 0])
  if (given.length !== 2 * kernel.length || given.some((pad) => pad < 0 || pad > LARGEST))
    call.failList(`pads must be two numbers of 0 to ${LARGEST} for each of ${kernel.length} axes, not`, given)
  return {
    ...geometry,
    before: pairOf(call, 'pads', given.slice(0, kernel.length), 0),
    after: pairOf(call, 'pads', given.slice(kernel.length), 0),
  }
}

function automatic(
  auto: 'VALID' | 'SAME_UPPER' | 'SAME_LOWER',
  geometry: Pick<Windows, 'kernel' | 'stride' | 'dilation'>,
  image: Shape,
): Pick<Windows, 'before' | 'after'> {
  if (auto === 'VALID') return { before: [0, 0], after: [0, 0] }
  const span = spanOf(geometry)
  const total = both((a) => {
    const extent = image[a + 2]
    return Math.max(0, (Math.ceil(extent / geometry.stride[a]) - 1) * geometry.stride[a] + span[a] - extent)
  })
  return split(total, auto === 'SAME_LOWER')
}

/** Pads of two sides by their sum; the odd pixel goes to the end, or to the front. */
export function split(total: Pair, front: boolean): Pick<Windows, 'before' | 'after'> {
  const less = both((a) => Math.floor(total[a] / 2))
  const more = both((a) => total[a] - less[a])
  return front ? { before: more, after: less } : { before: less, after: more }
}

/** Windows along both axes of an image; with `ceil` also those that only begin in it or in the pads before it. */
export function countWindows(windows: Windows, image: Shape, ceil: boolean): Pair {
  const span = spanOf(windows)
  return both((a) => {
    const stride = windows.stride[a]
    const padded = image[a + 2] + windows.before[a] + windows.after[a]
    const spare = padded - span[a]
    const windowsIn = (ceil ? Math.ceil(spare / stride) : Math.floor(spare / stride)) + 1
    // As in PyTorch: a window that would begin in the pads behind the image is none.
    const last = ceil && (windowsIn - 1) * stride >= image[a + 2] + windows.before[a] ? windowsIn - 1 : windowsIn
    expectShape(last > 0, `a window of ${formatShape(span)} pixels does not fit an image of ${formatShape(image)}`)
    return last
  })
}
