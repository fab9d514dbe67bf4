/** Convolutions as matrix products: images unfolded into a column per output pixel, and columns folded back onto the image. */
import { type Binding, type BufferRef, type Dispatch, u32 } from '../op.ts'
import { LINEAR, usedParams } from '../wgsl.ts'
import type { Geometry } from './geometry.ts'

/** Pixels of an output image in units of four, the last one filled up. */
export const pixels4 = ({ oh, ow }: Geometry): number => Math.ceil((oh * ow) / 4)

/** Input channels of one thread: positions and borders are worked out once for all of them. */
const CHANNELS = 8

/**
 * columns[(c kh + r) kw + s, j] = x[c, the input pixel that tap r, s of output pixel j falls on], 0 outside the image and
 * where an image's last four pixels are filled up. The columns are those of the output pixels `first` to `first + count`, in units of four (see pixels4) over all images.
 */
export function unfold(g: Geometry, x: BufferRef, columns: BufferRef, first: number, count: number): Dispatch {
  const code = `
@compute @workgroup_size(${LINEAR})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  if (id.x >= p.count) { return; }
  let fours = p.first + id.x;
  let start = fours % p.P4 * 4u;
  var oy = vec4u(start / p.OW);
  var ox = vec4u(start % p.OW);
  for (var i = 1u; i < 4u; i++) {
    let wraps = ox[i - 1u] + 1u == p.OW;
    ox[i] = select(ox[i - 1u] + 1u, 0u, wraps);
    oy[i] = oy[i - 1u] + select(0u, 1u, wraps);
  }
  // Unsigned: what is above or left of the image wraps around to beyond its end.
  let top = oy * p.SH - p.PT;
  let left = ox * p.SW - p.PL;
  let begin = group.y * ${CHANNELS}u;
  let end = min(begin + ${CHANNELS}u, p.C);
  let image = (fours / p.P4 * p.C + begin) * p.HW;
  for (var r = 0u; r < p.KH; r++) {
    for (var s = 0u; s < p.KW; s++) {
      let iy = top + r * p.DH;
      let ix = left + s * p.DW;
      let inside = (iy < vec4u(p.H)) & (ix < vec4u(p.W)) & (oy < vec4u(p.OH));
      var at = select(vec4u(), iy * p.W + ix, inside) + image;
      var to = ((begin * p.KH + r) * p.KW + s) * p.count + id.x;
      for (var c = begin; c < end; c++) {
        columns[to] = select(vec4f(), vec4f(x[at.x], x[at.y], x[at.z], x[at.w]), inside);
        at += p.HW;
        to += p.KH * p.KW * p.count;
      }
    }
  }
}
`
  const params = {
    first: u32(first),
    count: u32(count),
    P4: u32(pixels4(g)),
    OH: u32(g.oh),
    OW: u32(g.ow),
    C: u32(g.c),
    H: u32(g.h),
    W: u32(g.w),
    HW: u32(g.h * g.w),
    KH: u32(g.kh),
    KW: u32(g.kw),
    SH: u32(g.stride[0]),
    SW: u32(g.stride[1]),
    DH: u32(g.dilation[0]),
    DW: u32(g.dilation[1]),
    PT: u32(g.padding[0]),
    PL: u32(g.padding[1]),
  }
  return {
    label: 'unfold',
    code,
    reads: [{ name: 'x', buffer: x }],
    writes: [{ name: 'columns', buffer: columns, type: 'vec4f' }],
    params,
    workgroups: [Math.ceil(count / LINEAR), Math.ceil(g.c / CHANNELS), 1],
  }
}

/**
 * The transpose of `unfold` for whole images and dilation 1: result[n, c, pixel] = bias[c] + the sum of all elements of
 * `columns` that this pixel was unfolded to. The columns of `images` images from image `start` on.
 */
export function fold(
  g: Geometry,
  columns: BufferRef,
  result: BufferRef,
  start: number,
  images: number,
  bias?: BufferRef,
): Dispatch {
  const whole = images === g.n
  const at = '((group.z + p.start) * p.C + group.y) * p.HW + id.x'
  // Baked, not parameters: divisions by constants are cheap.
  const [sh, sw] = g.stride
  const code = `
@compute @workgroup_size(${LINEAR})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
  if (id.x >= p.HW) { return; }
  let ty = id.x / p.W + p.PT;
  let tx = id.x % p.W + p.PL;
  let image = group.z * p.P4 * 4u;
  // From the tap that is next to the last output pixel reaching here, on to smaller output pixels.
  let firstY = min(ty / ${sh}u, p.OH - 1u);
  let firstX = min(tx / ${sw}u, p.OW - 1u);
  var total = ${bias === undefined ? '0.0' : 'bias[group.y]'};
  var oy = firstY;
  for (var r = ty - firstY * ${sh}u; r < ${g.kh}u && oy <= firstY; r += ${sh}u) {
    let line = (group.y * ${g.kh}u + r) * ${g.kw}u;
    var ox = firstX;
    for (var s = tx - firstX * ${sw}u; s < ${g.kw}u && ox <= firstX; s += ${sw}u) {
      total += columns[(line + s) * p.row + image + oy * p.OW + ox];
      ox--;
    }
    oy--;
  }
  ${whole ? `store(${at}, group.y, total)` : `result[${at}] = total`};
}
`
  const params = {
    start: u32(start),
    row: u32(images * pixels4(g) * 4),
    P4: u32(pixels4(g)),
    OH: u32(g.oh),
    OW: u32(g.ow),
    C: u32(g.c),
    W: u32(g.w),
    HW: u32(g.h * g.w),
    PT: u32(g.padding[0]),
    PL: u32(g.padding[1]),
  }
  const reads: Binding[] = [{ name: 'columns', buffer: columns }]
  if (bias !== undefined) reads.push({ name: 'bias', buffer: bias })
  return {
    label: 'fold',
    code,
    reads,
    writes: [{ name: 'result', buffer: result }],
    params: usedParams(code, params),
    workgroups: [Math.ceil((g.h * g.w) / LINEAR), g.c, images],
    stores: whole ? 'f32' : undefined,
  }
}
