/** The chunks of a PNG file (third edition) that libvips does not read: colour, frames, the mark. */
import { MARK } from './mark.ts'
import { type CodePoints, fromGamma, type Profile, signalled } from './profile.ts'

export interface PngFile {
  /** The colour signal that counts (cICP before iCCP before sRGB before gAMA); undefined: iCCP's, or none. */
  colour?: Profile | 'srgb' | { unread: string }
  /** Of an animation (acTL); 1 for all others. */
  frames: number
  /** Written by lowkey-gpu. */
  marked: boolean
}

/** Reads the chunks before and after the pixels. Never throws: where the structure ends, the decoder says what is wrong. */
export function readPng(file: Uint8Array): PngFile {
  const data = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const found: PngFile = { frames: 1, marked: false }
  let signal: CodePoints | undefined
  let gamma: number | undefined
  let chromaticities: number[] | undefined
  let [profile, srgb] = [false, false]
  for (let at = 8; at + 12 <= file.length; ) {
    const length = data.getUint32(at)
    const type = String.fromCharCode(...file.subarray(at + 4, at + 8))
    const body = at + 8
    if (body + length > file.length) break
    if (type === 'cICP' && length >= 4) signal = { primaries: file[body], transfer: file[body + 1] }
    else if (type === 'gAMA' && length >= 4) gamma = data.getUint32(body)
    else if (type === 'cHRM' && length >= 32) {
      chromaticities = Array.from({ length: 8 }, (_, i) => data.getUint32(body + 4 * i))
    } else if (type === 'iCCP') profile = true
    else if (type === 'sRGB') srgb = true
    else if (type === 'acTL' && length >= 4) found.frames = Math.max(1, data.getUint32(body))
    else if (type === 'tEXt') {
      const text = String.fromCharCode(...file.subarray(body, body + Math.min(length, 64)))
      if (text === `Software\0${MARK}`) found.marked = true
    }
    at = body + length + 4
  }
  if (signal) found.colour = signalled(signal)
  else if (!profile && srgb) found.colour = 'srgb'
  else if (!profile && (gamma !== undefined || chromaticities)) found.colour = fromGamma(gamma, chromaticities)
  return found
}
