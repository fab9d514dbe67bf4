/**
 * Convolutions and their gradients as matrix products whose right matrix is found, not stored (implicit GEMM). Sums go over
 * taps first and channels second, in units of four channels of one tap: its pixel and whether it lies inside the image are
 * worked out once for all four.
 */

import { inverse, QUOTIENT_LIMIT, type TiledProduct } from '../gemm/tile.ts'
import { type Binding, elements, u32 } from '../op.ts'
import { type Geometry, geometryParams, imageShape, outputShape, weightShape } from './geometry.ts'

const fours = (n: number): number => Math.ceil(n / 4)

const WEIGHTS: Binding = { name: 'weights', buffer: 1 }
const biasReads = (bias: boolean): Binding[] => (bias ? [{ name: 'bias', buffer: 2 }] : [])

/** WGSL: four channels from `channel` on of `buffer` at pixel `at`, `plane` apart; zeros unless `inside`, and from `end` on. */
const fourChannels = (buffer: string, plane: string, end: string): string => `
  // Addresses outside are replaced by valid ones, not branched around.
  let base = select(0u, at, inside);
  let last = ${end} - 1u - channel;
  let steps = min(vec4u(0u, 1u, 2u, 3u), vec4u(last)) * ${plane} + base;
  let there = vec4u(0u, 1u, 2u, 3u) <= vec4u(last);
  return select(vec4f(), vec4f(${['x', 'y', 'z', 'w'].map((e) => `${buffer}[steps.${e}]`)}), there & vec4<bool>(inside));`

/** conv2d: columns are output pixels of all images, their elements input pixels. */
export function forwardProduct(g: Geometry, bias: boolean): TiledProduct {
  const taps = g.kh * g.kw
  const perTap = fours(g.c / g.groups)
  const split = `
  let tap = quotient(q, p.perTap);
  let channel = (q - tap * p.C4) * 4u;`
  return {
    label: 'conv2d',
    rows: g.k / g.groups,
    columns: g.n * g.oh * g.ow,
    fours: taps * perTap,
    sections: g.groups,
    left: { reads: [WEIGHTS], matrices: g.groups },
    reads: [{ name: 'x', buffer: 0 }, ...biasReads(bias)],
    params: { ...geometryParams(g), C4: u32(perTap), perTap: inverse(perTap), perRow: inverse(g.kw) },
    leftCode: `fn leftFour(q: u32, row: u32, group: u32) -> vec4f {${split}
  let at = ((group * p.KG + row) * p.CG + channel) * p.KH * p.KW + tap;
  let inside = true;${fourChannels('weights', '(p.KH * p.KW)', 'p.CG')}
}`,
    code: `struct Column { to: u32, plane: u32, top: u32, left: u32 }
fn column(j: u32, z: u32) -> Column {
  let pixels = p.OH * p.OW;
  let n = j / pixels;
  let pixel = j - n * pixels;
  let oy = pixel / p.OW;
  let ox = pixel - oy * p.OW;
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  return Column((n * p.K + z * p.rows) * pixels + pixel, (n * p.C + z * p.CG) * p.H * p.W,
    oy * p.SH - p.PT, ox * p.SW - p.PL);
}
fn four(q: u32, c: Column) -> vec4f {${split}
  let r = quotient(tap, p.perRow);
  let iy = c.top + r * p.DH;
  let ix = c.left + (tap - r * p.KW) * p.DW;
  let inside = iy < p.H && ix < p.W;
  let at = c.plane + (channel * p.H + iy) * p.W + ix;${fourChannels('x', '(p.H * p.W)', 'p.CG')}
}`,
    rowTo: g.oh * g.ow,
    elements: elements(outputShape(g)),
    plane: g.oh * g.ow,
    channels: g.k,
    channel: 'z * p.rows + row',
    bias,
    fusible: true,
  }
}

/** Whether transposeProduct applies: taps that are strided and dilated along the same axis fall into no simple phases. */
export const hasPhases = ({ stride, dilation }: Geometry): boolean =>
  stride.every((s, axis) => s === 1 || dilation[axis] === 1)

/**
 * The transpose: columns are input pixels of all images, their elements the output pixels that see them. With a stride, pixels
 * fall into phases (`stride` by `stride`) that are seen through taps of their own: each is a product by itself, and no zeros
 * are multiplied.
 */
