import type { Face } from './mtcnn.ts'

/** The same face has at least this intersection over union with its box. */
const SMALLEST_OVERLAP = 1 / 3
/** Part of the smaller of two boxes that lies in the other where both are of one face, however large the other is. */
const SMALLEST_SHARE = 0.7

/** The face whose box overlaps another's most, by at least a third of the union of both; undefined where none does. */
export function mostOverlapping<T extends Pick<Face, 'box'>>(
  face: Pick<Face, 'box'>,
  candidates: readonly T[],
): T | undefined {
  let best: T | undefined
  let most = SMALLEST_OVERLAP
  for (const other of candidates) {
    const shared = sharedBy(face, other)
    const overlap = shared / (areaOf(face) + areaOf(other) - shared)
    if (overlap > most) {
      most = overlap
      best = other
    }
  }
  return best
}

/** Two boxes are of one place: they share a third of the union of both, or most of the smaller. */
export function overlapping(a: Pick<Face, 'box'>, b: Pick<Face, 'box'>): boolean {
  const shared = sharedBy(a, b)
  return (
    shared > SMALLEST_OVERLAP * (areaOf(a) + areaOf(b) - shared) ||
    shared > SMALLEST_SHARE * Math.min(areaOf(a), areaOf(b))
  )
}

/** Of its box, in pixels squared. */
export const areaOf = ({ box: [x1, y1, x2, y2] }: Pick<Face, 'box'>): number => (x2 - x1) * (y2 - y1)

/** Area that two boxes share, in pixels squared. */
function sharedBy({ box: a }: Pick<Face, 'box'>, { box: b }: Pick<Face, 'box'>): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0])
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1])
  return Math.max(0, width) * Math.max(0, height)
}
