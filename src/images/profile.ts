/*
 * What the numbers of a photo mean as colours: RGB spaces given by three primaries and a curve each, out of an ICC
 * profile (ICC.1:2022), code points (ITU-T H.273, in PNG's cICP and in AVIF's and HEIF's nclx) or PNG's gAMA and cHRM.
 * Profiles with tables in place of primaries, and those of CMYK and grey, are not read here; lcms converts them.
 */

/** A colour space of three primaries. All colours in it are relative to D50, as in ICC profiles. */
export interface Profile {
  /** As it would be called: 'Display P3'. */
  name: string
  /** Linear RGB (0 to 1) to XYZ, by rows. */
  toXyz: readonly number[]
  /** Of red, green and blue: from a sample (0 to 1) to light (0 to 1), never falling. */
  curves: readonly [Curve, Curve, Curve]
  /** An ICC profile with these numbers and nothing else: no names of devices or displays, no dates. */
  icc: Uint8Array
}

export interface Curve {
  light(sample: number): number
  /** The bytes of the tag in an ICC profile, of type `curv` or `para`. */
  tag: Uint8Array
}

type Triple = readonly [number, number, number]

/** Bradford-adapted sRGB, CSS Color 4's numbers. */
const SRGB_TO_XYZ: readonly number[] = [
  0.4360657, 0.3851515, 0.1430784, 0.2224932, 0.716887, 0.0606169, 0.0139216, 0.0970764, 0.7141355,
]

export const srgbLight = (v: number): number => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
export const srgbSample = (v: number): number => (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055)

const SRGB_CURVE = parametric(3, [2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045])

export const xyzToSrgb: readonly number[] = inverse3(SRGB_TO_XYZ)!

/**
 * Reads an ICC profile of RGB primaries. Undefined where it is of another kind, damaged, or cannot be turned round
 * (curves that fall, primaries on one line).
 */
export function readProfile(icc: Uint8Array): Profile | undefined {
  const data = new DataView(icc.buffer, icc.byteOffset, icc.byteLength)
  if (icc.length < 132 || latin1(icc, 36, 4) !== 'acsp') return undefined
  if (latin1(icc, 16, 4) !== 'RGB ' || latin1(icc, 20, 4) !== 'XYZ ') return undefined
  const tags = new Map<string, Uint8Array>()
  const count = Math.min(data.getUint32(128), 100)
  for (let i = 0; i < count; i++) {
    const at = 132 + 12 * i
    if (at + 12 > icc.length) return undefined
    const [start, size] = [data.getUint32(at + 4), data.getUint32(at + 8)]
    if (start + size <= icc.length) tags.set(latin1(icc, at, 4), icc.subarray(start, start + size))
  }
  // Tables come before primaries where a profile has both.
  if (tags.has('A2B0')) return undefined
  const columns = ['rXYZ', 'gXYZ', 'bXYZ'].map((name) => readXyz(tags.get(name)))
  const curves = ['rTRC', 'gTRC', 'bTRC'].map((name) => readCurve(tags.get(name)))
  if (columns.some((c) => !c) || curves.some((c) => !c)) return undefined
  const [r, g, b] = columns as Triple[]
  return profileOf(
    describe(tags.get('desc')),
    [r[0], g[0], b[0], r[1], g[1], b[1], r[2], g[2], b[2]],
    curves as Curve[],
  )
}

function profileOf(name: string, toXyz: readonly number[], curves: readonly Curve[]): Profile | undefined {
  if (!inverse3(toXyz) || !curves.every(rises)) return undefined
  const three = curves as unknown as Profile['curves']
  // A name may be that of a person's display: only those of standards are kept.
  const known = KNOWN_NAMES.find((known) => name.startsWith(known)) ?? 'RGB'
  return { name: known, toXyz, curves: three, icc: writeProfile(known, toXyz, three) }
}

const KNOWN_NAMES = [
  'Display P3',
  'Adobe RGB',
  'ProPhoto RGB',
  'ROMM RGB',
  'Rec. 2020',
  'Apple RGB',
  'ColorMatch RGB',
  'DCI-P3',
  'sRGB',
  'Linear RGB',
  'RGB with gamma',
]

