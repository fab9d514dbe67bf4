/**
 * LowKey's loop on one face, as plain data for engines in processes of their own: the objective of src/attack/objective.ts with the
 * published signed steps, one MobileFaceNet (sirius-ai's) and LPIPS on AlexNet. What no other engine has as an operation with a gradient
 * (cutting out a face, blurring with mirrored borders) is turned into tables here, from which gathers and products do the same.
 */

export interface StoredTensor {
  shape: readonly number[]
  data: Float32Array
}

export interface LoopProblem {
  kind: 'loop'
  height: number
  width: number
  /** The area of the photo, [3,height,width] in 0..1. */
  clean: Float32Array
  /** How much of the change stays, [height,width] in 0..1. */
  mask: Float32Array
  /** First change, [3,height,width]. */
  start: Float32Array
  /** Crop to area, as `affineWarp` takes it; crops are 112x112. */
  matrix: readonly number[]
  stepSize: number
  lpipsWeight: number
  blur: { size: number; sigma: number }
  /** What the squared distances of features are divided by, per branch. */
  divisor: number
  /** By the names of models/mobilefacenet.ts and models/lpips.ts. */
  recogniser: Record<string, StoredTensor>
  lpips: Record<string, StoredTensor>
}

/** Side of the crop. */
export const CROP = 112

/** Strides of MobileFaceNet's blocks; those with stride 1 add their input. */
export const STRIDES = [2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1] as const

/** RGB in 0..1 to what the network takes, -127.5/128..127.5/128. */
export const FED = { scale: 255 / 128, offset: -127.5 / 128 } as const

/** LPIPS' map of colours in 0..1, a scale and an offset a channel (2 x - 1, then the shift and scale of its authors). */
export const LPIPS_SCALE = [0.458, 0.448, 0.45].map((std) => 2 / std)
export const LPIPS_OFFSET = [-0.03, -0.088, -0.188].map((mean, c) => (-1 - mean) / [0.458, 0.448, 0.45][c])

/** AlexNet's convolutions: index, stride, padding, and whether a 3x3 maximum with stride 2 comes before. */
export const ALEXNET = [
  { index: 0, stride: 4, padding: 2, pooled: false },
  { index: 3, stride: 1, padding: 2, pooled: true },
  { index: 6, stride: 1, padding: 1, pooled: true },
  { index: 8, stride: 1, padding: 1, pooled: false },
  { index: 10, stride: 1, padding: 1, pooled: false },
] as const

/** LPIPS adds this to the length of a pixel's features; its square under the root keeps the gradient finite where all are 0. */
export const LPIPS_EPSILON = 1e-10

/** Rows of a sparse matrix with as many entries each: row i is the sum of `weights[i * taps + k]` times element `indices[i * taps + k]`. */
export interface Taps {
  rows: number
  taps: number
  indices: Int32Array
  weights: Float32Array
}

/** Bilinear samples of an area for the pixels of the crop, and the adjoint: for every pixel of the area, what the crop takes from it. */
export function samplingTaps({ height, width, matrix }: LoopProblem): { forward: Taps; adjoint: Taps } {
  const [a, b, tx, c, d, ty] = matrix
  const rows = CROP * CROP
  const forward: Taps = { rows, taps: 4, indices: new Int32Array(4 * rows), weights: new Float32Array(4 * rows) }
  const readers = Array.from({ length: height * width }, (): [row: number, weight: number][] => [])
  for (let row = 0; row < rows; row++) {
    const [u, v] = [(row % CROP) + 0.5, Math.floor(row / CROP) + 0.5]
    const x = a * u + b * v + tx - 0.5
    const y = c * u + d * v + ty - 0.5
    for (let k = 0; k < 4; k++) {
      const column = Math.floor(x) + (k & 1)
      const line = Math.floor(y) + (k >> 1)
      if (column < 0 || column >= width || line < 0 || line >= height) continue
      const weight = (1 - Math.abs(x - column)) * (1 - Math.abs(y - line))
      const pixel = line * width + column
      forward.indices[4 * row + k] = pixel
      forward.weights[4 * row + k] = weight
      readers[pixel].push([row, weight])
    }
  }
  const taps = Math.max(1, ...readers.map((list) => list.length))
  const pixels = height * width
  const adjoint: Taps = {
    rows: pixels,
    taps,
    indices: new Int32Array(taps * pixels),
    weights: new Float32Array(taps * pixels),
  }
  for (const [pixel, list] of readers.entries()) {
    for (const [k, [row, weight]] of list.entries()) {
      adjoint.indices[taps * pixel + k] = row
      adjoint.weights[taps * pixel + k] = weight
    }
  }
  return { forward, adjoint }
}

/** The blur along one axis as a matrix [extent,extent]: row i are the weights of pixel i's neighbours, mirrored at the border. */
export function blurMatrix(extent: number, { size, sigma }: LoopProblem['blur']): Float32Array {
  const radius = (size - 1) / 2
  const taps = Array.from({ length: size }, (_, k) => Math.exp(-(((k - radius) / sigma) ** 2) / 2))
  const total = taps.reduce((sum, tap) => sum + tap, 0)
  const matrix = new Float32Array(extent * extent)
  for (let i = 0; i < extent; i++) {
    for (const [k, tap] of taps.entries()) {
      const at = Math.abs(i + k - radius)
      matrix[i * extent + (at < extent ? at : 2 * (extent - 1) - at)] += tap / total
    }
  }
  return matrix
}
