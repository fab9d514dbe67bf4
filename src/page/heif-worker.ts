/**
 * A worker that decodes one HEIC photo and ends. libheif stands before this code in the worker, as its package has it: a decoder that aborts,
 * runs for ever or fills its memory does not take the page along.
 */
import { readHeif } from '../images/heif-boxes.ts'
import { decodeHeif, type LibHeif } from '../images/heif-decode.ts'
import { viewOf } from '../images/original.ts'
import { isSrgb, readProfile, signalled } from '../images/profile.ts'
import type { Rgb } from './protocol.ts'

/** What the worker is told: the photo, and libheif's WebAssembly. */
export interface HeifRequest {
  file: File
  wasm: ArrayBuffer
}

export type HeifAnswer = { decoded: Rgb } | { problem: string }

declare const libheif: (options: object) => LibHeif

async function decode({ file, wasm }: HeifRequest): Promise<Rgb> {
  const bytes = new Uint8Array(await file.arrayBuffer())
  const boxes = readHeif(bytes)
  if (boxes.sequence) throw new Error('is a HEIF sequence, a video')
  const lib = libheif({ wasmBinary: wasm, print: () => {}, printErr: () => {} })
  const { width, height, channels, samples } = decodeHeif(lib, bytes)
  const colour = boxes.icc ? readProfile(boxes.icc) : boxes.nclx ? signalled(boxes.nclx) : 'srgb'
  if (typeof colour === 'object' && 'unread' in colour) throw new Error(`is an HDR photo (${colour.unread})`)
  const pixels = width * height
  const colours = channels === 3 ? samples : new (samples.constructor as Uint8ArrayConstructor)(3 * pixels)
  const alpha = channels === 4 ? new Uint8Array(pixels) : undefined
  if (alpha) {
    for (let i = 0; i < pixels; i++) {
      for (let c = 0; c < 3; c++) colours[3 * i + c] = samples[4 * i + c]
      alpha[i] = samples instanceof Uint16Array ? samples[4 * i + 3] >> 8 : samples[4 * i + 3]
    }
  }
  const profile = typeof colour === 'object' && !isSrgb(colour) ? colour : undefined
  const rgb = new Uint8Array(viewOf(colours, profile))
  return { width, height, rgb, ...(alpha && !alpha.every((a) => a === 255) ? { alpha } : {}) }
}

self.onmessage = async ({ data }: MessageEvent<HeifRequest>) => {
  let answer: HeifAnswer
  try {
    answer = { decoded: await decode(data) }
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    answer = { problem: words.startsWith('is ') ? words : `is damaged or of an unknown kind (${words.slice(0, 200)})` }
  }
  self.postMessage(answer, { transfer: 'decoded' in answer ? [answer.decoded.rgb.buffer] : [] })
}
