/** What an attack takes of the photo, without a device. */
import { describe, expect, test } from 'vitest'
import type { ChosenFace } from '../../src/attack/choose.ts'
import { directionDraw } from '../../src/attack/directions.ts'
import { cropSamples, faceJob, targetsOf } from '../../src/attack/face-job.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import { samplingMatrix, softMask } from '../../src/attack/region.ts'
import { workingPlanes } from '../../src/attack/resample.ts'
import { textureOf } from '../../src/attack/texture.ts'
import { alignmentOf, type Landmarks, referenceLandmarks112 } from '../../src/faces/alignment.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { uniform } from '../support/random.ts'

const photo: Pixels = {
  width: 400,
  height: 300,
  rgb: Uint8Array.from(uniform(1, 3 * 400 * 300, 0, 255)),
}
const faceAt = (x: number, y: number) =>
  ({ landmarks: referenceLandmarks112.map(([u, v]) => [u + x, v + y]) as Landmarks }) as ChosenFace
const faces = [faceAt(40, 90), faceAt(220, 100)]

describe('a face preset', () => {
  test('has a job for each face, with all that follows from the photo', () => {
    const targets = targetsOf(photo, faces, presets.medium)
    expect(targets.map((target) => target.faces)).toEqual([[faces[0]], [faces[1]]])
    const { region, images } = faceJob(photo, targets[1], { preset: presets.medium, alignments: ['dlib150'], seed: 7 })
    const clean = workingPlanes(photo, region)
    expect(images.clean).toEqual(clean)
    expect([...images.matrices.keys()]).toEqual(['arcface112', 'dlib150'])
    for (const [alignment, matrices] of images.matrices)
      expect(matrices).toEqual([samplingMatrix(region, alignmentOf(alignment, faces[1].landmarks))])
    expect(images.draws).toEqual([directionDraw(clean, 7)])
    const soft = softMask(region, alignmentOf('arcface112', faces[1].landmarks))
    const texture = textureOf(clean, region.workWidth, region.workHeight)
    const { flat } = presets.medium
    expect(images.mask).toEqual(soft.map((part, i) => part * (flat + (1 - flat) * texture[i])))
  })
})

describe('crops that the attack looks at', () => {
  const enlarged = (by: number) => {
    const landmarks = referenceLandmarks112.map(([u, v]) => [by * u + 40, by * v + 40]) as Landmarks
    return { landmarks } as ChosenFace
  }
  const samplesOf = (by: number, preset: Preset) => {
    const wide = { width: 1200, height: 1200, rgb: new Uint8Array(3 * 1200 * 1200) }
    return cropSamples(targetsOf(wide, [enlarged(by)], preset)[0], preset)
  }

  test('are sampled as recognisers sample them, twice a side at most', () => {
    expect([0.5, 1, 1.49, 1.51, 3, 8].map((by) => samplesOf(by, presets.medium))).toEqual([1, 1, 1, 2, 2, 2])
  })

  test('are sampled once a pixel where the whole photo is worked on, as published', () => {
    expect([1, 3].map((by) => samplesOf(by, presets.paper))).toEqual([1, 1])
  })
})

describe('the paper', () => {
  test('has one job for all faces, without a mask', () => {
    const targets = targetsOf(photo, faces, presets.paper)
    expect(targets).toHaveLength(1)
    const { region, images } = faceJob(photo, targets[0], { preset: presets.paper, alignments: [], seed: 3 })
    expect([region.workWidth, region.workHeight]).toEqual([400, 300])
    expect(images.mask).toBeUndefined()
    expect(images.matrices.get('arcface112')).toHaveLength(2)
    expect(images.draws).toEqual([directionDraw(images.clean, 3), directionDraw(images.clean, 4)])
  })

  test('takes no more than eight faces at once', () => {
    const many = Array.from({ length: 19 }, (_, i) => faceAt(i, i))
    expect(targetsOf(photo, many, presets.paper).map((target) => target.faces.length)).toEqual([8, 8, 3])
  })
})
