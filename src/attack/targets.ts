/** What is attacked one after another: each face by itself, or the whole photo for some faces at once. */
import type { Pixels } from '../faces/pixels.ts'
import { changeMask } from './change.ts'
import type { ChosenFace } from './choose.ts'
import type { Preset } from './presets.ts'
import { faceRegion, type Region, wholePhoto } from './region.ts'

/** Faces with the area in which they are protected. */
export interface Target {
  region: Region
  faces: readonly ChosenFace[]
  mask?: Float32Array
}

/** Faces that the objective of a whole photo has at once: memory grows with them. Further ones are attacked after these, on the result. */
const MOST_TOGETHER = 8

/** @param finest as `faceRegion` takes it */
export function targetsOf(photo: Pixels, faces: readonly ChosenFace[], preset: Preset, finest?: number): Target[] {
  if (preset.area === 'photo') {
    const region = wholePhoto(photo.width, photo.height)
    return Array.from({ length: Math.ceil(faces.length / MOST_TOGETHER) }, (_, i) => ({
      region,
      faces: faces.slice(i * MOST_TOGETHER, (i + 1) * MOST_TOGETHER),
    }))
  }
  return faces.map((face) => {
    const region = faceRegion(photo.width, photo.height, face.landmarks, finest)
    return { region, faces: [face], mask: changeMask(photo, region, face, preset.flat) }
  })
}
