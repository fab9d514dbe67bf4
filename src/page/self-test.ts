/** What a browser must get right before a photo is trusted to it: a convolution with its gradient, and the pixels of pictures. */
import type { Gpu } from '../device/gpu.ts'
import { compile, grad, graph } from '../graph/index.ts'
import { orientationSegment } from '../images/jpeg-segments.ts'
import { conv2d, mean, square } from '../kernels/index.ts'
import { decodePhoto } from './decode.ts'
import { encodeJpeg, encodePng } from './encode.ts'
import type { Rgb } from './protocol.ts'

const SIDE = 7
const OUT = SIDE - 2

/** Numbers of the device that are wrong, in words; undefined where they are right. */
export async function wrongNumbers(gpu: Gpu): Promise<string | undefined> {
  const image = Float32Array.from({ length: SIDE * SIDE }, (_, i) => Math.sin(i))
  const kernel = Float32Array.from({ length: 9 }, (_, i) => Math.cos(2 * i) / 3)
  const g = graph()
  const [x, w] = [g.input('x', [1, 1, SIDE, SIDE]), g.input('w', [1, 1, 3, 3])]
  const y = conv2d(x, w)
  const [gradient] = grad(mean(square(y)), [w])
  using plan = await compile(gpu, { y, gradient })
  const found = await plan.run({ x: image, w: kernel })
  const at = (row: number, column: number) => image[row * SIDE + column]
  const places = Array.from({ length: OUT * OUT }, (_, i) => [Math.floor(i / OUT), i % OUT])
  const expected = places.map(([r, c]) => kernel.reduce((s, v, k) => s + v * at(r + Math.floor(k / 3), c + (k % 3)), 0))
  const slopes = Array.from(kernel, (_, k) =>
    places.reduce((s, [r, c], i) => s + (2 * expected[i] * at(r + Math.floor(k / 3), c + (k % 3))) / (OUT * OUT), 0),
  )
  const off = (numbers: Float32Array, right: readonly number[]) =>
    Math.max(...right.map((value, i) => Math.abs(value - numbers[i])))
  const [a, b] = [off(found.y, expected), off(found.gradient, slopes)]
  // Written so that numbers that are none fail.
  return a < 1e-4 && b < 1e-4 ? undefined : `a convolution is off by ${a}, its gradient by ${b}`
}

/**
 * What this browser does to pictures that it should not, in words: it adds noise to what a page reads (some do, against fingerprinting),
 * converts colours, or does not turn photos upright. Undefined where it does nothing of the kind.
 */
export async function wrongPixels(): Promise<string | undefined> {
  const [width, height] = [24, 16]
  const rgb = Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * 37 + (i % 3) * 59) % 256)
  const png = await decodePhoto(fileOf(await encodePng({ width, height, rgb }, false), 'test.png'))
  if (png.width !== width || png.height !== height || png.alpha)
    return 'a PNG has another size or opacity than it should'
  const wrong = rgb.filter((value, i) => value !== png.rgb[i]).length
  if (wrong > 0) return `${wrong} of ${rgb.length} samples of a PNG are other ones than are in it`

  // Left half dark, right half light; shown turned a quarter clockwise, so that the upper half is dark.
  const halves = Uint8Array.from({ length: 3 * width * height }, (_, i) =>
    Math.floor(i / 3) % width < width / 2 ? 40 : 220,
  )
  const jpeg = await encodeJpeg({ width, height, rgb: halves }, false, 95)
  const turned = new Blob([jpeg.subarray(0, 2), orientationSegment(6) as Uint8Array<ArrayBuffer>, jpeg.subarray(2)])
  const seen = await decodePhoto(new File([turned], 'test.jpg'))
  if (seen.width !== height || seen.height !== width) return 'a JPEG is not turned upright'
  const value = (photo: Rgb, x: number, y: number) => photo.rgb[3 * (y * photo.width + x)]
  const [top, bottom] = [value(seen, 4, 3), value(seen, 4, width - 4)]
  if (Math.abs(top - 40) > 6 || Math.abs(bottom - 220) > 6)
    return `a JPEG's samples are ${top} and ${bottom}, not 40 and 220`
  return undefined
}

const fileOf = (bytes: Uint8Array<ArrayBuffer>, name: string): File => new File([bytes], name)
