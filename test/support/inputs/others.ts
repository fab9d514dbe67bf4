/** WebP, GIF, AVIF, JPEG XL and raw files of cameras. */

import sharp from 'sharp'
import { withCodePoints } from './heic.ts'
import { ascii, box, u32 } from './heif-boxes.ts'
import type { Input } from './input.ts'
import { asJpeg, jpeg } from './jpeg.ts'
import { clockwise, eight, fixture, pixels, sixteen, WIDTH } from './picture.ts'
import { tiff } from './tiff-file.ts'

const WEBP = 'sharp (libvips, libwebp)'
const GIF = 'sharp (libvips)'
const AVIF = 'sharp (libvips, libheif, aom)'
const JXL = 'jxl-oxide-wasm'

/** The picture, then its negative. */
const frames = () =>
  sharp(Buffer.concat([eight.samples as Uint8Array, eight.samples.map((v) => 255 - v) as Uint8Array]), {
    raw: { width: WIDTH, height: 2 * eight.height, channels: 3, pageHeight: eight.height },
  })

const avif = (bitdepth: 8 | 10 | 12 = 8) =>
  pixels(bitdepth > 8 ? sixteen : eight)
    .avif({ lossless: true, effort: 0, bitdepth, chromaSubsampling: '4:4:4' })
    .toBuffer()

/** A camera's raw file: a small thumbnail in the first directory, the marks of DNG, and somewhere inside the JPEG that the camera made. */
async function dng(): Promise<Buffer> {
  const thumbnail = tiff([
    {
      width: 4,
      height: 4,
      bits: [8, 8, 8],
      photometric: 2,
      data: new Uint8Array(48),
      orientation: 6,
      subfile: 1,
      more: [
        [0x010f, 2, [...Buffer.from('Maker\0')]],
        [0xc612, 1, [1, 4, 0, 0]],
      ],
    },
  ])
  return Buffer.concat([thumbnail, Buffer.alloc(100, 0x55), await jpeg(), Buffer.alloc(100, 0x55)])
}

export const otherInputs: readonly Input[] = [
  {
    name: 'WebP',
    file: 'photo.webp',
    bytes: () => pixels().webp({ quality: 90 }).toBuffer(),
    readBy: WEBP,
    shows: eight,
    within: 16,
  },
  {
    name: 'WebP, lossless, opacity',
    file: 'alpha.webp',
    bytes: () => pixels().ensureAlpha(0.5).webp({ lossless: true, exact: true }).toBuffer(),
    readBy: WEBP,
    shows: eight,
    within: 0,
  },
  {
    name: 'WebP, Display P3',
    file: 'p3.webp',
    bytes: () => pixels().withIccProfile('p3', { attach: true }).webp({ lossless: true }).toBuffer(),
    readBy: WEBP,
  },
  {
    name: 'WebP, animated',
    file: 'anim.webp',
    bytes: () =>
      frames()
        .webp({ lossless: true, delay: [100, 100] })
        .toBuffer(),
    readBy: WEBP,
    shows: eight,
    within: 0,
    says: [/has 2 frames or pages; only the first is read/],
  },
  {
    name: 'GIF',
    file: 'photo.gif',
    bytes: () => pixels().gif({ dither: 0 }).toBuffer(),
    readBy: GIF,
    shows: eight,
    within: 24,
  },
  {
    name: 'GIF, animated',
    file: 'anim.gif',
    bytes: () =>
      frames()
        .gif({ dither: 0, delay: [100, 100] })
        .toBuffer(),
    readBy: GIF,
    shows: eight,
    within: 24,
    says: [/has 2 frames or pages; only the first is read/],
  },
  { name: 'AVIF, 8 bit', file: 'photo.avif', bytes: () => avif(), readBy: AVIF, shows: eight, within: 2 },
  { name: 'AVIF, 10 bit', file: 'deep.avif', bytes: () => avif(10), readBy: AVIF, shows: sixteen, within: 257 },
  { name: 'AVIF, 12 bit', file: 'deeper.avif', bytes: () => avif(12), readBy: AVIF, shows: sixteen, within: 257 },
  {
    name: 'AVIF, Display P3 (nclx)',
    file: 'p3.avif',
    bytes: async () => withCodePoints(await avif(), 12, 13),
    readBy: AVIF,
    shows: eight,
    within: 2,
  },
  {
    name: 'AVIF, HDR (HLG)',
    file: 'hdr.avif',
    bytes: async () => withCodePoints(await avif(10), 9, 18),
    readBy: AVIF,
    refused: /is in HDR \(HLG\), which is not read/,
  },
  {
    name: 'AVIF sequence (video)',
    file: 'seq.avif',
    bytes: () =>
      Buffer.concat([box('ftyp', ascii('avis'), u32(0), ascii('avis')), box('moov', box('mvhd', Buffer.alloc(100)))]),
    readBy: AVIF,
    refused: /is an AVIF sequence, a video: take out a picture/,
  },
  { name: 'JPEG XL, bare codestream', file: 'new.jxl', bytes: () => fixture('photo.jxl'), readBy: JXL },
  {
    name: 'JPEG XL in its container, 16 bit, Display P3',
    file: 'deep.jxl',
    bytes: () => fixture('deep-p3.jxl'),
    readBy: JXL,
    shows: sixteen,
    within: 0,
  },
  {
    name: 'JPEG XL, animated',
    file: 'anim.jxl',
    bytes: () => fixture('animation.jxl'),
    readBy: JXL,
    shows: eight,
    within: 60,
    says: [/is an animation; only its first frame is read/],
  },
  {
    name: 'JPEG XL, gain map',
    file: 'gain.jxl',
    bytes: () => Buffer.concat([fixture('deep-p3.jxl'), box('jhgm', Buffer.alloc(30))]),
    readBy: JXL,
    shows: sixteen,
    within: 0,
    says: [/HDR gain map/],
  },
  {
    name: 'JPEG XL, cut short',
    file: 'cut.jxl',
    bytes: () => fixture('photo.jxl').subarray(0, 900),
    readBy: JXL,
    refused: /is damaged or cut short/,
  },
  {
    name: 'Camera raw (DNG), not asked for',
    file: 'IMG_1.dng',
    bytes: dng,
    readBy: 'not read',
    refused:
      /is a camera's raw file \(DNG\), which is developed, not read: develop it \(`darktable-cli FILE FILE\.jpg`\), or take the preview in it with --raw-preview/,
  },
  {
    name: 'Camera raw (DNG), --raw-preview',
    file: 'IMG_1.dng',
    bytes: dng,
    options: { rawPreview: true },
    readBy: 'sharp, of the JPEG inside',
    shows: async () => clockwise(await asJpeg()),
    within: 0,
    says: [/is a camera's raw file, of which the embedded preview \(64 x 48\) was read/],
  },
]
