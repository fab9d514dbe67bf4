/** Samples of images at any places, made of other operations. */
import { add, floor, greaterEqual, lessEqual, mul, sub } from './elementwise.ts'
import { gather } from './gather.ts'
import { expectShape, formatShape, type Operand, type Tensor } from './op.ts'
import { reshape } from './reshape.ts'
import { slice } from './slice.ts'

/**
 * Bilinear samples of images, 0 outside them, as PyTorch's grid_sample with `align_corners: false`. There are gradients for images and
 * places; that of the images looks through all places for each pixel, so warps by a matrix are faster with `affineWarp`.
 * @param x [N,C,H,W]
 * @param grid [N,h,w,2]: x and y of each sample, -1 and 1 being the borders of the image
 * @returns [N,C,h,w]
 * @throws ShapeError where the shapes do not fit.
 */
export function gridSample(x: Tensor, grid: Tensor): Tensor {
  const [n, channels, height, width] = x.shape
  const [, h, w] = grid.shape
  expectShape(
    x.shape.length === 4 && grid.shape.length === 4 && grid.shape[0] === n && grid.shape[3] === 2,
    `gridSample: x ${formatShape(x.shape)} and grid ${formatShape(grid.shape)} are no [N,C,H,W] and [N,h,w,2]`,
  )
  /** Places along an axis in pixels, [N,h*w]. */
  const placesOf = (axis: 0 | 1, extent: number): Tensor => {
    const normalised = reshape(slice(grid, 3, axis, axis + 1), [n, h * w])
    return add(mul(normalised, extent / 2), (extent - 1) / 2)
  }
  const [px, py] = [placesOf(0, width), placesOf(1, height)]
  const [left, top] = [floor(px), floor(py)]
  const pixels = reshape(x, [n, channels, height * width])
  const inside = (at: Tensor, extent: number): Tensor => mul(greaterEqual(at, 0), lessEqual(at, extent - 1))
  const taps = [0, 1].flatMap((down) =>
    [0, 1].map((right) => {
      const [column, row] = [add(left, right), add(top, down)]
      const share = (place: Tensor, first: Tensor, second: number): Operand => {
        const part = sub(place, first)
        return second ? part : sub(1, part)
      }
      const weight = mul(
        mul(share(px, left, right), share(py, top, down)),
        mul(inside(column, width), inside(row, height)),
      )
      const values = gather(pixels, add(mul(row, width), column), 2)
      return mul(values, reshape(weight, [n, 1, h * w]))
    }),
  )
  return reshape(taps.reduce(add), [n, channels, h, w])
}
