/** JPEG files as phones, cameras and editors leave them, each put together around a picture that sharp encodes. */
import { writeExif } from '../../../src/images/exif.ts'
import { iccSegments } from '../../../src/images/jpeg.ts'
import { jfif } from '../../../src/images/jpeg-segments.ts'
import type { Input } from './input.ts'
import { clockwise, eight, fixture, grey, type Picture, pixels, profileOf } from './picture.ts'

const SHARP = 'sharp (libvips, mozjpeg)'

export const jpeg = (picture: Picture = eight): Promise<Buffer> =>
  pixels(picture).jpeg({ quality: 90, chromaSubsampling: '4:4:4' }).toBuffer()

/** Segments right after the start of the picture. */
const withSegments = (file: Uint8Array, ...segments: readonly Uint8Array[]): Buffer =>
  Buffer.concat([file.subarray(0, 2), ...segments, file.subarray(2)])

export function segment(marker: number, body: Uint8Array): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0])
  head.writeUInt16BE(2 + body.length, 2)
  return Buffer.concat([head, body])
}

const xmp = (attributes: string): Buffer =>
  segment(
    0xe1,
    Buffer.from(
      `http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description ${attributes}/></x:xmpmeta>`,
      'latin1',
    ),
  )

/** The index of a multi-picture file (CIPA DC-007): an entry of 16 bytes a picture, with its kind. */
function multiPicture(kinds: readonly number[]): Buffer {
  const body = Buffer.alloc(4 + 8 + 2 + 12 + 4 + 16 * kinds.length)
  body.write('MPF\0II*\0', 'latin1')
  body.writeUInt32LE(8, 8)
  body.writeUInt16LE(1, 12)
  body.writeUInt16LE(0xb002, 14)
  body.writeUInt16LE(7, 16)
  body.writeUInt32LE(16 * kinds.length, 18)
  body.writeUInt32LE(26, 22)
  for (const [i, kind] of kinds.entries()) body.writeUInt32LE(kind, 30 + 16 * i)
  return segment(0xe2, body)
}
const [PRIMARY, VIEW, UNDEFINED] = [0x030000, 0x020002, 0]

const scanOf = (file: Buffer): number => file.indexOf(Buffer.from([0xff, 0xda]))

/** The spectral selection and the approximation at the end of the scan's header as some phones write them. */
async function wrongScan(): Promise<Buffer> {
  const file = await jpeg()
  const scan = scanOf(file)
  file.set([0, 0, 0], scan + 2 + file.readUInt16BE(scan + 2) - 3)
  return file
}

const withoutJfif = (file: Buffer): Buffer =>
  file[3] === 0xe0 ? Buffer.concat([file.subarray(0, 2), file.subarray(4 + file.readUInt16BE(4))]) : file

/** The frame's header says something else: its marker, and the bits a sample. */
async function otherFrame(marker: number, bits: number): Promise<Buffer> {
  const file = await jpeg()
  const frame = file.indexOf(Buffer.from([0xff, 0xc0]))
  file[frame + 1] = marker
  file[frame + 4] = bits
  return file
}

const oldRevision = (): Uint8Array => {
  const old = jfif(1, [0, 72, 0, 72])
  old[9] = 9
  return old
}

/** The start of a video in MP4, which phones write behind the photo. */
export const VIDEO = Buffer.from('\0\0\0\x18ftypmp42\0\0\0\0isommp42\0\0\0\x08mdat', 'latin1')

/** What its decoder makes of the picture as encoded: mozjpeg's rounding. */
export const asJpeg = async (picture: Picture = eight): Promise<Picture> => {
  const { default: sharp } = await import('sharp')
  const samples = new Uint8Array(
    await sharp(await jpeg(picture))
      .raw()
      .toBuffer(),
  )
  return { ...picture, samples: samples.length === 3 * picture.width * picture.height ? samples : spread(samples) }
}

const spread = (one: Uint8Array): Uint8Array =>
  Uint8Array.from({ length: 3 * one.length }, (_, i) => one[Math.floor(i / 3)])

const like = { readBy: SHARP, shows: () => asJpeg(), within: 0 }

