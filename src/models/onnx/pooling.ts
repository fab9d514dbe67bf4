/** Pools. */
import { averagePool2d, conv2d, max, maximum, maxPool2d, mean, mul, pad, slice } from '../../kernels/index.ts'
import { expectShape, formatShape, type Shape, type Tensor } from '../../kernels/op.ts'
import type { Call, Operator } from './call.ts'
import { known } from './values.ts'
import { both, countWindows, imageOf, likeInput, type Pair, spanOf, type Windows, windowsOf } from './windows.ts'

/** The smallest f32: with it around an image, the pads never win. */
const LOWEST = -3.4028234663852886e38

interface Pool {
  x: Tensor
  windows: Windows
  ceil: boolean
}

function poolOf(call: Call, input: Tensor): Pool {
  const x = imageOf(call, input)
  const kernel = call.ints('kernel_shape') ?? call.fail('has no kernel_shape')
  if (kernel.length !== input.shape.length - 2)
    call.failList(`has x ${formatShape(input.shape)}, which does not fit kernel_shape`, kernel)
  return { x, windows: windowsOf(call, x.shape, kernel), ceil: call.flag('ceil_mode', false) }
}

/** Most taps of a dilated window along an axis: they are taken one by one. */
const TAPS = 256

/** Whether our pools have such windows: pads that are the same on both sides, and no dilation. */
const isPlain = ({ kernel, dilation, before, after }: Windows): boolean =>
  [0, 1].every((a) => dilation[a] === 1 && before[a] === after[a] && 2 * before[a] <= kernel[a])

/** Pixels to add behind the image so that `counts` windows fit in whole; none where it is long enough. */
const overhang = (windows: Windows, image: Shape, counts: Pair): Pair => {
  const span = spanOf(windows)
  return both((a) => Math.max(0, (counts[a] - 1) * windows.stride[a] + span[a] - image[a + 2] - windows.before[a]))
}

/**
 * The largest value of windows of any kind: our pool where it has such windows; else of an image with pads around it, and where the
 * kernel is dilated, along one axis after the other.
 */
function maxPool(call: Call): Tensor {
  if (call.node.outputs.slice(1).some((output) => output !== ''))
    call.fail('gives indices, which are not computed here')
  call.ignore('storage_order')
  const input = call.tensor(0)
  const { x, windows, ceil } = poolOf(call, input)
  const { kernel, stride, dilation, before } = windows
  if (isPlain(windows)) return likeInput(maxPool2d(x, { kernel, stride, padding: before, ceilMode: ceil }), input)
  const counts = countWindows(windows, x.shape, ceil)
  const after = overhang(windows, x.shape, counts)
  const padded = pad(x, { before: [0, 0, ...before], after: [0, 0, ...after], value: LOWEST })
  if (dilation.every((step) => step === 1)) return likeInput(maxPool2d(padded, { kernel, stride }), input)
  if (Math.max(...kernel) > TAPS) call.fail(`has dilated windows of more than ${TAPS} pixels a side`)
  const largest = ([0, 1] as const).reduce((y, a) => {
    const reach = (counts[a] - 1) * stride[a] + 1
    const taps = Array.from({ length: kernel[a] }, (_, k) => slice(y, a + 2, k * dilation[a], k * dilation[a] + reach))
    return maxPool2d(taps.reduce(maximum), { kernel: 1, stride: a === 0 ? [stride[0], 1] : [1, stride[1]] })
  }, padded)
  return likeInput(largest, input)
}

/**
 * The mean of windows of any kind: our pool where it has such windows, else a convolution with ones that is divided, window by window,
 * by the pixels that count: those of the image, or with count_include_pad those of the pads too; what lies beyond in ceil mode never.
 */
function averagePool(call: Call): Tensor {
  const input = call.tensor(0)
  const { x, windows, ceil } = poolOf(call, input)
  const countIncludePad = call.flag('count_include_pad', false)
  const { kernel, stride, dilation, before } = windows
  if (isPlain(windows))
    return likeInput(averagePool2d(x, { kernel, stride, padding: before, ceilMode: ceil, countIncludePad }), input)
  const counts = countWindows(windows, x.shape, ceil)
  const after = overhang(windows, x.shape, counts)
  const channels = x.shape[1]
  const ones = call.numbers('float32', channels * kernel[0] * kernel[1]).fill(1)
  const filters = call.tensorOf(known('float32', [channels, 1, ...kernel], ones), 'ones')
  const sums = conv2d(x, filters, undefined, { stride, dilation, padding: [...before, ...after], groups: channels })
  const shares = counts.map((count, a) => {
    const axis = a as 0 | 1
    call.spend(count * kernel[axis])
    const [first, last] = countIncludePad
      ? [0, x.shape[a + 2] + before[axis] + windows.after[axis]]
      : [before[axis], before[axis] + x.shape[a + 2]]
    return Array.from({ length: count }, (_, o) => {
      const taps = Array.from({ length: kernel[axis] }, (_, k) => o * stride[axis] + k * dilation[axis])
      return taps.filter((at) => at >= first && at < last).length
    })
  })
  expectShape(!shares.flat().includes(0), 'a window lies in the pads alone')
  call.spend(counts[0] * counts[1])
  const share = shares[0].flatMap((rows) => shares[1].map((columns) => 1 / (rows * columns)))
  return likeInput(mul(sums, x.recorder.constant(share, counts, 'share')), input)
}

/** A pool of all axes behind the channels, which stay as extents of 1. */
const global = (reduce: (x: Tensor, axes: readonly number[]) => Tensor): Operator => ({
  inputs: [1, 1],
  since: 1,
  build(call) {
    const x = call.tensor(0)
    const axes = x.shape.map((_, axis) => axis).slice(2)
    if (axes.length === 0) call.failList('needs axes behind the channels, not', x.shape)
    return reduce(x, axes)
  },
})

export const pooling: { [op: string]: Operator } = {
  MaxPool: { inputs: [1, 1], since: 1, build: maxPool },
  AveragePool: { inputs: [1, 1], since: 1, build: averagePool },
  GlobalAveragePool: global(mean),
  GlobalMaxPool: global(max),
}
