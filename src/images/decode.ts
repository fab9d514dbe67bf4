/** One file to samples in its own colours, and what is known of it: the formats that sharp decodes. */
import type { Metadata, Sharp as Pipeline, SharpOptions } from 'sharp'
import { magick } from './advice.ts'
import { readHeif } from './heif-boxes.ts'
import { type JpegFile, NO_END, readJpeg } from './jpeg.ts'
import { MAX_DEEP_PIXELS, MAX_PIXELS } from './limits.ts'
import type { Loss } from './photo.ts'
import { readPng } from './png.ts'
import { isSrgb, type Profile, readProfile, signalled, srgbSample, xyzToSrgb } from './profile.ts'
import type { Sharp } from './sharp.ts'
import { asRgb, labToRgb, readTiff, type TiffFile } from './tiff.ts'

/** A file's first picture, upright. */
export interface Decoded {
  width: number
  height: number
  /** Three a pixel. */
  samples: Uint8Array | Uint16Array
  alpha?: Uint8Array
  /** Of the samples; absent: sRGB. */
  profile?: Profile
  /** A block of EXIF, or a TIFF file, which has the same structure. */
  exif?: Uint8Array
  density?: number
  quality?: number
  marked: boolean
  lost: Loss[]
  /** What was put right. */
  repaired: string[]
}

/** A sound file of a kind that is not read; the message is the rest of a sentence that starts with the file. */
export class UnreadError extends Error {
  readonly advice: string
  constructor(problem: string, advice: string) {
    super(problem)
    this.advice = advice
  }
}

export async function decodePng(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const png = readPng(bytes)
  const decoded = await decodeBySharp(sharp, bytes, { colour: png.colour })
  addFrames(decoded, png.frames)
  return { ...decoded, marked: png.marked }
}

export async function decodeWebp(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const header = await headerOf(sharp, bytes)
  const decoded = await decodeBySharp(sharp, bytes, { header })
  addFrames(decoded, header.pages ?? 1)
  // An animation always decodes with an alpha channel; one that hides nothing is none.
  return (header.pages ?? 1) > 1 ? withoutOpaque(decoded) : decoded
}

export async function decodeGif(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const header = await headerOf(sharp, bytes)
  const decoded = await decodeBySharp(sharp, bytes, { header })
  addFrames(decoded, header.pages ?? 1)
  return withoutOpaque(decoded)
}

export async function decodeAvif(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const heif = readHeif(bytes)
  if (heif.sequence) {
    throw new UnreadError(
      'is an AVIF sequence, a video',
      'take out a picture: `ffmpeg -i FILE.avif -frames:v 1 FILE.png`',
    )
  }
  const colour = !heif.icc && heif.nclx ? signalled(heif.nclx) : undefined
  const decoded = await decodeBySharp(sharp, bytes, { colour })
  addFrames(decoded, heif.pictures)
  if (heif.gainMap) decoded.lost.push(GAIN_MAP)
  if (heif.depth) decoded.lost.push(DEPTH_MAP)
  return decoded
}

export async function decodeTiff(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const tiff = readTiff(bytes)
  refuseSamples(tiff)
  const lab = tiff.photometric === 8
  const file = lab ? asRgb(bytes, tiff) : bytes
  const decoded = await decodeBySharp(sharp, file, { ...(lab ? { colour: 'srgb' as const } : {}), extra: tiff.extra })
  if (lab) {
    labToRgb(decoded.samples, (xyz) =>
      [0, 3, 6].map((i) =>
        srgbSample(Math.max(0, xyzToSrgb[i] * xyz[0] + xyzToSrgb[i + 1] * xyz[1] + xyzToSrgb[i + 2] * xyz[2])),
      ),
    )
    decoded.lost.push({ what: 'colour', says: 'is in CIELab; its colours were converted to sRGB' })
  }
  addFrames(decoded, tiff.pages)
  return { ...decoded, exif: bytes }
}

