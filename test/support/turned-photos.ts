/** Photos that lie on their side or lean, made of others. */
import type { Landmarks, Point } from '../../src/faces/alignment.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'

/** The photo turned clockwise about its middle on a square of its longer side, black beyond it; and where its points are then. */
export function leaning(photo: Pixels, degrees: number): { photo: Pixels; place: (points: Landmarks) => Landmarks } {
  const side = Math.max(photo.width, photo.height)
  const angle = (degrees * Math.PI) / 180
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
  const data = new Uint8Array(3 * side * side)
  const at = (x: number, y: number, channel: number): number =>
    x < 0 || y < 0 || x >= photo.width || y >= photo.height ? 0 : photo.rgb[3 * (y * photo.width + x) + channel]
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [u, v] = [x + 0.5 - side / 2, y + 0.5 - side / 2]
      const [px, py] = [cos * u + sin * v + photo.width / 2 - 0.5, cos * v - sin * u + photo.height / 2 - 0.5]
      const [left, top] = [Math.floor(px), Math.floor(py)]
      const [right, down] = [px - left, py - top]
      for (let channel = 0; channel < 3; channel++) {
        data[3 * (y * side + x) + channel] = Math.round(
          (1 - right) * (1 - down) * at(left, top, channel) +
            right * (1 - down) * at(left + 1, top, channel) +
            (1 - right) * down * at(left, top + 1, channel) +
            right * down * at(left + 1, top + 1, channel),
        )
      }
    }
  }
  const point = ([x, y]: Point): Point => {
    const [u, v] = [x - photo.width / 2, y - photo.height / 2]
    return [cos * u - sin * v + side / 2, sin * u + cos * v + side / 2]
  }
  const place = ([a, b, c, d, e]: Landmarks): Landmarks => [point(a), point(b), point(c), point(d), point(e)]
  return { photo: { width: side, height: side, rgb: data }, place }
}

/** Photos side by side on grey, as high as the highest. */
export function beside(...photos: readonly Pixels[]): Pixels {
  const width = photos.reduce((sum, photo) => sum + photo.width, 0)
  const height = Math.max(...photos.map((photo) => photo.height))
  const data = new Uint8Array(3 * width * height).fill(110)
  let left = 0
  for (const photo of photos) {
    for (let y = 0; y < photo.height; y++)
      data.set(photo.rgb.subarray(3 * y * photo.width, 3 * (y + 1) * photo.width), 3 * (y * width + left))
    left += photo.width
  }
  return { width, height, rgb: data }
}
