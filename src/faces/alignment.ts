import { mat3d, vec2d } from 'wgpu-matrix'

export type Point = [number, number]

/** Left eye, right eye (as seen in the photo), nose tip, left and right corner of the mouth: x, y in pixels of the photo. */
export type Landmarks = [Point, Point, Point, Point, Point]

/**
 * A plane affine map, row-major 2x3 `[a, b, tx, c, d, ty]`: `x' = a x + b y + tx`, `y' = c x + d y + ty`.
 * Both planes have pixel i between i and i + 1, so a crop samples its pixel j at `inverse(j + 0.5) - 0.5` (pixel indices).
 */
export type Affine = [number, number, number, number, number, number]

/** Landmarks or a map from which no crop can be made; the message says which and why. */
export class FaceGeometryError extends Error {
  override name = 'FaceGeometryError'
}

/**
 * Where LowKey's recognisers expect the five landmarks in a crop of 112x112 pixels (face.evoLVe,
 * applications/align/align_trans.py: the 96x112 reference of SphereFace, moved 8 pixels to the right).
 */
export const referenceLandmarks112: Landmarks = [
  [38.29459953, 51.69630051],
  [73.53179932, 51.50139999],
  [56.02519989, 71.73660278],
  [41.54930115, 92.3655014],
  [70.72990036, 92.20410156],
]

/** Where dlib's recogniser expects the two eyes in a crop of 150x150 pixels. */
export const referenceEyes150: [Point, Point] = [
  [47.7, 47.1],
  [100.3, 47.1],
]

/**
 * Where facenet-pytorch's recogniser has the five landmarks: its crops of 160x160 pixels are MTCNN's boxes with a margin of 14 pixels. The
 * mean of 59 photos of LFW, made symmetric.
 */
const referenceLandmarks160: Landmarks = [
  [47.4, 65.2],
  [112.6, 65.2],
  [80, 95.8],
  [50.9, 118.9],
  [109.1, 118.9],
]

/** A way to cut a face out. */
interface CropAlignment {
  /** Side of the square crop in pixels. */
  readonly size: number
  /** Where in the crop the first landmarks are to lie: the similarity that comes nearest is taken. */
  readonly targets: readonly Point[]
}

/** The ways in which recognisers have faces cut out. */
export const alignments = {
  arcface112: { size: 112, targets: referenceLandmarks112 },
  dlib150: { size: 150, targets: referenceEyes150 },
  facenet160: { size: 160, targets: referenceLandmarks160 },
} as const satisfies Record<string, CropAlignment>

export type AlignmentName = keyof typeof alignments

/** Landmarks closer together than this, in pixels (root mean square from their mean), are one point: no face. */
const smallestSpread = 1e-3

/** Below this correlation with the targets (0..1; real faces have above .9) the best scale is zero but for rounding. */
const smallestCorrelation = 1e-6

/**
 * Least-squares similarity (scale, rotation, shift; never a reflection) that takes `points` to `targets`, pair by pair.
 * Two pairs are met exactly. Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
 * 1991, with the rotation kept proper. The error is that among the targets; MATLAB's cp2tform and its ports fit the error
 * among the points and invert, which is another map wherever the landmarks do not fit exactly.
 * Throws FaceGeometryError where coordinates are not finite, where the points coincide (within 0.001 pixels), or where the
 * best scale is zero; RangeError where the counts differ.
 */
export function similarity(points: readonly Point[], targets: readonly Point[]): Affine {
  if (points.length !== targets.length) {
    throw new RangeError(`similarity: ${points.length} points for ${targets.length} targets`)
  }
  if (!points.flat().every(Number.isFinite)) {
    throw new FaceGeometryError(`Landmarks are not finite numbers: ${JSON.stringify(points)}`)
  }
  const from = mean(points)
  const to = mean(targets)
  // With points as complex numbers the map is one factor, (along + i across) / spread = scale * e^(i angle), and a shift.
  let along = 0
  let across = 0
  let spread = 0
  let targetSpread = 0
  points.forEach((point, k) => {
    const p = vec2d.subtract(point, from)
    const q = vec2d.subtract(targets[k], to)
    along += vec2d.dot(p, q)
    across += vec2d.cross(p, q)[2]
    spread += vec2d.lengthSq(p)
    targetSpread += vec2d.lengthSq(q)
  })
  if (Math.sqrt(spread / points.length) < smallestSpread) {
    throw new FaceGeometryError(`Landmarks lie on one point, so they give no scale: ${JSON.stringify(points)}`)
  }
  if (!(Math.hypot(along, across) > smallestCorrelation * Math.sqrt(spread * targetSpread))) {
    throw new FaceGeometryError(`Landmarks resemble no face at any scale or angle: ${JSON.stringify(points)}`)
  }
  const a = along / spread
  const b = across / spread
  const turned = mat3d.create(a, b, 0, -b, a, 0, 0, 0, 1)
  return fromMatrix(mat3d.multiply(mat3d.translation(to), mat3d.translate(turned, vec2d.negate(from))))
}

