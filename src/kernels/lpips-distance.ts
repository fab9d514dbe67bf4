/** One layer of LPIPS (Zhang et al., CVPR 2018; v0.1): how far two feature maps are apart to the eye. */
import { affine, div, mul, sqrt, square, sub } from './elementwise.ts'
import { type Dispatch, elements, expectShape, f32, formatShape, type Op, type Shape, type Tensor, u32 } from './op.ts'
import { sum, sumTo } from './reduce.ts'
import { reshape } from './reshape.ts'
import { LINEAR, laneSum, rowEntry, rowGrid } from './wgsl.ts'

/** Added to the norm of a pixel's channels; `normalize_tensor` of the LPIPS authors' code. */
export const EPSILON = 1e-10

type NoArgs = Record<never, never>

/**
 * The mean over all pixels of `sum_c lin[c] (ua[c] - ub[c])^2`, where `u = f / (sqrt(sum_c f[c]^2) + 1e-10)` is a pixel's
 * vector of channels brought to length one. The gradient with respect to a pixel whose channels are all 0 is taken as 0.
 * @param fa features of one image, [N,C,H,W], or [1,C,H,W] for all of fb
 * @param fb features of the other, [N,C,H,W]
 * @param lin weights of the channels, [C], not negative
 * @returns [N]
 * @throws ShapeError where the shapes do not fit.
 */
export const lpipsDistance = (fa: Tensor, fb: Tensor, lin: Tensor): Tensor =>
  fa.recorder.apply(lpipsDistanceOp, [fa, fb, lin], {})

function expectFeatures(name: string, a: Shape, b: Shape, lin: Shape): void {
  expectShape(
    a.length === 4 && b.length === 4 && a.slice(1).every((extent, i) => extent === b[i + 1]),
    `${name}: fa ${formatShape(a)} and fb ${formatShape(b)} are no feature maps [N,C,H,W] of the same size`,
  )
  expectShape(
    a[0] === b[0] || a[0] === 1 || b[0] === 1,
    `${name}: fa ${formatShape(a)} and fb ${formatShape(b)} have different batches, and neither is 1`,
  )
  expectShape(
    lin.length === 1 && lin[0] === a[1],
    `${name}: lin ${formatShape(lin)} has not one weight for each of ${a[1]} channels`,
  )
}

/** Lanes of a workgroup that sums more than LINEAR pixels: most of LPIPS' maps have no more, and no parts that are to be joined. */
const MANY = 256

/** Lanes run along the pixels of one image (grid y); a pixel's channels are read in loops, the second time from the cache. */
function layout(a: Shape, b: Shape, many: number) {
  const pixels = a[2] * a[3]
  const image = pixels * a[1]
  const lanes = pixels > LINEAR ? many : LINEAR
  return {
    batch: Math.max(a[0], b[0]),
    lanes,
    blocks: Math.ceil(pixels / lanes),
    params: {
      pixels: u32(pixels),
      channels: u32(a[1]),
      imageA: u32(a[0] === 1 ? 0 : image),
      imageB: u32(b[0] === 1 ? 0 : image),
    },
  }
}

const entry = (lanes: number, body: string): string => `
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let pixel = group.x * ${lanes}u + lane;
${body}
}
`

const everyChannel = (body: string): string => `{
    var atA = group.y * p.imageA + pixel;
    var atB = group.y * p.imageB + pixel;
    for (var c = 0u; c < p.channels; c++) {
      let va = a[atA];
      let vb = b[atB];
      ${body}
      atA += p.pixels;
      atB += p.pixels;
    }
    }`