function refuseSamples({ sampleFormat, bits }: TiffFile): void {
  const kind =
    sampleFormat === 3
      ? 'floating-point'
      : sampleFormat === 2
        ? 'signed'
        : sampleFormat > 4
          ? 'complex'
          : bits > 16
            ? 'integer'
            : ''
  if (kind)
    throw new UnreadError(
      `holds ${bits}-bit ${kind} samples`,
      `save it as 16 bit: ${magick('FILE.tif -depth 16 FILE.png')}`,
    )
}

/** The greatest part of a photo's rows that may be missing at the end of a file cut short. */
const MOST_MISSING = 0.05

export async function decodeJpeg(sharp: Sharp, bytes: Uint8Array): Promise<Decoded> {
  const jpeg = readJpeg(bytes)
  refuseCoding(jpeg)
  const more = { marked: jpeg.marked, ...(jpeg.quality ? { quality: jpeg.quality } : {}) }
  const whole = await decodeBySharp(sharp, jpeg.bytes, {}).catch((error: unknown) => error as Error)
  const ends = /premature end/i.test(String(whole))
  if (whole instanceof Error && !ends) throw whole
  // libvips passes over what is missing in the last strip of rows.
  const rows = ends || jpeg.repaired.includes(NO_END) ? await missingRows(sharp, jpeg, !ends) : undefined
  if (whole instanceof Error && !rows) throw whole
  if (!(whole instanceof Error) && !rows) {
    return { ...whole, ...more, lost: [...jpeg.lost, ...whole.lost], repaired: jpeg.repaired }
  }
  const decoded = whole instanceof Error ? await decodeBySharp(sharp, jpeg.bytes, { failOn: 'none' }) : whole
  const cut: Loss = {
    what: 'rows',
    says: `is cut short: of its ${rows!.of} rows of pixels the last ${rows!.missing} are not all there`,
  }
  return {
    ...decoded,
    ...more,
    lost: [...jpeg.lost, ...decoded.lost, cut],
    repaired: jpeg.repaired.filter((what) => what !== NO_END),
  }
}

function refuseCoding({ precision, coding }: JpegFile): void {
  const by =
    'convert it first: `djpeg -outfile FILE.ppm FILE.jpg && magick FILE.ppm FILE.png` (djpeg of libjpeg-turbo 3; `convert` in ImageMagick 6)'
  if (coding === 'lossless') throw new UnreadError('is a lossless JPEG, which is not read', by)
  if (coding === 'hierarchical')
    throw new UnreadError('is a hierarchical JPEG, which nothing reads', 'look for another copy')
  if (precision !== 8) throw new UnreadError(`is a JPEG of ${precision} bit, which is not read`, by)
}

/**
 * How many rows the coded data of a sequential JPEG does not reach: there the decoder leaves its middle grey. Undefined
 * where these are too many, or where it cannot be told.
 *
 * @param certain only where the last block is nothing but that grey
 */
async function missingRows(
  sharp: Sharp,
  jpeg: JpegFile,
  certain: boolean,
): Promise<{ missing: number; of: number } | undefined> {
  if (jpeg.coding !== 'baseline' || jpeg.components > 3) return undefined
  const raw = sharp(view(jpeg.bytes), { failOn: 'none', ignoreIcc: true, limitInputPixels: MAX_PIXELS })
  const { data, info } = await raw.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  if (certain) {
    const [left, top] = [8 * Math.floor((width - 1) / 8), 8 * Math.floor((height - 1) / 8)]
    for (let y = top; y < height; y++) {
      const row = data.subarray((y * width + left) * channels, (y + 1) * width * channels)
      if (row.some((v) => v !== 128)) return undefined
    }
  }
  // By brightness: colours of half resolution reach a little beyond their blocks.
  const luma = (i: number) =>
    0.299 * data[i] + 0.587 * data[i + (channels > 2 ? 1 : 0)] + 0.114 * data[i + (channels > 2 ? 2 : 0)]
  let last = width * height - 1
  while (last >= 0 && Math.abs(luma(last * channels) - 128) <= 1.5) last--
  const reached = Math.floor(Math.max(0, last) / width)
  // The row of blocks in which the data ends is there in part.
  const missing = height - Math.floor(reached / jpeg.blockRows) * jpeg.blockRows
  const most = Math.max(jpeg.blockRows, MOST_MISSING * height)
  return missing <= most && missing < height ? { missing, of: height } : undefined
}

