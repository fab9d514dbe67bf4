/** Photos of one real face as files, and `protect` on them as a process. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { type Invocation, lowkey, type Outcome, room } from './cli.ts'
import { PORTRAIT, portrait } from './portrait.ts'

/** `protect`, on the adapter that the tests are to use. */
export function protect(args: readonly string[], invocation: Invocation): Promise<Outcome> {
  const gpu = process.env.LOWKEY_GPU
  return lowkey(['protect', ...(gpu ? ['--gpu', gpu] : []), ...args], invocation)
}

/** One object a line. */
export const rows = ({ stdout }: Outcome) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

// The photos: one real face, about 42 by 57 pixels, in every dress.
export const { width: WIDTH, height: HEIGHT } = PORTRAIT

export const photos = room('photos')

export const shot = (name: string): string => join(photos, name)

/** A folder with copies of the photos named, under other names where given as [photo, name]. */
export function roomWith(...names: (string | [photo: string, name: string])[]): string {
  const folder = room()
  for (const name of names) {
    const [photo, as] = typeof name === 'string' ? [name, name] : name
    copyFileSync(shot(photo), join(folder, as))
  }
  return folder
}

export interface Raster {
  data: Buffer
  width: number
  height: number
  channels: number
}

export async function decode(file: string | Uint8Array): Promise<Raster> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height, channels: info.channels }
}

/** Marks in the metadata of turned.jpg, to be found in the bytes of a file. */
export const ARTIST = 'Ada Example'
export const PLACE = 'SECRET-PLACE'

/** Writes them. */
export async function makePhotos(): Promise<void> {
  const face = await portrait().png().toBuffer()
  writeFileSync(shot('face.png'), face)
  await sharp(face).jpeg({ quality: 95, chromaSubsampling: '4:2:0' }).toFile(shot('face.jpg'))
  await sharp(face).webp({ quality: 95 }).toFile(shot('face.webp'))
  await sharp(face).toColourspace('b-w').png().toFile(shot('grey.png'))
  const opacity = Buffer.from(Array.from({ length: WIDTH * HEIGHT }, (_, i) => 55 + (i % 201)))
  const plane = { width: WIDTH, height: HEIGHT, channels: 1 as const }
  await sharp(face).joinChannel(opacity, { raw: plane }).png().toFile(shot('alpha.png'))
  // Stored lying on its side, as cameras do: orientation 6 says to turn it clockwise. With a colour profile.
  await sharp(await sharp(face).rotate(-90).png().toBuffer())
    .jpeg({ quality: 95 })
    .withExif({ IFD0: { Artist: ARTIST }, IFD3: { GPSMapDatum: PLACE, GPSLatitudeRef: 'N' } })
    .withMetadata({ orientation: 6 })
    .toFile(shot('turned.jpg'))
  const plain = { width: WIDTH, height: 120, channels: 3 as const, background: '#557799' }
  await sharp({ create: plain }).png().toFile(shot('blank.png'))
  const jpeg = readFileSync(shot('face.jpg'))
  writeFileSync(shot('cut.jpg'), jpeg.subarray(0, jpeg.length / 2))
  writeFileSync(shot('words.png'), 'this is no photo\n')
}
