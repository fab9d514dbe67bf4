/**
 * Face detection with YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023): one pass of one network over the
 * photo, where MTCNN takes three over a pyramid. Its landmarks are its own, some 5% of the face's width from MTCNN's: what is measured with
 * both does not rest on the alignment of one.
 */

import { checkPixels, type Pixels } from '../pixels/pixels.ts'
import { resize } from '../pixels/resize.ts'
import type { Point } from './alignment.ts'
import { nonMaximumSuppression, type ScoredBox } from './boxes.ts'
import type { Face } from './mtcnn.ts'

/** The network on a device. */
export interface YunetNetworks {
  /**
   * Looks at an image: planes B, G, R [3,height,width] of 0..255, both sides multiples of `yunetMultiple`.
   * Gives `yunetColumns` numbers for each cell, cells of 8 pixels first, then of 16, then of 32, row by row: the probability that there
   * is a face, that of an object (0..1 both), the box (shift of its centre from the cell's corner in cells, logarithms of its width and
   * height in cells), and five landmarks as x, y from the cell's corner in cells.
   */
  heads(image: Float32Array, height: number, width: number): Promise<Float32Array>
}

/** Sides of the cells in pixels: each of three layers of the network judges faces of one range of sizes. */
export const yunetStrides = [8, 16, 32] as const

/** What both sides of an image must be multiples of: the largest cell. */
export const yunetMultiple = 32

/** Numbers a cell: see `YunetNetworks`. */
export const yunetColumns = 16
const [BOX, LANDMARKS] = [2, 6]

export interface YunetOptions {
  /**
   * Larger photos are reduced to this many pixels on their longer side. YuNet finds faces of about 10 to 300 pixels (OpenCV Zoo's card),
   * so more finds smaller faces and less finds larger ones, relative to the photo. Default 640, the side it was trained with.
   */
  longestSide?: number
  /** Faces below this score, the geometric mean of the two probabilities, are left out. Default 0.6. */
  minScore?: number
}

const LONGEST_SIDE = 640
const MIN_SCORE = 0.6

/** Of two boxes whose intersection is more than this of their union the worse one goes (OpenCV's FaceDetectorYN has the same). */
const OVERLAP = 0.3

/**
 * Finds the faces of a photo, best first; an empty list where there is none. Faces smaller than about 1.5% of the photo's longer side are
 * missed in photos above 640 pixels.
 * Throws RangeError for an image whose bytes do not fit its size, a bad option, or an answer of the network of the wrong length.
 */
export async function detectFacesYunet(
  networks: YunetNetworks,
  photo: Pixels,
  options: YunetOptions = {},
): Promise<Face[]> {
  checkPixels('detectFacesYunet', photo)
  const { longestSide = LONGEST_SIDE, minScore = MIN_SCORE } = options
  if (!(longestSide >= yunetMultiple && longestSide < Infinity))
    throw new RangeError(`longestSide is ${longestSide}; it must be a number of pixels from ${yunetMultiple}`)
  if (!(minScore > 0 && minScore < 1)) throw new RangeError(`minScore is ${minScore}; it must be between 0 and 1`)
  const reduction = Math.min(1, longestSide / Math.max(photo.width, photo.height))
  const side = (pixels: number) => Math.max(1, Math.round(pixels * reduction))
  const seen = resize(photo, side(photo.width), side(photo.height))
  const [height, width] = [padded(seen.height), padded(seen.width)]
  const rows = await networks.heads(yunetPlanes(seen, height, width), height, width)
  const found = decodeYunet(rows, height, width, minScore)
  const scale: Point = [photo.width / seen.width, photo.height / seen.height]
  return nonMaximumSuppression(found.map(boxOf), OVERLAP).map((index) => enlarged(found[index], scale))
}

const padded = (pixels: number): number => Math.ceil(pixels / yunetMultiple) * yunetMultiple

/** The image at the top left of planes B, G, R [3,height,width], 0..255; the rest is black. */
export function yunetPlanes(image: Pixels, height: number, width: number): Float32Array {
  const planes = new Float32Array(3 * height * width)
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      const from = 3 * (y * image.width + x)
      const to = y * width + x
      for (let channel = 0; channel < 3; channel++) {
        planes[(2 - channel) * height * width + to] = image.rgb[from + channel]
      }
    }
  }
  return planes
}

/**
 * The faces of at least this score that the network saw in an image of these sides, in no order and with their doubles. Of its five landmarks the
 * first is the right eye of the person, which is the left one in the photo: the order is MTCNN's.
 * Throws RangeError where there are not as many rows as cells.
 */
export function decodeYunet(rows: Float32Array, height: number, width: number, minScore: number): Face[] {
  const cells = yunetStrides.reduce((sum, stride) => sum + (height / stride) * (width / stride), 0)
  if (rows.length !== cells * yunetColumns)
    throw new RangeError(
      `yunet: ${rows.length} numbers for ${height}x${width} pixels, expected ${cells * yunetColumns}`,
    )
  const faces: Face[] = []
  let row = 0
  for (const stride of yunetStrides) {
    for (let top = 0; top < height; top += stride) {
      for (let left = 0; left < width; left += stride, row += yunetColumns) {
        const score = Math.sqrt(clamped(rows[row]) * clamped(rows[row + 1]))
        if (!(score >= minScore)) continue
        const point = (at: number): Point => [left + stride * rows[row + at], top + stride * rows[row + at + 1]]
        const landmark = (k: number) => point(LANDMARKS + 2 * k)
        const [x, y] = point(BOX)
        const halfWidth = (stride * Math.exp(rows[row + BOX + 2])) / 2
        const halfHeight = (stride * Math.exp(rows[row + BOX + 3])) / 2
        faces.push({
          // The last pixel belongs to the box.
          box: [x - halfWidth, y - halfHeight, x + halfWidth - 1, y + halfHeight - 1],
          score,
          landmarks: [landmark(0), landmark(1), landmark(2), landmark(3), landmark(4)],
        })
      }
    }
  }
  return faces
}

const clamped = (probability: number): number => Math.min(Math.max(probability, 0), 1)

const boxOf = ({ box: [x1, y1, x2, y2], score }: Face): ScoredBox => ({ x1, y1, x2, y2, score })

/** A face in the photo that the image was made of. */
function enlarged({ box: [x1, y1, x2, y2], score, landmarks }: Face, [horizontal, vertical]: Point): Face {
  const point = ([x, y]: Point): Point => [x * horizontal, y * vertical]
  const [leftEye, rightEye, nose, leftCorner, rightCorner] = landmarks
  return {
    box: [...point([x1, y1]), (x2 + 1) * horizontal - 1, (y2 + 1) * vertical - 1],
    score,
    landmarks: [point(leftEye), point(rightEye), point(nose), point(leftCorner), point(rightCorner)],
  }
}
