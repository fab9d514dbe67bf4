/** Where the windows of a pooling lie: the arguments and shape rule that maximum and average pooling share. */
import { type Cost, type Dispatch, elements, expectShape, formatShape, i32, type Shape, u32 } from './op.ts'

type Pair = readonly [height: number, width: number]

export interface PoolOptions {
  /** Extents of the window in pixels; one number for a square. */
  kernel: number | Pair
  /** Distance between windows in pixels; the kernel's extents unless told, so that windows touch. */
  stride?: number | Pair
  /** Pixels added on both sides of an axis; at most half the window. 0 unless told. */
  padding?: number | Pair
  /** Also take the window that only partly fits at the end of an axis. Off unless told. */
  ceilMode?: boolean
}

/** The same with nothing left out. */
export interface PoolArgs {
  kernel: Pair
  stride: Pair
  padding: Pair
  ceilMode: boolean
}

const pair = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : value)

export const poolArgs = ({ kernel, stride = kernel, padding = 0, ceilMode = false }: PoolOptions): PoolArgs => ({
  kernel: pair(kernel),
  stride: pair(stride),
  padding: pair(padding),
  ceilMode,
})

/** Extents of a pooling's input and output maps, and whether some window reaches past the image. */
export interface PoolGeometry {
  planes: number
  ih: number
  iw: number
  oh: number
  ow: number
  overhangs: boolean
}

/**
 * The shape rule of PyTorch's pooling: floor((in + 2 padding - kernel) / stride) + 1 windows along an axis, rounded up in
 * ceil mode, where a window that would begin in the padding after the image is left out.
 * Throws ShapeError where x is not [N,C,H,W], a number is out of range, or no window fits.
 */
export function poolGeometry(name: string, { kernel, stride, padding, ceilMode }: PoolArgs, x: Shape): PoolGeometry {
  expectShape(x.length === 4, `${name}: x must be [N,C,H,W], not ${formatShape(x)}`)
  const positive = (n: number): boolean => Number.isInteger(n) && n > 0
  expectShape(
    [...kernel, ...stride].every(positive) &&
      padding.every((p, a) => Number.isInteger(p) && p >= 0 && 2 * p <= kernel[a]),
    `${name}: kernel ${formatShape(kernel)}, stride ${formatShape(stride)}, padding ${formatShape(padding)}: ` +
      'kernel and stride must be positive integers, the padding at most half the kernel',
  )
  const windows = ([0, 1] as const).map((a) => {
    const spare = x[a + 2] + 2 * padding[a] - kernel[a]
    expectShape(
      spare >= 0 || (ceilMode && spare > -stride[a]),
      `${name}: a window of ${formatShape(kernel)} does not fit x ${formatShape(x)} padded by ${formatShape(padding)}`,
    )
    const count = (ceilMode ? Math.ceil(spare / stride[a]) : Math.floor(spare / stride[a])) + 1
    return ceilMode && (count - 1) * stride[a] >= x[a + 2] + padding[a] ? count - 1 : count
  })
  const [n, c, ih, iw] = x
  const overhangs = [0, 1].some((a) => padding[a] > 0 || (windows[a] - 1) * stride[a] + kernel[a] > x[a + 2])
  return { planes: n * c, ih, iw, oh: windows[0], ow: windows[1], overhangs }
}

/** [N,C,oh,ow] of a pooling's [N,C,H,W]. */
export function poolShape(name: string, args: PoolArgs, [x]: readonly Shape[]): Shape {
  const { oh, ow } = poolGeometry(name, args, x)
  return [x[0], x[1], oh, ow]
}

/** One operation for each pixel of each window. */
export function poolCost(name: string, args: PoolArgs, shapes: readonly Shape[]): Cost {
  const y = poolShape(name, args, shapes)
  return { flop: elements(y) * args.kernel[0] * args.kernel[1], bytes: traffic(shapes[0], y) }
}

/** Bytes of maps, each read or written once. */
export const traffic = (...shapes: readonly Shape[]): number => 4 * shapes.reduce((n, s) => n + elements(s), 0)

/** The uniform struct that pooling kernels share. */
export const windowParams = (
  g: PoolGeometry,
  { padding }: PoolArgs,
  count: number,
): NonNullable<Dispatch['params']> => ({
  count: u32(count),
  ih: u32(g.ih),
  iw: u32(g.iw),
  oh: u32(g.oh),
  ow: u32(g.ow),
  top: i32(padding[0]),
  left: i32(padding[1]),
})

/** Constants of the windows, and the search of the gradients for the windows that reach a pixel. */
export const windowCode = ({ kernel, stride }: PoolArgs): string => `
const KH = ${kernel[0]};
const KW = ${kernel[1]};
const SY = ${stride[0]};
const SX = ${stride[1]};
// The first window that reaches the pixel at this distance from the padding's edge.
fn firstWindow(at: i32, kernel: i32, stride: i32) -> i32 {
  return select((at - kernel) / stride + 1, 0, at < kernel);
}`

/** Where the window of output `i` begins: row and column (negative in the padding), and its plane's first element. */
export const windowOrigin = `let line = i / p.ow;
  let plane = line / p.oh;
  let y0 = i32(line - plane * p.oh) * SY - p.top;
  let x0 = i32(i - line * p.ow) * SX - p.left;
  let start = i32(plane * p.ih * p.iw);`

/** Whether tap (ky, kx) of that window lies in the image; no question where no window overhangs it. */
export const insideImage = ({ overhangs }: PoolGeometry): string =>
  overhangs ? 'u32(y0 + ky) < p.ih && u32(x0 + kx) < p.iw' : 'true'
