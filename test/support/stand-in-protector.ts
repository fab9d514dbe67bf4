/** A stand-in for the GPU and what runs on it: protects a photo in no time, or in as long as `LOWKEY_STAND_IN_MS` says. */
import { setTimeout as sleep } from 'node:timers/promises'
import { NoFaceError, type Protector } from '../../src/attack/protect.ts'
import { DeviceLostError, type Gpu } from '../../src/device/node.ts'

/** First pixels by which photos are known: darker than this has no face. */
const FACE = 8
/** With this one the GPU is lost, where the environment says LOWKEY_STAND_IN_LOST. */
const LOST = 250

/** With this one there is a place that may be a face. */
export const MAY_BE = 240

/** Every pixel becomes brighter by one; a photo whose first pixel is darker than 8 has no face. */
export const protector = {
  async protect(photo: { rgb: Uint8Array }, { signal }: { signal?: AbortSignal } = {}) {
    const wait = Number(process.env.LOWKEY_STAND_IN_MS ?? 1)
    for (let left = wait; left > 0; left -= 20) {
      await sleep(Math.min(left, 20))
      signal?.throwIfAborted()
    }
    if (photo.rgb[0] < FACE) throw new NoFaceError('no face found')
    if (photo.rgb[0] >= LOST && process.env.LOWKEY_STAND_IN_LOST)
      throw new DeviceLostError('stand-in', 'unknown', 'gone')
    const rgb = photo.rgb.map((v) => v + 1)
    const seconds = { detect: 0, compile: 0, attack: 0, measure: 0, total: 0 }
    const weak = photo.rgb[0] === MAY_BE ? [{ box: [1, 2, 30, 40], score: 0.7 }] : []
    const found = { left: { notChosen: [], weak }, smallest: { upright: 20, turned: 20 } }
    return { photo: { ...photo, rgb }, faces: [], ...found, lpips: 0.01, psnr: 50, seconds, warnings: [] }
  },
  async remember() {},
  async find(photo: { rgb: Uint8Array }) {
    if (photo.rgb[0] < FACE) throw new NoFaceError('no face found')
    return [{ box: [0, 0, 1, 1], score: 1, landmarks: [] }]
  },
} as unknown as Protector

export const gpu = {
  capabilities: { software: false, driver: 'other', device: 'stand-in', description: '', maxBindingBytes: 2 ** 27 },
} as Gpu
