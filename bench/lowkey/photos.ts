/** Photos of any size and number of faces, made of the one in examples/. */
import { readFile } from 'node:fs/promises'
import { resamplePlanes } from '../../src/attack/resample.ts'
import { readPhoto } from '../../src/images/index.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'

const PORTRAIT = new URL('../../examples/astronaut.png', import.meta.url)
const GREY = 128

/** NASA's portrait of Eileen Collins, 512x512, one face. */
export async function portrait(): Promise<Pixels> {
  const { width, height, rgb } = await readPhoto(await readFile(PORTRAIT), 'astronaut.png')
  return { width, height, rgb }
}

function resampled({ width, height, rgb }: Pixels, side: number): Pixels {
  if (width === side && height === side) return { width, height, rgb }
  const planes = Float32Array.from({ length: rgb.length }, (_, i) => {
    const pixel = i % (width * height)
    return rgb[3 * pixel + (i - pixel) / (width * height)]
  })
  const scaled = resamplePlanes(planes, 3, [width, height], [side, side])
  const count = side * side
  const bytes = Uint8Array.from({ length: 3 * count }, (_, i) =>
    Math.round(scaled[(i % 3) * count + Math.floor(i / 3)]),
  )
  return { width: side, height: side, rgb: bytes }
}

/** A grey photo with the picture in several places, given by their left upper corners. */
function placed(
  [width, height]: readonly [number, number],
  picture: Pixels,
  places: readonly (readonly [left: number, top: number])[],
): Pixels {
  const rgb = new Uint8Array(3 * width * height).fill(GREY)
  for (const [left, top] of places) {
    for (let y = 0; y < picture.height; y++) {
      const row = picture.rgb.subarray(3 * y * picture.width, 3 * (y + 1) * picture.width)
      rgb.set(row, 3 * ((top + y) * width + left))
    }
  }
  return { width, height, rgb }
}

/** The portrait at the height (or width, if less) of a photo, in its middle. */
export async function photoOfSize(width: number, height: number): Promise<Pixels> {
  const picture = resampled(await portrait(), Math.min(width, height))
  const corner = [Math.floor((width - picture.width) / 2), Math.floor((height - picture.height) / 2)] as const
  return placed([width, height], picture, [corner])
}

/** As many portraits of 256x256 beside and below one another. */
export async function photoOfFaces(count: number): Promise<Pixels> {
  const side = 256
  const columns = Math.ceil(Math.sqrt(count))
  const rows = Math.ceil(count / columns)
  const picture = resampled(await portrait(), side)
  const places = Array.from(
    { length: count },
    (_, i) => [side * (i % columns), side * Math.floor(i / columns)] as const,
  )
  return placed([side * columns, side * rows], picture, places)
}
