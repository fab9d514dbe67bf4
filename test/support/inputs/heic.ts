/** HEIC files as iPhones write them, put together around three small pictures (`../../fixtures`) that were encoded once. */
import { readPhoto } from '../../../src/images/index.ts'
import {
  ascii,
  auxiliary,
  box,
  bytes,
  codePoints,
  grid,
  heif,
  type Item,
  icc,
  mirror,
  size,
  turn,
  u32,
} from './heif-boxes.ts'
import type { Input } from './input.ts'
import { VIDEO } from './jpeg.ts'
import { anticlockwise, fixture, mirrored, type Picture, profileOf, rearranged } from './picture.ts'

const LIBHEIF = 'libheif-js (libde265)'
const SIDE = 96

/** The coded picture of a file with a single one, and its decoder's configuration. */
function codedPicture(file: Buffer): Item {
  const from = file.indexOf('hvcC', 0, 'latin1') - 4
  const hvcC = file.subarray(from, from + file.readUInt32BE(from))
  const data = file.indexOf('mdat', 0, 'latin1') + 4
  return { type: 'hvc1', data: file.subarray(data), properties: [hvcC, size(SIDE, SIDE)] }
}

const photo = codedPicture(fixture('photo.heic'))
const gradient = codedPicture(fixture('gradient.heic'))
const deep = codedPicture(fixture('photo-10bit.heic'))
const having = (item: Item, ...more: readonly Buffer[]): Item => ({
  ...item,
  properties: [...item.properties!, ...more],
})

const read = async (name: string): Promise<Picture> => {
  const { width, height, rgb, original } = await readPhoto(fixture(name))
  return { width, height, samples: original?.samples ?? rgb }
}
const plain = () => read('photo.heic')

/** Two by two: photo and gradient above, gradient and photo below, cut to 180 pixels a side. */
const gridded = (...more: readonly Buffer[]): Buffer =>
  heif(
    'heic',
    [
      { type: 'grid', data: grid(2, 2, 180, 180), properties: [size(180, 180), ...more] },
      ...[photo, gradient, gradient, photo].map((tile) => ({ ...tile, hidden: true })),
    ],
    [{ type: 'dimg', from: 1, to: [2, 3, 4, 5] }],
  )

async function composed(): Promise<Picture> {
  const [a, b] = [await plain(), await read('gradient.heic')]
  const both = { width: SIDE, height: 2 * SIDE, samples: Uint8Array.from([...a.samples, ...b.samples]) }
  return rearranged(both, [180, 180], (x, y) => [x % SIDE, (y % SIDE) + (x < SIDE === y < SIDE ? 0 : SIDE)])
}

const like = { readBy: LIBHEIF, shows: plain, within: 0 }
/** Beside the photo a picture that is of use with it only. */
const beside = (urn: string): Buffer =>
  heif('heic', [photo, having({ ...gradient, hidden: true }, auxiliary(urn))], [{ type: 'auxl', from: 2, to: [1] }])

