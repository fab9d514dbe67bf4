/** The picture in the files that tests make: smooth colours, different in every corner, so that what turns or moves is seen. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp, { type Sharp } from 'sharp'

export const [WIDTH, HEIGHT] = [64, 48]

export interface Picture {
  width: number
  height: number
  /** Three a pixel. */
  samples: Uint8Array | Uint16Array
}

/** 8 bit. */
export const eight: Picture = {
  width: WIDTH,
  height: HEIGHT,
  samples: Uint8Array.from({ length: 3 * WIDTH * HEIGHT }, sample),
}

/** 16 bit, of which the lower eight are no repetition of the upper ones. */
export const sixteen: Picture = { ...eight, samples: Uint16Array.from(eight.samples, (v, i) => v * 257 + (i % 100)) }

/** 8 bit, red, green and blue the same. */
export const grey: Picture = { ...eight, samples: eight.samples.map((_, i, all) => all[3 * Math.floor(i / 3)]) }

function sample(_: unknown, i: number): number {
  const [x, y, c] = [Math.floor(i / 3) % WIDTH, Math.floor(i / 3 / WIDTH), i % 3]
  return [30 + 3 * x, 40 + 3 * y, 200 - x - y][c]
}

/** For sharp to encode. */
export function pixels({ samples, width, height }: Picture = eight): Sharp {
  const image = sharp(samples, { raw: { width, height, channels: 3 } })
  return samples instanceof Uint16Array ? image.toColourspace('rgb16') : image
}

/** The picture with another arrangement of its pixels: `from` gives, for a pixel of the new one, that of the old one. */
export function rearranged(
  { samples, width }: Picture,
  [newWidth, newHeight]: readonly [number, number],
  from: (x: number, y: number) => readonly [number, number],
): Picture {
  const moved =
    samples instanceof Uint16Array
      ? new Uint16Array(3 * newWidth * newHeight)
      : new Uint8Array(3 * newWidth * newHeight)
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      const [u, v] = from(x, y)
      for (let c = 0; c < 3; c++) moved[3 * (y * newWidth + x) + c] = samples[3 * (v * width + u) + c]
    }
  }
  return { width: newWidth, height: newHeight, samples: moved }
}

/** A quarter turn clockwise, which EXIF's orientation 6 asks for. */
export const clockwise = (picture: Picture): Picture =>
  rearranged(picture, [picture.height, picture.width], (x, y) => [y, picture.height - 1 - x])

export const anticlockwise = (picture: Picture): Picture =>
  rearranged(picture, [picture.height, picture.width], (x, y) => [picture.width - 1 - y, x])

/** Left and right exchanged. */
export const mirrored = (picture: Picture): Picture =>
  rearranged(picture, [picture.width, picture.height], (x, y) => [picture.width - 1 - x, y])

export const fixture = (name: string): Buffer => readFileSync(join(import.meta.dirname, '../../fixtures', name))

/** The ICC profile that sharp has by a name ('p3'). */
export async function profileOf(name: string): Promise<Buffer> {
  const png = await pixels().png().withIccProfile(name, { attach: true }).toBuffer()
  return (await sharp(png).metadata()).icc!
}