/** Whether every colour looks the same within a step of 8 bit when the numbers are taken for sRGB. */
export function isSrgb(profile: Profile): boolean {
  const toSrgb = multiply3(xyzToSrgb, profile.toXyz)
  const steps = [0, 0.06, 0.14, 0.26, 0.4, 0.58, 0.78, 1]
  for (const r of steps) {
    for (const g of steps) {
      for (const b of steps) {
        const light = [profile.curves[0].light(r), profile.curves[1].light(g), profile.curves[2].light(b)]
        for (const [i, sample] of [r, g, b].entries()) {
          const sum = toSrgb[3 * i] * light[0] + toSrgb[3 * i + 1] * light[1] + toSrgb[3 * i + 2] * light[2]
          // In light, where a step near black would be huge in samples.
          if (Math.abs(srgbSample(Math.min(1, Math.max(0, sum))) - sample) > 1.5 / 255) return false
        }
      }
    }
  }
  return true
}

/** A colour signal as H.273 has it: code points of primaries and of the transfer characteristics. */
export interface CodePoints {
  primaries: number
  transfer: number
}

const D65: readonly [number, number] = [0.3127, 0.329]
const PRIMARIES: Readonly<Record<number, { name: string; xy: readonly number[]; white: readonly [number, number] }>> = {
  1: { name: 'sRGB', xy: [0.64, 0.33, 0.3, 0.6, 0.15, 0.06], white: D65 },
  4: { name: 'RGB', xy: [0.67, 0.33, 0.21, 0.71, 0.14, 0.08], white: [0.31, 0.316] },
  5: { name: 'RGB', xy: [0.64, 0.33, 0.29, 0.6, 0.15, 0.06], white: D65 },
  6: { name: 'RGB', xy: [0.63, 0.34, 0.31, 0.595, 0.155, 0.07], white: D65 },
  7: { name: 'RGB', xy: [0.63, 0.34, 0.31, 0.595, 0.155, 0.07], white: D65 },
  9: { name: 'Rec. 2020', xy: [0.708, 0.292, 0.17, 0.797, 0.131, 0.046], white: D65 },
  11: { name: 'DCI-P3', xy: [0.68, 0.32, 0.265, 0.69, 0.15, 0.06], white: [0.314, 0.351] },
  12: { name: 'Display P3', xy: [0.68, 0.32, 0.265, 0.69, 0.15, 0.06], white: D65 },
}

/** What code points mean: a profile, 'srgb' where the numbers can be taken as they are, or why they are not read. */
export function signalled({ primaries, transfer }: CodePoints): Profile | 'srgb' | { unread: string } {
  if (transfer === 16) return { unread: 'HDR (PQ)' }
  if (transfer === 18) return { unread: 'HDR (HLG)' }
  // 2 is "unspecified". Television's curves (1, 6, 14, 15) are shown by browsers as sRGB's.
  const space = primaries === 2 ? PRIMARIES[1] : PRIMARIES[primaries]
  const curve = [1, 2, 6, 13, 14, 15].includes(transfer)
    ? SRGB_CURVE
    : transfer === 4
      ? gammaCurve(2.2)
      : transfer === 5
        ? gammaCurve(2.8)
        : transfer === 8
          ? gammaCurve(1)
          : undefined
  if (!space || !curve)
    return { unread: `a colour space that is not known here (primaries ${primaries}, transfer ${transfer})` }
  const profile = profileOf(space.name, primariesToXyz(space.xy, space.white), [curve, curve, curve])
  return !profile ? { unread: 'a damaged colour signal' } : isSrgb(profile) ? 'srgb' : profile
}

/**
 * What PNG's gAMA (the exponent of encoding times 100,000) and cHRM (white, red, green, blue as x, y times 100,000) mean;
 * 'srgb' where that is what they say, as it nearly always is.
 */
export function fromGamma(gamma: number | undefined, chromaticities: readonly number[] | undefined): Profile | 'srgb' {
  const xy = chromaticities?.map((v) => v / 100_000)
  const toXyz = xy ? primariesToXyz(xy.slice(2), [xy[0], xy[1]]) : SRGB_TO_XYZ
  // 45455 is how sRGB is written in a gAMA chunk, though its curve is no pure power.
  const curve =
    gamma === undefined || Math.abs(gamma - 45455) < 500 || gamma < 5000 ? SRGB_CURVE : gammaCurve(100_000 / gamma)
  const name = curve === SRGB_CURVE ? 'RGB' : 'RGB with gamma'
  const profile = toXyz.every(Number.isFinite) ? profileOf(name, toXyz, [curve, curve, curve]) : undefined
  return !profile || isSrgb(profile) ? 'srgb' : profile
}