export const heicInputs: readonly Input[] = [
  { name: 'HEIC, 8 bit', file: 'IMG_1.HEIC', bytes: () => fixture('photo.heic'), ...like },
  { name: 'HEIC, 10 bit', file: 'IMG_2.HEIC', bytes: () => fixture('photo-10bit.heic'), readBy: LIBHEIF },
  {
    name: 'HEIC, a grid of tiles',
    file: 'IMG_3.HEIC',
    bytes: () => gridded(),
    readBy: LIBHEIF,
    shows: composed,
    within: 0,
  },
  {
    name: 'HEIC, a grid turned (irot)',
    file: 'IMG_4.HEIC',
    bytes: () => gridded(turn(1)),
    readBy: LIBHEIF,
    shows: async () => anticlockwise(await composed()),
    within: 0,
  },
  {
    name: 'HEIC, turned (irot)',
    file: 'IMG_5.HEIC',
    bytes: () => heif('heic', [having(photo, turn(1))]),
    ...like,
    shows: async () => anticlockwise(await plain()),
  },
  {
    name: 'HEIC, mirrored (imir)',
    file: 'IMG_6.HEIC',
    bytes: () => heif('heic', [having(photo, mirror(1))]),
    ...like,
    shows: async () => mirrored(await plain()),
  },
  {
    name: 'HEIC, turned and mirrored',
    file: 'IMG_7.HEIC',
    bytes: () => heif('heic', [having(photo, turn(1), mirror(1))]),
    ...like,
    shows: async () => mirrored(anticlockwise(await plain())),
  },
  {
    name: 'HEIC, Display P3 (ICC)',
    file: 'IMG_8.HEIC',
    bytes: async () => heif('heic', [having(photo, icc(await profileOf('p3')))]),
    ...like,
  },
  {
    name: 'HEIC, 10 bit, Display P3 (ICC)',
    file: 'IMG_9.HEIC',
    bytes: async () => heif('heic', [having(deep, icc(await profileOf('p3')))]),
    readBy: LIBHEIF,
    shows: () => read('photo-10bit.heic'),
    within: 0,
  },
  // The matrix stays that of the fixture (BT.601), so that the samples do.
  {
    name: 'HEIC, Display P3 (nclx)',
    file: 'IMG_10.HEIC',
    bytes: () => heif('heic', [having(photo, codePoints(12, 13, 6))]),
    ...like,
  },
  {
    name: 'HEIC, HDR (PQ)',
    file: 'IMG_11.HEIC',
    bytes: () => heif('heic', [having(photo, codePoints(9, 16, 9))]),
    readBy: LIBHEIF,
    refused: /is in HDR \(PQ\), which is not read: export it/,
  },
  {
    name: 'HEIC, several pictures',
    file: 'burst.HEIC',
    bytes: () => heif('heic', [photo, gradient, gradient]),
    ...like,
    says: [/has 3 frames or pages; only the first is read/],
  },
  {
    name: 'HEIC, a thumbnail beside it',
    file: 'IMG_12.HEIC',
    bytes: () => heif('heic', [photo, gradient], [{ type: 'thmb', from: 2, to: [1] }]),
    ...like,
  },
  {
    name: 'HEIC, gain map',
    file: 'IMG_13.HEIC',
    bytes: () => beside('urn:com:apple:photo:2020:aux:hdrgainmap'),
    ...like,
    says: [/holds an HDR gain map, which shows the face unprotected; it is left out/],
  },
  {
    name: 'HEIC, depth map',
    file: 'IMG_14.HEIC',
    bytes: () => beside('urn:mpeg:hevc:2015:auxid:2'),
    ...like,
    says: [/holds a depth map, which is left out/],
  },
  { name: 'HEIC, opacity', file: 'cut-out.HEIC', bytes: () => beside('urn:mpeg:hevc:2015:auxid:1'), ...like },
  {
    name: 'HEIC Motion Photo',
    file: 'samsung.heic',
    bytes: () => heif('heic', [photo], [], box('mpvd', VIDEO)),
    ...like,
    says: [/is a Motion Photo; its video, which shows the face unprotected, is left out/],
  },
  {
    name: 'HEIF sequence (video)',
    file: 'live.heics',
    bytes: () =>
      Buffer.concat([
        box('ftyp', ascii('hevc'), u32(0), ascii('msf1hevc')),
        box('moov', box('mvhd', Buffer.alloc(100))),
      ]),
    readBy: LIBHEIF,
    refused: /is a HEIF sequence, a video, which is not read|is a HEIF sequence, a video: take out a picture/,
  },
  {
    name: 'HEIC, cut short',
    file: 'cut.HEIC',
    bytes: () => fixture('photo.heic').subarray(0, 2000),
    readBy: LIBHEIF,
    refused: /is damaged or cut short/,
  },
]

/** AVIF and HEIF files of one picture have its colour signal in their only colr box; here with other code points. */
export function withCodePoints(file: Buffer, primaries: number, transfer: number): Buffer {
  const at = file.indexOf('nclx', 0, 'latin1')
  if (at < 0) throw new Error('the file has no code points')
  const changed = Buffer.from(file)
  changed.set(bytes(0, primaries, 0, transfer), at + 4)
  return changed
}
