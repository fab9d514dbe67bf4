/** Where in the photo the attack on one face works, and at what resolution. */
import { type Affine, align112, inverse, type Landmarks, type Point, transform } from '../faces/alignment.ts'

/** A rectangle of the photo in whole pixels, seen at `width`/`scaleX` by `height`/`scaleY` working pixels. */
export interface Region {
  left: number
  top: number
  width: number
  height: number
  /** Size of the working image. The scale is the same in both directions up to rounding to whole pixels. */
  workWidth: number
  workHeight: number
}

/** Photo pixels per working pixel along x and y. */
export const scaleOf = (r: Region): [number, number] => [r.width / r.workWidth, r.height / r.workHeight]

/**
 * Band outside the 112x112 crop over which changes fade out, in crop pixels: recognisers whose crops are wider (dlib's) see no hard
 * edge there.
 */
const FADE = 14

/**
 * Photo pixels per crop pixel up to which the attack works on the photo's own pixels. Beyond, bilinear sampling of the crop would
 * touch only some of the pixels ("does not seem to work well with larger pictures"), and memory would grow with the face: there
 * the region is reduced to this many working pixels per crop pixel, and the change is enlarged again.
 */
const FINEST = 1.5

/**
 * A side of the working image has at least this many pixels: the last maps of LPIPS' AlexNet are 3x3 then. (It runs from 31 on, with
 * maps of one pixel.)
 */
export const SMALLEST_SIDE = 64

/** Sides of working images are multiples of this, so that photos share compiled plans. */
const SIDE_STEP = 32

/**
 * The region around a face: its 112x112 crop with the fading band, inside the photo, at least 64 working pixels a side, with `finest` working
 * pixels per crop pixel at most.
 * Throws RangeError for a photo with a side under 64 pixels, FaceGeometryError for landmarks that give no crop.
 */
export function faceRegion(photoWidth: number, photoHeight: number, landmarks: Landmarks, finest = FINEST): Region {
  checkSize(photoWidth, photoHeight)
  const toCrop = align112(landmarks)
  const perCropPixel = 1 / Math.hypot(toCrop[0], toCrop[3])
  const reduction = perCropPixel > finest ? perCropPixel / finest : 1
  const back = inverse(toCrop)
  const [near, far] = [-FADE, 112 + FADE]
  const faded: Point[] = [
    [near, near],
    [far, near],
    [far, far],
    [near, far],
  ]
  const corners = faded.map((corner) => transform(back, corner))
  const along = (axis: 0 | 1, limit: number) => {
    const values = corners.map((corner) => corner[axis])
    // A pixel more on either side, which rounding to whole pixels may take.
    return span(Math.min(...values) - 1, Math.max(...values) + 1, limit, reduction)
  }
  const x = along(0, photoWidth)
  const y = along(1, photoHeight)
  return { left: x.start, top: y.start, width: x.length, height: y.length, workWidth: x.work, workHeight: y.work }
}

/** A stretch of the photo that covers from..to, whose working length is a multiple of SIDE_STEP where the photo allows. */
function span(
  from: number,
  to: number,
  limit: number,
  reduction: number,
): { start: number; length: number; work: number } {
  const wanted = Math.ceil(Math.max(to - from, SMALLEST_SIDE) / reduction / SIDE_STEP) * SIDE_STEP
  const length = Math.min(limit, Math.round(Math.max(wanted, SMALLEST_SIDE) * reduction))
  const centre = (Math.min(Math.max(from, 0), limit) + Math.min(Math.max(to, 0), limit)) / 2
  const start = Math.min(Math.max(0, Math.round(centre - length / 2)), limit - length)
  return { start, length, work: Math.max(Math.min(length, SMALLEST_SIDE), Math.round(length / reduction)) }
}

/** The region that is the whole photo at its own size. Throws RangeError for a photo with a side under 64 pixels. */
export function wholePhoto(width: number, height: number): Region {
  checkSize(width, height)
  return { left: 0, top: 0, width, height, workWidth: width, workHeight: height }
}

function checkSize(width: number, height: number): void {
  if (Math.min(width, height) < SMALLEST_SIDE) {
    throw new RangeError(
      `a photo of ${width}x${height} pixels is too small: both sides must be at least ${SMALLEST_SIDE}`,
    )
  }
}

/**
 * The six numbers by which `affineWarp` samples the region's working image for a crop: crop pixel to working pixel, between pixel
 * centres at whole numbers plus a half (`src = inv(M) * (dst + .5) - .5`).
 */
export function samplingMatrix(region: Region, photoToCrop: Affine): Affine {
  const [a, b, tx, c, d, ty] = inverse(photoToCrop)
  const [sx, sy] = scaleOf(region)
  return [a / sx, b / sx, (tx - region.left) / sx, c / sy, d / sy, (ty - region.top) / sy]
}

/** How much of the change stays at each working pixel: 1 inside the 112x112 crop, falling smoothly to 0 over the band around it. */
export function softMask(region: Region, photoToCrop: Affine): Float32Array {
  const [sx, sy] = scaleOf(region)
  const mask = new Float32Array(region.workWidth * region.workHeight)
  for (let y = 0; y < region.workHeight; y++) {
    for (let x = 0; x < region.workWidth; x++) {
      const [u, v] = transform(photoToCrop, [region.left + (x + 0.5) * sx, region.top + (y + 0.5) * sy])
      const outside = Math.max(Math.abs(u - 56), Math.abs(v - 56)) - 56
      const t = Math.min(1, Math.max(0, 1 - outside / FADE))
      mask[y * region.workWidth + x] = t * t * (3 - 2 * t)
    }
  }
  return mask
}
