import type { Face } from './mtcnn.ts'

/** The same face has at least this intersection over union with its box. */
const SMALLEST_OVERLAP = 1 / 3

/** The face whose box overlaps another's most, by at least a third of the union of both; undefined where none does. */
export function mostOverlapping(face: Pick<Face, 'box'>, candidates: readonly Face[]): Face | undefined {
  let best: Face | undefined
  let most = SMALLEST_OVERLAP
  for (const other of candidates) {
    const width = Math.min(face.box[2], other.box[2]) - Math.max(face.box[0], other.box[0])
    const height = Math.min(face.box[3], other.box[3]) - Math.max(face.box[1], other.box[1])
    const shared = Math.max(0, width) * Math.max(0, height)
    const overlap = shared / (areaOf(face) + areaOf(other) - shared)
    if (overlap > most) {
      most = overlap
      best = other
    }
  }
  return best
}

/** Of its box, in pixels squared. */
export const areaOf = ({ box: [x1, y1, x2, y2] }: Pick<Face, 'box'>): number => (x2 - x1) * (y2 - y1)
