/** Geometries that the tests of every convolution run over: odd extents, borders, strides, dilation, groups. */
import type { ConvOptions, Geometry } from '../../src/kernels/conv/geometry.ts'
import type { Shape } from '../../src/kernels/op.ts'

/** One list of geometries for conv2d, its transpose and its weight gradient. */
export function convCases<T>(make: (x: Shape, weights: Shape, options: ConvOptions, bias: boolean) => T): T[] {
  return [
    make([1, 1, 1, 1], [1, 1, 1, 1], {}, true),
    make([1, 3, 5, 7], [2, 3, 3, 3], { padding: 1 }, true),
    make([2, 5, 7, 11], [7, 5, 1, 1], {}, true),
    make([2, 16, 8, 8], [24, 16, 1, 1], {}, false),
    make([2, 8, 14, 14], [12, 8, 3, 3], { padding: 1 }, true),
    make([1, 32, 9, 6], [36, 32, 3, 3], { padding: [0, 1, 2, 1] }, true),
    make([2, 20, 7, 7], [16, 20, 3, 3], { padding: 1 }, false),
    make([1, 6, 13, 9], [19, 6, 3, 3], { padding: 1, stride: 2 }, true),
    make([3, 4, 14, 14], [8, 4, 3, 3], { padding: 1, stride: 2 }, false),
    make([1, 3, 12, 12], [8, 3, 3, 3], { padding: [0, 0, 1, 1], stride: 2 }, true),
    make([1, 3, 31, 27], [5, 3, 11, 11], { padding: 2, stride: 4 }, true),
    make([2, 4, 9, 10], [6, 4, 5, 5], { padding: 2 }, true),
    make([1, 4, 9, 11], [4, 4, 3, 3], { padding: 2, dilation: 2 }, false),
    make([1, 2, 9, 8], [3, 2, 2, 3], { padding: [1, 0, 2, 3], stride: [1, 3], dilation: [3, 1] }, true),
    make([2, 6, 7, 7], [6, 1, 3, 3], { padding: 1, groups: 6 }, true),
    make([1, 8, 11, 13], [8, 1, 3, 3], { padding: 1, stride: 2, groups: 8 }, false),
    make([2, 8, 7, 7], [8, 1, 7, 7], { groups: 8 }, false),
    make([2, 6, 4, 4], [6, 1, 3, 3], { padding: 1, dilation: 2, stride: 2, groups: 6 }, true),
    make([2, 4, 6, 5], [12, 2, 3, 3], { padding: 1, groups: 2 }, true),
    make([1, 3, 5, 5], [6, 1, 3, 3], { padding: 1, groups: 3 }, true),
    make([1, 64, 5, 6], [72, 32, 3, 3], { padding: 1, groups: 2 }, true),
    make([2, 24, 9, 7], [36, 8, 3, 3], { padding: 1, stride: 2, groups: 3 }, true),
    make([2, 8, 4, 6], [24, 4, 1, 1], { groups: 2 }, true),
    make([1, 2, 4, 4], [1, 2, 4, 4], { padding: 3, stride: 5 }, true),
  ]
}

/** What sums [n,channels,pixels] begin with: the bias of their channel, or zeros. */
export const biases = (n: number, channels: number, pixels: number, bias: Float64Array | undefined): Float64Array =>
  Float64Array.from({ length: n * channels * pixels }, (_, i) => bias?.[Math.floor(i / pixels) % channels] ?? 0)

/** Visits every product y[yi] += x[xi] * w[wi] of a convolution, as flat indices: the definition, for float64 references. */
export function forEachProduct(g: Geometry, visit: (xi: number, wi: number, yi: number) => void): void {
  const perGroup = g.c / g.groups
  const kPerGroup = g.k / g.groups
  for (let n = 0; n < g.n; n++) {
    for (let k = 0; k < g.k; k++) {
      const firstChannel = Math.floor(k / kPerGroup) * perGroup
      for (let c = 0; c < perGroup; c++) {
        for (let r = 0; r < g.kh; r++) {
          for (let s = 0; s < g.kw; s++) {
            const wi = ((k * perGroup + c) * g.kh + r) * g.kw + s
            for (let oy = 0; oy < g.oh; oy++) {
              const iy = oy * g.stride[0] + r * g.dilation[0] - g.padding[0]
              if (iy < 0 || iy >= g.h) continue
              for (let ox = 0; ox < g.ow; ox++) {
                const ix = ox * g.stride[1] + s * g.dilation[1] - g.padding[1]
                if (ix < 0 || ix >= g.w) continue
                visit(((n * g.c + firstChannel + c) * g.h + iy) * g.w + ix, wi, ((n * g.k + k) * g.oh + oy) * g.ow + ox)
              }
            }
          }
        }
      }
    }
  }
}
