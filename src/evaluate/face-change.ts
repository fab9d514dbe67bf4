/** What was done to a photo between two versions of it, as one of its faces shows. */
import { type Landmarks, type Point, similarity } from '../faces/alignment.ts'
import type { Pixels } from '../pixels/pixels.ts'
import { likeness, mirrored, type Thumbnail } from './likeness.ts'

export interface FaceChange {
  mirrored: boolean
  /** Degrees by which it was turned clockwise, -180..180. */
  turned: number
  /** Pixels after to one before. */
  scale: number
  /** Pixels, after, by which the face lies elsewhere than the photos' sizes tell; null where they tell nothing. */
  moved: number | null
}

/** Correlation from which two crops are one picture, and by how much the mirror image must be more alike than the crop itself. */
const SAME_PICTURE = 0.7
const MIRRORED_BY = 0.05

/** Null where the faces are not one picture. `scale` is that of the photos where they have one shape. Throws as `similarity` does. */
export function changeOf(
  before: Landmarks,
  thumbnail: Thumbnail,
  after: Landmarks,
  thumbnailAfter: Thumbnail,
  scale: number | undefined,
): FaceChange | null {
  const straight = likeness(thumbnail, thumbnailAfter)
  const flipped = likeness(mirrored(thumbnail), thumbnailAfter)
  if (Math.max(straight, flipped) < SAME_PICTURE) return null
  const isMirrored = flipped > straight + MIRRORED_BY
  // A mirror image's left eye is the right one; the rest of the map is as if both were mirrored.
  const from = isMirrored ? flop(before) : before
  const [a, b, tx, c, d, ty] = similarity(from, after)
  const centre = from.reduce<Point>(([x, y], [px, py]) => [x + px / 5, y + py / 5], [0, 0])
  const [x, y] = [a * centre[0] + b * centre[1] + tx, c * centre[0] + d * centre[1] + ty]
  return {
    mirrored: isMirrored,
    turned: (180 / Math.PI) * Math.atan2(c, a),
    scale: Math.hypot(a, c),
    moved: scale === undefined ? null : Math.hypot(x - scale * centre[0], y - scale * centre[1]),
  }
}

/** Mirrored at the axis x = 0, with the names of both sides exchanged. */
function flop([leftEye, rightEye, nose, leftCorner, rightCorner]: Landmarks): Landmarks {
  const other = ([x, y]: Point): Point => [-x, y]
  return [other(rightEye), other(leftEye), other(nose), other(rightCorner), other(leftCorner)]
}

/** Degrees, and parts of 1 and of the photo's longer side, up to which a photo is as it was: a cloak moves landmarks, too. */
const LITTLE = { turned: 10, scale: 0.08, moved: 0.03 }
/** Degrees in which a turn is told: landmarks are no finer. */
const TURN_STEP = 5

/** A face that is where it was, in a photo that is larger by `scale`. */
export const inPlace = (scale: number): FaceChange => ({ mirrored: false, turned: 0, scale, moved: 0 })

/** What was done to a photo, in words, by its faces that are one picture in both; empty where nothing was or nothing is known. */
export function changesOf(changes: readonly FaceChange[], before: Pixels, after: Pixels): string[] {
  if (changes.length === 0) return []
  const [change] = changes
  const said: string[] = []
  if (change.mirrored) said.push('mirrored')
  const turned = Math.abs(change.turned)
  if (turned > LITTLE.turned) {
    const side = turned > 180 - LITTLE.turned ? '' : change.turned > 0 ? ' clockwise' : ' counter-clockwise'
    said.push(`turned by ${TURN_STEP * Math.round(turned / TURN_STEP)} degrees${side}`)
  }
  const resized = Math.abs(change.scale - 1) > (change.moved === 0 ? 0 : LITTLE.scale)
  if (resized) said.push(`resized to ${Math.round(100 * change.scale)}%`)
  // The size that the whole photo would have now; half a turn and the mirror image keep it, a quarter changes sides.
  const quarter = Math.abs(turned - 90) < 45
  const whole = quarter ? [before.height, before.width] : [before.width, before.height]
  const differs = [after.width, after.height].some(
    (side, axis) =>
      Math.abs(side - whole[axis] * change.scale) > Math.max(2, (change.moved === 0 ? 0 : LITTLE.scale) * side),
  )
  const longest = Math.max(after.width, after.height)
  const elsewhere = !change.mirrored && turned <= LITTLE.turned && (change.moved ?? 0) > LITTLE.moved * longest + 2
  if (differs || elsewhere) said.push(differs ? 'cropped' : 'cropped or shifted')
  return said
}
