/** Random views of a face: no two services cut faces out at exactly the same place. */
import type { Affine } from '../faces/alignment.ts'
import { uniformNoise } from './noise.ts'
import type { Preset } from './presets.ts'

/** Side of the crop that `shift` is measured in; larger crops see the same views. */
const CROP = 112

/**
 * Sampling matrices of crops that are turned, enlarged and moved about their centre, uniformly within the bounds and differently for every
 * face and `draw`. `faces` are the matrices of the crops as aligned, for crops of `size` pixels.
 */
export function jitterMatrices(
  faces: readonly Affine[],
  { degrees, scale, shift }: NonNullable<Preset['jitter']>,
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
