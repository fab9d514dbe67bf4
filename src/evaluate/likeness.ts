/** Whether two faces are the same picture, whoever is on them: by the pixels of their aligned crops. */

import { align112, type Landmarks } from '../faces/alignment.ts'
import { cropFace } from '../faces/crop.ts'
import type { Pixels } from '../pixels/pixels.ts'

/** Pixels a side of the crops that are compared: features of a face stay, noise and a cloak's pattern go. */
const SIDE = 28

/** A face's aligned crop in grey, SIDE x SIDE. */
export type Thumbnail = Float32Array

/** Throws FaceGeometryError for landmarks that give no crop. */
export function thumbnailOf(photo: Pixels, landmarks: Landmarks): Thumbnail {
  const scale = SIDE / 112
  const [a, b, tx, c, d, ty] = align112(landmarks)
  const planes = cropFace(photo, [a * scale, b * scale, tx * scale, c * scale, d * scale, ty * scale], SIDE)
  const size = SIDE * SIDE
  return Float32Array.from({ length: size }, (_, i) => (planes[i] + 2 * planes[size + i] + planes[2 * size + i]) / 4)
}

/** Correlation of two thumbnails, -1..1; 0 where one is of one grey. */
export function likeness(a: Thumbnail, b: Thumbnail): number {
  const centred = (values: Thumbnail) => {
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length
    return values.map((v) => v - mean)
  }
  const dot = (x: Thumbnail, y: Thumbnail) => x.reduce((sum, v, i) => sum + v * y[i], 0)
  const [p, q] = [centred(a), centred(b)]
  const norm = Math.sqrt(dot(p, p) * dot(q, q))
  return norm > 1e-9 ? dot(p, q) / norm : 0
}

/** The thumbnail's mirror image. */
export const mirrored = (a: Thumbnail): Thumbnail =>
  a.map((_, i) => a[Math.floor(i / SIDE) * SIDE + SIDE - 1 - (i % SIDE)])
