/** Structural similarity (Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004). */
import { mul, square } from './elementwise.ts'
import type { Expression } from './expression.ts'
import { type Dispatch, elements, expectShape, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { pointwise } from './pointwise.ts'
import { mean } from './reduce.ts'
import { reshape } from './reshape.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

/** Side and deviation of the Gaussian window, in pixels; section III-B of the paper. */
export const SIZE = 11
const SIGMA = 1.5
/** K1 and K2 of the paper, which keep quotients finite; times the range of the values, squared. */
export const K1 = 0.01
export const K2 = 0.03

/**
 * The mean structural similarity of images, 1 where they are equal. Every channel is compared by itself, in 11x11 Gaussian
 * windows of deviation 1.5 that lie wholly inside the image and whose weights, also of the variances, sum to 1: the paper's
 * convention and pytorch-msssim's. scikit-image agrees with `gaussian_weights=True, use_sample_covariance=False`.
 * @param x [N,C,H,W], H and W at least 11
 * @param y as x; either batch may be 1
 * @param range largest minus smallest possible value
 * @returns [N]
 * @throws ShapeError where the shapes do not fit or an image is smaller than a window.
 */
export function ssim(x: Tensor, y: Tensor, range = 1): Tensor {
  expectShape(
    x.shape.length === 4 && y.shape.length === 4 && x.shape.slice(1).every((extent, i) => extent === y.shape[i + 1]),
    `ssim: x ${formatShape(x.shape)} and y ${formatShape(y.shape)} are no images [N,C,H,W] of the same size`,
  )
  const moment = (t: Tensor): Tensor => x.recorder.apply(ssimWindowOp, [t], { padding: 0 })
  const args = { c1: (K1 * range) ** 2, c2: (K2 * range) ** 2 }
  const moments = [moment(x), moment(y), moment(square(x)), moment(square(y)), moment(mul(x, y))]
  const map = x.recorder.apply(ssimMapOp, moments, args)
  return reshape(mean(map, [1, 2, 3]), [map.shape[0]])
}

export interface SsimWindowArgs {
  /** Zeros around the image: 0 for windows inside it, 10 for the gradient of those. */
  padding: number
}

/** Weights of the window along either axis; they sum to 1. */
export const WINDOW: readonly number[] = gaussian()

function gaussian(): number[] {
  const taps = Array.from({ length: SIZE }, (_, k) => Math.exp(-(((k - (SIZE - 1) / 2) / SIGMA) ** 2) / 2))
  const total = taps.reduce((s, v) => s + v, 0)
  return taps.map((v) => v / total)
}

/** The weighted mean of every window of [N,C,H,W]: rows first, then columns. */
export const ssimWindowOp: Op<SsimWindowArgs> = {
  name: 'ssim_window',
  inputs: ['x'],
  shape({ padding }, [x]) {
    const [n, c, height, width] = x
    const grow = 2 * padding - SIZE + 1
    expectShape(
      x.length === 4 && height + grow > 0 && width + grow > 0,
      `ssim_window: x ${formatShape(x)} is no [N,C,H,W] of at least ${SIZE}x${SIZE} pixels`,
    )
    return [n, c, height + grow, width + grow]
  },
  cost: ({ padding }, [x]) => ({
    flop: 4 * SIZE * elements(x),
    bytes: 4 * (elements(x) + elements(windowed(x, padding))),
  }),
  kernels({ padding }, [x]) {
    const [, , height, width] = windowed(x, padding)
    const planes = x[0] * x[1]
    return [
      {
        variant: 'separable',
        dispatches: [
          pass(padding, planes * x[2], x[3], width, 1, 0, 'scratch0'),
          pass(padding, planes, x[2], height, width, 'scratch0', 'output'),
        ],
        scratch: [planes * x[2] * width],
      },
    ]
  },
  // Windows are symmetric: what a pixel gave to the windows it gets back from them.
  backward: ({ args: { padding }, gradient }) => [
    gradient.recorder.apply(ssimWindowOp, [gradient], { padding: SIZE - 1 - padding }),
  ],
}

export const windowed = ([n, c, height, width]: Shape, padding: number): Shape => {
  const grow = 2 * padding - SIZE + 1
  return [n, c, height + grow, width + grow]
}

/** Filters the middle axis of [outer, from, inner] to [outer, to, inner]. */
function pass(
  padding: number,
  outer: number,
  from: number,
  to: number,
  inner: number,
  x: 0 | 'scratch0',
  y: 'scratch0' | 'output',
): Dispatch {
  const count = outer * to * inner
  const tap = (weight: number, k: number) => `  at = position + ${k}u - p.padding;
  if (at < p.extent) { total += ${weight} * x[start + at * p.inner]; }`
  return {
    label: 'ssim_window',
    code: linearEntry(`  if (i >= p.count) { return; }
  let line = i / p.inner;
  let plane = line / p.positions;
  let position = line - plane * p.positions;
  let start = plane * p.extent * p.inner + i - line * p.inner;
  var total = 0.0;
  // A place before the first wraps around to a number beyond the last.
  var at = 0u;
${WINDOW.map(tap).join('\n')}
  y[i] = total;`),
    reads: [{ name: 'x', buffer: x }],
    writes: [{ name: 'y', buffer: y }],
    params: {
      count: u32(count),
      extent: u32(from),
      positions: u32(to),
      inner: u32(inner),
      padding: u32(padding),
    },
    workgroups: linearGrid(count),
  }
}

/** Equation 13 of the paper, of means mx, my and second moments xx, yy, xy. */
const times2 = (a: Expression, b: Expression): Expression => ['mul', 2, ['sub', a, b]]
const squares: Expression = ['add', ['mul', 'mx', 'mx'], ['mul', 'my', 'my']]
const means: Expression = ['add', ['mul', 2, ['mul', 'mx', 'my']], 'c1']
const covariance: Expression = ['add', times2('xy', ['mul', 'mx', 'my']), 'c2']
const variances: Expression = ['add', ['sub', ['add', 'xx', 'yy'], squares], 'c2']

export const ssimMapOp = pointwise('ssim_map', {
  inputs: ['mx', 'my', 'xx', 'yy', 'xy'],
  params: ['c1', 'c2'],
  value: ['div', ['mul', means, covariance], ['mul', ['add', squares, 'c1'], variances]],
})