/** The map from the photo to the crop of an alignment. Throws FaceGeometryError as `similarity` does. */
export function alignmentOf(name: AlignmentName, landmarks: Landmarks): Affine {
  const { targets } = alignments[name]
  return similarity(landmarks.slice(0, targets.length), targets)
}

/** The map from the photo to LowKey's 112x112 crop. Throws FaceGeometryError as `similarity` does. */
export const align112 = (landmarks: Landmarks): Affine => alignmentOf('arcface112', landmarks)

/** The map from the photo to the 150x150 crop of dlib's recogniser, by the two eyes. Throws as `similarity` does. */
export const align150 = (landmarks: Landmarks): Affine => alignmentOf('dlib150', landmarks)

/** The map back. Throws FaceGeometryError for a map that is not finite or flattens the plane. */
export function inverse(map: Affine): Affine {
  if (!isInvertible(map)) throw new FaceGeometryError(`The map ${JSON.stringify(map)} has no inverse`)
  return fromMatrix(mat3d.invert(toMatrix(map)))
}

/** Where the map takes a point. */
export function transform(map: Affine, point: Point): Point {
  const [x, y] = vec2d.transformMat3(point, toMatrix(map))
  return [x, y]
}

/**
 * The corners of a crop of `size` x `size` pixels in the photo (top left, top right, bottom right, bottom left of the crop),
 * given the map from photo to crop; outer edges, in the plane where pixel i lies between i and i + 1.
 * Throws FaceGeometryError as `inverse` does.
 */
export function cropCorners(map: Affine, size: number): [Point, Point, Point, Point] {
  const back = inverse(map)
  return [
    transform(back, [0, 0]),
    transform(back, [size, 0]),
    transform(back, [size, size]),
    transform(back, [0, size]),
  ]
}

/** Samples a side of the crop by which `cropBeyond` counts. */
const SAMPLES = 16

/** Part of the 112x112 crop, 0..1, that lies beyond the borders of a photo of `width` x `height` pixels. Throws as `align112` and `inverse` do. */
export function cropBeyond(photo: { width: number; height: number }, landmarks: Landmarks): number {
  const back = inverse(align112(landmarks))
  let beyond = 0
  for (let row = 0; row < SAMPLES; row++) {
    for (let column = 0; column < SAMPLES; column++) {
      const at = (index: number) => ((index + 0.5) * 112) / SAMPLES
      const [x, y] = transform(back, [at(column), at(row)])
      if (x < 0 || y < 0 || x > photo.width || y > photo.height) beyond++
    }
  }
  return beyond / SAMPLES ** 2
}

function mean(points: readonly Point[]): Float64Array {
  const sum = points.reduce((total, point) => vec2d.add(total, point, total), vec2d.create())
  return vec2d.divScalar(sum, points.length)
}

function isInvertible(map: Affine): boolean {
  const [a, b, , c, d] = map
  // Against rounding: the area factor must stand out from the products it is the difference of.
  return map.every(Number.isFinite) && Math.abs(a * d - b * c) > 1e-12 * (a * a + b * b + c * c + d * d)
}

// wgpu-matrix keeps 3x3 matrices column by column, each column padded to four numbers.
function toMatrix([a, b, tx, c, d, ty]: Affine): Float64Array {
  return mat3d.create(a, c, 0, b, d, 0, tx, ty, 1)
}

function fromMatrix(m: Float64Array): Affine {
  return [m[0], m[4], m[8], m[1], m[5], m[9]]
}
