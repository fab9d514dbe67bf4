/** TIFF files of scanners, print shops and photo editors. */
import type { Input } from './input.ts'
import { clockwise, eight, grey, HEIGHT, pixels, sixteen, WIDTH } from './picture.ts'
import { type TiffPage, tiff } from './tiff-file.ts'

const SHARP = 'sharp (libvips, libtiff)'
const like = { readBy: SHARP, shows: eight, within: 0 }

const page: TiffPage = {
  width: WIDTH,
  height: HEIGHT,
  bits: [8, 8, 8],
  photometric: 2,
  data: eight.samples as Uint8Array,
}
const one = (more: Partial<TiffPage>): Buffer => tiff([{ ...page, ...more }])
const words = (samples: ArrayLike<number>, big = false): Buffer => {
  const bytes = Buffer.alloc(2 * samples.length)
  for (let i = 0; i < samples.length; i++)
    big ? bytes.writeUInt16BE(samples[i], 2 * i) : bytes.writeUInt16LE(samples[i], 2 * i)
  return bytes
}
/** Every pixel's samples, then these. */
const withChannels = (...more: readonly number[]): Uint8Array =>
  Uint8Array.from({ length: WIDTH * HEIGHT * (3 + more.length) }, (_, i) => {
    const [pixel, c] = [Math.floor(i / (3 + more.length)), i % (3 + more.length)]
    return c < 3 ? eight.samples[3 * pixel + c] : more[c - 3]
  })
const planes = Uint8Array.from(
  eight.samples,
  (_, i) => eight.samples[3 * (i % (WIDTH * HEIGHT)) + Math.floor(i / (WIDTH * HEIGHT))],
)
const greys = Uint8Array.from({ length: WIDTH * HEIGHT }, (_, i) => grey.samples[3 * i])

export const tiffInputs: readonly Input[] = [
  { name: 'TIFF, 8 bit', file: 'scan.tif', bytes: () => one({}), ...like },
  {
    name: 'TIFF, 16 bit',
    file: 'deep.tif',
    bytes: () => one({ bits: [16, 16, 16], data: words(sixteen.samples) }),
    ...like,
    shows: sixteen,
  },
  {
    name: 'TIFF, 16 bit, big-endian',
    file: 'mac.tif',
    bytes: () => tiff([{ ...page, bits: [16, 16, 16], data: words(sixteen.samples, true) }], { big: true }),
    ...like,
    shows: sixteen,
  },
  { name: 'TIFF, LZW', file: 'lzw.tif', bytes: () => pixels().tiff({ compression: 'lzw' }).toBuffer(), ...like },
  {
    name: 'TIFF, tiled, Deflate',
    file: 'tiles.tif',
    bytes: () => pixels().tiff({ compression: 'deflate', tile: true, tileWidth: 16, tileHeight: 16 }).toBuffer(),
    ...like,
  },
  {
    name: 'TIFF, JPEG inside',
    file: 'jpeg.tif',
    bytes: () => pixels().tiff({ compression: 'jpeg', quality: 95 }).toBuffer(),
    ...like,
    within: 8,
  },
  {
    name: 'TIFF, each channel by itself',
    file: 'planes.tif',
    bytes: () => one({ planar: true, data: planes }),
    ...like,
  },
  {
    name: 'TIFF, grey',
    file: 'grey.tif',
    bytes: () => one({ bits: [8], photometric: 1, data: greys }),
    ...like,
    shows: grey,
  },
  {
    name: 'TIFF, grey, white is zero',
    file: 'fax.tif',
    bytes: () => one({ bits: [8], photometric: 0, data: greys.map((v) => 255 - v) }),
    ...like,
    shows: grey,
  },
  {
    name: 'TIFF, palette',
    file: 'palette.tif',
    bytes: () =>
      one({
        bits: [8],
        photometric: 3,
        data: greys,
        palette: [0, 0, 0].flatMap(() => Array.from({ length: 256 }, (_, i) => 257 * i)),
      }),
    ...like,
    shows: grey,
  },
  {
    name: 'TIFF, Display P3',
    file: 'p3.tif',
    bytes: () => pixels(sixteen).withIccProfile('p3', { attach: true }).tiff({ compression: 'deflate' }).toBuffer(),
    readBy: SHARP,
  },
  {
    name: 'TIFF, CMYK',
    file: 'print.tif',
    bytes: () => pixels().toColourspace('cmyk').tiff({ compression: 'lzw' }).toBuffer(),
    ...like,
    within: 70,
    says: [/is in CMYK colours, which were converted to sRGB/],
  },
  {
    name: 'TIFF, CIELab',
    file: 'lab.tif',
    bytes: () => one({ photometric: 8, data: lab() }),
    readBy: SHARP,
    shows: { ...eight, samples: new Uint8Array(eight.samples.length).fill(119) },
    within: 1,
    says: [/is in CIELab; its colours were converted to sRGB/],
  },
  {
    name: 'TIFF, opacity',
    file: 'alpha.tif',
    bytes: () => one({ bits: [8, 8, 8, 8], extra: [2], data: withChannels(200) }),
    ...like,
  },
  {
    name: 'TIFF, opacity and a mask',
    file: 'mask.tif',
    bytes: () => one({ bits: [8, 8, 8, 8, 8], extra: [2, 0], data: withChannels(255, 7) }),
    ...like,
    says: [/has 1 more channel \(a mask or selection\), left out/],
  },
  {
    name: 'TIFF, orientation 6',
    file: 'turned.tif',
    bytes: () => one({ orientation: 6 }),
    ...like,
    shows: clockwise(eight),
  },
  { name: 'TIFF, 300 dpi', file: 'dpi.tif', bytes: () => one({ density: 300 }), ...like },
  {
    name: 'TIFF, several pages',
    file: 'pages.tif',
    bytes: () => tiff([page, { ...page, data: planes }]),
    ...like,
    says: [/has 2 frames or pages; only the first is read/],
  },
  {
    name: 'TIFF, pyramid',
    file: 'pyramid.tif',
    bytes: () =>
      tiff([
        page,
        { ...page, width: 32, height: 24, subfile: 1, data: eight.samples.slice(0, 3 * 32 * 24) as Uint8Array },
      ]),
    ...like,
  },
  {
    name: 'TIFF, floating point',
    file: 'float.tif',
    bytes: () =>
      one({
        bits: [32, 32, 32],
        sampleFormat: 3,
        data: new Uint8Array(Float32Array.from(eight.samples, (v) => v / 255).buffer),
      }),
    readBy: SHARP,
    refused: /holds 32-bit floating-point samples: save it as 16 bit/,
  },
  {
    name: 'TIFF, 32 bit',
    file: 'int.tif',
    bytes: () =>
      one({ bits: [32, 32, 32], data: new Uint8Array(Uint32Array.from(eight.samples, (v) => v * 0x1010101).buffer) }),
    readBy: SHARP,
    refused: /holds 32-bit integer samples/,
  },
]

/** Mid grey: L* 50, which is 119 in sRGB. */
function lab(): Uint8Array {
  return Uint8Array.from({ length: 3 * WIDTH * HEIGHT }, (_, i) => (i % 3 === 0 ? 127 : 0))
}