export const jpegInputs: readonly Input[] = [
  { name: 'JPEG', file: 'photo.jpg', bytes: () => jpeg(), ...like },
  {
    name: 'JPEG, progressive, 4:2:0',
    file: 'web.jpg',
    bytes: () => pixels().jpeg({ quality: 85, progressive: true }).toBuffer(),
    readBy: SHARP,
    shows: eight,
    within: 12,
  },
  {
    name: 'JPEG, arithmetic coding',
    file: 'a.jpg',
    bytes: () => fixture('arithmetic.jpg'),
    readBy: SHARP,
    shows: eight,
    within: 12,
  },
  {
    name: 'JPEG, grey',
    file: 'grey.jpg',
    bytes: () => pixels(grey).toColourspace('b-w').jpeg({ quality: 90 }).toBuffer(),
    readBy: SHARP,
    shows: grey,
    within: 3,
  },
  {
    name: 'JPEG, CMYK',
    file: 'print.jpg',
    bytes: () => pixels().toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer(),
    readBy: SHARP,
    shows: eight,
    within: 70,
    says: [/is in CMYK colours, which were converted to sRGB/],
  },
  {
    name: 'JPEG, EXIF orientation 6',
    file: 'turned.jpg',
    bytes: async () => withSegments(await jpeg(), orientation(6)),
    readBy: SHARP,
    shows: async () => clockwise(await asJpeg()),
    within: 0,
  },
  {
    name: 'JPEG, Display P3',
    file: 'iphone.jpg',
    bytes: async () => withSegments(await jpeg(), ...iccSegments(await profileOf('p3'))),
    ...like,
  },
  {
    name: 'JPEG, 300 dpi',
    file: 'print.jpg',
    bytes: async () => withSegments(withoutJfif(await jpeg()), jfif(1, [1, 44, 1, 44])),
    ...like,
  },
  {
    name: 'JPEG, author and camera in EXIF',
    file: 'camera.jpg',
    bytes: async () =>
      withSegments(await jpeg(), exif(writeExif({ artist: 'A', cameraModel: 'B' }, { mark: false, profile: false })!)),
    ...like,
  },
  {
    name: 'MPO of two views',
    file: 'DSCF1.MPO',
    bytes: async () => Buffer.concat([withSegments(await jpeg(), multiPicture([VIEW, VIEW])), await jpeg()]),
    ...like,
    says: [/holds 2 pictures; only the first is read/],
  },
  {
    name: 'Ultra HDR JPEG (gain map)',
    file: 'pixel.jpg',
    bytes: async () =>
      Buffer.concat([
        withSegments(await jpeg(), xmp('hdrgm:Version="1.0"'), multiPicture([PRIMARY, UNDEFINED])),
        await jpeg(grey),
      ]),
    ...like,
    says: [/holds an HDR gain map, which shows the face unprotected; it is left out/],
  },
  {
    name: 'JPEG, ISO gain map',
    file: 'iso.jpg',
    bytes: async () =>
      Buffer.concat([
        withSegments(await jpeg(), segment(0xe2, Buffer.from('urn:iso:std:iso:ts:21496:-1\0\0\0\0\0', 'latin1'))),
        await jpeg(grey),
      ]),
    ...like,
    says: [/HDR gain map/],
  },
  {
    name: 'Motion Photo (JPEG and video)',
    file: 'MVIMG.jpg',
    bytes: async () => Buffer.concat([withSegments(await jpeg(), xmp('Camera:MotionPhoto="1"')), VIDEO]),
    ...like,
    says: [/is a Motion Photo; its video, which shows the face unprotected, is left out/],
  },
  {
    name: 'JPEG with a depth map',
    file: 'portrait.jpg',
    bytes: async () =>
      Buffer.concat([withSegments(await jpeg(), xmp('GDepth:Format="RangeInverse"')), await jpeg(grey)]),
    ...like,
    says: [/holds a depth map, which is left out/],
  },
  {
    name: 'JPEG, wrong scan parameters (phones)',
    file: 'samsung.jpg',
    bytes: wrongScan,
    ...like,
    says: [/wrong scan parameters/],
    strictRefuses: true,
  },
  {
    name: 'JPEG, stray bytes between its parts',
    file: 'padded.jpg',
    bytes: async () => {
      const file = await jpeg()
      return Buffer.concat([file.subarray(0, scanOf(file)), Buffer.from([1, 2, 3]), file.subarray(scanOf(file))])
    },
    ...like,
    says: [/has 3 stray bytes between its parts/],
    strictRefuses: true,
  },
  {
    name: 'JPEG, zeros after its end',
    file: 'zeros.jpg',
    bytes: async () => Buffer.concat([await jpeg(), Buffer.alloc(5000)]),
    ...like,
  },
  {
    name: 'JPEG, unknown JFIF revision',
    file: 'old.jpg',
    bytes: async () => withSegments(withoutJfif(await jpeg()), oldRevision()),
    ...like,
    says: [/states an unknown JFIF revision, 9\.01/],
    strictRefuses: true,
  },
  {
    name: 'JPEG, the end mark missing',
    file: 'end.jpg',
    bytes: async () => (await jpeg()).subarray(0, -2),
    ...like,
    says: [/has no end mark/],
    strictRefuses: true,
  },
  {
    name: 'JPEG, the last rows missing',
    file: 'cut.jpg',
    bytes: async () => (await jpeg(tall)).subarray(0, -60),
    readBy: SHARP,
    says: [/is cut short: of its 480 rows of pixels the last \d+ are not all there/],
    strictRefuses: true,
  },
  {
    name: 'JPEG, the lower half missing',
    file: 'half.jpg',
    bytes: async () => (await jpeg(tall)).subarray(0, 2000),
    readBy: SHARP,
    refused: /is damaged or cut short/,
  },
  {
    name: 'JPEG, 12 bit',
    file: 'medical.jpg',
    bytes: () => otherFrame(0xc1, 12),
    readBy: SHARP,
    refused: /is a JPEG of 12 bit, which is not read: convert it first/,
  },
  {
    name: 'JPEG, lossless',
    file: 'raw.jpg',
    bytes: () => otherFrame(0xc3, 8),
    readBy: SHARP,
    refused: /is a lossless JPEG, which is not read: convert it first/,
  },
  {
    name: 'JPEG, hierarchical',
    file: 'h.jpg',
    bytes: () => otherFrame(0xc5, 8),
    readBy: SHARP,
    refused: /is a hierarchical JPEG, which nothing reads/,
  },
]

/** Rows enough for a few of them to be missing; noise, so that 60 bytes are few rows. */
const tall: Picture = {
  width: 64,
  height: 480,
  samples: Uint8Array.from(
    { length: 3 * 64 * 480 },
    (_, i) => eight.samples[i % eight.samples.length] ^ ((i * i * 7) % 31),
  ),
}

function orientation(value: number): Buffer {
  const tiff = Buffer.alloc(26)
  tiff.write('MM\0*\0\0\0\x08\0\x01', 'latin1')
  tiff.writeUInt16BE(0x0112, 10)
  tiff.writeUInt16BE(3, 12)
  tiff.writeUInt32BE(1, 14)
  tiff.writeUInt16BE(value, 18)
  return exif(tiff)
}

function exif(tiff: Uint8Array): Buffer {
  return segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff]))
}
