/** Affine resampling of images: face crops. */
import {
  type Dispatch,
  elements,
  expectShape,
  formatShape,
  type Kernel,
  type Op,
  type Shape,
  type Tensor,
  u32,
} from './op.ts'
import { channelGroup, decompose, eachChannel, gatherWeights, geometry } from './warp-geometry.ts'
import { linearEntry, linearGrid } from './wgsl.ts'

export interface WarpOptions {
  /** Height and width of the output in pixels. */
  size: readonly [height: number, width: number]
  /** Filter the image where the output has fewer pixels than it, so that all of them count. Off unless told. */
  antialias?: boolean
}

export interface WarpArgs {
  size: readonly [height: number, width: number]
  antialias: boolean
}

/**
 * Samples images along affine maps; outside the image is zero.
 *
 * A row [a,b,tx,c,d,ty] of `matrices` takes a place in the OUTPUT to a place in x, `x' = a x + b y + tx`, `y' = c x + d y + ty`:
 * the inverse of the map that takes landmarks to a crop. Places are in pixels, and pixel i lies between i and i + 1, so the
 * output's pixel j samples x at map(j + 0.5) - 0.5. Matrices are a tensor, so they may change between runs.
 *
 * Plain: bilinear interpolation, which is PyTorch's affine_grid and grid_sample (zeros, align_corners=False). With `antialias`
 * a map that shrinks the image along an output axis weighs the pixels of x by tents of one output pixel to either side, along
 * the output's axes, divided by the sum of the weights (pixels outside the image included); an axis along which it enlarges
 * has a tent of one pixel of x. Where it shrinks along neither it is the plain warp.
 *
 * @param x [N,C,H,W]
 * @param matrices [M,6] with M a multiple of N: the first M / N sample image 0, the next ones image 1, and so on. A map without
 *   inverse gives zeros, and no gradient.
 * @returns [M,C,h,w]. The gradient with respect to x is the exact adjoint; there is none for the matrices.
 * @throws ShapeError where x or matrices have other shapes or the size is not positive.
 */
export const affineWarp = (x: Tensor, matrices: Tensor, { size, antialias = false }: WarpOptions): Tensor =>
  x.recorder.apply(affineWarpOp, [x, matrices], { size, antialias })

export function warpShape(name: string, { size }: WarpArgs, [x, matrices]: readonly Shape[]): Shape {
  expectShape(
    x.length === 4 && matrices.length === 2 && matrices[1] === 6 && matrices[0] % x[0] === 0,
    `${name}: x ${formatShape(x)} and matrices ${formatShape(matrices)} must be [N,C,H,W] and [M,6] with M a multiple of N`,
  )
  expectShape(
    size.every((extent) => Number.isInteger(extent) && extent > 0),
    `${name}: size ${formatShape(size)} must be positive integers`,
  )
  return [matrices[0], x[1], ...size]
}

const geometryParams = (
  args: WarpArgs,
  [x, matrices]: readonly Shape[],
  count: number,
): NonNullable<Dispatch['params']> => ({
  count: u32(count),
  ih: u32(x[2]),
  iw: u32(x[3]),
  oh: u32(args.size[0]),
  ow: u32(args.size[1]),
  groups: u32(x[1] / channelGroup(x[1])),
  perImage: u32(matrices[0] / x[0]),
})

function warpKernel(args: WarpArgs, shapes: readonly Shape[]): Kernel {
  const [x, matrices] = shapes
  const { antialias, size } = args
  const group = channelGroup(x[1])
  const count = (matrices[0] * x[1] * size[0] * size[1]) / group
  return {
    variant: antialias ? 'tent' : 'bilinear',
    dispatches: [
      {
        label: 'affine_warp',
        code: `${geometry(antialias)}
${linearEntry(`  ${decompose('oh', 'ow')}
  let m = plane / p.groups;
  let image = (m / p.perImage * p.groups + plane % p.groups) * ${group}u * p.ih;
  ${antialias ? 'var weights = 0.0;' : ''}
  ${eachChannel(group, (k) => `var total${k} = 0.0;`)}
  ${gatherWeights(`${antialias ? 'weights += w;' : ''}
      let at = vec2u(vec2i(place.pixel) + vec2i(c, r));
      if (w > 0.0 && at.x < p.iw && at.y < p.ih) {
        ${eachChannel(group, (k) => `total${k} += w * x[(image + ${k}u * p.ih + at.y) * p.iw + at.x];`)}
      }`)}
  let scale = ${antialias ? 'select(0.0, 1.0 / weights, weights > 0.0)' : '1.0'};
  ${eachChannel(group, (k) => `store(((plane * ${group}u + ${k}u) * p.oh + u32(row)) * p.ow + u32(column), 0u, total${k} * scale);`)}`)}`,
        reads: [
          { name: 'x', buffer: 0 },
          { name: 'matrices', buffer: 1 },
        ],
        writes: [{ name: 'y', buffer: 'output' }],
        params: geometryParams(args, shapes, count),
        workgroups: linearGrid(count),
        stores: 'f32',
        flat: true,
      },
    ],
  }
}

/** Multiply-adds of taps: four image pixels an output pixel, or for the antialiased warp each image pixel about four times. */
const warpCost = ({ size, antialias }: WarpArgs, [x, matrices]: readonly Shape[]) => {
  const written = matrices[0] * x[1] * size[0] * size[1]
  return {
    flop: 8 * (antialias ? Math.max(written, elements(x)) : written),
    bytes: 4 * (elements(x) + elements(matrices) + written),
  }
}