export const GAIN_MAP: Loss = {
  what: 'gain-map',
  says: 'holds an HDR gain map, which shows the face unprotected; it is left out',
}
export const DEPTH_MAP: Loss = { what: 'depth', says: 'holds a depth map, which is left out' }

export function addFrames(decoded: Decoded, frames: number): void {
  if (frames < 2) return
  decoded.lost.push({ what: 'frames', says: `has ${frames} frames or pages; only the first is read` })
}

export function withoutOpaque(decoded: Decoded): Decoded {
  const { alpha, ...rest } = decoded
  return alpha?.every((a) => a === 255) ? rest : decoded
}

async function headerOf(sharp: Sharp, bytes: Uint8Array): Promise<Metadata> {
  return sharp(view(bytes), { limitInputPixels: MAX_PIXELS }).metadata()
}

interface SharpDecoding {
  header?: Metadata
  /** What the file says beside ICC; undefined: the ICC profile counts. */
  colour?: Profile | 'srgb' | { unread: string }
  /** TIFF's extra samples. */
  extra?: readonly number[]
  failOn?: SharpOptions['failOn']
}

async function decodeBySharp(sharp: Sharp, bytes: Uint8Array, given: SharpDecoding): Promise<Decoded> {
  const header = given.header ?? (await headerOf(sharp, bytes))
  const { colour } = given
  if (typeof colour === 'object' && 'unread' in colour) throw hdrError(colour.unread)
  const lost: Loss[] = []
  const rgb = header.space === 'srgb' || header.space === 'rgb16' || header.space === 'rgb'
  const own = header.icc && rgb ? readProfile(header.icc) : undefined
  const profile = colour === 'srgb' ? undefined : (colour ?? (own && !isSrgb(own) ? own : undefined))
  const deep = header.depth === 'ushort'
  if (deep && header.width * header.height > MAX_DEEP_PIXELS) throw new Error('exceeds pixel limit of 16 bit')
  // Left to sharp's lcms: profiles with tables, and those of grey and CMYK.
  const convert = colour === undefined && header.icc !== undefined && !own
  const open = (options: SharpOptions = {}) =>
    sharp(view(bytes), {
      limitInputPixels: MAX_PIXELS,
      autoOrient: true,
      ...(given.failOn ? { failOn: given.failOn } : {}),
      ...options,
    })
  if (header.space === 'cmyk' || convert) {
    const from =
      header.space === 'cmyk'
        ? 'CMYK'
        : header.space?.startsWith('grey') || header.space === 'b-w'
          ? "its grey profile's"
          : "its profile's"
    lost.push({ what: 'colour', says: `is in ${from} colours, which were converted to sRGB` })
  }
  const raster = convert
    ? // Made 8-bit before the profile is applied (which cuts off the lower byte): left to itself sharp takes 16-bit
      // colour to Display P3 and calls that sRGB, and does not apply the profile of 16-bit grey.
      await run(
        deep
          ? open()
              .pipelineColourspace(rgb ? 'srgb' : 'b-w')
              .toColourspace('srgb')
              .raw()
          : open().toColourspace('srgb').raw(),
      )
    : deep && header.space !== 'cmyk'
      ? await run(open({ ignoreIcc: true }).toColourspace('rgb16').raw({ depth: 'ushort' }))
      : await run(
          open({ ignoreIcc: header.space !== 'cmyk' })
            .toColourspace('srgb')
            .raw(),
        )
  if (deep && raster.data instanceof Uint8Array) {
    lost.push({ what: 'bits', says: 'has 16 bit a sample, of which 8 were kept' })
  }
  if (raster.data instanceof Uint16Array && header.bitsPerSample) fillBits(raster.data, header.bitsPerSample, header)
  const { samples, alpha } = split(raster, given.extra ?? [], lost)
  const density = densityOf(header)
  return {
    width: raster.width,
    height: raster.height,
    samples,
    ...(alpha ? { alpha } : {}),
    ...(profile ? { profile } : {}),
    ...(header.exif ? { exif: header.exif } : {}),
    ...(density ? { density } : {}),
    marked: false,
    lost,
    repaired: [],
  }
}

