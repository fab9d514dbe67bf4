/** Average pooling of images. */
import { elements, type Op, type Tensor } from './op.ts'
import {
  insideImage,
  type PoolArgs,
  type PoolGeometry,
  type PoolOptions,
  poolArgs,
  poolCost,
  poolGeometry,
  poolShape,
  traffic,
  windowCode,
  windowOrigin,
  windowParams,
} from './pool-window.ts'
import { mean } from './reduce.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface AveragePoolOptions extends PoolOptions {
  /** Divide by the window's pixels, padding included, instead of those of the image. On unless told, as in PyTorch. */
  countIncludePad?: boolean
}

export interface AveragePoolArgs extends PoolArgs {
  countIncludePad: boolean
}

export const averagePoolArgs = ({ countIncludePad = true, ...options }: AveragePoolOptions): AveragePoolArgs => ({
  ...poolArgs(options),
  countIncludePad,
})

/**
 * The mean of every window: PyTorch's avg_pool2d. Padding is zeros; what lies beyond it in ceil mode never counts.
 * @param x [N,C,H,W]
 * @returns [N,C,oh,ow], see `poolGeometry` for the extents
 * @throws ShapeError where x is no such image, the options are out of range, or no window fits.
 */
export const averagePool2d = (x: Tensor, options: AveragePoolOptions): Tensor =>
  x.recorder.apply(averagePool2dOp, [x], averagePoolArgs(options))

/** The mean of every channel's map: [N,C,H,W] to [N,C,1,1]. */
export const globalAveragePool = (x: Tensor): Tensor => mean(x, [2, 3])

/** Reciprocal of what a window's sum is divided by, from the window's first row and column. */
const shareCode = ({ kernel, countIncludePad }: AveragePoolArgs, g: PoolGeometry): string =>
  g.overhangs
    ? `
fn span(start: i32, kernel: i32, extent: i32, padding: i32) -> i32 {
  return ${countIncludePad ? 'min(start + kernel, extent + padding) - start' : 'min(start + kernel, extent) - max(start, 0)'};
}
fn share(y0: i32, x0: i32) -> f32 { return 1.0 / f32(span(y0, KH, i32(p.ih), p.top) * span(x0, KW, i32(p.iw), p.left)); }`
    : `
fn share(y0: i32, x0: i32) -> f32 { return ${1 / (kernel[0] * kernel[1])}; }`

export const averagePool2dOp: Op<AveragePoolArgs> = {
  name: 'average_pool2d',
  inputs: ['x'],
  half: 'follows',
  shape: (args, shapes) => poolShape('average_pool2d', args, shapes),
  cost: (args, shapes) => poolCost('average_pool2d', args, shapes),
  kernels(args, [x]) {
    const g = poolGeometry('average_pool2d', args, x)
    const count = g.planes * g.oh * g.ow
    return [
      {
        variant: g.overhangs ? 'clipped' : 'inside',
        dispatches: [
          {
            label: 'average_pool2d',
            code: `${windowCode(args)}${shareCode(args, g)}
${linearEntry(`  if (i >= p.count) { return; }
  ${windowOrigin}
  var total = 0.0;
  for (var ky = 0; ky < KH; ky++) {
    for (var kx = 0; kx < KW; kx++) {
      if (${insideImage(g)}) { total += x[start + (y0 + ky) * i32(p.iw) + x0 + kx]; }
    }
  }
  store(i, 0u, total * share(y0, x0));`)}`,
            reads: [{ name: 'x', buffer: 0 }],
            writes: [{ name: 'y', buffer: 'output' }],
            params: windowParams(g, args, count),
            workgroups: linearGrid(count),
            stores: 'f32',
            flat: true,
          },
        ],
      },
    ]
  },
  backward({ args, inputs: [x], gradient }) {
    const size = [x.shape[2], x.shape[3]] as const
    return [gradient.recorder.apply(averagePool2dGradientOp, [gradient], { ...args, size })]
  },
}

interface AveragePoolGradientArgs extends AveragePoolArgs {
  /** Height and width of x. */
  size: readonly [height: number, width: number]
}

/** Gradient of average pooling: each pixel collects its share from the windows that reach it, in window order. */
export const averagePool2dGradientOp: Op<AveragePoolGradientArgs> = {
  name: 'average_pool2d.dx',
  inputs: ['dy'],
  half: 'follows',
  shape: ({ size }, [dy]) => [dy[0], dy[1], ...size],
  cost(args, [dy]) {
    return {
      flop: elements(dy) * args.kernel[0] * args.kernel[1],
      bytes: traffic(dy, averagePool2dGradientOp.shape(args, [dy])),
    }
  },
  kernels(args, shapes) {
    const dx = averagePool2dGradientOp.shape(args, shapes)
    const g = poolGeometry('average_pool2d.dx', args, dx)
    const count = elements(dx)
    return [
      {
        variant: 'gather',
        dispatches: [
          {
            label: 'average_pool2d.dx',
            code: `${windowCode(args)}${shareCode(args, g)}
${linearEntry(`  if (i >= p.count) { return; }
  let line = i / p.iw;
  let plane = line / p.ih;
  let right = i32(i - line * p.iw) + p.left;
  let down = i32(line - plane * p.ih) + p.top;
  let lastY = min(down / SY, i32(p.oh) - 1);
  let lastX = min(right / SX, i32(p.ow) - 1);
  let firstX = firstWindow(right, KW, SX);
  var total = 0.0;
  for (var oy = firstWindow(down, KH, SY); oy <= lastY; oy++) {
    for (var ox = firstX; ox <= lastX; ox++) {
      total += dy[(plane * p.oh + u32(oy)) * p.ow + u32(ox)] * share(oy * SY - p.top, ox * SX - p.left);
    }
  }
  store(i, 0u, total);`)}`,
            reads: [{ name: 'dy', buffer: 0 }],
            writes: [{ name: 'dx', buffer: 'output' }],
            params: windowParams(g, args, count),
            workgroups: linearGrid(count),
            stores: 'f32',
            flat: true,
          },
        ],
      },
    ]
  },
}
