/** Gaussian blur of images, separable. */
import {
  type BufferRef,
  type Dispatch,
  elements,
  expectShape,
  f32,
  formatShape,
  type Kernel,
  type Op,
  type Param,
  type Shape,
  type Tensor,
  u32,
} from './op.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface BlurArgs {
  /** Taps along each axis: odd. */
  size: number
  /** Standard deviation in pixels. */
  sigma: number
}

/**
 * Correlates every image with a normalised Gaussian of size x size pixels; beyond the border the image is mirrored with the
 * border pixel not repeated. The defaults are LowKey's (Cherepanova et al. 2021, section 3: kernel size 7, sigma 3).
 * @param x [...,H,W]
 * @returns the same shape
 * @throws ShapeError where size is even or below 1, sigma is not positive, or H or W is not above size / 2 (no mirror image).
 */
export const gaussianBlur = (x: Tensor, { size = 7, sigma = 3 }: Partial<BlurArgs> = {}): Tensor =>
  x.recorder.apply(gaussianBlurOp, [x], { size, sigma })

/** exp(-d^2 / 2 sigma^2) for d from 0 to size / 2, such that all taps of the axis add up to 1. */
function halfKernel({ size, sigma }: BlurArgs): number[] {
  const radius = (size - 1) / 2
  const half = Array.from({ length: radius + 1 }, (_, d) => Math.exp(-((d / sigma) ** 2) / 2))
  const total = 2 * half.reduce((sum, g) => sum + g, 0) - half[0]
  return half.map((g) => g / total)
}

function blurShape(name: string, { size, sigma }: BlurArgs, x: Shape): Shape {
  expectShape(
    Number.isInteger(size) && size > 0 && size % 2 === 1 && sigma > 0,
    `${name}: size ${size} must be odd and positive, sigma ${sigma} positive`,
  )
  expectShape(
    x.length >= 2 && Math.min(x.at(-1)!, x.at(-2)!) > size / 2,
    `${name}: x ${formatShape(x)} must be images [...,H,W] with H and W above size / 2 = ${size / 2} to be mirrored at the border`,
  )
  return x
}

/**
 * The two dispatches of the blur or of its adjoint, one axis each. The adjoint of a mirrored border: a pixel also receives
 * what was read at its mirror images, -at before the image and 2 (extent - 1) - at after it.
 */
function blurKernel(name: string, args: BlurArgs, x: Shape, adjoint: boolean): Kernel {
  const radius = (args.size - 1) / 2
  const weights = Object.fromEntries(halfKernel(args).map((g, d): [string, Param] => [`g${d}`, f32(g)]))
  // The window's sum with its pixels read by `tap`, at a distance from the centre.
  const window = (tap: (distance: string) => string): string =>
    [
      `p.g0 * ${tap('')}`,
      ...Array.from({ length: radius }, (_, d) => `p.g${d + 1} * (${tap(` - ${d + 1}`)} + ${tap(` + ${d + 1}`)})`),
    ].join(' + ')
  const read = adjoint
    ? 'return select(0.0, x[start + clamp(at, 0, last) * stride], at >= 0 && at <= last);'
    : 'return x[start + (last - abs(last - abs(at))) * stride];'
  const mirrored = `
    if (at > 0 && at <= ${radius}) { total += window(start, -at); }
    if (at < last && at >= last - ${radius}) { total += window(start, 2 * last - at); }`
  const code = `
fn tap(start: i32, at: i32) -> f32 {
  let stride = i32(p.stride);
  let last = i32(p.extent) - 1;
  ${read}
}
fn window(start: i32, at: i32) -> f32 {
  return ${window((d) => `tap(start, at${d})`)};
}
${linearEntry(`  if (i >= p.count) { return; }
  let position = i / p.stride % p.extent;
  let stride = i32(p.stride);
  let at = i32(position);
  let last = i32(p.extent) - 1;
  var total: f32;
  if (at > ${radius} && at < last - ${radius}) {
    let centre = i32(i);
    total = ${window((d) => `x[centre${d}${d && ' * stride'}]`)};
  } else {
    let start = i32(i) - at * stride;
    total = window(start, at);${adjoint ? mirrored : ''}
  }
  store(i, 0u, total);`)}`
  const pass = (axis: 'horizontal' | 'vertical', from: BufferRef, to: BufferRef): Dispatch => ({
    label: `${name}.${axis}`,
    code,
    reads: [{ name: 'x', buffer: from }],
    writes: [{ name: 'y', buffer: to }],
    params: {
      count: u32(elements(x)),
      extent: u32(axis === 'horizontal' ? x.at(-1)! : x.at(-2)!),
      stride: u32(axis === 'horizontal' ? 1 : x.at(-1)!),
      ...weights,
    },
    workgroups: linearGrid(elements(x)),
    stores: 'f32',
    flat: true,
  })
  const order = adjoint ? (['vertical', 'horizontal'] as const) : (['horizontal', 'vertical'] as const)
  return {
    variant: 'separable',
    dispatches: [pass(order[0], 0, 'scratch0'), pass(order[1], 'scratch0', 'output')],
    scratch: [elements(x)],
  }
}

/** Two sums of size products for every element; x, the intermediate image (written and read) and y pass through memory. */
const blurCost = ({ size }: BlurArgs, [x]: readonly Shape[]) => ({
  flop: 4 * size * elements(x),
  bytes: 16 * elements(x),
})

export const gaussianBlurOp: Op<BlurArgs> = {
  name: 'gaussian_blur',
  inputs: ['x'],
  shape: (args, [x]) => blurShape('gaussian_blur', args, x),
  cost: blurCost,
  kernels: (args, [x]) => [blurKernel('gaussian_blur', args, x, false)],
  backward: ({ args, gradient }) => [gradient.recorder.apply(gaussianBlurGradientOp, [gradient], args)],
}

export const gaussianBlurGradientOp: Op<BlurArgs> = {
  name: 'gaussian_blur.dx',
  inputs: ['dy'],
  shape: (args, [dy]) => blurShape('gaussian_blur.dx', args, dy),
  cost: blurCost,
  kernels: (args, [dy]) => [blurKernel('gaussian_blur.dx', args, dy, true)],
}
