/** Files to samples without sharp's decoders: HEIC and JPEG XL in WebAssembly, bitmaps, and previews of camera raw. */
import { readBmp } from './bmp.ts'
import {
  addFrames,
  DEPTH_MAP,
  type Decoded,
  decodeJpeg,
  decodePng,
  GAIN_MAP,
  hdrError,
  UnreadError,
  withoutOpaque,
} from './decode.ts'
import { boxesOf, readHeif } from './heif-boxes.ts'
import { decodeIsolated } from './isolate.ts'
import { readJpeg, withoutMetadata } from './jpeg.ts'
import { MAX_PIXELS } from './limits.ts'
import { isSrgb, type Profile, readProfile, signalled } from './profile.ts'
import type { Sharp } from './sharp.ts'
import { readTiff } from './tiff.ts'

export async function decodeHeic(bytes: Uint8Array): Promise<Decoded> {
  const boxes = readHeif(bytes)
  if (boxes.sequence) {
    throw new UnreadError('is a HEIF sequence, a video', 'take out a picture: `ffmpeg -i FILE -frames:v 1 FILE.png`')
  }
  const colour = boxes.icc ? readProfile(boxes.icc) : boxes.nclx ? signalled(boxes.nclx) : 'srgb'
  if (typeof colour === 'object' && 'unread' in colour) throw hdrError(colour.unread)
  const answer = await decodeIsolated({ decoder: 'libheif-js', bytes })
  if (!('heif' in answer)) throw new Error('the decoder gave no picture')
  const { width, height, channels, samples: all, exif } = answer.heif
  const profile: Profile | undefined = typeof colour === 'object' && !isSrgb(colour) ? colour : undefined
  const decoded: Decoded = {
    width,
    height,
    ...(channels === 3 ? { samples: all } : withoutAlpha(all)),
    ...(profile ? { profile } : {}),
    ...(exif ? { exif } : {}),
    marked: false,
    lost: [],
    repaired: [],
  }
  addFrames(decoded, boxes.pictures)
  if (boxes.gainMap) decoded.lost.push(GAIN_MAP)
  if (boxes.depth) decoded.lost.push(DEPTH_MAP)
  if (boxes.video) {
    decoded.lost.push({
      what: 'video',
      says: 'is a Motion Photo; its video, which shows the face unprotected, is left out',
    })
  }
  if (boxes.icc && !colour) {
    decoded.lost.push({ what: 'colour', says: 'has a colour profile that is not read; its colours are taken for sRGB' })
  }
  return decoded
}

function withoutAlpha(all: Uint8Array | Uint16Array): Pick<Decoded, 'samples' | 'alpha'> {
  const pixels = all.length / 4
  const step = all instanceof Uint16Array ? 257 : 1
  const samples = all instanceof Uint16Array ? new Uint16Array(3 * pixels) : new Uint8Array(3 * pixels)
  const alpha = new Uint8Array(pixels)
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) samples[3 * i + c] = all[4 * i + c]
    alpha[i] = Math.round(all[4 * i + 3] / step)
  }
  return { samples, alpha }
}

export async function decodeJxl(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const answer = await decodeIsolated({ decoder: 'jxl-oxide-wasm', bytes })
  if (!('jxl' in answer)) throw new Error('the decoder gave no picture')
  const png = await decodePng(sharp, answer.jxl.png)
  // As of other animations: an alpha channel that hides nothing is none.
  const decoded = answer.jxl.animated ? withoutOpaque(png) : png
  if (answer.jxl.animated) decoded.lost.push({ what: 'frames', says: 'is an animation; only its first frame is read' })
  // Bare codestreams have no boxes and no metadata.
  const boxes = bytes[0] === 0 ? boxesOf(bytes) : []
  if (boxes.some(({ type }) => type === 'jhgm')) decoded.lost.push(GAIN_MAP)
  const exif = boxes.find(({ type }) => type === 'Exif')
  const { density: _, ...rest } = decoded
  return { ...rest, ...(exif && exif.end - exif.start > 12 ? { exif: bytes.subarray(exif.start + 4, exif.end) } : {}) }
}

export async function decodeBmp(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const bmp = readBmp(bytes, MAX_PIXELS)
  if ('wrapped' in bmp) {
    return bmp.wrapped[0] === 0x89 ? decodePng(sharp, bmp.wrapped) : decodeJpeg(sharp, bmp.wrapped)
  }
  const { width, height, density } = bmp
  const pixels = bmp.channels === 3 ? { samples: bmp.samples } : withoutAlpha(bmp.samples)
  // Many programs leave the fourth byte at zero throughout, meaning nothing by it.
  const { alpha, samples } = { alpha: undefined, ...pixels }
  const used = alpha?.some((a) => a !== 0) && !alpha.every((a) => a === 255)
  return {
    width,
    height,
    samples,
    ...(used ? { alpha } : {}),
    ...(density ? { density } : {}),
    marked: false,
    lost: [],
    repaired: [],
  }
}

/** Pictures that a raw file may hold before the search ends. */
const MOST_PREVIEWS = 64

/**
 * The largest JPEG that a camera put into its raw file, turned as the raw file says.
 *
 * @throws {UnreadError} it holds none
 */
export async function decodeRawPreview(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let best: { jpeg: ReturnType<typeof readJpeg>; pixels: number } | undefined
  let at = 0
  for (let i = 0; i < MOST_PREVIEWS; i++) {
    at = file.indexOf(Buffer.from([0xff, 0xd8, 0xff]), at)
    if (at < 0) break
    const jpeg = readJpeg(file.subarray(at))
    const pixels = jpeg.coding === 'baseline' && jpeg.precision === 8 ? jpeg.width * jpeg.height : 0
    if (pixels > (best?.pixels ?? 0)) best = { jpeg, pixels }
    at += Math.max(3, pixels > 0 ? jpeg.bytes.length : 3)
  }
  if (!best) throw new UnreadError('is a raw file without a preview', 'develop it first: `darktable-cli FILE FILE.jpg`')
  const { jpeg } = best
  const own = await sharp(Buffer.from(jpeg.bytes)).metadata()
  const turned = own.orientation ? jpeg.bytes : withoutMetadata(jpeg, readTiff(bytes).orientation)
  const decoded = await decodeJpeg(sharp, turned)
  decoded.repaired = [`is a camera's raw file, of which the embedded preview (${jpeg.width} x ${jpeg.height}) was read`]
  return decoded
}