export const affineWarpOp: Op<WarpArgs> = {
  name: 'affine_warp',
  inputs: ['x', 'matrices'],
  shape: (args, shapes) => warpShape('affine_warp', args, shapes),
  cost: warpCost,
  kernels: (args, shapes) => [warpKernel(args, shapes)],
  backward({ args, inputs: [x, matrices], gradient, wanted }) {
    const shape = [x.shape[0], x.shape[1], x.shape[2], x.shape[3]] as const
    return [
      wanted[0] ? x.recorder.apply(affineWarpGradientOp, [gradient, matrices], { ...args, shape }) : undefined,
      undefined,
    ]
  },
}

interface WarpGradientArgs extends WarpArgs {
  /** Shape of x. */
  shape: readonly [number, number, number, number]
}

/** Gradient of the warp: each pixel of the image collects from the output pixels around its own place there, in their order. */
export const affineWarpGradientOp: Op<WarpGradientArgs> = {
  name: 'affine_warp.dx',
  inputs: ['dy', 'matrices'],
  shape: ({ shape }) => shape,
  cost: (args, [, matrices]) => warpCost(args, [args.shape, matrices]),
  kernels(args, [, matrices]) {
    const { antialias, shape, size } = args
    const group = channelGroup(shape[1])
    const count = elements(shape) / group
    const pixels = matrices[0] * size[0] * size[1]
    // The box of the image that each map samples: most pixels of a large photo lie in none.
    const bound: Dispatch = {
      label: 'affine_warp.dx.bounds',
      code: `${geometry(antialias)}
${linearEntry(`  if (i >= p.count) { return; }
  let map = mapOf(i);
  var low = vec2f(1e9);
  var high = vec2f(-1e9);
  for (var corner = 0u; corner < 4u; corner++) {
    let place = placeOf(map, i32(corner % 2u * (p.ow - 1u)), i32(corner / 2u * (p.oh - 1u)));
    low = min(low, place.pixel + place.rest);
    high = max(high, place.pixel + place.rest);
  }
  let margin = map.reach * 1.02 + 0.02;
  bounds[i] = vec4f(low - margin, high + margin);`)}`,
      reads: [{ name: 'matrices', buffer: 1 }],
      writes: [{ name: 'bounds', buffer: 'scratch0', type: 'vec4f' }],
      params: geometryParams(args, [shape, matrices], matrices[0]),
      workgroups: linearGrid(matrices[0]),
    }
    // The tents of an output pixel add up to another number at every place.
    const normalise: Dispatch = {
      label: 'affine_warp.dx.scale',
      code: `${geometry(true)}
${linearEntry(`  ${decompose('oh', 'ow')}
  let m = plane;
  var weights = 0.0;
  ${gatherWeights('weights += w;')}
  scales[i] = select(0.0, 1.0 / weights, weights > 0.0);`)}`,
      reads: [{ name: 'matrices', buffer: 1 }],
      writes: [{ name: 'scales', buffer: 'scratch1' }],
      params: geometryParams(args, [shape, matrices], pixels),
      workgroups: linearGrid(pixels),
    }
    const gather: Dispatch = {
      label: 'affine_warp.dx',
      code: `${geometry(antialias)}
${linearEntry(`  ${decompose('ih', 'iw')}
  let n = plane / p.groups;
  let channel = plane % p.groups * ${group}u;
  ${eachChannel(group, (k) => `var total${k} = 0.0;`)}
  let pixel = vec2f(f32(column), f32(row));
  for (var m = n * p.perImage; m < (n + 1u) * p.perImage; m++) {
    let bound = bounds[m];
    if (any(pixel < bound.xy) || any(pixel > bound.zw)) { continue; }
    let map = mapOf(m);
    let away = pixel - map.origin - map.corner;
    let centre = vec2f(dot(map.inverse.xy, away), dot(map.inverse.zw, away)) - 0.5;
    // A little further than exact arithmetic would need to look: a weight of zero costs time, a missed one the adjoint.
    let box = around(centre, map.spread * 1.02 + 0.02, vec2f(0.0), vec2f(f32(p.ow), f32(p.oh)) - 1.0);
    for (var r = box.y; r <= box.w; r++) {
      for (var c = box.x; c <= box.z; c++) {
        let place = placeOf(map, c, r);
        let w = weight(map, pixel - place.pixel - place.rest)${antialias ? ' * scales[(m * p.oh + u32(r)) * p.ow + u32(c)]' : ''};
        if (w > 0.0) {
          let at = ((m * p.groups * ${group}u + channel) * p.oh + u32(r)) * p.ow + u32(c);
          ${eachChannel(group, (k) => `total${k} += w * dy[at + ${k}u * p.oh * p.ow];`)}
        }
      }
    }
  }
  ${eachChannel(group, (k) => `store(((plane * ${group}u + ${k}u) * p.ih + u32(row)) * p.iw + u32(column), 0u, total${k});`)}`)}`,
      reads: [
        { name: 'dy', buffer: 0 },
        { name: 'matrices', buffer: 1 },
        { name: 'bounds', buffer: 'scratch0', type: 'vec4f' },
        ...(antialias ? [{ name: 'scales', buffer: 'scratch1' } as const] : []),
      ],
      writes: [{ name: 'dx', buffer: 'output' }],
      params: geometryParams(args, [shape, matrices], count),
      workgroups: linearGrid(count),
      stores: 'f32',
      flat: true,
    }
    const boundsSize = 4 * matrices[0]
    return [
      antialias
        ? { variant: 'tent', dispatches: [bound, normalise, gather], scratch: [boundsSize, pixels] }
        : { variant: 'bilinear', dispatches: [bound, gather], scratch: [boundsSize] },
    ]
  },
}
