/** How the extents of a convolution hang together; shared by conv2d, its transpose and its weight gradient. */
import { type Cost, elements, expectShape, formatShape, type Param, type Shape, u32 } from '../op.ts'

/** Rows first, columns second. */
export type Pair = readonly [number, number]

export interface ConvArgs {
  stride: Pair
  /** Zeros around the image: top, left, bottom, right. */
  padding: readonly [number, number, number, number]
  dilation: Pair
  groups: number
}

/** What users write: one number serves rows and columns, two are [rows, columns]. */
export interface ConvOptions {
  /** 1 unless told. */
  stride?: number | Pair
  /** Zeros on all sides, [top and bottom, left and right], or [top, left, bottom, right]; 0 unless told. */
  padding?: number | Pair | ConvArgs['padding']
  /** Distance between taps of the kernel; 1 unless told. */
  dilation?: number | Pair
  /** Input and output channels fall into so many independent groups; 1 unless told. */
  groups?: number
}

const pair = (value: number | Pair): Pair => (typeof value === 'number' ? [value, value] : [value[0], value[1]])

export function convArgs({ stride = 1, padding = 0, dilation = 1, groups = 1 }: ConvOptions): ConvArgs {
  const four = typeof padding !== 'number' && padding.length === 4
  const [v, h] = four ? [0, 0] : pair(padding as number | Pair)
  return {
    stride: pair(stride),
    padding: four ? (padding as ConvArgs['padding']) : [v, h, v, h],
    dilation: pair(dilation),
    groups,
  }
}

/** All extents of one convolution: x [n,c,h,w], weights [k,c/groups,kh,kw], y [n,k,oh,ow]. */
export interface Geometry extends ConvArgs {
  n: number
  c: number
  h: number
  w: number
  k: number
  kh: number
  kw: number
  oh: number
  ow: number
}

/** Rows or columns of the output; zero or negative where the kernel does not fit. */
const outputExtent = (extent: number, before: number, after: number, dilation: number, taps: number, stride: number) =>
  Math.floor((extent + before + after - dilation * (taps - 1) - 1) / stride) + 1

/** The geometry of `conv2d` on an image and weights; throws ShapeError where they do not fit. */
export function convGeometry(name: string, args: ConvArgs, image: Shape, weights: Shape): Geometry {
  checkArgs(name, args)
  expectShape(image.length === 4, `${name}: the image must be [N,C,H,W], not ${formatShape(image)}`)
  expectShape(weights.length === 4, `${name}: the weights must be [K,C/groups,kh,kw], not ${formatShape(weights)}`)
  const [n, c, h, w] = image
  const [k, perGroup, kh, kw] = weights
  const { stride, padding, dilation, groups } = args
  expectShape(
    c === perGroup * groups && k % groups === 0,
    `${name}: ${c} input channels and ${k} output channels in ${groups} groups need weights [${k},${c / groups},${kh},${kw}], not ${formatShape(weights)}`,
  )
  const oh = outputExtent(h, padding[0], padding[2], dilation[0], kh, stride[0])
  const ow = outputExtent(w, padding[1], padding[3], dilation[1], kw, stride[1])
  expectShape(
    oh > 0 && ow > 0,
    `${name}: a kernel of ${kh}x${kw} (dilation ${dilation.join('x')}) does not fit ${h}x${w} pixels with padding ${formatShape(padding)}`,
  )
  return { ...args, n, c, h, w, k, kh, kw, oh, ow }
}

function checkArgs(name: string, { stride, padding, dilation, groups }: ConvArgs): void {
  const positive = (v: readonly number[]) => v.every((e) => Number.isInteger(e) && e > 0)
  expectShape(positive(stride), `${name}: stride ${formatShape(stride)} must be positive integers`)
  expectShape(positive(dilation), `${name}: dilation ${formatShape(dilation)} must be positive integers`)
  expectShape(positive([groups]), `${name}: groups ${groups} must be a positive integer`)
  expectShape(
    padding.every((e) => Number.isInteger(e) && e >= 0),
    `${name}: padding ${formatShape(padding)} must be non-negative integers`,
  )
}

export const imageShape = ({ n, c, h, w }: Geometry): Shape => [n, c, h, w]
export const weightShape = ({ k, c, groups, kh, kw }: Geometry): Shape => [k, c / groups, kh, kw]
export const outputShape = ({ n, k, oh, ow }: Geometry): Shape => [n, k, oh, ow]

/** Multiplications and additions of a convolution; its transpose and its weight gradient have as many. */
export const convFlop = ({ n, k, oh, ow, c, groups, kh, kw }: Geometry): number =>
  2 * n * k * oh * ow * (c / groups) * kh * kw

/** The numbers that kernels address images and weights by: CG and KG are the channels of one group. */
export const geometryParams = (g: Geometry): Record<string, Param> => ({
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

/** Throws ShapeError unless the bias, where there is one, has a value for each of the channels. */
export function expectBias(name: string, bias: Shape | undefined, channels: number): void {
  expectShape(
    !bias || (bias.length === 1 && bias[0] === channels),
    `${name}: the bias must be [${channels}], not ${formatShape(bias ?? [])}`,
  )
}

/** The products of a convolution or its transpose, and every tensor moved once. */
export const convCost = (g: Geometry, shapes: readonly Shape[], output: Shape): Cost => ({
  flop: convFlop(g),
  bytes: 4 * [...shapes, output].reduce((n, s) => n + elements(s), 0),
})
