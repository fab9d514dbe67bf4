/** Kernels with one thread an element of the result, for any geometry on any adapter. */
import { elements, type Kernel, type Param, u32 } from '../op.ts'
import { linearEntry, linearGrid, usedParams } from '../wgsl.ts'
import { type Geometry, imageShape, outputShape, weightShape } from './geometry.ts'

const geometryParams = (g: Geometry): Record<string, Param> => ({
  N: u32(g.n),
  C: u32(g.c),
  H: u32(g.h),
  W: u32(g.w),
  K: u32(g.k),
  OH: u32(g.oh),
  OW: u32(g.ow),
  KH: u32(g.kh),
  KW: u32(g.kw),
  CG: u32(g.c / g.groups),
  KG: u32(g.k / g.groups),
  SH: u32(g.stride[0]),
  SW: u32(g.stride[1]),
  DH: u32(g.dilation[0]),
  DW: u32(g.dilation[1]),
  PT: u32(g.padding[0]),
  PL: u32(g.padding[1]),
})

/** One thread an element; the code mentions what it needs of the parameters. */
function kernel(label: string, code: string, count: number, all: Record<string, Param>, reads: string[]): Kernel {
  return {
    variant: 'direct',
    dispatches: [
      {
        label,
        code,
        reads: reads.map((name, buffer) => ({ name, buffer })),
        writes: [{ name: 'result', buffer: 'output' }],
        params: usedParams(code, all),
        workgroups: linearGrid(count),
        stores: code.includes('store(') ? 'f32' : undefined,
      },
    ],
  }
}

/** y[n,k,oy,ox]: the sum over the group's input channels and the taps that fall on the image. */
export function directForward(g: Geometry, bias: boolean): Kernel {
  const count = elements(outputShape(g))
  const code = linearEntry(`  if (i >= p.count) { return; }
  let ox = i % p.OW;
  let oy = i / p.OW % p.OH;
  let k = i / (p.OW * p.OH) % p.K;
  let n = i / (p.OW * p.OH * p.K);
  var total = ${bias ? 'bias[k]' : '0.0'};
  for (var c = 0u; c < p.CG; c++) {
    let plane = (n * p.C + k / p.KG * p.CG + c) * p.H;
    for (var r = 0u; r < p.KH; r++) {
      // Unsigned: rows and columns above or left of the image wrap around to beyond its end.
      let iy = oy * p.SH + r * p.DH - p.PT;
      if (iy >= p.H) { continue; }
      for (var s = 0u; s < p.KW; s++) {
        let ix = ox * p.SW + s * p.DW - p.PL;
        if (ix >= p.W) { continue; }
        total += x[(plane + iy) * p.W + ix] * weights[((k * p.CG + c) * p.KH + r) * p.KW + s];
      }
    }
  }
  store(i, k, total);`)
  const reads = bias ? ['x', 'weights', 'bias'] : ['x', 'weights']
  return kernel('conv2d', code, count, { count: u32(count), ...geometryParams(g) }, reads)
}

/** x[n,c,iy,ix]: the sum over the group's output channels and the taps through which this pixel was seen. */
export function directTranspose(g: Geometry, bias: boolean): Kernel {
  const count = elements(imageShape(g))
  const code = linearEntry(`  if (i >= p.count) { return; }
  let ix = i % p.W;
  let iy = i / p.W % p.H;
  let c = i / (p.W * p.H) % p.C;
  let n = i / (p.W * p.H * p.C);
  let first = c / p.CG * p.KG;
  var total = ${bias ? 'bias[c]' : '0.0'};
  for (var r = 0u; r < p.KH; r++) {
    let ty = iy + p.PT - r * p.DH;
    let oy = ty / p.SH;
    if (oy * p.SH != ty || oy >= p.OH) { continue; }
    for (var s = 0u; s < p.KW; s++) {
      let tx = ix + p.PL - s * p.DW;
      let ox = tx / p.SW;
      if (ox * p.SW != tx || ox >= p.OW) { continue; }
      for (var k = first; k < first + p.KG; k++) {
        total += y[((n * p.K + k) * p.OH + oy) * p.OW + ox] * weights[((k * p.CG + c % p.CG) * p.KH + r) * p.KW + s];
      }
    }
  }
  store(i, c, total);`)
  const reads = bias ? ['y', 'weights', 'bias'] : ['y', 'weights']
  return kernel('conv_transpose2d', code, count, { count: u32(count), ...geometryParams(g) }, reads)
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
  return kernel('conv2d_weight_gradient', code, count, { count: u32(count), ...geometryParams(g) }, ['x', 'dy'])
}
