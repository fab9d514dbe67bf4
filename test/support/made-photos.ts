/** Photos made by numbers, and a folder for them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, expect } from 'vitest'
import type { Photo } from '../../src/images/index.ts'
import { random } from './random.ts'

/** Removed after the tests of the file. */
export const folder = mkdtempSync(join(tmpdir(), 'lowkey-images-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

export function noise(length: number, seed = 1): Uint8Array {
  const next = random(seed)
  return Uint8Array.from({ length }, () => Math.floor(256 * next()))
}

/** Smooth colours, which a lossy format keeps, a different one in every corner. */
export function smooth(width: number, height: number): Uint8Array {
  const rgb = new Uint8Array(3 * width * height)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rgb.set(
        [(200 * x) / width + 20, (200 * y) / height + 30, 180 - (90 * (x + y)) / (width + height)],
        3 * (y * width + x),
      )
    }
  }
  return rgb
}

export type Channels = 1 | 2 | 3 | 4

export const raw = (data: Uint8Array | Uint16Array, width: number, height: number) =>
  sharp(data, { raw: { width, height, channels: (data.length / width / height) as Channels } })

export const photo = (width: number, height: number, rgb: Uint8Array, more: Partial<Photo> = {}): Photo => ({
  width,
  height,
  rgb,
  grey: false,
  format: 'png',
  ...more,
})

export const threefold = (grey: Uint8Array) =>
  Uint8Array.from({ length: 3 * grey.length }, (_, i) => grey[Math.floor(i / 3)])

export function greatestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  let greatest = 0
  for (let i = 0; i < a.length; i++) greatest = Math.max(greatest, Math.abs(a[i] - b[i]))
  return greatest
}

export async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => new Error('no error'),
    (error: unknown) => error as Error,
  )
}