/** Primaries (x, y of red, green, blue) and white to XYZ, Bradford-adapted to D50. */
function primariesToXyz(xy: readonly number[], white: readonly [number, number]): number[] {
  const column = (x: number, y: number): Triple => [x / y, 1, (1 - x - y) / y]
  const [r, g, b] = [column(xy[0], xy[1]), column(xy[2], xy[3]), column(xy[4], xy[5])]
  const w = column(white[0], white[1])
  const primaries = [r[0], g[0], b[0], r[1], g[1], b[1], r[2], g[2], b[2]]
  const scale = apply3(inverse3(primaries) ?? new Array(9).fill(Number.NaN), w)
  const native = primaries.map((v, i) => v * scale[i % 3])
  const bradford = [0.8951, 0.2664, -0.1614, -0.7502, 1.7135, 0.0367, 0.0389, -0.0685, 1.0296]
  const [from, to] = [apply3(bradford, w), apply3(bradford, [0.9642, 1, 0.8249])]
  const scaled = bradford.map((v, i) => (v * to[Math.floor(i / 3)]) / from[Math.floor(i / 3)])
  return multiply3(multiply3(inverse3(bradford)!, scaled), native)
}

function readXyz(tag: Uint8Array | undefined): Triple | undefined {
  if (!tag || tag.length < 20 || latin1(tag, 0, 4) !== 'XYZ ') return undefined
  const data = new DataView(tag.buffer, tag.byteOffset)
  return [data.getInt32(8) / 65536, data.getInt32(12) / 65536, data.getInt32(16) / 65536]
}

/** ICC.1:2022, 10.6 (curveType) and 10.18 (parametricCurveType). */
function readCurve(tag: Uint8Array | undefined): Curve | undefined {
  if (!tag || tag.length < 12) return undefined
  const data = new DataView(tag.buffer, tag.byteOffset, tag.byteLength)
  if (latin1(tag, 0, 4) === 'para') {
    const kind = data.getUint16(8)
    const count = [1, 3, 4, 5, 7][kind]
    if (count === undefined || tag.length < 12 + 4 * count) return undefined
    return parametric(
      kind,
      Array.from({ length: count }, (_, i) => data.getInt32(12 + 4 * i) / 65536),
    )
  }
  if (latin1(tag, 0, 4) !== 'curv') return undefined
  const count = data.getUint32(8)
  if (count === 0) return gammaCurve(1)
  if (tag.length < 12 + 2 * count) return undefined
  if (count === 1) return gammaCurve(data.getUint16(12) / 256)
  const table = Float64Array.from({ length: count }, (_, i) => data.getUint16(12 + 2 * i) / 65535)
  const light = (sample: number): number => {
    const at = sample * (count - 1)
    const low = Math.min(count - 2, Math.floor(at))
    return table[low] + (at - low) * (table[low + 1] - table[low])
  }
  return { light, tag: tag.slice(0, 12 + 2 * count) }
}

function gammaCurve(gamma: number): Curve {
  return parametric(0, [gamma])
}

function parametric(kind: number, p: readonly number[]): Curve {
  const [g, a = 1, b = 0, c = 0, d = 0, e = 0, f = 0] = p
  const power = (v: number) => Math.max(0, a * v + b) ** g
  const light = [
    (v: number) => v ** g,
    (v: number) => (v >= -b / a ? power(v) : 0),
    (v: number) => (v >= -b / a ? power(v) + c : c),
    (v: number) => (v >= d ? power(v) : c * v),
    (v: number) => (v >= d ? power(v) + e : c * v + f),
  ][kind]
  const tag = new Uint8Array(12 + 4 * p.length)
  const data = new DataView(tag.buffer)
  tag.set(ascii('para'))
  data.setUint16(8, kind)
  p.forEach((value, i) => {
    data.setInt32(12 + 4 * i, Math.round(value * 65536))
  })
  return { light: (v) => Math.min(1, Math.max(0, light(v))), tag }
}

function rises({ light }: Curve): boolean {
  let last = light(0)
  for (let i = 1; i <= 256; i++) {
    const next = light(i / 256)
    if (!(next >= last)) return false
    last = next
  }
  return last > light(0) + 0.5
}

