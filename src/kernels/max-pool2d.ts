/** Maximum pooling of images. */
import { wgslIsNaN } from './expression.ts'
import { elements, type Op, type Tensor, u32 } from './op.ts'
import {
  insideImage,
  type PoolArgs,
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
import { linearEntry, linearGrid } from './wgsl.ts'

/**
 * The largest value of every window: PyTorch's max_pool2d. Padding never wins. Where values tie, the first in row-major order
 * is the maximum, and the gradient goes to it alone.
 * @param x [N,C,H,W]
 * @returns [N,C,oh,ow], see `poolGeometry` for the extents
 * @throws ShapeError where x is no such image, the options are out of range, or no window fits.
 */
export const maxPool2d = (x: Tensor, options: PoolOptions): Tensor =>
  x.recorder.apply(maxPool2dOp, [x], poolArgs(options))

export const maxPool2dOp: Op<PoolArgs> = {
  name: 'max_pool2d',
  inputs: ['x'],
  half: 'follows',
  shape: (args, shapes) => poolShape('max_pool2d', args, shapes),
  cost: (args, shapes) => poolCost('max_pool2d', args, shapes),
  kernels(args, [x]) {
    const g = poolGeometry('max_pool2d', args, x)
    const count = g.planes * g.oh * g.ow
    return [
      {
        variant: g.overhangs ? 'clipped' : 'inside',
        dispatches: [
          {
            label: 'max_pool2d',
            code: `${windowCode(args)}
${linearEntry(`  if (i >= p.count) { return; }
  ${windowOrigin}
  var best = -3.4028234e38;
  for (var ky = 0; ky < KH; ky++) {
    for (var kx = 0; kx < KW; kx++) {
      if (${insideImage(g)}) {
        let value = x[start + (y0 + ky) * i32(p.iw) + x0 + kx];
        best = select(best, value, (value > best) | ${wgslIsNaN('f32', 'value')});
      }
    }
  }
  store(i, 0u, best);`)}`,
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
  backward: ({ args, inputs: [x], gradient }) => [x.recorder.apply(maxPool2dGradientOp, [x, gradient], args)],
}

/**
 * Gradient of maximum pooling, without a scatter: one dispatch finds the pixel that won each window, another lets every block
 * of stride x stride pixels collect from the windows that reach it, in their order.
 */
export const maxPool2dGradientOp: Op<PoolArgs> = {
  name: 'max_pool2d.dx',
  inputs: ['x', 'dy'],
  half: 'follows',
  shape: (_, [x]) => x,
  cost: ({ kernel }, [x, dy]) => ({
    flop: elements(dy) * kernel[0] * kernel[1] + elements(x),
    bytes: traffic(x, x, dy, dy, dy),
  }),
  kernels(args, [x]) {
    const g = poolGeometry('max_pool2d.dx', args, x)
    const { stride, padding } = args
    const windows = g.planes * g.oh * g.ow
    // One thread holds a block's sums; blocks of large strides are cut down to single pixels.
    const [height, width] = stride[0] * stride[1] <= 16 ? stride : [1, 1]
    const down = Math.ceil((g.ih + padding[0]) / height)
    const across = Math.ceil((g.iw + padding[1]) / width)
    const pixels = Array.from({ length: height * width }, (_, k) => ({ k, r: Math.floor(k / width), c: k % width }))
    return [
      {
        variant: 'gather',
        dispatches: [
          {
            label: 'max_pool2d.dx.winners',
            code: `${windowCode(args)}
${linearEntry(`  if (i >= p.count) { return; }
  ${windowOrigin}
  var best = -3.4028234e38;
  var winner = max(y0, 0) * i32(p.iw) + max(x0, 0);
  for (var ky = 0; ky < KH; ky++) {
    for (var kx = 0; kx < KW; kx++) {
      if (${insideImage(g)}) {
        let at = (y0 + ky) * i32(p.iw) + x0 + kx;
        let value = x[start + at];
        let better = (value > best) | ${wgslIsNaN('f32', 'value')};
        winner = select(winner, at, better);
        best = select(best, value, better);
      }
    }
  }
  winners[i] = u32(winner);`)}`,
            reads: [{ name: 'x', buffer: 0 }],
            writes: [{ name: 'winners', buffer: 'scratch0', type: 'u32' }],
            params: windowParams(g, args, windows),
            workgroups: linearGrid(windows),
          },
          {
            label: 'max_pool2d.dx',
            code: `${windowCode(args)}
${linearEntry(`  if (i >= p.count) { return; }
  let line = i / p.across;
  let plane = line / p.down;
  // In pixels from the edge of the padding.
  let y0 = i32(line - plane * p.down) * ${height};
  let x0 = i32(i - line * p.across) * ${width};
  let lastY = min((y0 + ${height - 1}) / SY, i32(p.oh) - 1);
  let lastX = min((x0 + ${width - 1}) / SX, i32(p.ow) - 1);
  let firstX = firstWindow(x0, KW, SX);
  let row = y0 - p.top;
  let column = x0 - p.left;
  let first = row * i32(p.iw) + column;
  ${pixels.map(({ k }) => `var total${k} = 0.0;`).join(' ')}
  for (var oy = firstWindow(y0, KH, SY); oy <= lastY; oy++) {
    for (var ox = firstX; ox <= lastX; ox++) {
      let window = (plane * p.oh + u32(oy)) * p.ow + u32(ox);
      let value = dy[window];
      let winner = i32(winners[window]) - first;
      ${pixels.map(({ k, r, c }) => `total${k} += select(0.0, value, winner == ${r} * i32(p.iw) + ${c});`).join('\n      ')}
    }
  }
  let start = i32(plane * p.ih * p.iw) + first;
  ${pixels
    .map(
      ({ k, r, c }) =>
        `if (u32(row + ${r}) < p.ih && u32(column + ${c}) < p.iw) { store(u32(start + ${r} * i32(p.iw) + ${c}), 0u, total${k}); }`,
    )
    .join('\n  ')}`)}`,
            reads: [
              { name: 'dy', buffer: 1 },
              { name: 'winners', buffer: 'scratch0', type: 'u32' },
            ],
            writes: [{ name: 'dx', buffer: 'output' }],
            params: { ...windowParams(g, args, g.planes * down * across), down: u32(down), across: u32(across) },
            workgroups: linearGrid(g.planes * down * across),
            stores: 'f32',
            flat: true,
          },
        ],
        scratch: [windows],
      },
    ]
  },
}
