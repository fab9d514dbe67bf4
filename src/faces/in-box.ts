/** A face that somebody points at, where the detector finds none. */

import type { Pixels } from '../pixels/pixels.ts'
import { type Landmarks, type Point, referenceLandmarks112 } from './alignment.ts'
import type { MtcnnNetworks } from './mtcnn.ts'
import { lookAgain, rollOf } from './second-look.ts'

/** x, y, width, height in pixels of the photo. */
export type Area = readonly [number, number, number, number]

/** A box x1, y1, x2, y2, whose last pixels are in it, as `--box` takes it: `x,y,width,height`. */
export const areaText = ([x1, y1, x2, y2]: readonly number[]): string =>
  [x1, y1, x2 - x1 + 1, y2 - y1 + 1].map(Math.round).join(',')

export interface PointedFace {
  landmarks: Landmarks
  /** The O-Net's probability that there is a face, 0..1; 0 for a guess. */
  score: number
  /** No face was recognised: the landmarks are those of a frontal, upright face that fills the area. */
  guessed: boolean
}

/** MTCNN's box of an upright face in the 112x112 crop, on average: its centre and its sides. */
const usual = { centre: [54, 63] as Point, width: 78, height: 108 }

/** Where in the area and how large, in parts of it, faces are looked for. */
const shifts: readonly Point[] = [
  [0, 0],
  [-0.12, 0],
  [0.12, 0],
  [0, -0.12],
  [0, 0.12],
]
const sizes = [1, 0.75, 0.55]

/** Probability from which what the O-Net sees in the area is a face: less than without somebody who says that there is one. */
const FACE = 0.5

/**
 * The landmarks of the face in an area: looked for in four orientations, at several sizes and places of it, or else a guess.
 * Throws RangeError for an area that is no part of the photo, and as the network does.
 */
export async function faceInArea(
  networks: Pick<MtcnnNetworks, 'onet'>,
  photo: Pixels,
  area: Area,
): Promise<PointedFace> {
  const [x, y, width, height] = area
  if (
    !area.every(Number.isFinite) ||
    !(width >= 1 && height >= 1) ||
    !(x < photo.width && y < photo.height && x + width > 0 && y + height > 0)
  ) {
    throw new RangeError(
      `the box ${area.join(',')} is no part of a photo of ${photo.width}x${photo.height} pixels: give x,y,width,height of one that is`,
    )
  }
  // The first look turns each of them.
  const starts = sizes.flatMap((size) => shifts.map((shift) => placed(area, size, shift)))
  const looks = await lookAgain(networks, photo, starts)
  const inside = ([px, py]: Point) => px >= x && px < x + width && py >= y && py < y + height
  const seen = looks.flatMap((look) => (look?.settled && look.score >= FACE && inside(look.landmarks[2]) ? [look] : []))
  if (seen.length === 0) return { landmarks: placed(area, 1, [0, 0]), score: 0, guessed: true }
  // Of those as good as equal the one that leans least.
  const best = Math.max(...seen.map(({ score }) => score))
  const lean = ({ landmarks }: { landmarks: Landmarks }) => Math.abs(rollOf(landmarks))
  const { landmarks, score } = seen
    .filter((look) => look.score > best - 0.02)
    .reduce((a, b) => (lean(b) < lean(a) ? b : a))
  return { landmarks, score, guessed: false }
}

/** Landmarks of a frontal, upright face that fills a part of an area. */
function placed([x, y, width, height]: Area, size: number, [right, down]: Point): Landmarks {
  const [cx, cy] = [x + width * (0.5 + right), y + height * (0.5 + down)]
  const scale = size * Math.max(width / usual.width, height / usual.height)
  const point = (k: number): Point => [
    cx + scale * (referenceLandmarks112[k][0] - usual.centre[0]),
    cy + scale * (referenceLandmarks112[k][1] - usual.centre[1]),
  ]
  return [point(0), point(1), point(2), point(3), point(4)]
}
