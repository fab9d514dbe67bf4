/** What is attacked at once: a face by itself, or some faces of a whole photo, so that memory does not grow with their number. */
import { expect, test } from 'vitest'
import type { ChosenFace } from '../../src/attack/choose.ts'
import { faceJob, type Target, targetsOf } from '../../src/attack/face-job.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import type { Landmarks } from '../../src/faces/alignment.ts'

const [WIDTH, HEIGHT] = [400, 300]
const photo = { width: WIDTH, height: HEIGHT, rgb: new Uint8Array(3 * WIDTH * HEIGHT).fill(90) }

/** Faces in a row, of 30 pixels. */
const faces = Array.from({ length: 20 }, (_, i): ChosenFace => {
  const [x, y] = [10 + 35 * (i % 10), 40 + 120 * Math.floor(i / 10)]
  const landmarks: Landmarks = [
    [x + 9, y + 10],
    [x + 21, y + 10],
    [x + 15, y + 17],
    [x + 10, y + 23],
    [x + 20, y + 23],
  ]
  const box: ChosenFace['box'] = [x, y, x + 29, y + 29]
  return { number: i + 1, box, landmarks, score: 1, roll: 0, sure: true, beyond: 0, by: 'detector' }
})

const maskOf = (target: Target, preset: Preset) =>
  faceJob(photo, target, { preset, alignments: [], seed: 1 }).images.mask

test('each face by itself, in its region', () => {
  const targets = targetsOf(photo, faces, presets.medium)
  expect(targets.map((target) => target.faces)).toEqual(faces.map((face) => [face]))
  for (const target of targets) {
    expect(target.region.width).toBeLessThan(WIDTH / 2)
    expect(maskOf(target, presets.medium)?.some((v) => v > 0)).toBe(true)
  }
})

test('of a whole photo eight at once, each once', () => {
  const targets = targetsOf(photo, faces, presets.paper)
  expect(targets.map((target) => target.faces.length)).toEqual([8, 8, 4])
  expect(targets.flatMap((target) => target.faces)).toEqual(faces)
  for (const target of targets) {
    expect([target.region.width, target.region.height]).toEqual([WIDTH, HEIGHT])
    expect(maskOf(target, presets.paper)).toBeUndefined()
  }
})
