/**
 * A candidate in pixel indices of the photo, both ends included (its width is `x2 - x1 + 1`), and the probability, 0..1,
 * that it is a face.
 */
export interface ScoredBox {
  x1: number
  y1: number
  x2: number
  y2: number
  score: number
}

/** Rounds to the nearest integer, halves to the even one, as numpy does. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value)
  const fraction = value - below
  if (fraction !== 0.5) return fraction < 0.5 ? below : below + 1
  return below % 2 === 0 ? below : below + 1
}

/**
 * Greedy non-maximum suppression: takes the best box, drops those that overlap it by more than `threshold`, and so on.
 * Overlap is the intersection over the union, or with mode 'min' over the smaller of the two areas.
 * Returns the indices of the boxes that stay, best first; of equal scores the later box comes first, as in MTCNN's code.
 */
export function nonMaximumSuppression(
  boxes: readonly ScoredBox[],
  threshold: number,
  mode: 'union' | 'min' = 'union',
): number[] {
  const areas = Float64Array.from(boxes, (box) => (box.x2 - box.x1 + 1) * (box.y2 - box.y1 + 1))
  const order = boxes.map((_, index) => index).sort((i, j) => boxes[j].score - boxes[i].score || j - i)
  const dropped = new Uint8Array(boxes.length)
  const kept: number[] = []
  for (let position = 0; position < order.length; position++) {
    const best = order[position]
    if (dropped[best]) continue
    kept.push(best)
    const a = boxes[best]
    for (let other = position + 1; other < order.length; other++) {
      const candidate = order[other]
      if (dropped[candidate]) continue
      const b = boxes[candidate]
      const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1) + 1
      const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1) + 1
      if (width <= 0 || height <= 0) continue
      const both = width * height
      const whole = mode === 'min' ? Math.min(areas[best], areas[candidate]) : areas[best] + areas[candidate] - both
      if (both / whole > threshold) dropped[candidate] = 1
    }
  }
  return kept
}

/**
 * Moves the sides by what a network predicted for them: `offsets[at..at+3]` are the shifts of x1, y1, x2, y2 in units of the
 * box's width and height; in a map of planes they lie `stride` apart.
 */
export function calibrate(box: ScoredBox, offsets: Float32Array, at: number, stride = 1): ScoredBox {
  const width = box.x2 - box.x1 + 1
  const height = box.y2 - box.y1 + 1
  return {
    x1: box.x1 + width * offsets[at],
    y1: box.y1 + height * offsets[at + stride],
    x2: box.x2 + width * offsets[at + 2 * stride],
    y2: box.y2 + height * offsets[at + 3 * stride],
    score: box.score,
  }
}

/** The square around the same centre with the longer side, on whole pixels. */
export function roundedSquare(box: ScoredBox): ScoredBox {
  const width = box.x2 - box.x1 + 1
  const height = box.y2 - box.y1 + 1
  const side = Math.max(width, height)
  const x1 = box.x1 + width * 0.5 - side * 0.5
  const y1 = box.y1 + height * 0.5 - side * 0.5
  return {
    x1: roundHalfEven(x1),
    y1: roundHalfEven(y1),
    x2: roundHalfEven(x1 + side - 1),
    y2: roundHalfEven(y1 + side - 1),
    score: box.score,
  }
}

/**
 * The part of the box inside a photo of `width` x `height` pixels, or null where they share no pixel (also for an empty box
 * and for coordinates that are not numbers).
 */
export function clipped(box: ScoredBox, width: number, height: number): ScoredBox | null {
  const x1 = Math.max(box.x1, 0)
  const y1 = Math.max(box.y1, 0)
  const x2 = Math.min(box.x2, width - 1)
  const y2 = Math.min(box.y2, height - 1)
  return x1 <= x2 && y1 <= y2 ? { x1, y1, x2, y2, score: box.score } : null
}
