/** Random views of a face: no two services cut faces out at exactly the same place. Plain or blurred, as it is or mirrored: a step has one. */
import type { Affine } from '../faces/alignment.ts'
import { uniformNoise } from '../graph/noise.ts'
import type { Preset } from './presets.ts'

/** Side of the crop that `shift` is measured in; larger crops see the same views. */
const CROP = 112

/**
 * Sampling matrices of crops that are turned, enlarged and moved about their centre, uniformly within the bounds and differently for every
 * face and `draw`. `faces` are the matrices of the crops as aligned, for crops of `size` pixels.
 */
export function jitterMatrices(
  faces: readonly Affine[],
  { degrees, scale, shift }: NonNullable<Preset['drawn']>,
  seed: number,
  draw: number,
  size = CROP,
): Affine[] {
  const random = uniformNoise(seed * 0x10001 + draw, 4 * faces.length, 1)
  return faces.map((face, i) => {
    const [turn, grow, right, down] = random.subarray(4 * i, 4 * i + 4)
    const angle = (turn * degrees * Math.PI) / 180
    const factor = 1 + grow * scale
    const [cos, sin] = [factor * Math.cos(angle), factor * Math.sin(angle)]
    const centre = size / 2
    const pixel = (shift * size) / CROP
    // Crop point to crop point: turned and enlarged about the centre, then moved.
    const x = centre - cos * centre + sin * centre + right * pixel
    const y = centre - sin * centre - cos * centre + down * pixel
    const [a, b, tx, c, d, ty] = face
    return [
      a * cos + b * sin,
      -a * sin + b * cos,
      a * x + b * y + tx,
      c * cos + d * sin,
      -c * sin + d * cos,
      c * x + d * y + ty,
    ]
  })
}

/** What of the four views of the published objective a step has. */
export interface DrawnView {
  blurred: boolean
  mirrored: boolean
}

const VIEWS: readonly DrawnView[] = [0, 1, 2, 3].map((k) => ({ blurred: k % 2 === 1, mirrored: k >= 2 }))

/** The view of one surrogate in a step. Any four steps that begin at a multiple of four have each view once, in an order of their own. */
export function drawnView(seed: number, step: number, surrogate: number): DrawnView {
  const block = Math.floor(step / VIEWS.length)
  const random = uniformNoise(seed * 0x10001 + block, VIEWS.length * (surrogate + 1), 1).subarray(
    VIEWS.length * surrogate,
  )
  const order = VIEWS.map((view, k) => ({ view, at: random[k] })).sort((a, b) => a.at - b.at)
  return order[step % VIEWS.length].view
}

/** The sampling matrix of the mirrored crop of `size` pixels. */
export const mirroredMatrix = ([a, b, x, c, d, y]: Affine, size: number): Affine => [
  -a,
  b,
  a * size + x,
  -c,
  d,
  c * size + y,
]