export function transposeProduct(g: Geometry, bias: boolean): TiledProduct {
  const [sh, sw] = g.stride
  const phases = sh * sw
  const perTap = fours(g.k / g.groups)
  const tapsY = Math.ceil(g.kh / sh)
  const tapsX = Math.ceil(g.kw / sw)
  const rows = Math.ceil(g.h / sh)
  const columns = Math.ceil(g.w / sw)
  // Tap r = phase + SH a of the kernel, for a from 0: so many rows and columns of taps has a phase.
  const phase = `struct Phase { group: u32, y: u32, x: u32, tapsY: u32, tapsX: u32 }
fn phaseOf(z: u32) -> Phase {
  let phase = z % (p.SH * p.SW);
  let y = phase / p.SW;
  let x = phase % p.SW;
  return Phase(z / (p.SH * p.SW), y, x, (p.KH + p.SH - 1u - y) / p.SH, (p.KW + p.SW - 1u - x) / p.SW);
}
`
  const split = `
  let tap = quotient(q, p.perTap);
  let channel = (q - tap * p.K4) * 4u;`
  return {
    label: 'conv_transpose2d',
    rows: g.c / g.groups,
    columns: g.n * rows * columns,
    fours: tapsY * tapsX * perTap,
    sections: g.groups * phases,
    left: { reads: [WEIGHTS], matrices: g.groups * phases },
    reads: [{ name: 'y', buffer: 0 }, ...biasReads(bias)],
    params: { ...geometryParams(g), K4: u32(perTap), perTap: inverse(perTap), PH: u32(rows), PW: u32(columns) },
    leftCode: `${phase}
fn leftFour(q: u32, row: u32, z: u32) -> vec4f {
  let f = phaseOf(z);
  // Fewer taps than in the largest phase: the rest is not read, but must not be read from beyond the weights either.
  if (q >= f.tapsY * f.tapsX * p.K4) { return vec4f(); }${split}
  let r = f.y + tap / f.tapsX * p.SH;
  let s = f.x + tap % f.tapsX * p.SW;
  let at = (((f.group * p.KG + channel) * p.rows + row) * p.KH + r) * p.KW + s;
  let inside = true;${fourChannels('weights', '(p.rows * p.KH * p.KW)', 'p.KG')}
}`,
    code: `${phase}
struct Column { to: u32, plane: u32, top: u32, left: u32, tapsX: u32, perRow: f32 }
fn column(j: u32, z: u32) -> Column {
  let f = phaseOf(z);
  let pixels = p.PH * p.PW;
  let n = j / pixels;
  let pixel = j - n * pixels;
  let jy = pixel / p.PW;
  let iy = (f.y + p.SH - p.PT % p.SH) % p.SH + jy * p.SH;
  let ix = (f.x + p.SW - p.PL % p.SW) % p.SW + (pixel - jy * p.PW) * p.SW;
  let to = ((n * p.C + f.group * p.rows) * p.H + iy) * p.W + ix;
  return Column(select(NOWHERE, to, iy < p.H && ix < p.W), (n * p.K + f.group * p.KG) * p.OH * p.OW,
    (iy + p.PT - f.y) / p.SH, (ix + p.PL - f.x) / p.SW, f.tapsX, 1.0 / f32(f.tapsX));
}
fn four(q: u32, c: Column) -> vec4f {${split}
  let a = quotient(tap, c.perRow);
  // Unsigned: what is above or left of the output wraps around to beyond its end.
  let oy = c.top - a * p.DH;
  let ox = c.left - (tap - a * c.tapsX) * p.DW;
  let inside = oy < p.OH && ox < p.OW;
  let at = c.plane + (channel * p.OH + oy) * p.OW + ox;${fourChannels('y', '(p.OH * p.OW)', 'p.KG')}
}`,
    foursOf: 'phaseOf(z).tapsY * phaseOf(z).tapsX * p.K4',
    rowTo: g.h * g.w,
    elements: elements(imageShape(g)),
    plane: g.h * g.w,
    channels: g.c,
    channel: `z / (p.SH * p.SW) * p.rows + row`,
    bias,
    fusible: true,
  }
}

/** Whether weightGradientProduct applies: pixels can be counted in f32. */
export const canCount = (g: Geometry): boolean => g.n * g.oh * g.ow < QUOTIENT_LIMIT

/** The gradient of the weights: rows are output channels, columns a tap of an input channel, sums go over all output pixels. */
export function weightGradientProduct(g: Geometry): TiledProduct {
  const taps = g.kh * g.kw
  const pixels = g.oh * g.ow
  const perImage = fours(pixels)
  const columns = (g.c / g.groups) * taps
  const split = `
  let n = quotient(q, p.perImage);
  let first = (q - n * p.P4) * 4u;
  let pixels = p.OH * p.OW;
  let pixel = min(vec4u(0u, 1u, 2u, 3u) + first, vec4u(pixels - 1u));
  let there = vec4u(0u, 1u, 2u, 3u) + first < vec4u(pixels);`
  return {
    label: 'conv2d_weight_gradient',
    rows: g.k / g.groups,
    columns,
    fours: g.n * perImage,
    sections: g.groups,
    left: { reads: [{ name: 'dy', buffer: 1 }], matrices: g.groups },
    reads: [{ name: 'x', buffer: 0 }],
    params: {
      ...geometryParams(g),
      P4: u32(perImage),
      perImage: inverse(perImage),
      perLine: inverse(g.ow),
      taps: u32(taps),
    },
    leftCode: `fn leftFour(q: u32, row: u32, group: u32) -> vec4f {${split}
  let at = pixel + (n * p.K + group * p.rows + row) * pixels;
  return select(vec4f(), vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]), there);
}`,
    code: `struct Column { to: u32, channel: u32, top: u32, left: u32 }
fn column(j: u32, z: u32) -> Column {
  let c = j / p.taps;
  let tap = j - c * p.taps;
  return Column(z * p.rows * p.columns + j, z * p.CG + c, tap / p.KW * p.DH - p.PT, tap % p.KW * p.DW - p.PL);
}
fn four(q: u32, c: Column) -> vec4f {${split}
  let oy = vec4u((vec4f(pixel) + 0.5) * p.perLine);
  let iy = oy * p.SH + c.top;
  let ix = (pixel - oy * p.OW) * p.SW + c.left;
  let inside = there & (iy < vec4u(p.H)) & (ix < vec4u(p.W));
  let at = select(vec4u(), ((n * p.C + c.channel) * p.H + iy) * p.W + ix, inside);
  return select(vec4f(), vec4f(x[at.x], x[at.y], x[at.z], x[at.w]), inside);
}`,
    rowTo: columns,
    elements: elements(weightShape(g)),
    plane: columns,
    channels: g.k,
    channel: 'z * p.rows + row',
    bias: false,
    fusible: false,
  }
}
