/** What came of one input: a row of docs/formats.md. */

import type { FormatRow } from '../../../build/docs/formats.ts'
import {
  encodePhoto,
  formatOfResult,
  lostInResult,
  type OutputFormat,
  type Photo,
  readPhoto,
} from '../../../src/images/index.ts'
import type { Input } from './input.ts'

/** Side of the square in the upper left corner that stands for the region of a face; whole blocks of JPEG. */
const REGION = 16

const samplesOf = ({ original, rgb }: Photo) => original?.samples ?? rgb

/** Pixels as an attack leaves them: other in the region of a face, and only there. */
function changed(photo: Photo): Photo {
  const rgb = photo.rgb.slice()
  for (let i = 0; i < rgb.length; i++) {
    if (inRegion(i, photo.width))
      rgb[i] = Math.min(255, Math.max(0, rgb[i] + (((photo.grey ? i - (i % 3) : i) * 7) % 13) - 6))
  }
  return { ...photo, rgb }
}

const inRegion = (sample: number, width: number): boolean => {
  const pixel = Math.floor(sample / 3)
  return pixel % width < REGION && Math.floor(pixel / width) < REGION
}

export interface Proof {
  before: Photo
  after: Photo
  format: OutputFormat
  /** Greatest difference of a sample outside of the region between the input and the result. */
  outside: number
  /** The same on average. */
  average: number
  /** The same between results with and without the change: what JPEG's rounding cannot explain. */
  spilled: number
  /** The greatest change of the view inside of the region that is missing in the result. */
  missing: number
}

/** Reads, changes the region, writes as a result is written, and reads again. */
export async function proofOf(before: Photo, format: OutputFormat = formatOfResult(before)): Promise<Proof> {
  const asked = changed(before)
  const again = async (photo: Photo) => readPhoto(await encodePhoto(photo, { format }))
  const [after, unchanged] = [await again(asked), await again(before)]
  // Opacity is laid on white in JPEG; what shows is what counts.
  const clean = format === 'jpeg' && before.alpha ? unchanged : before
  const [a, b, c] = [samplesOf(clean), samplesOf(after), samplesOf(unchanged)]
  const ratio = a.BYTES_PER_ELEMENT > b.BYTES_PER_ELEMENT ? 257 : 1
  const proof: Proof = { before, after, format, outside: 0, average: 0, spilled: 0, missing: 0 }
  for (let i = 0; i < a.length; i++) {
    if (inRegion(i, before.width)) proof.missing = Math.max(proof.missing, Math.abs(after.rgb[i] - asked.rgb[i]))
    else {
      const off = Math.abs(a[i] / ratio - b[i])
      proof.outside = Math.max(proof.outside, off)
      proof.average += off / (a.length - 3 * REGION ** 2)
      proof.spilled = Math.max(proof.spilled, Math.abs(b[i] - c[i]))
    }
  }
  return proof
}

/** What is kept of a photo, as far as both have it. */
export function facts(photo: Photo): string[] {
  const profile = photo.original?.profile
  return [
    `${photo.original?.samples instanceof Uint16Array ? 16 : 8} bit`,
    ...(photo.grey ? ['grey'] : []),
    ...(profile ? [profile.name === 'RGB' ? 'colour profile' : profile.name] : []),
    ...(photo.alpha ? ['opacity'] : []),
    ...(photo.density ? [`${Math.round(photo.density)} dpi`] : []),
  ]
}

export function rowOf({ name, readBy, file }: Input, { before, format, outside, average }: Proof): FormatRow {
  const said = [...(before.warnings ?? []), ...lostInResult(before, format).map(({ says }) => `${file} ${says}.`)]
  return {
    input: name,
    readBy,
    photo: facts(before).join(', '),
    result: format === 'jpeg' ? 'JPEG' : format === 'png' ? 'PNG' : 'WebP',
    outside: outside === 0 ? 'every sample' : `off by ${average.toFixed(1)} of 255, ${Math.round(outside)} at most`,
    says: said.map((text) => text.slice(file.length + 1, -1)),
  }
}
