/** What is attacked one after another: each face by itself, or the whole photo for some faces at once. */
import { align112, alignmentOf } from '../faces/alignment.ts'
import { samplesASide } from '../faces/crop.ts'
import type { Recogniser } from '../models/recognisers.ts'
import type { Pixels } from '../pixels/pixels.ts'
import { changeMask } from './change.ts'
import type { ChosenFace } from './choose.ts'
import { directionDraw } from './directions.ts'
import type { AttackImages } from './loop.ts'
import type { Preset } from './presets.ts'
import { faceRegion, type Region, samplingMatrix, wholePhoto } from './region.ts'
import { workingPlanes } from './resample.ts'

/** Faces with the area in which they are protected. */
export interface Target {
  region: Region
  faces: readonly ChosenFace[]
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
  return faces.map((face) => ({
    region: faceRegion(photo.width, photo.height, face.landmarks, finest),
    faces: [face],
  }))
}

/** Samples a side of the crops of large faces: the area worked on has no more than this many pixels to one of the crop (region.ts). */
const FINEST_SAMPLES = 2

/**
 * Samples a side for each pixel of the crops that the attack looks at: as many as recognisers take of the face (`cropFace`), up to two, so that
 * what it does to the enlarged photo is not averaged away when that is reduced to a crop. 1, as published, where the whole photo is worked on.
 */
export const cropSamples = ({ faces }: Target, { area }: Pick<Preset, 'area'>): number =>
  area === 'photo' ? 1 : Math.min(FINEST_SAMPLES, samplesASide(align112(faces[0].landmarks)))

/** A target with all that its attack takes of the photo, computed once. */
export interface FaceJob extends Target {
  images: Omit<AttackImages, 'base'>
}

export interface FaceJobOptions {
  preset: Preset
  /** Those that the attacked recognisers want. */
  alignments: Iterable<Recogniser['alignment']>
  /** Of the first face's direction; the others' follow. */
  seed: number
  /** The draw of a face's direction, by the planes [3,height,width] of the area, its seed and its place among `faces`. */
  draw?: (clean: Float32Array, seed: number, face: number) => Float32Array
}

/** Cuts a target out of the photo. Throws FaceGeometryError for landmarks that give no crop. */
export function faceJob(photo: Pixels, { region, faces }: Target, options: FaceJobOptions): FaceJob {
  const { preset, alignments, seed, draw = directionDraw } = options
  const clean = workingPlanes(photo, region)
  const matricesOf = (alignment: Recogniser['alignment']) =>
    faces.map((face) => samplingMatrix(region, alignmentOf(alignment, face.landmarks)))
  // LPIPS looks at ArcFace's crop, whatever the recognisers want.
  const used = new Set<Recogniser['alignment']>(['arcface112', ...alignments])
  return {
    region,
    faces,
    images: {
      clean,
      mask: preset.area === 'face' ? changeMask(clean, region, faces[0], preset.flat) : undefined,
      matrices: new Map([...used].map((alignment) => [alignment, matricesOf(alignment)])),
      draws: faces.map((_, k) => draw(clean, seed + k, k)),
    },
  }
}
