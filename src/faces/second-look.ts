/**
 * Landmarks looked at twice. MTCNN was trained on upright faces: of one that lies on its side or leans by more than 40 degrees it gives
 * landmarks that look like some, with a high score. The O-Net is shown the face again, turned upright by its own landmarks.
 */

import type { Pixels } from '../pixels/pixels.ts'
import {
  type Affine,
  align112,
  FaceGeometryError,
  inverse,
  type Landmarks,
  type Point,
  transform,
} from './alignment.ts'
import { cropFace } from './crop.ts'
import type { MtcnnNetworks } from './mtcnn.ts'

/** What the second look says of a face. */
export interface SecondLook {
  landmarks: Landmarks
  /** The O-Net's probability, 0..1, that this is a face, upright as the landmarks have it. */
  score: number
  /** How far the landmarks were moved, in distances between the eyes (mean of the five). */
  moved: number
  /** Another look finds the landmarks where they are. */
  settled: boolean
}

/** The square that the O-Net is shown, in pixels of the 112x112 crop: what R-Net cuts out around upright faces, in the middle. */
const square = { centre: [54, 65] as Point, side: 106 }
const ONET = 48

/** Landmarks that a second look finds within this distance, of that between the eyes, are right. */
const SETTLED = 0.12
/** Of faces that lean the landmarks of the second look are taken, until the next moves them by less than this. */
const STEADY = 0.05
/**
 * Landmarks that the first look finds again this closely, with this probability, are right, whatever the O-Net says of the face upside down: it
 * is as sure of some upright ones that way. Wrong landmarks with this probability lay .08 apart and more (bench/NOTES.md, "Upright faces").
 */
const SAME = { distance: 0.07, score: 0.9 }
const MOST_LOOKS = 4

/** Turns by 90 degrees. */
const quarters = [0, 1, 2, 3] as const
/** Degrees up to which faces do not lean: there the landmarks of the first look stay as they are. */
const UPRIGHT = 25

/** Distance between the eyes in the 112x112 crop, in pixels. */
const EYES = 35.2373

/**
 * Looks again at faces by their landmarks. The first look takes the face in all four orientations, and the one that the O-Net believes
 * most; where the landmarks were wrong it looks until they stay. Those that were right are given back as they were. A face whose
 * landmarks give no crop is undefined. Throws as the networks do.
 */
export async function lookAgain(
  networks: Pick<MtcnnNetworks, 'onet'>,
  photo: Pixels,
  faces: readonly Landmarks[],
): Promise<(SecondLook | undefined)[]> {
  const states = faces.map((landmarks) => ({ landmarks, score: 0, near: false, settled: false, lost: false }))
  for (let look = 0; look < MOST_LOOKS; look++) {
    const open = states.filter((state) => !state.settled && !state.lost)
    if (open.length === 0) break
    const tried = look === 0 ? quarters : [0]
    const shown = open.flatMap((state) => {
      const map = mapOrNone(state.landmarks)
      if (!map) state.lost = true
      return map ? tried.map((quarter) => ({ state, quarter, map: shownSquare(map, quarter) })) : []
    })
    const answers = await judged(
      networks,
      photo,
      shown.map(({ map }) => map),
    )
    for (const state of open) {
      if (state.lost) continue
      let best = -1
      for (const [i, { state: of }] of shown.entries()) {
        if (of === state && (best < 0 || answers[i].score > answers[best].score)) best = i
      }
      const straight = shown.findIndex(({ state: of, quarter }) => of === state && quarter === 0)
      const again = answers[straight]
      if (again.score > SAME.score && apart(again.landmarks, state.landmarks) < SAME.distance) best = straight
      const { score, landmarks } = answers[best]
      const distance = apart(landmarks, state.landmarks)
      const same = shown[best].quarter === 0
      const upright = Math.abs(rollOf(state.landmarks)) <= UPRIGHT
      state.score = score
      state.near = same && distance < SETTLED
      state.settled = same && distance < (look === 0 && upright ? SETTLED : look === 0 ? 0 : STEADY)
      if (!state.settled || look > 0) state.landmarks = landmarks
      if (!mapOrNone(state.landmarks)) state.lost = true
    }
  }
  return states.map(({ landmarks, score, near, lost }, i) =>
    lost ? undefined : { landmarks, score, settled: near, moved: apart(landmarks, faces[i]) },
  )
}

/** Degrees, -180..180, by which a face is turned clockwise from upright. Throws FaceGeometryError for landmarks that give no crop. */
export function rollOf(landmarks: Landmarks): number {
  const [a, , , c] = align112(landmarks)
  return (-180 / Math.PI) * Math.atan2(c, a)
}

/** Mean distance of two sets of landmarks, in distances between the eyes of the second. Infinite where those give no crop. */
export function apart(landmarks: Landmarks, from: Landmarks): number {
  const map = mapOrNone(from)
  if (!map) return Number.POSITIVE_INFINITY
  const total = landmarks.reduce((sum, [x, y], k) => sum + Math.hypot(x - from[k][0], y - from[k][1]), 0)
  return ((total / 5) * Math.hypot(map[0], map[3])) / EYES
}

/** The map from the photo to what the O-Net is shown, turned by quarters. */
function shownSquare(toCrop: Affine, quarter: number): Affine {
  const scale = ONET / square.side
  const [cos, sin] = [
    [1, 0],
    [0, 1],
    [-1, 0],
    [0, -1],
  ][quarter].map((part) => part * scale)
  const [cx, cy] = square.centre
  const [a, b, tx, c, d, ty] = toCrop
  const [x, y] = [tx - cx, ty - cy]
  return [
    cos * a - sin * c,
    cos * b - sin * d,
    cos * x - sin * y + ONET / 2,
    sin * a + cos * c,
    sin * b + cos * d,
    sin * x + cos * y + ONET / 2,
  ]
}

/** The O-Net's answers to squares of a photo; landmarks are in the photo. */
async function judged(
  networks: Pick<MtcnnNetworks, 'onet'>,
  photo: Pixels,
  maps: readonly Affine[],
): Promise<{ score: number; landmarks: Landmarks }[]> {
  if (maps.length === 0) return []
  const size = 3 * ONET * ONET
  const crops = new Float32Array(maps.length * size)
  for (const [i, map] of maps.entries()) {
    const crop = cropFace(photo, map, ONET)
    for (let k = 0; k < size; k++) crops[i * size + k] = (255 * crop[k] - 127.5) * 0.0078125
  }
  const { probability, landmarks } = await networks.onet(crops, maps.length)
  return maps.map((map, i) => {
    const back = inverse(map)
    const point = (k: number): Point =>
      transform(back, [ONET * landmarks[10 * i + k], ONET * landmarks[10 * i + 5 + k]])
    return { score: probability[i], landmarks: [point(0), point(1), point(2), point(3), point(4)] }
  })
}

function mapOrNone(landmarks: Landmarks): Affine | undefined {
  try {
    const map = align112(landmarks)
    inverse(map)
    return map
  } catch (error) {
    if (error instanceof FaceGeometryError) return undefined
    throw error
  }
}