export function hdrError(what: string): UnreadError {
  return new UnreadError(
    `is in ${what}, which is not read`,
    'export it as an ordinary photo (SDR, JPEG or PNG) from the program that shows it, or ' +
      '`ffmpeg -i FILE -vf zscale=t=linear,tonemap=hable,zscale=p=bt709:t=iec61966-2-1 FILE.png`',
  )
}

/** libvips shifts AVIF's 10 and 12 bits up, so that white is not quite 65535. */
function fillBits(samples: Uint16Array, bits: number, { format }: Metadata): void {
  if (format !== 'heif' || bits >= 16) return
  const top = 2 ** bits - 1
  for (let i = 0; i < samples.length; i++) samples[i] = Math.round(((samples[i] >> (16 - bits)) * 65535) / top)
}

/** Dots an inch of programs that know nothing: libvips says and writes the one or the other. */
const NO_DENSITY = [25, 72]

function densityOf({ density }: Metadata): number | undefined {
  return density && density > 1 && !NO_DENSITY.includes(Math.round(density)) ? density : undefined
}

interface Raster {
  data: Uint8Array | Uint16Array
  width: number
  height: number
  channels: number
}

async function run(pipeline: Pipeline): Promise<Raster> {
  const { data, info } = await pipeline.toBuffer({ resolveWithObject: true })
  const deep = (info as { depth?: string }).depth === 'ushort'
  const samples = deep
    ? new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { data: samples, width: info.width, height: info.height, channels: info.channels }
}

/** Colours apart from opacity, which is kept with 8 bit; other channels are left out, which is noted. */
function split(
  { data, channels }: Raster,
  extra: readonly number[],
  lost: Loss[],
): { samples: Uint8Array | Uint16Array; alpha?: Uint8Array } {
  if (channels === 3) return { samples: data }
  const colours = channels > 2 ? 3 : 1
  const pixels = data.length / channels
  const samples = data instanceof Uint16Array ? new Uint16Array(3 * pixels) : new Uint8Array(3 * pixels)
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) samples[3 * i + c] = data[channels * i + Math.min(c, colours - 1)]
  }
  // One channel more is taken for opacity whatever it is called; of several only what is called so.
  const opacity = channels - colours === 1 || extra[0] === 1 || extra[0] === 2
  const left = channels - colours - (opacity ? 1 : 0)
  if (left > 0) {
    lost.push({
      what: 'channels',
      says: `has ${left} more ${left === 1 ? 'channel' : 'channels'} (a mask or selection), left out`,
    })
  }
  if (!opacity || channels === colours) return { samples }
  const alpha = new Uint8Array(pixels)
  const step = data instanceof Uint16Array ? 257 : 1
  let exact = true
  for (let i = 0; i < pixels; i++) {
    const value = data[channels * i + colours]
    alpha[i] = Math.round(value / step)
    exact &&= value % step === 0
  }
  if (!exact) lost.push({ what: 'bits', says: 'has opacity of 16 bit, of which 8 were kept' })
  return { samples, alpha }
}

/** The same memory as a Buffer, which sharp takes without copying. */
export function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
