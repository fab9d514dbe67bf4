/** Kernels with one thread an element of the result, for any geometry on any adapter. */
import { elements, type Kernel, type Param, type Shape, u32 } from '../op.ts'
import { LINEAR, linearEntry, linearGrid, usedParams } from '../wgsl.ts'
import { type Geometry, geometryParams, imageShape, outputShape, weightShape } from './geometry.ts'

/** Threads along the pixels of one channel of one image: `pixel`, `channel`, `image`. */
function pixelKernel(label: string, code: string, all: Record<string, Param>, reads: string[], shape: Shape): Kernel {
  const [n, channels, rows, columns] = shape
  return {
    variant: 'direct',
    dispatches: [
      {
        label,
        code: `@compute @workgroup_size(${LINEAR})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let pixel = id.x;
  let channel = id.y;
  let image = id.z;
${code}
}
`,
        reads: reads.map((name, buffer) => ({ name, buffer })),
        writes: [{ name: 'result', buffer: 'output' }],
        params: usedParams(code, all),
        workgroups: [Math.ceil((rows * columns) / LINEAR), channels, n],
        stores: 'f32',
      },
    ],
  }
}

/** y[n,k,oy,ox]: the sum over the group's input channels and the taps that fall on the image. */
export function directForward(g: Geometry, bias: boolean): Kernel {
  const code = `  if (pixel >= p.OH * p.OW) { return; }
  let oy = pixel / p.OW;
  let ox = pixel - oy * p.OW;
  let first = channel / p.KG * p.CG;
  var total = ${bias ? 'bias[channel]' : '0.0'};
  for (var c = 0u; c < p.CG; c++) {
    let plane = (image * p.C + first + c) * p.H;
    for (var r = 0u; r < p.KH; r++) {
      // Unsigned: rows and columns above or left of the image wrap around to beyond its end.
      let iy = oy * p.SH + r * p.DH - p.PT;
      if (iy >= p.H) { continue; }
      for (var s = 0u; s < p.KW; s++) {
        let ix = ox * p.SW + s * p.DW - p.PL;
        if (ix >= p.W) { continue; }
        total += x[(plane + iy) * p.W + ix] * weights[((channel * p.CG + c) * p.KH + r) * p.KW + s];
      }
    }
  }
  store((image * p.K + channel) * p.OH * p.OW + pixel, channel, total);`
  const reads = bias ? ['x', 'weights', 'bias'] : ['x', 'weights']
  return pixelKernel('conv2d', code, { N: u32(g.n), ...geometryParams(g) }, reads, outputShape(g))
}

/** x[n,c,iy,ix]: the sum over the group's output channels and the taps through which this pixel was seen. */
export function directTranspose(g: Geometry, bias: boolean): Kernel {
  // Strides and dilation are baked: divisions by constants are cheap.
  const [sh, sw] = g.stride
  const [dh, dw] = g.dilation
  const code = `  if (pixel >= p.H * p.W) { return; }
  let iy = pixel / p.W;
  let ix = pixel - iy * p.W;
  let own = channel % p.CG;
  let first = channel / p.CG * p.KG;
  // Output pixels that see this one; the last tap sees it from the first of them.
  let ty = iy + p.PT;
  let tx = ix + p.PL;
  let reachY = (p.KH - 1u) * ${dh}u;
  let reachX = (p.KW - 1u) * ${dw}u;
  let beginY = select(0u, (ty - reachY + ${sh - 1}u) / ${sh}u, ty > reachY);
  let beginX = select(0u, (tx - reachX + ${sw - 1}u) / ${sw}u, tx > reachX);
  let endY = min(ty / ${sh}u + 1u, p.OH);
  let endX = min(tx / ${sw}u + 1u, p.OW);
  var total = ${bias ? 'bias[channel]' : '0.0'};
  for (var oy = beginY; oy < endY; oy++) {
    let r = (ty - oy * ${sh}u) / ${dh}u;
    if (r * ${dh}u != ty - oy * ${sh}u) { continue; }
    for (var ox = beginX; ox < endX; ox++) {
      let s = (tx - ox * ${sw}u) / ${dw}u;
      if (s * ${dw}u != tx - ox * ${sw}u) { continue; }
      for (var k = first; k < first + p.KG; k++) {
        total += y[((image * p.K + k) * p.OH + oy) * p.OW + ox] * weights[((k * p.CG + own) * p.KH + r) * p.KW + s];
      }
    }
  }
  store((image * p.C + channel) * p.H * p.W + pixel, channel, total);`
  const reads = bias ? ['y', 'weights', 'bias'] : ['y', 'weights']
  return pixelKernel('conv_transpose2d', code, { N: u32(g.n), ...geometryParams(g) }, reads, imageShape(g))
}

/** w[k,c,r,s]: the sum over images and output pixels. */
export function directWeightGradient(g: Geometry): Kernel {
  const count = elements(weightShape(g))
  const code = linearEntry(`  if (i >= p.count) { return; }
  let s = i % p.KW;
  let r = i / p.KW % p.KH;
  let c = i / (p.KW * p.KH) % p.CG;
  let k = i / (p.KW * p.KH * p.CG);
  var total = 0.0;
  for (var n = 0u; n < p.N; n++) {
    for (var oy = 0u; oy < p.OH; oy++) {
      let iy = oy * p.SH + r * p.DH - p.PT;
      if (iy >= p.H) { continue; }
      let row = ((n * p.C + k / p.KG * p.CG + c) * p.H + iy) * p.W;
      for (var ox = 0u; ox < p.OW; ox++) {
        let ix = ox * p.SW + s * p.DW - p.PL;
        if (ix >= p.W) { continue; }
        total += x[row + ix] * dy[((n * p.K + k) * p.OH + oy) * p.OW + ox];
      }
    }
  }
  result[i] = total;`)
  return {
    variant: 'direct',
    dispatches: [
      {
        label: 'conv2d_weight_gradient',
        code,
        reads: ['x', 'dy'].map((name, buffer) => ({ name, buffer })),
        writes: [{ name: 'result', buffer: 'output' }],
        params: usedParams(code, { count: u32(count), N: u32(g.n), ...geometryParams(g) }),
        workgroups: linearGrid(count),
      },
    ],
  }
}
