/** What the directories of a TIFF file (TIFF 6.0) say that libvips does not tell, or does not read. */

export interface TiffFile {
  /** 8 is CIELab, which libvips refuses. */
  photometric?: number
  /** Where the value of that entry stands, and how it is written. */
  photometricAt?: number
  little: boolean
  /** 1 whole numbers, 2 whole numbers with a sign, 3 floating point, 5 and 6 complex. */
  sampleFormat: number
  bits: number
  /** Kinds of the samples beyond the colours: 1 and 2 are opacity, 0 is anything (a mask, a saved selection). */
  extra: number[]
  /** EXIF's, 1 to 8. */
  orientation: number
  /** Directories that are pages of their own, not smaller copies of the first (pyramids, thumbnails). */
  pages: number
}

const NEW_SUBFILE_TYPE = 254
const BITS = 258
const PHOTOMETRIC = 262
const ORIENTATION = 274
const EXTRA_SAMPLES = 338
const SAMPLE_FORMAT = 339

/** Reads the directories of a classic TIFF; of a BigTIFF only the pages are not counted. Never throws. */
export function readTiff(file: Uint8Array): TiffFile {
  const data = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const little = file[0] === 0x49
  const found: TiffFile = { little, sampleFormat: 1, bits: 8, extra: [], orientation: 1, pages: 0 }
  if (file.length < 10 || data.getUint16(2, little) !== 42) return { ...found, pages: 1 }
  const seen = new Set<number>()
  let at = data.getUint32(4, little)
  while (at >= 8 && at + 2 <= file.length && !seen.has(at) && seen.size < 1000) {
    const first = seen.size === 0
    seen.add(at)
    const count = data.getUint16(at, little)
    let kind = 0
    for (let i = 0; i < count && at + 14 + 12 * i <= file.length; i++) {
      const entry = at + 2 + 12 * i
      const tag = data.getUint16(entry, little)
      if (tag === NEW_SUBFILE_TYPE) kind = data.getUint32(entry + 8, little)
      if (!first) continue
      if (tag === PHOTOMETRIC) {
        found.photometric = data.getUint16(entry + 8, little)
        found.photometricAt = entry + 8
      } else if (tag === BITS) found.bits = shorts(data, entry, little)[0] ?? 8
      else if (tag === ORIENTATION) found.orientation = within(data.getUint16(entry + 8, little))
      else if (tag === EXTRA_SAMPLES) found.extra = shorts(data, entry, little)
      else if (tag === SAMPLE_FORMAT) found.sampleFormat = shorts(data, entry, little)[0] ?? 1
    }
    if (first || (kind & 5) === 0) found.pages++
    const next = at + 2 + 12 * count
    at = next + 4 <= file.length ? data.getUint32(next, little) : 0
  }
  return found
}

const within = (orientation: number): number => (orientation >= 1 && orientation <= 8 ? orientation : 1)

function shorts(data: DataView, entry: number, little: boolean): number[] {
  const count = data.getUint32(entry + 4, little)
  const at = count <= 2 ? entry + 8 : data.getUint32(entry + 8, little)
  if (count > 64 || at + 2 * count > data.byteLength) return []
  return Array.from({ length: count }, (_, i) => data.getUint16(at + 2 * i, little))
}

/** The file with its colours called RGB, so that its samples can be read as they are. */
export function asRgb(file: Uint8Array, { photometricAt, little }: TiffFile): Uint8Array {
  // Not `slice`, which of a Buffer is no copy.
  const copy = new Uint8Array(file)
  new DataView(copy.buffer).setUint16(photometricAt!, 2, little)
  return copy
}

/** CIELab samples (TIFF 6.0, section 23; D50), three a pixel and in place, to sRGB of the same depth. */
export function labToRgb(
  samples: Uint8Array | Uint16Array,
  toRgb: (xyz: readonly number[]) => readonly number[],
): void {
  const deep = samples instanceof Uint16Array
  const [top, unit] = deep ? [65535, 256] : [255, 1]
  const half = (top + 1) / 2
  const signed = (v: number) => (v >= half ? v - top - 1 : v) / unit
  const cube = (t: number) => (t > 6 / 29 ? t ** 3 : 3 * (6 / 29) ** 2 * (t - 4 / 29))
  for (let i = 0; i < samples.length; i += 3) {
    const y = ((samples[i] / top) * 100 + 16) / 116
    const rgb = toRgb([
      0.9642 * cube(y + signed(samples[i + 1]) / 500),
      cube(y),
      0.8249 * cube(y - signed(samples[i + 2]) / 200),
    ])
    for (let c = 0; c < 3; c++) samples[i + c] = Math.round(top * Math.min(1, Math.max(0, rgb[c])))
  }
}