/** An ICC profile of version 2.4 (curves of type `para` make it 4.3) with the tags that every display profile must have. */
function writeProfile(name: string, toXyz: readonly number[], curves: Profile['curves']): Uint8Array {
  const xyz = (x: number, y: number, z: number): Uint8Array => {
    const tag = new Uint8Array(20)
    tag.set(ascii('XYZ '))
    ;[x, y, z].forEach((value, i) => {
      new DataView(tag.buffer).setInt32(8 + 4 * i, Math.round(value * 65536))
    })
    return tag
  }
  const tags: [string, Uint8Array][] = [
    ['desc', text(name)],
    ['cprt', text('CC0')],
    ['wtpt', xyz(0.9642, 1, 0.8249)],
    ['rXYZ', xyz(toXyz[0], toXyz[3], toXyz[6])],
    ['gXYZ', xyz(toXyz[1], toXyz[4], toXyz[7])],
    ['bXYZ', xyz(toXyz[2], toXyz[5], toXyz[8])],
    ...curves.map(({ tag }, i): [string, Uint8Array] => [`${'rgb'[i]}TRC`, tag]),
  ]
  const size = tags.reduce((sum, [, tag]) => sum + 12 + pad4(tag.length), 132)
  const icc = new Uint8Array(size)
  const data = new DataView(icc.buffer)
  data.setUint32(0, size)
  data.setUint32(8, 0x04300000)
  icc.set(ascii('mntrRGB XYZ '), 12)
  // The date must be one: that of the standard's version.
  ;[2022, 1, 1].forEach((value, i) => {
    data.setUint16(24 + 2 * i, value)
  })
  icc.set(ascii('acsp'), 36)
  data.setUint32(68, 0x0000f6d6)
  data.setUint32(72, 0x00010000)
  data.setUint32(76, 0x0000d32d)
  data.setUint32(128, tags.length)
  let at = 132 + 12 * tags.length
  tags.forEach(([signature, tag], i) => {
    icc.set(ascii(signature), 132 + 12 * i)
    data.setUint32(136 + 12 * i, at)
    data.setUint32(140 + 12 * i, tag.length)
    icc.set(tag, at)
    at += pad4(tag.length)
  })
  return icc
}

/** ICC.1:2022, 10.15, multiLocalizedUnicodeType with one text. */
function text(value: string): Uint8Array {
  const tag = new Uint8Array(28 + 2 * value.length)
  const data = new DataView(tag.buffer)
  tag.set(ascii('mluc'))
  data.setUint32(8, 1)
  data.setUint32(12, 12)
  tag.set(ascii('enUS'), 16)
  data.setUint32(20, 2 * value.length)
  data.setUint32(24, 28)
  for (let i = 0; i < value.length; i++) data.setUint16(28 + 2 * i, value.charCodeAt(i))
  return tag
}

/** The text of a description, of either type (`desc` of version 2, `mluc` of version 4). */
function describe(tag: Uint8Array | undefined): string {
  if (!tag) return ''
  const start = latin1(tag, 0, 4) === 'mluc' ? 28 : 12
  return latin1(tag, start, 200)
    .replace(/[^ -~]/g, '')
    .trim()
}

export function multiply3(a: readonly number[], b: readonly number[]): number[] {
  return Array.from({ length: 9 }, (_, i) => {
    const [row, column] = [3 * Math.floor(i / 3), i % 3]
    return a[row] * b[column] + a[row + 1] * b[column + 3] + a[row + 2] * b[column + 6]
  })
}

function apply3(m: readonly number[], v: Triple): Triple {
  return [0, 3, 6].map((row) => m[row] * v[0] + m[row + 1] * v[1] + m[row + 2] * v[2]) as unknown as Triple
}

/** Undefined where the determinant is nearly zero. */
export function inverse3(m: readonly number[]): number[] | undefined {
  const [a, b, c, d, e, f, g, h, i] = m
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
  if (!(Math.abs(det) > 1e-6)) return undefined
  return [
    e * i - f * h,
    c * h - b * i,
    b * f - c * e,
    f * g - d * i,
    a * i - c * g,
    c * d - a * f,
    d * h - e * g,
    b * g - a * h,
    a * e - b * d,
  ].map((v) => v / det)
}

function pad4(length: number): number {
  return Math.ceil(length / 4) * 4
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0))
}

function latin1(bytes: Uint8Array, start: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(start, start + length))
}