export const lpipsDistanceOp: Op<NoArgs> = {
  name: 'lpips_distance',
  inputs: ['fa', 'fb', 'lin'],
  shape(_, [a, b, lin]) {
    expectFeatures('lpips_distance', a, b, lin)
    return [Math.max(a[0], b[0])]
  },
  cost: (_, [a, b]) => ({
    flop: 10 * elements(a[0] > b[0] ? a : b),
    bytes: 4 * (elements(a) + elements(b)),
  }),
  kernels(_, [a, b]) {
    const { batch, lanes, blocks, params } = layout(a, b, MANY)
    const scale = 1 / params.pixels.value
    const pixels: Dispatch = {
      label: 'lpips_distance',
      code: `${laneSum('sum', 'f32', lanes)}
${entry(
  lanes,
  `  var distance = 0.0;
  if (pixel < p.pixels) {
    var square = vec2f(0);
    ${everyChannel('square += vec2f(va * va, vb * vb);')}
    let scale = 1.0 / (sqrt(square) + ${EPSILON});
    ${everyChannel('let difference = va * scale.x - vb * scale.y;\n      distance += lin[c] * difference * difference;')}
  }
  let total = sum(lane, distance);
  if (lane == 0u) { parts[group.y * groups.x + group.x] = total * p.scale; }`,
)}`,
      reads: [
        { name: 'a', buffer: 0 },
        { name: 'b', buffer: 1 },
        { name: 'lin', buffer: 2 },
      ],
      writes: [{ name: 'parts', buffer: blocks === 1 ? 'output' : 'scratch0' }],
      params: { ...params, scale: f32(blocks === 1 ? scale : 1) },
      workgroups: [blocks, batch, 1],
    }
    if (blocks === 1) return [{ variant: 'pixels', dispatches: [pixels] }]
    const join: Dispatch = {
      label: 'lpips_distance.join',
      code: `${laneSum('sum')}
${rowEntry(`  var part = 0.0;
  for (var k = lane; k < p.blocks; k += ${LINEAR}u) { part += parts[row * p.blocks + k]; }
  let total = sum(lane, part);
  if (lane == 0u) { y[row] = total * p.scale; }`)}`,
      reads: [{ name: 'parts', buffer: 'scratch0' }],
      writes: [{ name: 'y', buffer: 'output' }],
      params: { rows: u32(batch), blocks: u32(blocks), scale: f32(scale) },
      workgroups: rowGrid(batch),
    }
    return [{ variant: 'pixels', dispatches: [pixels, join], scratch: [batch * blocks] }]
  },
  backward({ inputs: [fa, fb, lin], gradient, wanted }) {
    const { recorder } = gradient
    const towards = (own: Tensor, other: Tensor): Tensor =>
      sumTo(recorder.apply(lpipsGradientOp, [other, own, lin, gradient], {}), own.shape)
    return [
      wanted[0] ? towards(fa, fb) : undefined,
      wanted[1] ? towards(fb, fa) : undefined,
      wanted[2] ? linGradient(fa, fb, gradient) : undefined,
    ]
  },
}

/** Gradient with respect to `b`, which is always as large as the batch: an image of it that stands for several is not summed. */
export const lpipsGradientOp: Op<NoArgs> = {
  name: 'lpips_distance.df',
  inputs: ['a', 'b', 'lin', 'dy'],
  half: 'follows',
  shape: (_, [a, b]) => b.with(0, Math.max(a[0], b[0])),
  cost: (_, [a, b]) => ({
    flop: 18 * elements(a[0] > b[0] ? a : b),
    bytes: 4 * (elements(a) + elements(b) + elements(a[0] > b[0] ? a : b)),
  }),
  kernels(_, [a, b]) {
    const { batch, lanes, blocks, params } = layout(a, b, LINEAR)
    const image = elements(b) / b[0]
    return [
      {
        variant: 'pixels',
        dispatches: [
          {
            label: 'lpips_distance.df',
            // With r = 1 / (|b| + epsilon), u = b r and e = lin (u - ua): db = 2 / pixels dy (e r - (e . b) r^2 b / |b|).
            code: entry(
              lanes,
              `  if (pixel < p.pixels) {
    var square = vec2f(0);
    var weighted = vec2f(0);
    ${everyChannel('square += vec2f(va * va, vb * vb);\n      weighted += lin[c] * vb * vec2f(va, vb);')}
    let norm = sqrt(square);
    let scale = 1.0 / (norm + ${EPSILON});
    let along = (weighted.y * scale.y - weighted.x * scale.x) * scale.y / max(norm.y, 1e-30);
    let factor = select(0.0, p.scale * dy[group.y] * scale.y, norm.y > 0.0);
    var at = group.y * p.image + pixel;
    ${everyChannel('store(at, c, factor * (lin[c] * (vb * scale.y - va * scale.x) - along * vb));\n      at += p.pixels;')}
  }`,
            ),
            reads: [
              { name: 'a', buffer: 0 },
              { name: 'b', buffer: 1 },
              { name: 'lin', buffer: 2 },
              { name: 'dy', buffer: 3 },
            ],
            writes: [{ name: 'db', buffer: 'output' }],
            params: { ...params, image: u32(image), scale: f32(2 / params.pixels.value) },
            workgroups: [blocks, batch, 1],
            stores: 'f32',
          },
        ],
      },
    ]
  },
}

/** The distance is linear in `lin`: each channel's gradient is its mean squared difference, weighted by the images' gradients. */
function linGradient(fa: Tensor, fb: Tensor, gradient: Tensor): Tensor {
  const unit = (f: Tensor): Tensor => div(f, affine(sqrt(sum(square(f), [1])), 1, EPSILON))
  const weighted = mul(square(sub(unit(fa), unit(fb))), reshape(gradient, [gradient.shape[0], 1, 1, 1]))
  const total = sum(weighted, [0, 2, 3])
  return reshape(affine(total, 1 / (fa.shape[2] * fa.shape[3]), 0), [fa.shape[1]])
}
